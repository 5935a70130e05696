"""From a description to the editor's JSON."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from .built import Built, build_node
from .language import Graph, ObjectInfo, Output
from .layout import Box, lay_out
from .slots import Slot, outputs


def to_workflow(graph: Graph, object_info: ObjectInfo) -> dict:
    """The workflow as the editor saves it (format 0.4). ValueError names a node, input or output that the schema does not have."""
    built = {node.id: build_node(node, object_info) for node in graph.nodes}
    boxes, frames = lay_out(graph, built)
    records = {node_id: _record(entry, boxes[node_id], order) for order, (node_id, entry) in enumerate(built.items())}
    links = []
    for target_id, entry in built.items():
        for target_slot, slot in enumerate(entry.shown):
            source = entry.links.get(slot.name)
            if source is None:
                continue
            origin_slot, kind = _output_index(source, built[source.node.id])
            links.append([len(links) + 1, source.node.id, origin_slot, target_id, target_slot, kind])
            records[target_id]["inputs"][target_slot]["link"] = len(links)
            records[source.node.id]["outputs"][origin_slot]["links"].append(len(links))
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"graft/{graph.title}")),
        "revision": 0,
        "last_node_id": max(records, default=0),
        "last_link_id": len(links),
        "nodes": list(records.values()),
        "links": links,
        "groups": frames,
        "config": {},
        "extra": {"description": graph.description},
        "version": 0.4,
    }


def _output_index(source: Output, built: Built) -> tuple[int, str]:
    known = outputs(built.schema)
    for index, (name, kind) in enumerate(known):
        if source.name in (index, name):
            return index, kind
    raise ValueError(f"{source.node.kind} has no output {source.name!r}; it has: {', '.join(name for name, _ in known)}.")


def _record(built: Built, box: Box, order: int) -> dict:
    node, schema = built.node, built.schema
    record: dict[str, Any] = {
        "id": node.id,
        "type": node.kind,
        "pos": [box.x, box.y],
        "size": [box.width, box.height],
        "flags": {},
        "order": order,
        "mode": 0,
        "inputs": [] if node.text is not None else [_input_record(slot) for slot in built.shown],
        "outputs": [{"name": name, "type": kind, "links": []} for name, kind in outputs(schema)],
        "properties": {} if node.text is not None else {"Node name for S&R": node.kind, "cnr_id": _origin(schema)},
    }
    if node.title is not None:
        record["title"] = node.title
    widgets = [value for slot, value in built.values if slot.is_widget]
    if widgets:
        record["widgets_values"] = widgets
    if node.text is not None:
        record |= {"color": "#432", "bgcolor": "#653"}
    return record


def _input_record(slot: Slot) -> dict:
    record: dict[str, Any] = {"name": slot.name, "type": slot.kind, "link": None}
    if slot.label:
        record["label"] = slot.label
    if slot.optional:
        record["shape"] = 7  # the editor draws optional inputs as hollow circles
    if slot.is_widget:
        record["widget"] = {"name": slot.name}
    return record


def _origin(schema: Mapping[str, Any]) -> str:
    """The registry's name of the pack a node comes from; the editor uses it to say what to install."""
    module = schema.get("python_module", "nodes").split(".")
    return module[1] if module[0] == "custom_nodes" and len(module) > 1 else "comfy-core"
