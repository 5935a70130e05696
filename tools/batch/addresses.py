"""How a manifest names the inputs of a workflow: by title, by node id, or by a short name of the workflow's own note."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from graph import ObjectInfo, to_prompt
from graph.slots import UPLOADS, Slot, expand, slots, stored_values
from graph.subgraphs import with_subgraphs

Prompt = Mapping[str, Mapping[str, Any]]
Place = tuple[str, str]
"""A node's id in the prompt, and the name of its input."""

SHORT_NAMES = re.compile(r"(?im)^\W*batch\b.*$")
SHORT_NAME = re.compile(r"(?m)^\s*[-*]\s*`([^`]+)`\s*[:=]\s*`([^`]+)`")
DYNAMIC = "COMFY_DYNAMICCOMBO_V3"


@dataclass(frozen=True)
class Input:
    """An input that rows may set. places: where its value goes; an input of a subgraph may feed several. kind: of the schema.

    choices: what a combo offers, None for other inputs. file: whether the host offers an upload for it. least, most: bounds of a number.
    brought: for the choices of a dynamic combo, the inputs that each brings, with their values until they get others.
    """

    places: tuple[Place, ...]
    kind: str
    choices: tuple | None = None
    file: bool = False
    least: float | None = None
    most: float | None = None
    brought: Mapping[str, Mapping[str, Any]] | None = None


def inputs_of_prompt(prompt: Prompt, object_info: ObjectInfo) -> dict[str, list[Input]]:
    """Every input with a value of every node, under `Title.input` and `id.inputs.input`. A title that is there twice has several."""
    found: dict[str, list[Input]] = defaultdict(list)
    for node_id, node in prompt.items():
        schema = object_info[node["class_type"]]
        given = node["inputs"]
        linked = {name for name, value in given.items() if _is_link(value)}

        def value_of(slot: Slot, given: Mapping = given, linked: set = linked) -> Any:
            return slot.default if slot.name in linked else given.get(slot.name, slot.default)

        shown = {slot.name: slot for slot, _ in slots(schema, value_of, linked)}
        hidden = {slot.name: slot for slot in list(shown.values()) for option in _options(slot).values() for slot in option}
        for slot in {**hidden, **shown}.values():
            if slot.is_widget and slot.in_prompt:
                described = _described(slot, ((node_id, slot.name),))
                found[f"{title_of(prompt, node_id)}.{slot.name}"].append(described)
                found[f"{node_id}.inputs.{slot.name}"].append(described)
    return dict(found)


def inputs_of_subgraphs(workflow: Mapping[str, Any], object_info: ObjectInfo) -> dict[str, list[Input]]:
    """The inputs that nodes of subgraphs show outside: `Title.input`, where the value goes to nodes inside."""
    known = with_subgraphs(workflow, object_info)
    subgraphs = known.keys() - object_info.keys()
    marks: dict[int, tuple[str, Slot]] = {}
    nodes = []
    for node in workflow["nodes"]:
        if node["type"] in subgraphs:
            schema = known[node["type"]]
            values = []
            for slot, _ in stored_values(node, schema):
                if slot.is_widget:
                    values.append(_Mark())
                    marks[id(values[-1])] = (f"{node.get('title') or schema['display_name']}.{slot.name}", slot)
            node = {**node, "widgets_values": values}
        nodes.append(node)
    places: dict[int, list[Place]] = defaultdict(list)
    for node_id, node in to_prompt({**workflow, "nodes": nodes}, object_info).items():
        for name, value in node["inputs"].items():
            if isinstance(value, _Mark):
                places[id(value)].append((node_id, name))
    found: dict[str, list[Input]] = defaultdict(list)
    for mark, (address, slot) in marks.items():
        if places[mark]:
            found[address].append(_described(slot, tuple(places[mark])))
    return dict(found)


def short_names(workflow: Mapping[str, Any]) -> dict[str, str]:
    """Addresses by the short names that a note lists below a line that begins with "Batch": "- `prompt`: `Edit Picture by Prompt.prompt`"."""
    found: dict[str, str] = {}
    for node in workflow.get("nodes", []):
        if node["type"] in ("Note", "MarkdownNote") and node.get("widgets_values"):
            text = str(node["widgets_values"][0])
            if heading := SHORT_NAMES.search(text):
                found.update(SHORT_NAME.findall(text[heading.end() :]))
    return found


def title_of(prompt: Prompt, node_id: str) -> str:
    """The title under which a person knows a node."""
    node = prompt.get(node_id, {})
    return (node.get("_meta") or {}).get("title") or node.get("class_type", node_id)


def links_of(node: Mapping[str, Any]) -> Iterator[tuple[str, list]]:
    """Name and source, [node id, output], of each input of a prompt's node that another node feeds."""
    return ((name, value) for name, value in node["inputs"].items() if _is_link(value))


class _Mark:
    """Stands for the value of one widget, to see where it goes."""


def _options(slot: Slot) -> dict[str, list[Slot]]:
    """The inputs that each choice of a dynamic combo brings; nothing for other inputs."""
    if slot.kind != DYNAMIC:
        return {}
    return {
        option["key"]: [
            brought
            for group in ("required", "optional")
            for brought, _ in expand(option["inputs"].get(group, {}), group == "optional", lambda inner: inner.default, (), f"{slot.name}.")
        ]
        for option in slot.options["options"]
    }


def _described(slot: Slot, places: tuple[Place, ...]) -> Input:
    file = any(slot.options.get(f"{medium}_upload") for medium in UPLOADS)
    choices = None if slot.choices is None or slot.multiple else tuple(slot.choices)
    number = slot.kind in ("INT", "FLOAT")
    least, most = (slot.options.get(bound) if number else None for bound in ("min", "max"))
    brought = {key: {inner.name: inner.default for inner in inside if inner.is_widget} for key, inside in _options(slot).items()}
    return Input(places, slot.kind, choices, file, least, most, brought or None)


def _is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int)
