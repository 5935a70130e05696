"""How far a run is, in one line: rows of all, failures, rate, time left."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from typing import TextIO

from hosting.progress_bar import ProgressBar

SECONDS_BETWEEN_LINES = 30.0
"""Where there is no terminal to draw on, a line is printed so often."""
RECENT = 200
"""The rate is that of so many rows: it follows when workers come and go."""


class Progress:
    """Counts rows as they end. total: all rows; done: those that earlier runs have done."""

    def __init__(self, total: int, done: int, stream: TextIO = sys.stdout):
        self._total, self._done, self._failed = total, done, 0
        self._started = self._printed = time.monotonic()
        self._recent: deque[float] = deque([self._started], maxlen=RECENT)
        self._bar = ProgressBar("", stream)
        self._stream, self._lock = stream, threading.Lock()

    def ended(self, row_id: str, failed: bool) -> None:
        """A row has ended."""
        with self._lock:
            self._done += 1
            self._failed += failed
            now = time.monotonic()
            self._recent.append(now)
            if self._stream.isatty():
                self._bar.show(self._done / self._total, f"{self._state()} {row_id}")
            elif now - self._printed > SECONDS_BETWEEN_LINES:
                self._printed = now
                print(self._state(), file=self._stream, flush=True)

    def close(self) -> None:
        """The last line."""
        elapsed = time.monotonic() - self._started
        self._bar.close(f"{self._done} of {self._total} rows, {self._failed} failed in this run, {lasting(elapsed)}")

    def _state(self) -> str:
        elapsed = self._recent[-1] - self._recent[0]
        rate = (len(self._recent) - 1) / elapsed if elapsed else 0.0
        left = f", {lasting((self._total - self._done) / rate)} left" if rate else ""
        return f"{self._done}/{self._total}, {self._failed} failed, {rate:.3g} rows/s{left}"


def lasting(seconds: float) -> str:
    """A time in the unit that fits: "12 s", "3 min 20 s", "2 h 5 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
