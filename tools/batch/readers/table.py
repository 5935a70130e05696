"""Tables: CSV with commas or semicolons, or TSV; the first line names the columns."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from hosting.quickstart_error import QuickstartError

from ..problems import Problem
from ..row import ID, Row
from .lines import Lines


def fits(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in (".csv", ".tsv")


class Table:
    """A column `id` and a column per input. An empty cell leaves the workflow's own value."""

    carries = False

    def __init__(self, path: Path):
        self.folder = path.parent
        self._lines = Lines(path)
        first = next((line.decode("utf-8", "replace") for _, line in self._lines.all()), "")
        self._delimiter = "\t" if path.suffix.lower() == ".tsv" else ";" if first.count(";") > first.count(",") else ","
        self.columns = next(csv.reader([first], delimiter=self._delimiter), [])
        if ID not in self.columns or len(set(self.columns)) < len(self.columns):
            raise QuickstartError(
                f"{path}: its first line names the columns, each once and one of them `id`; it is: {first.strip()[:200]!r}"
            )

    def rows(self) -> Iterator[tuple[int, Row | Problem]]:
        places: list[int] = []  # where the lines of the present row begin: a quoted cell may hold line breaks

        def texts() -> Iterator[str]:
            for place, line in self._lines.all():
                places.append(place)
                yield line.decode("utf-8", "replace")

        reader = csv.reader(texts(), delimiter=self._delimiter)
        next(reader)
        places.clear()
        number = reader.line_num + 1
        for cells in reader:
            if cells:
                yield places[0], self._parsed(number, cells)
            number = reader.line_num + 1
            places.clear()

    def row(self, place: int) -> Row:
        texts = (line.decode("utf-8", "replace") for line in self._lines.at(place))
        return self._parsed(0, next(csv.reader(texts, delimiter=self._delimiter)))

    def _parsed(self, number: int, cells: list[str]) -> Row | Problem:
        if len(cells) > len(self.columns):
            return Problem(number, "", f"it has {len(cells)} cells, the first line names {len(self.columns)} columns")
        values = {name: cell for name, cell in zip(self.columns, cells, strict=False) if cell != ""}
        row_id = values.pop(ID, None)
        return Row(number, row_id, values) if row_id else Problem(number, ID, "it has no id")
