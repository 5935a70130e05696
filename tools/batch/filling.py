"""From a row to the values of a workflow's inputs, checked before anything runs."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

from .addresses import Input, Place
from .drawn import picture_of
from .identity import content_name, file_state
from .problems import Problem
from .readers import Reader
from .row import MEASURED, Row
from .values import fitted, picture
from .workflow import Workflow

UNFIT = re.compile(r'[/\\:*?"<>|\x00-\x1f]|^\.|[. ]$|^\s')
LONGEST = 150
CANONICAL = json.JSONEncoder(sort_keys=True, check_circular=False, default=str)  # YAML has dates
RESERVED = frozenset({"results.jsonl", "index.html", "_batch", "con", "prn", "aux", "nul"})

Picture = Path | dict
"""A file, or a described mask."""


@dataclass(frozen=True)
class Filled:
    """A row as a workflow takes it. values: by place. pictures: the files among them. measured: truth and mask, where the row has them.

    digest: of what the row asks for, see Filling.digest. source: the picture that is edited, as the manifest writes it, "" for none.
    """

    id: str
    values: Mapping[Place, Any]
    pictures: Mapping[Place, Picture]
    measured: Mapping[str, Picture]
    notes: Mapping[str, Any]
    digest: str
    source: str = ""

    def edited(self) -> Picture | None:
        """The picture that is edited: the first of the row's files."""
        return next(iter(self.pictures.values()), None)


@dataclass
class Filling:
    """Puts the rows of one manifest into one workflow. Columns are looked up once."""

    workflow: Workflow
    folder: Path
    carries: bool
    _columns: dict[str, Input | str] = field(default_factory=dict)
    _goals: dict[str, tuple[str | None, bool]] = field(default_factory=dict)

    @classmethod
    def of(cls, workflow: Workflow, manifest: Reader) -> Filling:
        return cls(workflow, manifest.folder, manifest.carries)

    def fill(self, row: Row) -> Filled | list[Problem]:
        """The row's values, or everything that is wrong with it."""
        problems = [Problem(row.number, "id", reason)] if (reason := unfit(row.id)) else []
        values: dict[Place, Any] = {}
        pictures: dict[Place, Picture] = {}
        measured: dict[str, Picture] = {}
        notes = dict(row.notes)
        brought: dict[Place, Any] = {}
        source = ""
        for column, value in row.values.items():
            try:
                if column in MEASURED:
                    measured[column] = picture(value, self.folder)
                input = self._input(column)
                if input is None:
                    if column not in MEASURED:
                        notes[column] = value
                    continue
                fitting = fitted(value, input, self.folder)
            except (ValueError, OSError) as error:
                problems.append(Problem(row.number, column, str(error)))
                continue
            if taken := [place for place in input.places if place in values]:
                problems.append(Problem(row.number, column, f"another column sets {'.'.join(taken[0])} too"))
            values.update(dict.fromkeys(input.places, fitting))
            if input.brought:
                brought.update({(node, name): value for node, _ in input.places for name, value in input.brought[fitting].items()})
            if input.file:
                pictures.update(dict.fromkeys(input.places, fitting))
                source = source or (value if isinstance(value, str) else "")
        if problems:
            return problems
        for (node, name), value in brought.items():
            if name not in self.workflow.prompt[node]["inputs"]:
                values.setdefault((node, name), value)
        try:
            return Filled(row.id, values, pictures, measured, notes, self.digest(row), source)
        except OSError as error:  # a file that has gone meanwhile
            return [Problem(row.number, "", str(error))]

    def digest(self, row: Row) -> str:
        """What a row asks for, without filling it: its values as the manifest writes them, by where they go, and the states of its files.

        32 hexadecimal digits. Columns that go nowhere do not count. A row that is filled without problems has a digest; for one that is
        not this may raise ValueError, TypeError or OSError.
        """
        content: dict[str, Any] = {}
        for column, value in row.values.items():
            goal, is_file = self._goals.get(column) or self._goal(column)
            if goal is None:
                continue
            if goal in content:
                raise ValueError(f"another column sets {goal} too")
            content[goal] = [value, file_state(os.path.join(self.folder, value))] if is_file and isinstance(value, str) else value
        return blake2b(CANONICAL.encode(content).encode(), digest_size=16).hexdigest()

    def _goal(self, column: str) -> tuple[str | None, bool]:
        """All places that a column sets, or its own name where it is only measured against; and whether it names a file."""
        input, is_measured = self._input(column), column in MEASURED
        goal = (column if is_measured else None) if input is None else ",".join(f"{node}.{name}" for node, name in input.places)
        found = self._goals[column] = goal, is_measured or input.file if input else is_measured
        return found

    def _input(self, column: str) -> Input | None:
        """The input of a column, None for a column that goes nowhere. ValueError if that is a mistake."""
        if column not in self._columns:
            try:
                self._columns[column] = self.workflow.find(column)
            except ValueError as error:
                self._columns[column] = str(error)
        found = self._columns[column]
        if isinstance(found, Input):
            return found
        if column in MEASURED or (self.carries and column not in self.workflow.names):
            return None
        raise ValueError(found)

    def unused(self) -> bool:
        """Whether none of the columns seen so far goes to an input."""
        return not any(isinstance(found, Input) for found in self._columns.values())


def unfit(row_id: str) -> str | None:
    """Why an id cannot name a folder on every system, None if it can."""
    if not row_id or len(row_id) > LONGEST:
        return f"an id has 1 to {LONGEST} characters, this one {len(row_id)}"
    if UNFIT.search(row_id) or row_id.lower() in RESERVED:
        return f'{row_id!r} cannot name a folder: leave out / \\ : * ? " < > |, a dot at either end, and blanks there'
    return None


def prompt_with(workflow: Workflow, filled: Filled) -> tuple[dict[str, dict], dict[str, bytes]]:
    """The prompt of a row, and the files it names with their content, by the name they have on the server. OSError for unreadable ones."""
    uploads: dict[str, bytes] = {}
    known: dict[int, str] = {}
    prompt = dict(workflow.prompt)
    for (node, name), value in filled.values.items():
        if (node, name) in filled.pictures:
            if id(value) not in known:
                content = value.read_bytes() if isinstance(value, Path) else picture_of(value)
                known[id(value)] = content_name(content, value.suffix.lower() if isinstance(value, Path) else ".png")
                uploads[known[id(value)]] = content
            value = known[id(value)]
        elif isinstance(value, list):
            value = {"__value__": value}  # a list would be taken for a link
        inputs = prompt[node]["inputs"]
        prompt[node] = {**prompt[node], "inputs": {**inputs, name: value}}
    return prompt, uploads
