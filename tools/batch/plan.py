"""Reads a whole manifest once: what is wrong with it, and which rows an earlier run has not done."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .filling import Filled, Filling
from .problems import Problem
from .readers import Reader
from .record import DONE, FAILED, status_in
from .row import Row


@dataclass(frozen=True)
class Plan:
    """total: rows of the manifest. done, failed: those that ended so before and are left alone. places, sources: of the rows to run."""

    total: int
    done: int
    failed: int
    places: array
    sources: list[str]

    def waiting(self) -> Iterator[tuple[int, str]]:
        """The rows to run, as a Todo takes them."""
        return zip(self.places, self.sources, strict=True)


def plan(manifest: Reader, filling: Filling, states: Mapping[str, bytes], retry_failed: bool) -> tuple[Plan | None, list[Problem]]:
    """What there is to do, or None and everything that is wrong. `states` are those of the record.

    A row is done if its last line has the digests of this workflow and this row; it was checked before it ran, and is not filled again.
    Other rows are, and run (again).
    """
    problems: list[Problem] = []
    seen: dict[str, int] = {}
    places, sources = array("q"), []
    done = failed = 0
    for place, row in manifest.rows():
        if isinstance(row, Problem):
            problems.append(row)
            continue
        folder = row.id.lower()
        if (first := seen.setdefault(folder, row.number)) != row.number:
            problems.append(Problem(row.number, "id", f"{row.id!r} is the id of row {first} too (case does not count)"))
        status = _ended(row, filling, states)
        if status == DONE:
            done += 1
        elif status == FAILED and not retry_failed:
            failed += 1
        elif isinstance(filled := filling.fill(row), Filled):
            places.append(place)
            sources.append(filled.source)
        else:
            problems += filled
    if not seen and not problems:
        problems.append(Problem(None, "", "it has no rows"))
    if seen and filling.unused():
        problems.append(Problem(None, "", "none of its columns goes to an input of the workflow; name them with --input COLUMN=ADDRESS"))
    if problems:
        return None, problems
    return Plan(len(seen), done, failed, places, sources), []


def _ended(row: Row, filling: Filling, states: Mapping[str, bytes]) -> str | None:
    """How an earlier run ended a row, None if it did not, or ended a row of this id that was another one."""
    if (state := states.get(row.id)) is None:
        return None
    try:
        digest = filling.digest(row)
    except (ValueError, TypeError, OSError):  # it has problems, which filling it will tell
        return None
    return status_in(state, filling.workflow.digest, digest)
