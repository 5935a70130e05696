"""pip and uv, without installing either into an environment of the user's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from hosting.quickstart_error import QuickstartError

# What uv, pip and git say when a name does not resolve or nobody answers.
SIGNS_OF_NO_NETWORK = (
    "error sending request",
    "failed to fetch",
    "connection",
    "could not resolve",
    "name resolution",
    "no matching distribution found",
    "network",
    "timed out",
)


# Lines of uv and pip worth showing while they work; the rest is one line per package.
HEADLINES = ("Downloading", "Resolved", "Prepared", "Installed", "Collecting", "Building")


def python_in(environment: Path) -> Path:
    """The interpreter of a virtual environment."""
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def find_uv(cache: Path) -> list[str]:
    """The command that runs uv: the one on PATH, else one installed into a small environment in the cache."""
    on_path = shutil.which("uv")
    if on_path and _works([on_path, "--version"]):
        return [on_path]
    python = str(_tooling_python(cache))
    if not _works([python, "-m", "uv", "--version"]):
        run([python, "-m", "pip", "install", "--quiet", "uv"], "install uv")
    return [python, "-m", "uv"]


def find_pip(cache: Path) -> list[str]:
    """The command that runs pip with the user's own index configuration. Only ever used to download."""
    if _works([sys.executable, "-m", "pip", "--version"]):
        return [sys.executable, "-m", "pip"]
    return [str(_tooling_python(cache)), "-m", "pip"]


def run(command: list[str], purpose: str, **options: object) -> None:
    """Run a command, passing on the headlines of what it reports; QuickstartError with the end of it if the command fails."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", **options
    )
    said = []
    with process:
        for line in process.stdout:
            said.append(line.rstrip())
            if line.startswith(HEADLINES):
                print("  " + line.rstrip(), flush=True)
    if process.returncode:
        raise QuickstartError(_explain(purpose, "\n".join(said)))


def _explain(purpose: str, errors: str) -> str:
    said = "\n".join(errors.strip().splitlines()[-12:])
    if any(sign in errors.lower() for sign in SIGNS_OF_NO_NETWORK):
        return (
            f"Could not {purpose}: the network or the package index is out of reach and the cache does not have it yet. Connect once and "
            f"start again; later starts need no network.\n{said}"
        )
    return f"Could not {purpose}:\n{said}"


def _works(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL).returncode == 0
    except OSError:
        return False


def _tooling_python(cache: Path) -> Path:
    """An environment of the cache that has pip and nothing else."""
    folder = cache / "tooling"
    python = python_in(folder)
    if _works([str(python), "-m", "pip", "--version"]):
        return python
    shutil.rmtree(folder, ignore_errors=True)
    if _works([sys.executable, "-m", "venv", str(folder)]):
        return python
    uv = shutil.which("uv")
    if uv is None:
        raise QuickstartError(
            "This Python can make no virtual environment (its venv or ensurepip module is missing) and uv is not on PATH. "
            "Install uv, or the package of your system that carries Python's venv module."
        )
    run([uv, "venv", "--clear", "--seed", "--python", sys.executable, str(folder)], "make an environment for pip")
    return python
