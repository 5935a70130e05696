"""Files of lines that are read once from the start and then again at single places, however long they are."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

from hosting.quickstart_error import QuickstartError


class Lines:
    """An open text file in UTF-8. Several threads may read from it."""

    def __init__(self, path: Path):
        self.path = path
        self._file = path.open("rb")
        self._state = self._stat()
        self._lock = threading.Lock()

    def all(self) -> Iterator[tuple[int, bytes]]:
        """Each line with the place where it begins (bytes). A mark of UTF-8 at the start is no part of the text."""
        place = 0
        with self.path.open("rb", buffering=1 << 20) as file:
            for line in file:
                yield place, line.removeprefix(b"\xef\xbb\xbf") if place == 0 else line
                place += len(line)

    def at(self, place: int) -> Iterator[bytes]:
        """The lines from a place on. QuickstartError if the file is another one than at the start."""
        while True:
            with self._lock:
                if self._stat() != self._state:
                    raise QuickstartError(f"{self.path} was changed while it was run. Start again: what is done stays done.")
                self._file.seek(place)
                line = self._file.readline()
            if not line:
                return
            yield line.removeprefix(b"\xef\xbb\xbf") if place == 0 else line
            place += len(line)

    def _stat(self) -> tuple[int, int]:
        found = os.fstat(self._file.fileno())
        return found.st_size, found.st_mtime_ns
