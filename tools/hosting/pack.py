"""Loads the pack under the package name `graft`, wherever its folder is and whatever that is called.

The pack's root never goes on `sys.path`: top-level names such as `nodes` and `tests` belong to ComfyUI.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def version() -> str:
    """The pack's own version, e.g. "0.1.0"."""
    return re.search(r'^version = "([^"]+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE).group(1)


def load_pack():
    """The package `graft`."""
    if "graft" not in sys.modules:
        specification = importlib.util.spec_from_file_location("graft", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
        package = importlib.util.module_from_spec(specification)
        sys.modules["graft"] = package
        specification.loader.exec_module(package)
    return sys.modules["graft"]


def load_host(comfyui: Path | str | None = None, cpu: bool = False) -> None:
    """Puts ComfyUI (by default at COMFYUI_PATH) on `sys.path`, on the CPU where that is asked for or there is no CUDA device."""
    folder = str(comfyui or os.environ["COMFYUI_PATH"])
    if folder not in sys.path:
        sys.path.insert(0, folder)
    import torch
    from comfy.cli_args import args

    args.cpu = cpu or not torch.cuda.is_available()
    args.use_pytorch_cross_attention = True


def object_info() -> dict[str, Any]:
    """The schema of every node of the pack by its id, as the editor gets it. ComfyUI must be on `sys.path`."""

    async def nodes() -> list:
        return await (await load_pack().comfy_entrypoint()).get_node_list()

    with ThreadPoolExecutor(1) as apart:  # from an event loop that runs in this thread, such as a browser's
        return {node.GET_SCHEMA().node_id: node.GET_NODE_INFO_V1() for node in apart.submit(asyncio.run, nodes()).result()}
