"""Makes docs/reliability.md: runs the tests that say what each case gave, and puts their cases into tables.

    python tools reliability [--comfyui PATH] [PYTEST ARGUMENTS]     by default all of them, with --full

Takes half an hour. Of chosen tests the rows that they fill are made anew, and the others stay; where a test fails, or a case gave what none may
give, all do.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from checks import RUN_MODULE
from hosting.host_server import PACK

from checking import report
from checking.case_record import measured, recorded

EVERYTHING = ("tests/host", "tests/end_to_end", "--full")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("--comfyui", type=Path, default=os.environ.get("COMFYUI_PATH"), required="COMFYUI_PATH" not in os.environ)
    options, arguments = parser.parse_known_args()
    chosen = [word for word in arguments if word != "--"]
    with tempfile.TemporaryDirectory(prefix="graft-") as folder:
        command = [sys.executable, "-c", RUN_MODULE, "pytest", *(chosen or EVERYTHING), f"--record-cases={folder}", "-q"]
        code = subprocess.run(command, cwd=PACK, env={**os.environ, "COMFYUI_PATH": str(options.comfyui)}).returncode
        cases, found = recorded(Path(folder)), measured(Path(folder))
    if code or not (cases or found):
        print("The page stays as it was: " + ("tests failed." if code else "no test said what a case gave."))
        return 1
    try:
        new = report.counted(cases)
    except report.Broken as broken:
        print(f"The page stays as it was. These may not be:\n{broken}")
        return 1
    filled = {(case.table, case.row) for case in cases}
    kept = [case for case in report.read()["cases"] if tuple(case[:2]) not in filled] if chosen else []
    report.record(cases=sorted([*kept, *new]), **found)
    print(f"{report.PAGE}: {len(cases)} cases")
    return 0


if __name__ == "__main__":
    sys.exit(main())
