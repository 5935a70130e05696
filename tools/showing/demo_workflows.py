"""Which of the shipped workflows run on the embedded model alone, and what they say about themselves."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from graph import EDITOR_ONLY

EXAMPLES = frozenset(path.name for path in (Path(__file__).resolve().parents[2] / "pictures").glob("*.png"))
"""The pictures that the pack puts where Load Image finds them."""
# Nodes of the pack that read a file which the user has to bring.
GRAFT_FILE_READERS = frozenset({"GraftLoadTrajectory", "GraftLoadPixelDiffusion"})


@dataclass(frozen=True)
class Workflow:
    """A workflow as the editor saves it; `listed` in the template browser, or one of those for whoever wants to see more."""

    name: str
    graph: dict
    listed: bool = True

    @property
    def nodes(self) -> list[dict]:
        """Its nodes, those inside subgraphs included."""
        return [*self.graph["nodes"], *(node for subgraph in self._subgraphs for node in subgraph["nodes"])]

    @property
    def node_types(self) -> frozenset[str]:
        """Types of the nodes that the server must know."""
        return frozenset(node["type"] for node in self.nodes) - EDITOR_ONLY - {subgraph["id"] for subgraph in self._subgraphs}

    @property
    def _subgraphs(self) -> list[dict]:
        return self.graph.get("definitions", {}).get("subgraphs", [])

    @property
    def pictures(self) -> frozenset[str]:
        """Names of the pictures that it loads."""
        return frozenset(node["widgets_values"][0] for node in self.nodes if node["type"] == "LoadImage")

    @property
    def description(self) -> str:
        """The graph's own description, else the text of its first note."""
        written = self.graph.get("extra", {}).get("description")
        notes = [node for node in self.graph["nodes"] if node["type"] in ("MarkdownNote", "Note") and node.get("widgets_values")]
        return str(written or (notes[0]["widgets_values"][0] if notes else ""))


def shipped_workflows(folder: Path) -> list[Workflow]:
    """All workflows of a folder, which are listed, and of those within it."""
    files = sorted(folder.rglob("*.json"))
    return [Workflow(path.stem, json.loads(path.read_text(encoding="utf-8")), path.parent == folder) for path in files]


def files_needed(workflow: Workflow, object_info: dict[str, dict]) -> list[str]:
    """Node types of the workflow that read a checkpoint, picture or other file of the user's; empty if the embedded model is enough."""
    readers = {kind for kind in workflow.node_types if kind in GRAFT_FILE_READERS or _reads_a_file(object_info.get(kind, {}))}
    return sorted(readers - {"LoadImage"} if workflow.pictures <= EXAMPLES else readers)


def unknown_types(workflow: Workflow, object_info: dict[str, dict]) -> list[str]:
    """Node types of the workflow that the server does not have: in a shipped workflow always a mistake."""
    return sorted(workflow.node_types - object_info.keys())


def _reads_a_file(schema: dict) -> bool:
    """Whether the node lists files of the models folder (its category says so) or of the input folder (its widget offers an upload)."""
    if "loaders" in schema.get("category", "").split("/"):
        return True
    inputs = [spec for group in schema.get("input", {}).values() for spec in group.values()]
    options = [spec[1] for spec in inputs if len(spec) > 1 and isinstance(spec[1], dict)]
    return any(key.endswith("_upload") and value for entry in options for key, value in entry.items())
