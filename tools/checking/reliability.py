"""Makes docs/reliability.md: runs the tests that say what each case gave, and puts their cases into tables.

Takes minutes. Needs the environment that the tests run in; ComfyUI's folder comes from --comfyui or COMFYUI_PATH.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from checks import RUN_MODULE
from hosting.host_server import PACK

from checking.case_record import Case, recorded

PAGE = PACK / "docs" / "reliability.md"
INTRODUCTION = """# Reliability

What was tried to break Graft, and what each case gave. Made by `python tools reliability` of what the tests found; do not edit.

*refused by name*: an error before the first step that begins with the name of the node's input and says what was seen and what to
do. *works*: a finite result that is right.
"""


def page(cases: list[Case]) -> str:
    """The page for all cases: a table for each of their tables."""
    names = dict.fromkeys(case.table for case in cases)
    return "\n".join([INTRODUCTION, *(_table(name, [case for case in cases if case.table == name]) for name in names)])


def _table(name: str, cases: list[Case]) -> str:
    columns, rows = (list(dict.fromkeys(getattr(case, axis) for case in cases)) for axis in ("column", "row"))
    columns.sort()
    cells = {(case.row, case.column): Counter() for case in cases}
    for case in cases:
        cells[case.row, case.column][case.outcome] += 1
    total = Counter(case.outcome for case in cases)
    lines = [f"## {name}", "", f"{len(cases)} cases: {_counted(total, always=True)}.", ""]
    lines += [f"| | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    lines += [f"| {row} | {' | '.join(_counted(cells.get((row, column), Counter())) for column in columns)} |" for row in rows]
    return "\n".join([*lines, ""])


def _counted(outcomes: Counter, always: bool = False) -> str:
    if outcomes.total() == 1 and not always:
        return next(iter(outcomes))
    return ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--comfyui", type=Path, default=os.environ.get("COMFYUI_PATH"), required="COMFYUI_PATH" not in os.environ)
    parser.add_argument("pytest_arguments", nargs=argparse.REMAINDER, help="what to run instead of all tests")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="graft-") as folder:
        chosen = [word for word in options.pytest_arguments if word != "--"] or ["tests", "--full"]
        command = [sys.executable, "-c", RUN_MODULE, "pytest", *chosen, f"--record-cases={folder}", "-q"]
        code = subprocess.run(command, cwd=PACK, env={**os.environ, "COMFYUI_PATH": str(options.comfyui)}).returncode
        cases = recorded(Path(folder))
    if code or not cases:
        print("The page stays as it was: " + ("tests failed." if code else "no test said what a case gave."))
        return 1
    PAGE.write_text(page(cases), encoding="utf-8")
    print(f"{PAGE}: {len(cases)} cases")
    return 0


if __name__ == "__main__":
    sys.exit(main())
