"""A workflow as rows are put into it: its prompt, and what the inputs of the prompt are called."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from graph import ObjectInfo, to_prompt
from hosting.quickstart_error import QuickstartError

from .addresses import Input, inputs_of_prompt, inputs_of_subgraphs, short_names
from .identity import workflow_digest

IMAGE = "image"
Saved = dict[str, Any]
"""A workflow's file, in the editor's format or as a prompt ("API format")."""


@dataclass(frozen=True)
class Workflow:
    """digest: of the file, see identity. inputs: by address; several under one address mean that a title is there more than once.
    names: addresses by short name."""

    digest: str
    prompt: dict[str, dict]
    inputs: Mapping[str, list[Input]]
    names: Mapping[str, str]

    def find(self, column: str) -> Input:
        """The input that a column names. ValueError says why there is none."""
        address = self.names.get(column, column)
        found = self.inputs.get(address) or (self._only_picture() if address == IMAGE else [])
        if len(found) == 1:
            return found[0]
        where = f"{address} ({column})" if address != column else column
        if found:
            numbers = ", ".join(f"{node}.inputs.{name}" for input in found for node, name in input.places)
            raise ValueError(f"{len(found)} nodes have an input {where}; name one by its number: {numbers}")
        raise ValueError(f"the workflow has no input {where}{_likely(address, [*self.names, *self.inputs])}")

    def _only_picture(self) -> list[Input]:
        """Of a workflow that reads one picture, the input for it: there a column `image` needs no other name."""
        reading = {input.places: input for found in self.inputs.values() for input in found if input.file}
        return list(reading.values()) if len(reading) == 1 else []


def load(path: Path) -> Saved:
    """A workflow's file. QuickstartError for one that is not there or none."""
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise QuickstartError(f"There is no workflow {path} ({error.strerror}).") from None
    except ValueError as error:
        raise QuickstartError(f"{path} is not a workflow: {error}") from None
    nodes = saved.get("nodes", list(saved.values())) if isinstance(saved, dict) else None
    if not nodes or not all(isinstance(node, dict) and ("type" in node or "class_type" in node) for node in nodes):
        raise QuickstartError(f"{path} is not a workflow: neither as the editor saves it nor in API format.")
    return saved


def compiled(saved: Saved, object_info: ObjectInfo, given: Mapping[str, str]) -> Workflow:
    """The workflow on a server whose nodes are `object_info`; `given` are short names of the user's.

    QuickstartError for a node that the server does not have.
    """
    in_editor = "nodes" in saved
    try:
        prompt = to_prompt(saved, object_info) if in_editor else saved
        inputs = inputs_of_prompt(prompt, object_info)
    except ValueError as error:
        raise QuickstartError(f"The workflow does not fit the server: {error}") from None
    except KeyError as error:
        raise QuickstartError(f"The server does not know {error}; the pack that has it is not installed there.") from None
    if in_editor:
        for address, found in inputs_of_subgraphs(saved, object_info).items():
            inputs[address] = [*inputs.get(address, []), *found]
    return Workflow(workflow_digest(saved), prompt, inputs, names(saved, given))


def names(saved: Saved, given: Mapping[str, str]) -> dict[str, str]:
    """The short names of a workflow: its note's, and those the user gave, which go before."""
    return {**short_names(saved), **given}


def write(workflow: Workflow, path: Path) -> None:
    """Keep a compiled workflow, so that a finished run is recognised without a server."""
    path.write_text(json.dumps(asdict(workflow), ensure_ascii=False), encoding="utf-8")


def read(path: Path) -> Workflow | None:
    """What `write` kept, None if it did not."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    inputs = {address: [_input(entry) for entry in found] for address, found in kept["inputs"].items()}
    return Workflow(kept["digest"], kept["prompt"], inputs, kept["names"])


def _input(entry: dict) -> Input:
    places = tuple((node, name) for node, name in entry["places"])
    choices = None if entry["choices"] is None else tuple(entry["choices"])
    return Input(**{**entry, "places": places, "choices": choices})


def _likely(wanted: str, known: list[str]) -> str:
    """What the user may have meant: inputs of that name, or close spellings."""
    from difflib import get_close_matches

    same = [address for address in known if ".inputs." not in address and address.rpartition(".")[2] == wanted.rpartition(".")[2]]
    meant = list(dict.fromkeys([*same, *get_close_matches(wanted, known, n=3)]))[:6]
    return f"; is it {' or '.join(meant)}?" if meant else ""
