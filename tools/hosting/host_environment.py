"""The virtual environment ComfyUI and the pack run in."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import sys
from pathlib import Path

from hosting import cache_folder, host_tooling
from hosting.quickstart_error import QuickstartError

# ComfyUI imports all three; the newest of each do not fit together.
DEVELOPMENT_MODULES = ("diffusers", "hypothesis", "importlinter", "playwright", "pytest", "ruff", "xdist")
TORCH = ("torch==2.11.0", "torchvision==0.26.0", "torchaudio==2.11.0")
GIGABYTES = 8.0
STAMP = "graft.json"


def prepare(comfyui: Path, pack: Path, cache: Path, development: bool = False, torch_backend: str | None = None) -> Path:
    """Make sure there is an environment for this ComfyUI and this pack, and return its interpreter.

    One environment per Python version and ComfyUI requirements. A stamp in it records what was installed, so that a start with
    nothing new asks nobody anything. `development` adds the pack's development tools. `torch_backend` is uv's option of that name.
    Raises QuickstartError if the disk is too full or the packages are not to be had.
    """
    requirements = comfyui / "requirements.txt"
    environment = cache / "environments" / _name(requirements, torch_backend)
    stamp, wanted = environment / STAMP, _wanted(pack, development)
    python = host_tooling.python_in(environment)
    installed = _read(stamp) if python.exists() else {}
    missing = {part: digest for part, digest in wanted.items() if installed.get(part) != digest}
    if not missing:
        return python
    uv = host_tooling.find_uv(cache)
    if not installed:
        cache_folder.require_space(environment, GIGABYTES, "ComfyUI's packages")
        _create(uv, environment)
    print("Installing packages; the first time this takes some minutes ..." if not installed else "Updating packages ...", flush=True)
    backend = [f"--torch-backend={torch_backend}"] if torch_backend else []
    packages = [*TORCH, "-r", str(requirements), "-r", str(pack / "pyproject.toml")]
    group = ["--group", f"{pack / 'pyproject.toml'}:dev"] if development else []
    _install([*uv, "pip", "install", "--python", str(python), *backend, *packages, *group])
    stamp.write_text(json.dumps({**installed, **wanted}, indent=2), encoding="utf-8")
    return python


def require_packages(python: Path, development: bool) -> None:
    """Raise QuickstartError if the current Python, used as it is, lacks what ComfyUI, the pack or the tests need."""
    modules = ["torch", "torchvision", "aiohttp", *(DEVELOPMENT_MODULES if development else [])]
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        raise QuickstartError(
            f"{python} lacks {', '.join(missing)}. Install ComfyUI's requirements and Graft's own into it, or leave out "
            f"--use-current-python to let Graft make an environment of its own."
        )


def _create(uv: list[str], environment: Path) -> None:
    shutil.rmtree(environment, ignore_errors=True)  # without a stamp it is the rest of an attempt that was cut short
    host_tooling.run([*uv, "venv", "--python", sys.executable, str(environment)], "make a virtual environment")


def _install(command: list[str]) -> None:
    """Install online; where that fails, from uv's cache alone, which may have all of it."""
    try:
        host_tooling.run(command, "install packages", env=_without_active_environment())
    except QuickstartError as error:
        try:
            host_tooling.run([*command, "--offline"], "install packages", env=_without_active_environment())
        except QuickstartError:
            raise error from None


def _without_active_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH", "PYTHONHOME")}


def _name(requirements: Path, torch_backend: str | None) -> str:
    content = "\n".join([requirements.read_text(encoding="utf-8"), *TORCH, torch_backend or "", sys.platform, platform.machine()])
    return f"python{sys.version_info.major}.{sys.version_info.minor}-{_digest(content)}"


def _wanted(pack: Path, development: bool) -> dict[str, str]:
    """Digests of the requirement lists in pyproject.toml, by part; changes elsewhere in the file install nothing."""
    text = (pack / "pyproject.toml").read_text(encoding="utf-8")
    parts = {"dependencies": "dependencies"} | ({"development": "dev"} if development else {})
    return {part: _digest(_list_named(key, text)) for part, key in parts.items()}


def _list_named(key: str, text: str) -> str:
    # tomllib is new in Python 3.11. Where the list is not found, every change of the file counts: too much, never too little.
    found = re.search(rf"^{key} = \[(.*?)\]$", text, re.MULTILINE | re.DOTALL)
    return found.group(1) if found else text


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _read(stamp: Path) -> dict[str, str]:
    try:
        return json.loads(stamp.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
