"""A one-line progress bar in plain text."""

from __future__ import annotations

import sys
from typing import TextIO

WIDTH = 24


class ProgressBar:
    """Redraws one line on a terminal; elsewhere (a log file, CI) it only prints the line that ends it."""

    def __init__(self, label: str, stream: TextIO = sys.stdout):
        self.label, self.stream = label, stream
        self._live = stream.isatty()
        self._drawn = 0

    def show(self, fraction: float, note: str = "") -> None:
        """Draw the share that is done, 0 to 1, and what is being done."""
        if self._live:
            filled = round(WIDTH * fraction)
            self._write(f"{self.label} [{'#' * filled}{'.' * (WIDTH - filled)}] {fraction:4.0%} {note[:48]}", end="\r")

    def close(self, result: str) -> None:
        """Replace the bar by its result."""
        self._write(f"{self.label} {result}", end="\n")

    def _write(self, line: str, end: str) -> None:
        padding = " " * max(0, self._drawn - len(line))
        self.stream.write(line + padding + end)
        self.stream.flush()
        self._drawn = len(line)
