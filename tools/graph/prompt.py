"""From the editor's JSON to the prompt that Run would post."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .language import BYPASS, EDITOR_ONLY, NEVER, ObjectInfo
from .slots import Slot, slots


def to_prompt(workflow: Mapping[str, Any], object_info: ObjectInfo) -> dict[str, dict]:
    """The prompt that the editor's Run would post for this workflow, by node id.

    Notes and muted nodes are left out, links from muted nodes with them; bypassed nodes and reroutes hand on what they get; a
    PrimitiveNode becomes a constant. ValueError for a node class that the schema does not have (a subgraph is one).
    """
    nodes = {node["id"]: node for node in workflow["nodes"]}
    links = {link[0]: link for link in workflow["links"]}
    prompt = {}
    for node in workflow["nodes"]:
        if node["type"] in EDITOR_ONLY or node.get("mode", 0) in (NEVER, BYPASS):
            continue
        if node["type"] not in object_info:
            raise ValueError(f"There is no node class {node['type']!r} (node {node['id']}).")
        schema = object_info[node["type"]]
        inputs = {slot.name: _sent(value) for slot, value in stored_values(node, schema) if slot.is_widget and slot.in_prompt}
        for entry in node.get("inputs", []):
            if entry.get("link") is not None:
                source = find_source(entry["link"], nodes, links)
                if source is not None:
                    inputs[entry["name"]] = source
        title = node.get("title") or schema.get("display_name") or node["type"]
        prompt[str(node["id"])] = {"class_type": node["type"], "inputs": inputs, "_meta": {"title": title}}
    return prompt


def stored_values(node: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[tuple[Slot, Any]]:
    """The inputs of a saved node with their values, read from widgets_values in order; what the file lacks has its default."""
    saved = node.get("widgets_values") or []
    linked = {entry["name"] for entry in node.get("inputs", []) if entry.get("link") is not None}
    if isinstance(saved, dict):
        return slots(schema, lambda slot: saved.get(slot.name, slot.default), linked)
    remaining = iter(saved)
    return slots(schema, lambda slot: next(remaining, slot.default), linked)


def _sent(value: Any) -> Any:
    """A list would be taken for a link; the host unwraps this form."""
    return {"__value__": value} if isinstance(value, list) else value


def find_source(link_id: int, nodes: Mapping[int, Mapping], links: Mapping[int, list]) -> Any:
    """What a link brings: [node id, output index], a constant, or None if a muted or open end is behind it."""
    _, origin_id, origin_slot, _, _, kind = links[link_id]
    node = nodes[origin_id]
    mode = node.get("mode", 0)
    if mode == NEVER:
        return None
    if node["type"] == "PrimitiveNode":
        return node["widgets_values"][0]
    if node["type"] != "Reroute" and mode != BYPASS:
        return [str(origin_id), origin_slot]
    entries = node.get("inputs", [])
    same_place = entries[origin_slot : origin_slot + 1]
    passed = next((entry for entry in [*same_place, *entries] if node["type"] == "Reroute" or types_fit(entry["type"], kind)), None)
    return None if passed is None or passed.get("link") is None else find_source(passed["link"], nodes, links)


def types_fit(one: str, other: str) -> bool:
    """Whether a link may join two types; a type may be a list with commas, "*" is any."""
    return "*" in (one, other) or not set(one.upper().split(",")).isdisjoint(other.upper().split(","))
