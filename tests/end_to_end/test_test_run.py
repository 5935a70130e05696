"""The test run itself: what it leaves out, and says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"
TESTS = """
import pytest

def test_short():
    pass

@pytest.mark.full
@pytest.mark.parametrize("number", range(3))
def test_long(number):
    pass
"""


@pytest.mark.parametrize("workers", [(), ("--numprocesses=2",)], ids=["one process", "two workers"])
@pytest.mark.parametrize(("words", "passed"), [((), "1 passed"), (("--full",), "4 passed")], ids=["by default", "with --full"])
def test_long_tests_run_with_full_only_and_the_run_says_how_many_it_left_out(tmp_path, words, passed, workers):
    (tmp_path / "test_both.py").write_text(TESTS, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "checking.full_tests", "--strict-markers", *words, *workers]
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(TOOLS)}, capture_output=True, text=True, timeout=120)
    assert passed in done.stdout, done.stdout + done.stderr
    assert ("3 tests that take long were left out; --full runs them." in done.stdout) == (not words)
