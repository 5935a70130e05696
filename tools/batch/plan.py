"""Reads a whole manifest once: what is wrong with it, and which rows an earlier run has not done."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .filling import Filled, Filling
from .problems import Problem
from .readers import Reader
from .record import DONE, FAILED, state_of


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

    A row is done if its last line has the digests of this workflow and this row; other rows run (again).
    """
    problems: list[Problem] = []
    seen: dict[str, int] = {}
    places, sources = array("q"), []
    done = failed = 0
    digest = filling.workflow.digest
    for place, row in manifest.rows():
        if isinstance(row, Problem):
            problems.append(row)
            continue
        folder = row.id.lower()
        if folder in seen:
            problems.append(Problem(row.number, "id", f"{row.id!r} is the id of row {seen[folder]} too (case does not count)"))
        seen.setdefault(folder, row.number)
        filled = filling.fill(row)
        if not isinstance(filled, Filled):
            problems += filled
            continue
        state = states.get(filled.id)
        if state == state_of(DONE, digest, filled.digest):
            done += 1
            continue
        if state == state_of(FAILED, digest, filled.digest) and not retry_failed:
            failed += 1
            continue
        places.append(place)
        sources.append(filled.source)
    if not seen and not problems:
        problems.append(Problem(None, "", "it has no rows"))
    if seen and filling.unused():
        problems.append(Problem(None, "", "none of its columns goes to an input of the workflow; name them with --input COLUMN=ADDRESS"))
    if problems:
        return None, problems
    return Plan(len(seen), done, failed, places, sources), []
