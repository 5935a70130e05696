"""What is wrong with a manifest, all of it at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hosting.quickstart_error import QuickstartError

SHOWN = 100


@dataclass(frozen=True)
class Problem:
    """row: number of the row, None where it concerns the whole manifest. column: as the manifest writes it, "" for none."""

    row: int | None
    column: str
    text: str


class ManifestError(QuickstartError):
    """Nothing was run; the text is a table of the problems."""

    def __init__(self, manifest: object, problems: Sequence[Problem]):
        self.problems = tuple(problems)
        super().__init__(f"{manifest} cannot be run:\n{table(self.problems)}")


def table(problems: Sequence[Problem]) -> str:
    """Row, column and text of each problem in columns, the first `SHOWN` of them."""
    rows = [("row", "column", "what is wrong")]
    rows += [("all" if problem.row is None else str(problem.row), problem.column, problem.text) for problem in problems[:SHOWN]]
    widths = [max(len(row[place]) for row in rows) for place in (0, 1)]
    lines = [f"{row:>{widths[0]}}  {column:<{widths[1]}}  {text}" for row, column, text in rows]
    if len(problems) > SHOWN:
        lines.append(f"... and {len(problems) - SHOWN} more")
    return "\n".join(lines)
