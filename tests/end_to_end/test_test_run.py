"""The test run itself: on how many cores, and what it leaves out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import checks
import pytest
from hosting import machine

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


@pytest.mark.parametrize(("cores", "gigabytes", "workers"), [(1, 64, 1), (2, 16, 2), (2, 8, 1), (8, 16, 2), (64, 512, 4), (2, 2, 1)])
def test_there_are_as_many_workers_as_cores_and_memory_allow(cores, gigabytes, workers):
    assert machine.as_many_as_fit(cores, gigabytes) == workers


def test_the_workers_share_the_machines_threads_and_arguments_go_to_pytest(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(machine, "cores", lambda: 6)
    monkeypatch.setattr(machine, "workers", lambda: 2)
    check = checks.tests(tmp_path, ["-k", "word"])
    assert check.command[-5:] == ("pytest", "--numprocesses=2", "--dist=loadfile", "-k", "word")
    assert check.environment == {"COMFYUI_PATH": str(tmp_path), "OMP_NUM_THREADS": "3"}
