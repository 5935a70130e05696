"""JSON lines: an object per line, with `id`, values for inputs, and if wanted `notes`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..problems import Problem
from ..row import ID, NOTES, Row
from .lines import Lines

OVERRIDES, INPUTS = "overrides", "inputs"
DECODER = json.JSONDecoder()


def fits(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in (".jsonl", ".ndjson")


class JsonLines:
    """`{"id": "a", "Load Image.image": "a.png", "12.inputs.text": "red"}` per line. What hosted services call overrides,
    `"overrides": {"12": {"inputs": {"text": "red"}}}` or the same without the outer name, means the same as `12.inputs.text`."""

    carries = False

    def __init__(self, path: Path):
        self.folder = path.parent
        self._lines = Lines(path)

    def rows(self) -> Iterator[tuple[int, Row | Problem]]:
        for number, (place, line) in enumerate(self._lines.all(), start=1):
            if not line.isspace():
                yield place, _parsed(number, line)

    def row(self, place: int) -> Row:
        return _parsed(0, next(self._lines.at(place)))


def _parsed(number: int, line: bytes) -> Row | Problem:
    try:
        entry = _decoded(line.decode().strip())
    except ValueError as error:
        return Problem(number, "", f"it is not JSON: {error}")
    if not isinstance(entry, dict):
        return Problem(number, "", "it is not an object with names and values")
    row_id = entry.pop(ID, None)
    if row_id is None or isinstance(row_id, (dict, list, bool)):
        return Problem(number, ID, "it has no id" if row_id is None else f"{row_id!r} is neither a text nor a number")
    notes = entry.pop(NOTES, {})
    if not isinstance(notes, dict):
        return Problem(number, NOTES, "notes are an object with names and values")
    return Row(number, str(row_id), dict(_flat(entry)), notes)


def _decoded(text: str) -> Any:
    """As `json.loads`, in half its time."""
    entry, end = DECODER.raw_decode(text)
    if end < len(text):
        raise json.JSONDecodeError("Extra data", text, end)
    return entry


def _flat(entry: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in entry.items():
        if name == OVERRIDES and isinstance(value, dict):
            yield from _flat(value)
        elif isinstance(value, dict) and value.keys() == {INPUTS} and isinstance(value[INPUTS], dict):
            yield from ((f"{name}.{INPUTS}.{inner}", given) for inner, given in value[INPUTS].items())
        else:
            yield name, value
