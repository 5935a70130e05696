"""A folder of pictures is a manifest of one column, `image`; the name of a picture is its id."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from ..row import Row
from . import Listed, pictures_in

IMAGE = "image"


def fits(path: Path) -> bool:
    return path.is_dir() and bool(pictures_in(path))


class Folder(Listed):
    """Rows in the order of names. Pictures that differ in the ending only keep it in their ids."""

    carries = False

    def __init__(self, path: Path):
        pictures = pictures_in(path)
        stems = Counter(picture.stem.lower() for picture in pictures)
        super().__init__(
            path,
            [
                Row(number, picture.stem if stems[picture.stem.lower()] == 1 else picture.name, {IMAGE: picture.name})
                for number, picture in enumerate(pictures, start=1)
            ],
        )
