"""A described node together with its schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .language import Choice, Node, ObjectInfo, Output
from .slots import Slot, autogrow_names, slots


@dataclass(frozen=True)
class Built:
    """A node with its inputs, in both orders, settled: what it needs to be drawn and linked."""

    node: Node
    schema: Mapping[str, Any]
    values: list[tuple[Slot, Any]]
    links: Mapping[str, Output]

    @property
    def shown(self) -> list[Slot]:
        """Inputs as the editor lists them: sockets first, then widgets; those of a DynamicCombo stay behind it."""
        slots_ = [slot for slot, _ in self.values if slot.has_socket]
        return sorted(slots_, key=lambda slot: slot.is_widget or (slot.follows and "." in slot.name))


def build_node(node: Node, object_info: ObjectInfo) -> Built:
    if node.text is not None:
        return Built(node, {"input": {}, "output": [], "output_name": []}, [(Slot("text", "STRING", {}), node.text)], {})
    if node.kind not in object_info:
        raise ValueError(f"There is no node class {node.kind!r}.")
    schema = object_info[node.kind]
    given = flatten(node.inputs, schema)
    links = {name: value for name, value in given.items() if isinstance(value, Output)}
    constants = {name: value for name, value in given.items() if name not in links}
    constants = {name: link.preset for name, link in links.items() if link.preset is not None} | constants
    values = list(slots(schema, lambda slot: constants.get(slot.name, slot.default), links))
    known = [slot.name for slot, _ in values if slot.in_prompt]
    for name in given.keys() - set(known):
        raise ValueError(f"{node.name} has no input {name!r} here; it has: {', '.join(known)}.")
    for slot, _ in values:
        if slot.name in constants and not slot.is_widget:
            raise ValueError(
                f"The input {slot.name!r} of {node.name} is a socket; it takes an output of another node, not {constants[slot.name]!r}."
            )
    return Built(node, schema, values, links)


def flatten(inputs: Mapping[str, Any], schema: Mapping[str, Any], parent: str = "") -> dict[str, Any]:
    """Inputs by their flat names: `mode.strength` for what a Choice holds, `refs.ref0` for an item of an Autogrow."""
    flat: dict[str, Any] = {}
    for name, value in inputs.items():
        path = parent + name
        if isinstance(value, Choice):
            flat[path] = value.key
            flat |= flatten(value.inputs, schema, f"{path}.")
        elif isinstance(value, dict):
            flat |= {f"{path}.{key}": item for key, item in value.items()}
        elif isinstance(value, list | tuple) and any(isinstance(item, Output) for item in value):
            flat |= {f"{path}.{key}": item for key, item in zip(_names_below(path, schema), value, strict=False)}
        else:
            flat[path] = value
    return flat


def _names_below(path: str, schema: Mapping[str, Any]) -> list[str]:
    """Names of the items of the Autogrow `path`, which may belong to an option of a DynamicCombo; ValueError if there is none."""
    groups = list(schema["input"].values())
    *parents, name = path.split(".")
    for parent in parents:
        options = [option for group in groups if parent in group for option in group[parent][1].get("options", [])]
        groups = [group for option in options for group in option["inputs"].values()]
    for group in groups:
        if name in group and group[name][0] == "COMFY_AUTOGROW_V3":
            return autogrow_names(Slot(path, *group[name]))
    raise ValueError(f"{schema.get('name')} has no input {path!r} that takes a list of outputs.")
