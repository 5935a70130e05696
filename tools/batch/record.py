"""The record of a run: results.jsonl, to which a line is appended for every row that has ended."""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
from binascii import unhexlify
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from hosting.quickstart_error import QuickstartError

NAME = "results.jsonl"
DONE, FAILED = "done", "failed"
DIGESTS = 32
"""Bytes of the two digests in a state."""
BEGINNING = re.compile(rb'{"id": ("(?:[^"\\]|\\.)*"), "status": "(done|failed)", "workflow": "([0-9a-f]{32})", "row": "([0-9a-f]{32})"')
"""A line as this module writes it, as far as it says whether its row is done: reading that alone is cheaper than reading all of it."""


@dataclass(frozen=True)
class Result:
    """How a row ended; docs/schemas/batch_result.schema.json describes the fields. workflow, row: their digests."""

    id: str
    status: Literal["done", "failed"]
    workflow: str
    row: str
    seconds: float = 0.0
    worker: str = ""
    attempts: int = 1
    ended: str = ""
    files: tuple[dict[str, Any], ...] = ()
    seed: dict[str, int] = field(default_factory=dict)
    versions: dict[str, Any] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    source: str = ""
    error: str = ""


class Record:
    """results.jsonl of an output folder, open for appending by this process alone."""

    def __init__(self, folder: Path):
        """Raises QuickstartError if another process writes to the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / NAME
        self._file = self.path.open("a+b", buffering=0)
        self._lock = threading.Lock()
        _hold(self._file, folder)
        self._cut_torn_line()

    def append(self, result: Result) -> None:
        """Write a line, whole or not at all. OSError where the disk is full: what was written of the line is taken back."""
        line = line_of(result)
        with self._lock:
            before = os.fstat(self._file.fileno()).st_size
            try:
                written = self._file.write(line)
                if written != len(line):
                    raise OSError(28, f"No space left for {self.path}")
            except OSError:
                self._file.truncate(before)
                raise

    def states(self) -> dict[str, bytes]:
        """By id, how its last line stands, see state_of."""
        found: dict[str, bytes] = {}
        for line in _lines(self.path):
            if beginning := BEGINNING.match(line):
                row_id, status, workflow, row = beginning.groups()
                name = json.loads(row_id.decode()) if b"\\" in row_id else row_id[1:-1].decode()
                found[name] = unhexlify(workflow + row) + status
            else:
                entry = json.loads(line)
                found[entry["id"]] = state_of(entry["status"], entry["workflow"], entry["row"])
        return found

    def close(self) -> None:
        """Make what was written last through a power cut, and let others write."""
        with contextlib.suppress(OSError):
            os.fsync(self._file.fileno())
        self._file.close()

    def _cut_torn_line(self) -> None:
        """A process that was killed while it wrote leaves a line without an end: that row has not ended."""
        size = os.fstat(self._file.fileno()).st_size
        step, end = 1 << 16, size
        while end > 0:
            start = max(0, end - step)
            self._file.seek(start)
            place = self._file.read(end - start).rfind(b"\n")
            if place >= 0:
                break
            end = start
        else:
            place, start = -1, 0
        if start + place + 1 < size:
            self._file.truncate(start + place + 1)


def line_of(result: Result) -> bytes:
    """The line of the record, as `BEGINNING` knows it."""
    return json.dumps(asdict(result), ensure_ascii=False).encode() + b"\n"


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a record, in the order in which rows ended. A line that is being written is left out."""
    return map(json.loads, _lines(path))


def latest(path: Path) -> dict[str, dict[str, Any]]:
    """By id, the last line of each row."""
    return {entry["id"]: entry for entry in read(path)}


def _lines(path: Path) -> Iterator[bytes]:
    if path.exists():
        with path.open("rb", buffering=1 << 20) as file:
            for line in file:
                if line.endswith(b"\n"):
                    yield line


def state_of(status: str, workflow: str, row: str) -> bytes:
    """How a row ended, and under which digests of workflow and row. Plain bytes: of a million, the garbage collector need not know."""
    return unhexlify(workflow + row) + status.encode()


def status_in(state: bytes, workflow: str, row: str) -> str | None:
    """The status of a state under these digests, None if it is of others."""
    return state[DIGESTS:].decode() if state.startswith(unhexlify(workflow + row)) else None


def _hold(file: Any, folder: Path) -> None:
    """Hold the record for this process; the system lets go when the process ends, however it ends."""
    try:
        if os.name == "nt":
            import msvcrt

            file.seek(1 << 40)  # far behind the text, so that others can read it
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise QuickstartError(f"Another batch writes to {folder}. Wait for it, or choose another --output.") from None
