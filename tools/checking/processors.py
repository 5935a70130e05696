"""Run tests as other processors would compute: with one thread and with two, and with older instruction sets.

    python tools processors [--comfyui PATH] [PYTEST ARGUMENTS]     by default tests/math and tests/host

Kernels of another processor, or of another number of threads, add in another order. What is promised to the bit has to hold on each of
them; so a test that compares bits where only rounding is promised fails here, and not on somebody's machine. Takes a while: every way runs
the tests once.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from checks import Check, tests
from hosting import machine

INSTRUCTIONS = {
    "own instructions": {},
    "AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "AVX2"},
    "oldest instructions": {"ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE"},
}
"""The variables by which oneDNN, torch and MKL are kept to older instructions."""

THREADS = (1, 2)


def ways(comfyui: Path, arguments: list[str]) -> list[Check]:
    """A run of the tests for each set of instructions and number of threads."""
    checks = []
    for name, variables in INSTRUCTIONS.items():
        for threads in THREADS:
            # Two threads of each of two workers on two cores would mostly wait for each other.
            run = tests(comfyui, ["--numprocesses=0", *arguments] if threads * 2 > machine.cores() else arguments)
            more = {**variables, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}
            checks.append(Check(f"{name}, {threads} thread{'s' * (threads > 1)}", run.command, {**run.environment, **more}))
    return checks


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comfyui", type=Path, default=os.environ.get("COMFYUI_PATH"), help="ComfyUI's folder")
    options, arguments = parser.parse_known_args()
    if options.comfyui is None:
        parser.error("give --comfyui, or COMFYUI_PATH")
    failed = [check.name for check in ways(options.comfyui, arguments or ["tests/math", "tests/host"]) if not check.passes()]
    print(f"\nFailed with: {'; '.join(failed)}" if failed else "\nPassed in every way.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
