"""Measures which lines and branches of the torch-only folders tests/math reaches, and puts the shares into docs/reliability.md.

python tools coverage        fails where a folder has less than 95 % of its lines or of its branches
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from checks import RUN_MODULE
from hosting.host_server import PACK

from checking import report

FOLDERS = ("attention", "inversion", "hspace", "optimization", "composition")
LEAST = 0.95
COUNTED = ("num_statements", "covered_lines", "num_branches", "covered_branches")


def tests_of(folders: tuple[str, ...]) -> list[str]:
    """The files of tests/math that speak of code in these folders."""
    names = re.compile("|".join(rf"graft\.{folder}\b" for folder in folders))
    files = sorted((PACK / "tests" / "math").glob("test_*.py"))
    return [file.relative_to(PACK).as_posix() for file in files if names.search(file.read_text(encoding="utf-8"))]


def measured(folders: tuple[str, ...]) -> dict[str, Counter]:
    """By folder what there is and what was reached, in coverage.py's words."""
    with tempfile.TemporaryDirectory(prefix="graft-") as scratch:
        data, result = Path(scratch) / "data", Path(scratch) / "result.json"
        include = ",".join(str(PACK / folder / "*") for folder in folders)
        environment = {name: value for name, value in os.environ.items() if name != "COMFYUI_PATH"}  # tests/math need none

        def coverage(*words: str) -> None:
            command = [sys.executable, "-c", RUN_MODULE, "coverage", *words]
            subprocess.run(command, cwd=PACK, env={**environment, "COVERAGE_FILE": str(data)}, check=True)

        coverage("run", "--branch", f"--include={include}", "-m", "pytest", "-q", *tests_of(folders))
        coverage("json", "-q", "-o", str(result))
        found = {folder: Counter() for folder in folders}
        for file, about in json.loads(result.read_text(encoding="utf-8"))["files"].items():
            found[Path(file).resolve().relative_to(PACK).parts[0]].update({name: about["summary"][name] for name in COUNTED})
            if about["missing_lines"] or about["missing_branches"]:
                print(f"{file}: not reached: lines {about['missing_lines']}, branches {about['missing_branches']}")
        return found


def main() -> int:
    found = measured(FOLDERS)
    shares = {
        f"{folder}/": (one["covered_lines"] / one["num_statements"], one["covered_branches"] / one["num_branches"])
        for folder, one in found.items()
    }
    report.record(coverage={folder: [f"{100 * share:.1f} %" for share in both] for folder, both in shares.items()})
    for folder, (lines, branches) in shares.items():
        print(f"{folder:15} {100 * lines:5.1f} % of lines, {100 * branches:5.1f} % of branches")
    return 0 if min(share for both in shares.values() for share in both) >= LEAST else 1


if __name__ == "__main__":
    sys.exit(main())
