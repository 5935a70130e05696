"""When a row counts as done: digests of workflows and rows, and what of a file goes into them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SHOWN_ONLY = frozenset({"pos", "size", "flags", "order", "color", "bgcolor", "properties", "showAdvanced"})
"""What of a node is only how it looks in the editor."""
NOTES = frozenset({"Note", "MarkdownNote"})


def digest(content: Any) -> str:
    """32 hexadecimal digits of anything that JSON can write; the order of names does not matter."""
    return hashlib.blake2b(json.dumps(content, sort_keys=True, ensure_ascii=False, default=str).encode(), digest_size=16).hexdigest()


def workflow_digest(workflow: Mapping[str, Any]) -> str:
    """Of what a workflow does, in either format: moving, colouring or annotating nodes leaves it as it is."""
    return digest(_meaning(workflow) if "nodes" in workflow else workflow)


def file_state(path: str | Path) -> list[int]:
    """Bytes and time of the last change (ns): what tells a changed file without reading it. OSError if there is none."""
    found = os.stat(path)
    return [found.st_size, found.st_mtime_ns]


def content_name(content: bytes, suffix: str) -> str:
    """The name under which a file is put on servers: the same content has the same name everywhere."""
    return f"batch-{hashlib.blake2b(content, digest_size=16).hexdigest()}{suffix}"


def _meaning(part: Mapping[str, Any]) -> dict[str, Any]:
    """A workflow or subgraph without what only the editor shows."""
    kept = {"links": part["links"], "inputs": part.get("inputs"), "outputs": part.get("outputs")}
    kept["nodes"] = [
        {name: value for name, value in node.items() if name not in SHOWN_ONLY} for node in part["nodes"] if node["type"] not in NOTES
    ]
    subgraphs = (part.get("definitions") or {}).get("subgraphs", [])
    return {**kept, "subgraphs": {subgraph["id"]: _meaning(subgraph) for subgraph in subgraphs}}
