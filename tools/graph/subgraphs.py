"""Saved subgraphs: what their nodes look like from outside, and a workflow with all of them taken apart.

A subgraph is a definition in the file and nodes that name it. From outside it is a node like others, with a schema that follows from
what its inputs feed; so whatever builds, reads or checks nodes needs to know no more of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .language import BYPASS, ENTRY, EXIT, NEVER, PASSAGE, ObjectInfo
from .slots import Slot, stored_values

LINK = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
"""What the editor keeps of a link: in a workflow as a list in this order, in a subgraph by these names."""


def with_subgraphs(workflow: Mapping[str, Any], object_info: ObjectInfo) -> ObjectInfo:
    """The schema, together with those of the subgraphs that the workflow defines."""
    definitions = _definitions(workflow)
    known = dict(object_info)

    def learn(definition: Mapping[str, Any]) -> None:
        for node in definition["nodes"]:
            if node["type"] in definitions and node["type"] not in known:
                learn(definitions[node["type"]])
        known[definition["id"]] = schema_of(definition, known)

    for definition in definitions.values():
        learn(definition)
    return known


def schema_of(definition: Mapping[str, Any], object_info: ObjectInfo) -> dict[str, Any]:
    """A subgraph as the server would describe it, were it a node class: each input is like the first that takes it inside.

    Inputs that no known input takes are left out.
    """
    groups: dict[str, dict[str, list]] = {"required": {}, "optional": {}}
    for entry in definition["inputs"]:
        readers = list(filter(None, (_reader(definition, link, object_info) for link in entry["linkIds"])))
        if readers:
            slot, value = next((reader for reader in readers if reader[0].is_widget), readers[0])
            options = {**slot.options, "control_after_generate": False}
            if slot.is_widget:
                options["default"] = value
            groups["optional" if slot.optional else "required"][entry["name"]] = [entry["type"], options]
    return {
        "input": groups,
        "output": [output["type"] for output in definition["outputs"]],
        "output_name": [output["name"] for output in definition["outputs"]],
        "display_name": definition["name"],
        "python_module": "subgraph",
    }


def _reader(definition: Mapping[str, Any], link_id: int, object_info: ObjectInfo) -> tuple[Slot, Any] | None:
    """The input at the end of a link inside, and the value in its widget; None if the schema does not know it."""
    link = next(link for link in definition["links"] if link["id"] == link_id)
    node = next(node for node in definition["nodes"] if node["id"] == link["target_id"])
    if node["type"] not in object_info:
        return None
    name = node["inputs"][link["target_slot"]]["name"]
    return next(((slot, value) for slot, value in stored_values(node, object_info[node["type"]]) if slot.name == name), None)


def ends(definition: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Both ends of a subgraph as nodes of it: what comes in is an output of one, what goes out an input of the other."""
    leaving = [
        {"name": output["name"], "type": output["type"], "link": next(iter(output["linkIds"]), None)} for output in definition["outputs"]
    ]
    return [
        {"id": ENTRY, "type": PASSAGE, "inputs": [], "outputs": definition["inputs"]},
        {"id": EXIT, "type": PASSAGE, "inputs": leaving, "outputs": []},
    ]


def links_of(definition: Mapping[str, Any]) -> list[list]:
    """Its links as a workflow lists them."""
    return [[link[key] for key in LINK] for link in definition["links"]]


def taken_apart(workflow: Mapping[str, Any], object_info: ObjectInfo) -> tuple[list[dict], list[list]]:
    """Nodes and links of a workflow without its subgraphs: of each node that names one its inner nodes are left, `12` in `5` as "5:12".

    What goes in and out passes through a node of the type PASSAGE at either end, whose outputs are its inputs. The one at the exit
    has the id of the node that it stands for. `object_info` knows the subgraphs. Muted and bypassed nodes stay whole.
    """
    definitions = _definitions(workflow)
    nodes, links = [], []

    def unpack(inside: list, links_inside: list[list], path: str) -> None:
        links.extend(
            [f"{path}{number}", f"{path}{origin}", origin_slot, f"{path}{target}", target_slot, kind]
            for number, origin, origin_slot, target, target_slot, kind in links_inside
        )
        for node in inside:
            inputs = [
                {**entry, "link": None if entry.get("link") is None else f"{path}{entry['link']}"} for entry in node.get("inputs") or []
            ]
            whole = {**node, "id": f"{path}{node['id']}", "inputs": inputs}
            definition = definitions.get(node["type"])
            if definition is None or node.get("mode", 0) in (NEVER, BYPASS):
                nodes.append(whole)
                continue
            below = f"{whole['id']}:"
            values = {slot.name: value for slot, value in stored_values(node, object_info[node["type"]])}
            entering = [{**entry, "value": values.get(entry["name"])} for entry in inputs]
            entry, exit_ = ends(definition)
            leaving = [{**output, "link": output["link"] and f"{below}{output['link']}"} for output in exit_["inputs"]]
            nodes.extend([{**entry, "id": f"{below}{ENTRY}", "inputs": entering}, {**exit_, "id": whole["id"], "inputs": leaving}])
            unpack(definition["nodes"], links_of(definition), below)

    unpack(workflow["nodes"], workflow["links"], "")
    return nodes, links


def parts(workflow: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The workflow itself, and each of its subgraphs as if it were one, with both its ends as nodes; `where` says which."""
    yield {"where": "", "nodes": workflow["nodes"], "links": workflow["links"]}
    for definition in _definitions(workflow).values():
        yield {"where": f" in {definition['name']}", "nodes": [*definition["nodes"], *ends(definition)], "links": links_of(definition)}


def _definitions(workflow: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {definition["id"]: definition for definition in (workflow.get("definitions") or {}).get("subgraphs", [])}
