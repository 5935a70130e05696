"""From a description to the editor's JSON."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .built import Built, build_node
from .language import ENTRY, EXIT, App, Graph, ObjectInfo, Output, Subgraph
from .layout import Box, captions, ends_beside, lay_out, view
from .routing import routed
from .slots import Slot, outputs
from .subgraphs import LINK, schema_of
from .wires import Reroute, bodies, wires

UPLOAD = "IMAGEUPLOAD"
"""The type of the button beside a list of pictures, which the form has in the list itself."""

OPENS_AT_ITS_VIEW = "opensAtItsView"
"""What web/opening.js looks for: the editor by itself shows a template whole, and heeds the view of other files only."""


def to_workflow(graph: Graph, object_info: ObjectInfo) -> dict:
    """The workflow as the editor saves it (format 0.4). ValueError names a node, input or output that the schema does not have."""
    known = dict(object_info)
    definitions = []
    last = len(graph.nodes)  # the editor renumbers inner nodes whose number is taken anywhere in the file
    for subgraph in graph.subgraphs:
        definitions.append(_definition(subgraph, known, last))
        known[subgraph.id] = schema_of(definitions[-1], known)
        last += len(subgraph.nodes)
    drawn = _draw(graph, known)
    workflow = {
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"graft/{graph.title}")),
        "revision": 0,
        "last_node_id": last,
        "last_link_id": len(drawn.links),
        "nodes": list(drawn.records.values()),
        "links": drawn.links,
        "groups": drawn.frames,
        **({"definitions": {"subgraphs": definitions}} if definitions else {}),
        "config": {},
        "extra": {
            "description": graph.description,
            **(_form(graph.app, drawn) if graph.app else {}),
        },
        "version": 0.4,
    }
    reroutes, last_of_links = _reroutes(workflow, drawn)
    workflow["extra"] |= {"ds": view(drawn.boxes, drawn.frames, reroutes), OPENS_AT_ITS_VIEW: True}
    if reroutes:
        extensions = [{"id": link, "parentId": reroute} for link, reroute in last_of_links.items()]
        workflow["extra"] |= {"linkExtensions": extensions, "reroutes": reroutes}
    return workflow


@dataclass(frozen=True)
class _Drawn:
    """Nodes by their id in the file, links as lists in the order of LINK, frames of groups, bodies of nodes."""

    records: dict[int, dict]
    links: list[list]
    frames: list[dict]
    boxes: list[Box]


def _draw(graph: Graph, object_info: ObjectInfo, after: int = 0) -> _Drawn:
    """Nodes and links of a graph, its nodes numbered on from `after`. Those of a subgraph's ends are in its _definition."""
    built = {node.id: build_node(node, object_info) for node in graph.nodes}
    boxes, frames = lay_out(graph, built)
    records = {
        node_id + after: _record(entry, boxes[node_id], node_id + after, order) for order, (node_id, entry) in enumerate(built.items())
    }
    links = []
    for node_id, entry in built.items():
        target = records[node_id + after]
        for target_slot, slot in enumerate(entry.shown):
            source = entry.links.get(slot.name)
            if source is None:
                continue
            number = target["inputs"][target_slot]["link"] = len(links) + 1
            if source.node.id == ENTRY:
                links.append([number, ENTRY, source.name, target["id"], target_slot, slot.kind])
                continue
            origin = records[source.node.id + after]
            origin_slot, kind = _output_index(source, built[source.node.id])
            links.append([number, origin["id"], origin_slot, target["id"], target_slot, kind])
            origin["outputs"][origin_slot]["links"].append(number)
    return _Drawn(records, links, frames, list(boxes.values()))


def _form(app: App, drawn: _Drawn) -> dict:
    """What the editor's view of apps shows: widgets that nothing is linked to, by node and name, and nodes whose pictures are results.

    A widget alone in its node is given the node's title, as the form shows none. Without "linearMode" a workflow opens as a graph.
    """
    inputs = []
    for record in (drawn.records[node.id] for node in app.form):
        shown = [entry for entry in record["inputs"] if "widget" in entry and entry["link"] is None and entry["type"] != UPLOAD]
        if len(shown) == 1 and "title" in record:
            shown[0]["label"] = record["title"]
        inputs += [[record["id"], entry["name"]] for entry in shown]
    return {"linearData": {"inputs": inputs, "outputs": [node.id for node in app.results]}}


def _definition(subgraph: Subgraph, object_info: ObjectInfo, after: int) -> dict:
    """A subgraph as the editor saves it: its content, and its two ends. ValueError for an input that nothing takes."""
    drawn = _draw(subgraph, object_info, after)
    entry_box, exit_box = ends_beside(drawn.boxes, list(subgraph.kinds), list(subgraph.exits))
    inputs = _inputs(subgraph, drawn)
    for link in drawn.links:
        if link[1] == ENTRY:
            link[2] = next(index for index, entry in enumerate(inputs) if entry["name"] == link[2])
            link[5] = inputs[link[2]]["type"]
    leaving = []
    for name, source in subgraph.exits.items():
        origin = drawn.records[source.node.id + after]
        origin_slot, kind = _output_index(source, build_node(source.node, object_info))
        drawn.links.append([len(drawn.links) + 1, origin["id"], origin_slot, EXIT, len(leaving), kind])
        origin["outputs"][origin_slot]["links"].append(len(drawn.links))
        leaving.append({"id": _slot_id(subgraph, f"output/{name}"), "name": name, "type": kind, "linkIds": [len(drawn.links)]})
    definition = {
        "id": subgraph.id,
        "version": 1,
        "state": {
            "lastGroupId": len(drawn.frames),
            "lastNodeId": after + len(subgraph.nodes),
            "lastLinkId": len(drawn.links),
            "lastRerouteId": 0,
        },
        "revision": 0,
        "config": {},
        "name": subgraph.title,
        "inputNode": {"id": ENTRY, "bounding": [entry_box.x, entry_box.y, entry_box.width, entry_box.height]},
        "outputNode": {"id": EXIT, "bounding": [exit_box.x, exit_box.y, exit_box.width, exit_box.height]},
        "inputs": inputs,
        "outputs": leaving,
        "widgets": [],
        "nodes": list(drawn.records.values()),
        "groups": drawn.frames,
        "links": [dict(zip(LINK, link, strict=True)) for link in drawn.links],
        "extra": {},
        "category": subgraph.category,
        "description": subgraph.description,
    }
    reroutes, last_of_links = _reroutes(definition, drawn)
    if reroutes:
        definition["reroutes"] = reroutes
        definition["state"]["lastRerouteId"] = len(reroutes)
        for link in definition["links"]:
            if link["id"] in last_of_links:
                link["parentId"] = last_of_links[link["id"]]
    return definition


def _reroutes(graph: Mapping[str, Any], drawn: _Drawn) -> tuple[list[dict], dict[int, int]]:
    """The reroutes that lead wires around nodes, as the editor lists them, and the number of the last one of each link that has any."""
    grown = dict(zip(drawn.records, drawn.boxes, strict=True))
    boxes = {
        node: (left, top, right, bottom + (grown[node].room if node in grown else 0))
        for node, (left, top, right, bottom) in bodies(graph).items()
    }
    last = routed(wires(graph), boxes, captions(graph["groups"]))
    numbers: dict[Reroute, int] = {}
    for reroute in last.values():
        for stop in reroute.way():
            numbers.setdefault(stop, len(numbers) + 1)
    records = [
        {"id": number, **({"parentId": numbers[stop.parent]} if stop.parent else {}), "pos": list(stop.pos), "linkIds": list(stop.links)}
        for stop, number in numbers.items()
    ]
    return records, {link: numbers[reroute] for link, reroute in last.items()}


def _inputs(subgraph: Subgraph, drawn: _Drawn) -> list[dict]:
    """The inputs of a subgraph as the editor lists those of nodes: sockets first, then widgets, what may stay open after what may not."""
    entries = {}
    for name, kind in subgraph.kinds.items():
        links = [link for link in drawn.links if link[1:3] == [ENTRY, name]]
        if not links:
            raise ValueError(f"Nothing in the subgraph {subgraph.title!r} takes its input {name!r}.")
        readers = [drawn.records[target]["inputs"][slot] for *_, target, slot, _ in links]
        reader = next((entry for entry in readers if "widget" in entry), readers[0])
        record = {
            "id": _slot_id(subgraph, f"input/{name}"),
            "name": name,
            "type": kind or reader["type"],
            "linkIds": [link[0] for link in links],
        }
        entries[name] = ("widget" in reader, "shape" in reader, record)
    return [record for *_, record in sorted(entries.values(), key=lambda entry: entry[:2])]


def _slot_id(subgraph: Subgraph, slot: str) -> str:
    return str(uuid.uuid5(uuid.UUID(subgraph.id), slot))


def _output_index(source: Output, built: Built) -> tuple[int, str]:
    known = outputs(built.schema)
    for index, (name, kind) in enumerate(known):
        if source.name in (index, name):
            return index, kind
    raise ValueError(f"{source.node.name} has no output {source.name!r}; it has: {', '.join(name for name, _ in known)}.")


def _record(built: Built, box: Box, number: int, order: int) -> dict:
    node, schema = built.node, built.schema
    record: dict[str, Any] = {
        "id": number,
        "type": node.kind,
        "pos": [box.x, box.y],
        "size": [box.width, box.height],
        "flags": {},
        "order": order,
        "mode": 0,
        "inputs": [] if node.text is not None else [_input_record(slot) for slot in built.shown],
        "outputs": [{"name": name, "type": kind, "links": []} for name, kind in outputs(schema)],
        "properties": _properties(built),
    }
    if node.title is not None:
        record["title"] = node.title
    widgets = [value for slot, value in built.values if slot.is_widget]
    if widgets:
        record["widgets_values"] = widgets
    if node.text is not None:
        record |= {"color": "#432", "bgcolor": "#653"}
    return record


def _properties(built: Built) -> dict[str, Any]:
    node = built.node
    known = {} if node.text is not None or node.subgraph else {"Node name for S&R": node.kind, "cnr_id": _origin(built.schema)}
    return {**known, **node.properties}


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
