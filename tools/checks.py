"""Everything that has to hold before a change is shared: lint, format, import contracts, tests."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hosting import machine
from hosting.host_server import PACK, PACK_NAME, link_folder, remove_link
from hosting.quickstart_error import reporting

# `python -m` puts the current folder on sys.path, where the pack's `nodes` and `tests` would hide ComfyUI's.
RUN_MODULE = "import runpy, sys; sys.path.pop(0); sys.argv.pop(0); runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
RUN_LINT_IMPORTS = "import sys; sys.path.pop(0); from importlinter.cli import lint_imports_command; lint_imports_command()"


@dataclass(frozen=True)
class Check:
    """One command; `environment` is added to the caller's."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)

    def passes(self) -> bool:
        """Run it, its output on the terminal."""
        print(f"\n== {self.name}", flush=True)
        return subprocess.run(self.command, cwd=PACK, env={**os.environ, **self.environment}).returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, epilog="Other arguments go to pytest.", allow_abbrev=False)
    parser.add_argument("--comfyui", type=Path, required=True)
    options, pytest_arguments = parser.parse_known_args()
    rest = [word for word in pytest_arguments if word != "--"]
    with tempfile.TemporaryDirectory(prefix="graft-") as folder:
        # The contracts speak of the package `graft`, whatever the name of the folder it was cloned into.
        link = Path(folder) / PACK_NAME
        link_folder(PACK, link)
        try:
            # Tests come last, so that their summary is the last thing to read.
            failed = [check.name for check in [*static_checks(Path(folder)), tests(options.comfyui, rest)] if not check.passes()]
        finally:
            remove_link(link)
    others = [name for name in failed if name != "tests"]
    if others:
        print(f"\nFailed besides the tests: {', '.join(others)}" if "tests" in failed else f"\nFailed: {', '.join(others)}")
    return 1 if failed else 0


def static_checks(package_parent: Path) -> list[Check]:
    """The checks that are no tests; `package_parent` holds the pack under its package name."""
    contracts = (sys.executable, "-c", RUN_LINT_IMPORTS, "--config", str(PACK / "pyproject.toml"), "--no-cache")
    return [
        Check("lint", _module("ruff", "check", ".")),
        Check("format", _module("ruff", "format", "--check", ".")),
        Check("import contracts", contracts, {"PYTHONPATH": str(package_parent)}),
    ]


def tests(comfyui: Path, arguments: list[str]) -> Check:
    """The test suite against this ComfyUI, on all cores; `arguments` are pytest's, `-n 0` for one process.

    The tests of a file stay together, so that they share models, a server and a browser. Workers that each had the threads of the
    whole machine would be in each other's way.
    """
    number = machine.workers()
    threads = os.environ.get("OMP_NUM_THREADS", str(max(1, machine.cores() // number)))
    parallel = (f"--numprocesses={number}", "--dist=loadfile") if number > 1 else ()
    return Check("tests", _module("pytest", *parallel, *arguments), {"COMFYUI_PATH": str(comfyui), "OMP_NUM_THREADS": threads})


def _module(name: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-c", RUN_MODULE, name, *arguments)


if __name__ == "__main__":
    sys.exit(reporting(main))
