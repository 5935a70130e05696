"""What a ComfyUI folder is: telling one, reading its version, and which command line flags it knows."""

from __future__ import annotations

import re
from pathlib import Path

from hosting.quickstart_error import QuickstartError

LANDMARKS = ("main.py", "nodes.py", "execution.py", "requirements.txt", "comfy/cli_args.py")


def is_host(folder: Path) -> bool:
    """Whether the folder holds ComfyUI's own files."""
    return all((folder / landmark).is_file() for landmark in LANDMARKS)


def require_host(folder: Path, named_by: str) -> Path:
    """The folder itself, absolute, or QuickstartError naming who pointed at it and what is missing there."""
    folder = folder.expanduser().absolute()
    missing = [landmark for landmark in LANDMARKS if not (folder / landmark).is_file()]
    if missing:
        raise QuickstartError(
            f"{folder} ({named_by}) is not a ComfyUI folder: it has no {', '.join(missing)}. "
            f"Point to the folder that holds ComfyUI's main.py, or leave {named_by} out to let Graft get its own copy."
        )
    return folder


def version(folder: Path) -> str:
    """ComfyUI's version, e.g. "0.30.0"; "unknown" where it does not say."""
    source = folder / "comfyui_version.py"
    found = re.search(r'__version__\s*=\s*"([^"]+)"', source.read_text(encoding="utf-8")) if source.is_file() else None
    return found.group(1) if found else "unknown"


def known_flags(folder: Path, flags: tuple[str, ...]) -> list[str]:
    """`flags` without those this version does not have. A flag with a value is written "--flag=value"."""
    source = (folder / "comfy" / "cli_args.py").read_text(encoding="utf-8")
    return [flag for flag in flags if f'"{flag.partition("=")[0]}"' in source]
