"""Keep what saved workflows depend on: ids, inputs, their order, types, defaults and options, and outputs.

    python tools schema_snapshot    accept the schemas as they are now: write tests/host/schema.txt

A test compares the live schemas with the accepted ones, so that no workflow out there breaks unnoticed. Texts are free to change.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from hosting import pack

FILE = pack.ROOT / "tests" / "host" / "schema.txt"
CHOICE = "COMFY_DYNAMICCOMBO_V3"
TEXTS = ("tooltip", "display_name", "placeholder", "advanced")
OF_THIS_MACHINE = {("GraftLoadTrajectory", "file"), ("GraftLoadPixelDiffusion", "folder")}
"""Inputs whose options are the files at hand."""


def snapshot(object_info: Mapping[str, Mapping[str, Any]]) -> str:
    """The accepted form of the schemas, a line for each input."""
    lines = []
    for node in sorted(object_info):
        info = object_info[node]
        lines += [f"{node}: {line}" for group in ("required", "optional") for line in _inputs(node, info["input"].get(group, {}), group)]
        lines += [f"{node}: output {name} {kind}" for name, kind in zip(info["output_name"], info["output"], strict=True)]
    return "\n".join(lines) + "\n"


def _inputs(node: str, specs: Mapping[str, Any], group: str, choice: str = "") -> list[str]:
    lines = []
    for name, spec in specs.items():
        kind, options = spec[0], dict(spec[1] if len(spec) > 1 else {})
        kept = {
            key: value for key, value in options.items() if key not in TEXTS and not (key == "options" and (node, name) in OF_THIS_MACHINE)
        }
        nested = kept.pop("options", []) if kind == CHOICE else []
        kept |= {"options": [option["key"] for option in nested]} if nested else {}
        lines.append(f"{group} {choice}{name} {kind} {json.dumps(kept, sort_keys=True, ensure_ascii=False)}")
        for option in nested:
            for inner, given in option["inputs"].items():
                lines += _inputs(node, given, inner, f"{choice}{name}={option['key']}.")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = os.environ.get("COMFYUI_PATH")
    parser.add_argument("--comfyui", default=known, required=not known, help="ComfyUI's folder (default: COMFYUI_PATH)")
    options = parser.parse_args()
    pack.load_host(options.comfyui, cpu=True)
    FILE.write_text(snapshot(pack.object_info()), encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
