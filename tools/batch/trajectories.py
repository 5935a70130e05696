"""An inversion is made once per picture: its trajectory is saved, kept beside the record, and loaded by whoever needs it next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .addresses import Prompt, links_of
from .identity import digest
from .job import File
from .outputs import write_whole

INVERT, SAVE, LOAD = "GraftInvertImage", "GraftSaveTrajectory", "GraftLoadTrajectory"
PREFIX, SUFFIX = "batch", ".trajectory.safetensors"


class Trajectories:
    """The trajectories of an output folder, by what they were made of: the nodes above an inversion with all their values, where pictures
    go by their content."""

    def __init__(self, folder: Path):
        self._folder = folder

    def shared(self, prompt: Prompt, keep: bool) -> tuple[dict[str, Any], dict[str, bytes]]:
        """The prompt with inversions that were made before loaded from files, and these files by name on the server.

        With `keep` those that were not are saved, to be handed to `take`. An inversion whose encoded picture is used too stays.
        """
        shared, uploads = dict(prompt), {}
        for node_id, node in prompt.items():
            if node["class_type"] != INVERT or _uses(prompt, node_id) - {0}:
                continue
            name = f"{PREFIX}-{digest(_above(prompt, node_id))}"
            path = self._folder / f"{name}{SUFFIX}"
            if path.is_file():
                uploads[path.name] = path.read_bytes()
                shared[node_id] = {"class_type": LOAD, "inputs": {"model": node["inputs"]["model"], "file": path.name}}
            elif keep:
                shared[f"{node_id}:{SAVE}"] = {"class_type": SAVE, "inputs": {"trajectory": [node_id, 0], "filename_prefix": name}}
        return shared, uploads

    def take(self, saved: Sequence[File]) -> None:
        """Keep the files that a row's Save Trajectory nodes wrote; each is named by its prefix."""
        if saved:
            self._folder.mkdir(parents=True, exist_ok=True)
        for file in saved:
            write_whole(self._folder / f"{file.name}{SUFFIX}", [file.content])


def _above(prompt: Prompt, node_id: str) -> dict[str, Any]:
    """What a node and all nodes above it are; their numbers do not count."""
    node = prompt[node_id]
    links = dict(links_of(node))
    inputs = {name: [_above(prompt, links[name][0]), links[name][1]] if name in links else value for name, value in node["inputs"].items()}
    return {"class_type": node["class_type"], "inputs": inputs}


def _uses(prompt: Prompt, node_id: str) -> set[int]:
    """Which outputs of a node other nodes read."""
    return {source[1] for node in prompt.values() for _, source in links_of(node) if source[0] == node_id}


def is_saving(node: Mapping[str, Any]) -> bool:
    """Whether a node of a prompt was added to keep a trajectory."""
    return node["class_type"] == SAVE and str(node["inputs"].get("filename_prefix", "")).startswith(f"{PREFIX}-")
