"""The page that says what the methods cost, and what lies beside it."""

from __future__ import annotations

import json

from hosting.pack import ROOT

DOCUMENT, BEGIN, END = ROOT / "docs" / "benchmark.md", "<!-- {} -->", "<!-- end of {} -->"


def insert(part: str, report: dict, plot: str, text: str) -> None:
    """Puts `text` between the marks of a part of the page; `report` and `plot` (SVG) into files of their own."""
    DOCUMENT.with_name(f"benchmark_{part}.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    DOCUMENT.with_name(f"benchmark_{part}.svg").write_text(plot, encoding="utf-8")
    page, begin, end = DOCUMENT.read_text(encoding="utf-8"), BEGIN.format(part), END.format(part)
    head, _, rest = page.partition(begin)
    _, _, tail = rest.partition(end)
    DOCUMENT.write_text(f"{head}{begin}\n\n{text}\n\n{end}{tail}", encoding="utf-8")
