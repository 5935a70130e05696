"""Photographs for whoever starts `serve`: beside the examples, once, and left out in silence where they are not to be had."""

from __future__ import annotations

import pytest
import serve
from hosting import host_tooling

from pictures import photographs


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "input").mkdir()
    return tmp_path / "input"


def test_photographs_that_were_fetched_once_are_added_and_a_users_own_file_stays(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(host_tooling, "find_pip", lambda cache: pytest.fail("pip was asked again"))
    (tmp_path / "photographs").mkdir()
    for name in photographs.PHOTOGRAPHS:
        (tmp_path / "photographs" / f"{name}.png").write_bytes(name.encode())
    (folder / "photo_cat.png").write_bytes(b"my own cat")
    added = serve.add_photographs(folder, tmp_path)
    assert {path.name for path in added} == {f"photo_{name}.png" for name in photographs.PHOTOGRAPHS} - {"photo_cat.png"}
    assert all(path.read_bytes() for path in added) and (folder / "photo_cat.png").read_bytes() == b"my own cat"
    assert serve.add_photographs(folder, tmp_path) == []


def test_without_the_package_nothing_is_added_and_nothing_said(folder, tmp_path, monkeypatch, pip, capfd):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setattr(photographs, "find_pip", lambda cache: pip)
    assert serve.add_photographs(folder, tmp_path) == []
    assert capfd.readouterr() == ("", "")
