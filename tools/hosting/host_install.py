"""From nothing to something that runs: ComfyUI's folder and an interpreter that has its packages."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from hosting import cache_folder, host_environment, host_folder, host_source

# Not resolved: a pack that is linked into ComfyUI/custom_nodes finds that ComfyUI.
PACK = Path(__file__).absolute().parents[2]


@dataclass(frozen=True)
class Choices:
    """What the user said: a ComfyUI folder, to use this very Python, to add the development tools, uv's --torch-backend."""

    comfyui: Path | None = None
    use_current_python: bool = False
    development: bool = False
    torch_backend: str | None = "auto" if sys.platform == "win32" else None  # the index's own build for Windows has no CUDA


@dataclass(frozen=True)
class Host:
    """A ComfyUI that can be started; `own` says that it is Graft's cached copy."""

    comfyui: Path
    python: Path
    own: bool

    @property
    def version(self) -> str:
        """ComfyUI's version, e.g. "0.30.0"."""
        return host_folder.version(self.comfyui)


def prepare(choices: Choices, pack: Path = PACK) -> Host:
    """Find or get ComfyUI and its environment. Takes a moment if both are cached, minutes if not.

    Raises QuickstartError for a folder that is not ComfyUI, too little disk, no network with nothing cached.
    """
    cache = cache_folder.cache_folder()
    with cache_folder.locked(cache):
        source = host_source.find(pack, cache, choices.comfyui) or host_source.fetch(cache)
        if choices.use_current_python:
            python = Path(sys.executable)
            host_environment.require_packages(python, choices.development)
        else:
            python = host_environment.prepare(source.folder, pack, cache, choices.development, choices.torch_backend)
    return Host(source.folder, python, source.own)
