"""What goes to a worker and what comes back: the one interface of all back ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from .readers import PICTURES

UNNATURAL = "unnaturalness.png"
"""The map that `--unnaturalness` adds to a workflow: a picture whose brightness is the number."""


@dataclass(frozen=True)
class Job:
    """A row, ready to run anywhere. uploads: files that the prompt names, by name. seconds: how long it may take.

    saved_only: leave out what Preview nodes show.
    """

    id: str
    prompt: Mapping[str, Mapping[str, Any]]
    uploads: Mapping[str, bytes] = field(default_factory=dict)
    seconds: float = 1800.0
    saved_only: bool = False


@dataclass(frozen=True)
class File:
    """A file that a node made: its name for good, "title.png", what is in it, and whether the node saved it or only showed it."""

    name: str
    content: bytes
    saved: bool = True


def result_of(files: Sequence[File]) -> File | None:
    """The picture that a row is about: the first that was saved, else the first."""
    pictures = [file for file in files if file.name.endswith(PICTURES) and file.name != UNNATURAL]
    return next((file for file in pictures if file.saved), pictures[0] if pictures else None)


@dataclass(frozen=True)
class Outcome:
    """A row that was run. texts: what nodes showed as text, by title. seconds: from queueing to the end. versions: see Versions.
    trajectories: inversions to be shared, by the prefix of their name, see Trajectories."""

    files: tuple[File, ...]
    texts: Mapping[str, str]
    seconds: float
    versions: Mapping[str, Any] = field(default_factory=dict)
    trajectories: tuple[File, ...] = ()


class RowFailed(Exception):
    """The row cannot be run, here or elsewhere: it is not tried again."""


class WorkerLost(Exception):
    """The worker is gone or does not answer; the row can be run by another."""


class Worker(Protocol):
    """Runs one row at a time. `name` says which it is in the record."""

    name: str

    def submit(self, job: Job) -> Outcome:
        """Run a row. Raises RowFailed or WorkerLost."""
        ...

    def close(self) -> None:
        """Let go of what it holds; it may be gone already."""
        ...


class Backend(Protocol):
    """Where workers come from. `size`: how many there are at a time."""

    size: int

    def open(self, slot: int) -> Worker:
        """A worker for slot 0 to size - 1, a new one where the last was lost. Raises WorkerLost if there is none to be had."""
        ...
