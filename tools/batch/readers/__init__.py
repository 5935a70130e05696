"""One file per format of a manifest; each only reads what the user has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from ..problems import Problem
from ..row import Row

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


class Reader(Protocol):
    """A manifest that is read from the start, and again at single places.

    folder: what relative paths are relative to. carries: whether columns that the workflow has no input for are notes instead of mistakes.
    """

    folder: Path
    carries: bool

    def rows(self) -> Iterator[tuple[int, Row | Problem]]:
        """Every row, or what is wrong with it, with the place it can be read from again."""
        ...

    def row(self, place: int) -> Row:
        """The row at a place that `rows` gave."""
        ...


class Listed:
    """A manifest whose rows are all at hand: benchmarks have hundreds."""

    carries = True

    def __init__(self, folder: Path, rows: Sequence[Row | Problem]):
        self.folder, self._rows = folder, rows

    def rows(self) -> Iterator[tuple[int, Row | Problem]]:
        return enumerate(self._rows)

    def row(self, place: int) -> Row:
        return self._rows[place]


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder, by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES and not path.name.startswith("."))
