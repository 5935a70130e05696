"""What a live schema would not accept of a workflow."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from .language import EDITOR_ONLY, ObjectInfo
from .prompt import types_fit
from .slots import CONTROL, Slot, outputs, stored_values
from .subgraphs import parts, with_subgraphs

FILE_SUFFIXES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".gguf", ".png", ".jpg", ".jpeg", ".webp")
FOLDERS = ("ddpm-celebahq-256",)
"""Names of models that are folders."""


def check(workflow: Mapping[str, Any], object_info: ObjectInfo) -> list[str]:
    """Complaints about a saved workflow, one sentence each; empty if the live schema accepts it as it stands.

    Names of models and pictures are not checked against the folders of the machine at hand.
    """
    known = with_subgraphs(workflow, object_info)
    complaints = [complaint for part in parts(workflow) for complaint in _check_part(part, known)]
    ids = [node["id"] for part in parts(workflow) for node in part["nodes"] if node["id"] > 0]
    if len(ids) != len(set(ids)):
        complaints.append("Two nodes share an id; the editor would give one of them another.")
    return complaints


def _check_part(part: Mapping[str, Any], object_info: ObjectInfo) -> list[str]:
    """Complaints about a workflow or what is in one of its subgraphs."""
    complaints = []
    links = {link[0]: link for link in part["links"]}
    nodes = {node["id"]: node for node in part["nodes"]}
    if len(links) != len(part["links"]):
        complaints.append("Two links share an id.")
    for node in part["nodes"]:
        if node["type"] in EDITOR_ONLY:
            continue
        where = f"{node.get('title') or node['type']} (node {node['id']}{part['where']}, {node['type']})"
        if node["type"] not in object_info:
            complaints.append(f"{where}: there is no such node class.")
            continue
        schema = object_info[node["type"]]
        found = [*_check_inputs(node, schema, nodes, links), *_check_values(node, schema), *_check_outputs(node, schema)]
        complaints += [f"{where}: {complaint}" for complaint in found]
    return complaints


def _check_inputs(node: Mapping, schema: Mapping, nodes: Mapping[int, Mapping], links: Mapping[int, list]) -> Iterator[str]:
    known = {slot.name: slot for slot, _ in stored_values(node, schema) if slot.has_socket}
    entries = {entry["name"]: entry for entry in node.get("inputs", [])}
    for name in entries.keys() - known.keys():
        yield f"the schema has no input {name!r}; it has {', '.join(known)}."
    for name, slot in known.items():
        entry = entries.get(name)
        if entry is None:
            yield f"the schema has an input {name!r} that the workflow lacks."
        elif entry.get("link") is None:
            if not slot.is_widget and not slot.optional:
                yield f"the input {name!r} needs a link."
        elif entry["link"] not in links:
            yield f"the input {name!r} has the link {entry['link']}, which does not exist."
        else:
            yield from _check_link(links[entry["link"]], node, name, slot, nodes)


def _check_link(link: list, node: Mapping, name: str, slot: Slot, nodes: Mapping[int, Mapping]) -> Iterator[str]:
    number, origin_id, origin_slot, target_id, target_slot, _ = link
    if target_id != node["id"] or node["inputs"][target_slot]["name"] != name:
        yield f"the link {number} of the input {name!r} ends elsewhere."
    offered = nodes.get(origin_id, {}).get("outputs", [])
    if origin_slot >= len(offered):
        yield f"the link {number} of the input {name!r} begins at an output that does not exist."
    elif not types_fit(offered[origin_slot]["type"], slot.kind):
        yield f"the input {name!r} takes {slot.kind}, but the link brings {offered[origin_slot]['type']}."


def _check_outputs(node: Mapping, schema: Mapping) -> Iterator[str]:
    saved = [(entry["name"], entry["type"]) for entry in node.get("outputs", [])]
    known = outputs(schema)
    for name, kind in saved:
        if not any(name == other and types_fit(kind, other_kind) for other, other_kind in known):
            yield f"the schema has no output {name!r} of type {kind}; it has {', '.join(f'{other} ({of_kind})' for other, of_kind in known)}."
    if [name for name, _ in saved] != [name for name, _ in known][: len(saved)]:
        yield f"the outputs are in another order than the schema's {', '.join(name for name, _ in known)}."


def _check_values(node: Mapping, schema: Mapping) -> Iterator[str]:
    stored = [(slot, value) for slot, value in stored_values(node, schema) if slot.is_widget]
    saved = node.get("widgets_values") or []
    if len(saved) != len(stored):
        yield f"it has {len(saved)} widget values, the schema {len(stored)} widgets: {', '.join(slot.name for slot, _ in stored)}."
    for slot, value in stored:
        complaint = _value_complaint(slot, value)
        if complaint:
            yield f"the input {slot.name!r} {complaint}"


def _value_complaint(slot: Slot, value: Any) -> str | None:
    """What is wrong with a widget's value, or None."""
    if slot.kind == CONTROL:
        return None if value == "fixed" else f"is followed by {value!r}; a shipped workflow keeps its seeds fixed."
    if slot.choices is not None:
        chosen = value if slot.multiple and isinstance(value, list) else [value]
        wrong = [item for item in chosen if item not in slot.choices and not _names_a_file(item)]
        return f"does not offer {', '.join(map(repr, wrong))}; it offers {', '.join(map(str, slot.choices))}." if wrong else None
    types = {"INT": int, "FLOAT": (int, float), "STRING": str, "BOOLEAN": bool}.get(slot.kind)
    if types and (not isinstance(value, types) or (isinstance(value, bool) and slot.kind != "BOOLEAN")):
        return f"is of type {slot.kind}, not {value!r}."
    if slot.kind in ("INT", "FLOAT"):
        least, most = slot.options.get("min", -math.inf), slot.options.get("max", math.inf)
        if not least <= value <= most:
            return f"goes from {least} to {most}; {value} is outside."
    return None


def _names_a_file(value: Any) -> bool:
    return isinstance(value, str) and (value.lower().endswith(FILE_SUFFIXES) or value in FOLDERS)
