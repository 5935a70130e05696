"""Photographs to try the tasks on, with what is painted on them: a cup of coffee and a cat, which the package scikit-image brings in its wheel.

They are read from the wheel, which is fetched once and not installed, and never become files of this repository; what is painted is ours.
"""

from __future__ import annotations

import io
import shutil
import tempfile
import zipfile
from pathlib import Path

from hosting.host_tooling import find_pip, run
from PIL import Image, ImageDraw

PACKAGE = "scikit-image>=0.22"
COFFEE, CAT = "skimage/data/coffee.png", "skimage/data/chelsea.png"

Outline = tuple[tuple[float, float], ...]
SPOON: Outline = (
    *((0.675, 0.155), (0.71, 0.155), (0.715, 0.25), (0.665, 0.45), (0.645, 0.58), (0.69, 0.64), (0.695, 0.74), (0.66, 0.82), (0.59, 0.835)),
    *((0.535, 0.77), (0.535, 0.68), (0.515, 0.655), (0.52, 0.59), (0.615, 0.585), (0.668, 0.4)),
)
CUP: Outline = (
    *((0.29, 0.24), (0.33, 0.12), (0.42, 0.05), (0.53, 0.045), (0.63, 0.11), (0.68, 0.24), (0.67, 0.37), (0.64, 0.52), (0.6, 0.6)),
    *((0.53, 0.62), (0.43, 0.63), (0.41, 0.7), (0.37, 0.77), (0.33, 0.75), (0.33, 0.67), (0.36, 0.6), (0.31, 0.5), (0.295, 0.38)),
)
FACE: Outline = (
    *((0.12, 0.02), (0.8, 0.02), (0.82, 0.25), (0.79, 0.45), (0.7, 0.62), (0.68, 0.82), (0.56, 0.93), (0.38, 0.9), (0.24, 0.76)),
    *((0.1, 0.62), (0.08, 0.35)),
)
CORNER: Outline = ((0.76, 0.55), (0.97, 0.55), (0.97, 0.96), (0.76, 0.96))
"""Outlines of what is painted, as shares of a picture's width and height."""

PHOTOGRAPHS: dict[str, tuple[str, Outline | None]] = {
    "coffee": (COFFEE, None),
    "coffee_spoon": (COFFEE, SPOON),
    "coffee_cup": (COFFEE, CUP),
    "cat": (CAT, None),
    "cat_face": (CAT, FACE),
    "cat_corner": (CAT, CORNER),
}
"""The photograph and what is painted on it, by name of the file."""


def photographs(cache: Path) -> list[Path]:
    """The pictures as PNG files in the cache, made there if they are not. QuickstartError where the package is out of reach."""
    folder = cache / "photographs"
    files = [folder / f"{name}.png" for name in PHOTOGRAPHS]
    if not all(file.is_file() for file in files):
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as made:
            _make(_fetched(cache, Path(made)), Path(made) / "photographs")
            shutil.rmtree(folder, ignore_errors=True)
            (Path(made) / "photographs").rename(folder)
    return files


def _fetched(cache: Path, folder: Path) -> Path:
    """The wheel, downloaded into `folder`."""
    choices = ("--quiet", "--no-deps", "--only-binary", ":all:", "--dest", str(folder))
    run([*find_pip(cache), "download", *choices, PACKAGE], "fetch the photographs (the package scikit-image)")
    (wheel,) = folder.glob("*.whl")
    return wheel


def _make(wheel: Path, folder: Path) -> None:
    folder.mkdir()
    with zipfile.ZipFile(wheel) as content:
        for name, (source, outline) in PHOTOGRAPHS.items():
            painted(Image.open(io.BytesIO(content.read(source))), outline).save(folder / f"{name}.png")


def painted(picture: Image.Image, outline: Outline | None) -> Image.Image:
    """The picture, transparent inside the outline, which is what Load Image takes for painted."""
    if outline is None:
        return picture.convert("RGB")
    kept = Image.new("L", picture.size, 255)
    ImageDraw.Draw(kept).polygon([(x * picture.width, y * picture.height) for x, y in outline], fill=0)
    shown = picture.convert("RGB")
    shown.putalpha(kept)
    return shown
