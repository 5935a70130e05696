"""The oldest ComfyUI that Graft's nodes run on. Imports nothing of the host but its version."""

from __future__ import annotations

import re

from .errors import GraftError

FLOOR = (0, 30)


def require_supported_host() -> None:
    """Raise a GraftError of one sentence if the running ComfyUI is older than FLOOR, or does not say its version.

    Installers read `requires-comfyui` of pyproject.toml, ComfyUI does not; without this the nodes would appear and fail one by one.
    """
    try:
        from comfyui_version import __version__ as version
    except ImportError:  # versions before 0.3
        version = "of unknown version"
    if numbers(version) < FLOOR:
        raise GraftError(
            f"Graft needs ComfyUI {'.'.join(map(str, FLOOR))} or later and this is ComfyUI {version}, so its nodes were not loaded: "
            f"update ComfyUI, then start it again."
        )


def numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version, (0, 30, 1) of "v0.30.1-4-gabc"; () where it begins with none."""
    found = re.match(r"v?(\d+(?:\.\d+)*)", version)
    return tuple(map(int, found.group(1).split("."))) if found else ()
