"""From the editor's JSON to the prompt that Run would post."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .language import BYPASS, EDITOR_ONLY, NEVER, PASSAGE, ObjectInfo
from .slots import stored_values
from .subgraphs import taken_apart, with_subgraphs


def to_prompt(workflow: Mapping[str, Any], object_info: ObjectInfo) -> dict[str, dict]:
    """The prompt that the editor's Run would post for this workflow, by node id.

    Notes and muted nodes are left out, links from muted nodes with them; bypassed nodes and reroutes hand on what they get; a
    PrimitiveNode becomes a constant. Of a subgraph its inner nodes run, the node 12 in the subgraph's node 5 as "5:12". ValueError for a
    node class that the schema does not have.
    """
    nodes, links = taken_apart(workflow, with_subgraphs(workflow, object_info))
    nodes = {node["id"]: node for node in nodes}
    links = {link[0]: link for link in links}
    prompt = {}
    for node in nodes.values():
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
        prompt[node["id"]] = {"class_type": node["type"], "inputs": inputs, "_meta": {"title": title}}
    return prompt


def without_titles(prompt: Mapping[str, Mapping]) -> dict[str, tuple[str, Mapping]]:
    """Class and inputs by node, which two prompts are compared by: a title that was not chosen follows the reader's language."""
    return {node: (entry["class_type"], entry["inputs"]) for node, entry in prompt.items()}


def _sent(value: Any) -> Any:
    """A list would be taken for a link; the host unwraps this form."""
    return {"__value__": value} if isinstance(value, list) else value


def find_source(link_id: str, nodes: Mapping[str, Mapping], links: Mapping[str, list]) -> Any:
    """What a link brings: [node id, output index], a constant, or None if a muted or open end is behind it."""
    _, origin_id, origin_slot, _, _, kind = links[link_id]
    node = nodes[origin_id]
    mode = node.get("mode", 0)
    if mode == NEVER:
        return None
    if node["type"] == "PrimitiveNode":
        return node["widgets_values"][0]
    entries = node.get("inputs", [])
    if node["type"] == PASSAGE:
        entry = entries[origin_slot]
        return entry.get("value") if entry["link"] is None else find_source(entry["link"], nodes, links)
    if node["type"] != "Reroute" and mode != BYPASS:
        return [origin_id, origin_slot]
    same_place = entries[origin_slot : origin_slot + 1]
    passed = next((entry for entry in [*same_place, *entries] if node["type"] == "Reroute" or types_fit(entry["type"], kind)), None)
    return None if passed is None or passed.get("link") is None else find_source(passed["link"], nodes, links)


def types_fit(one: str, other: str) -> bool:
    """Whether a link may join two types; a type may be a list with commas, "*" is any."""
    return "*" in (one, other) or not set(one.upper().split(",")).isdisjoint(other.upper().split(","))
