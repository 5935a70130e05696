"""Below the oldest ComfyUI that Graft runs on there is one sentence and no node."""

import asyncio
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

import pytest
from comfy_api.latest import ComfyExtension
from graft import comfy_entrypoint
from graft.host.errors import GraftError
from graft.host.floor import FLOOR, numbers
from hosting import pack


def entry():
    """The pack's extension, from an event loop of its own: a browser's may run in this thread."""
    with ThreadPoolExecutor(1) as apart:
        return apart.submit(asyncio.run, comfy_entrypoint()).result()


def of_version(version: str | None) -> ModuleType:
    module = ModuleType("comfyui_version")
    if version is not None:
        module.__version__ = version
    return module


@pytest.mark.parametrize("version", ["0.3.64", "0.18.2", "0.27.0", "0.29.9", "0.29", "v0.29.1-12-gabcdef", "", "nightly", None])
def test_an_older_host_is_refused_in_one_sentence(monkeypatch, gave, version):
    monkeypatch.setitem(sys.modules, "comfyui_version", of_version(version))
    with pytest.raises(GraftError, match=r"^Graft needs ComfyUI 0\.30 or later and this is ComfyUI .*: update ComfyUI") as refusal:
        entry()
    assert "\n" not in str(refusal.value)
    assert (version or "of unknown version") in str(refusal.value) or version == ""
    gave("Hosts", "a stand-in that says it is older, or not what it is", "the entry point", str(version), "refused by name")


@pytest.mark.parametrize("version", ["0.30", "0.30.0", "v0.30.1-4-gabcdef", "0.31.0rc1", "0.38.2", "1.0"])
def test_the_floor_and_newer_hosts_get_the_nodes(monkeypatch, gave, version):
    monkeypatch.setitem(sys.modules, "comfyui_version", of_version(version))
    assert isinstance(entry(), ComfyExtension)
    gave("Hosts", "a stand-in that says it is 0.30 or newer", "the entry point", version, "works")


def test_installers_are_told_the_same_floor():
    declared = re.search(r'^requires-comfyui = ">=([\d.]+)"$', (pack.ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert numbers(declared.group(1))[: len(FLOOR)] == FLOOR


def test_the_version_is_read_before_any_other_part_of_the_host_is_imported():
    source = (pack.ROOT / "host" / "floor.py").read_text(encoding="utf-8")
    assert set(re.findall(r"^\s*(?:from|import) (\w+)", source, re.MULTILINE)) == {"__future__", "re", "comfyui_version"}
