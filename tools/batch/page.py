"""The page of results: index.html beside the record, with its data in a file of its own, so that it opens without a server."""

from __future__ import annotations

import html
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import record, thumbnails
from .outputs import write_whole

NAME, KEPT, DATA = "index.html", "_batch", "results.js"
TEMPLATE = Path(__file__).with_name("page.html")
MOST = 20_000
"""More rows than this make a browser slow: failed rows and the slowest are shown, and the page says so."""
SECONDS_BETWEEN = 30.0


class Page:
    """The page of an output folder; `title` is the workflow's name. Any thread may refresh it."""

    def __init__(self, folder: Path, title: str):
        self._folder, self._title = folder, title
        self._lock = threading.Lock()
        self._next = time.monotonic() + SECONDS_BETWEEN

    def refresh(self) -> None:
        """Write it again if that was long ago; long enough that writing takes a small part of the time."""
        if time.monotonic() < self._next or not self._lock.acquire(blocking=False):
            return
        try:
            started = time.monotonic()
            self.write()
            self._next = time.monotonic() + max(SECONDS_BETWEEN, 50 * (time.monotonic() - started))
        finally:
            self._lock.release()

    def write(self) -> None:
        """Write the page as the record stands."""
        (self._folder / KEPT).mkdir(exist_ok=True)
        write_whole(self._folder / KEPT / DATA, (part.encode() for part in self._data()))
        text = TEMPLATE.read_text(encoding="utf-8").replace("$title", html.escape(self._title)).replace("$data", f"{KEPT}/{DATA}")
        write_whole(self._folder / NAME, [text.encode()])

    def _data(self) -> Iterator[str]:
        """What the page shows, row by row, so that memory never holds all of it."""
        path = self._folder / record.NAME
        ends = list(record.ends(path).values())
        failed = sum(end.status == record.FAILED for end in ends)
        yield f'window.results = {_json({"title": self._title, "total": len(ends), "failed": failed})[:-1]},"rows":['
        if len(ends) > MOST:
            ends = sorted(ends, key=lambda end: (end.status == record.DONE, -end.seconds))[:MOST]
        for number, entry in enumerate(record.lines_at(path, (end.place for end in ends))):
            yield f"{',' if number else ''}{_json(_row(entry))}"
        yield "]};\n"


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _row(entry: dict[str, Any]) -> dict[str, Any]:
    """What the page shows of a line of the record; what is empty is left out."""
    shown = {name: entry.get(name) for name in ("id", "status", "seconds", "worker", "ended", "metrics", "seed", "texts", "notes", "error")}
    shown["attempts"] = entry["attempts"] if entry["attempts"] > 1 else None
    shown["files"] = [file["path"] for file in entry["files"]]
    if entry["files"]:
        folder = f"{KEPT}/{thumbnails.NAME}"
        shown["before"], shown["after"] = (f"{folder}/{thumbnails.path_of(entry['id'], when)}" for when in ("before", "after"))
    return {name: value for name, value in shown.items() if value not in (None, "", {}, [])}
