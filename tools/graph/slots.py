"""The inputs of a node in the order in which the editor shows and stores them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

WIDGET_KINDS = frozenset({"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", "COLOR", "BOUNDING_BOX", "COMFY_DYNAMICCOMBO_V3"})
EMPTY_VALUES = {"INT": 0, "FLOAT": 0.0, "STRING": "", "BOOLEAN": False, "COLOR": "#ffffff"}
# Buttons and selectors that the editor adds on its own. They have a value in the file and none in a prompt.
CONTROL, UPLOAD, PART = "CONTROL", "IMAGEUPLOAD", "PART"
OWN = (CONTROL, UPLOAD, PART)
AFTER_A_RUN = ("fixed", "increment", "decrement", "randomize")
"""What CONTROL may let the editor do with a seed after a run."""
SIDES = ("x", "y", "width", "height")
UPLOADS = ("image", "animated_image", "video")


@dataclass(frozen=True)
class Slot:
    """An input as the editor shows it: a socket, or a widget that holds a value (and takes a link too).

    kind: type of the schema; options: the schema's, e.g. min, max, default; `follows` marks an input that belongs to the option of a DynamicCombo.
    """

    name: str
    kind: str
    options: Mapping[str, Any]
    optional: bool = False
    label: str | None = None
    follows: bool = False

    @property
    def is_widget(self) -> bool:
        if self.options.get("forceInput") or self.options.get("rawLink"):
            return False
        return self.kind in OWN or self.options.get("widgetType", self.kind) in WIDGET_KINDS

    @property
    def in_prompt(self) -> bool:
        return self.kind not in OWN

    @property
    def has_socket(self) -> bool:
        """Whether the editor lists it among the inputs of a node."""
        return self.kind not in (CONTROL, PART)

    @property
    def choices(self) -> list | None:
        """The values a combo allows, None for other inputs and for combos that the editor fills later."""
        if self.kind == "COMFY_DYNAMICCOMBO_V3":
            return [option["key"] for option in self.options["options"]]
        return list(self.options["options"]) if self.kind == "COMBO" and "options" in self.options else None

    @property
    def multiple(self) -> bool:
        return bool(self.options.get("multiselect") or self.options.get("multi_select"))

    @property
    def default(self) -> Any:
        """The value that the editor gives a new node."""
        if self.kind == CONTROL:
            return "fixed"
        if self.kind == UPLOAD:
            return "image"
        if "default" in self.options:
            return self.options["default"]
        if self.choices is not None:
            return [] if self.multiple else next(iter(self.choices), "")
        return EMPTY_VALUES.get(self.options.get("widgetType", self.kind))


ValueOf = Callable[[Slot], Any]


def slots(schema: Mapping[str, Any], value_of: ValueOf, linked: Collection[str]) -> Iterator[tuple[Slot, Any]]:
    """The inputs of a node in the order of its widget values, each with its value (None for sockets).

    `value_of` is asked once per widget, in order: which inputs follow a DynamicCombo depends on its value. `linked` names the inputs that
    have a link: an Autogrow shows as many as it needs and one more.
    """
    for group in ("required", "optional"):
        given = schema["input"].get(group, {})
        order = schema.get("input_order", {}).get(group, list(given))
        yield from expand({name: given[name] for name in order}, group == "optional", value_of, linked)
        if any(len(spec) > 1 and any(spec[1].get(f"{medium}_upload") for medium in UPLOADS) for spec in given.values()):
            button = Slot("upload", UPLOAD, {})
            yield button, value_of(button)


def stored_values(node: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[tuple[Slot, Any]]:
    """The inputs of a saved node with their values, read from widgets_values in order; what the file lacks has its default."""
    saved = node.get("widgets_values") or []
    linked = {entry["name"] for entry in node.get("inputs", []) if entry.get("link") is not None}
    if isinstance(saved, dict):
        return slots(schema, lambda slot: saved.get(slot.name, slot.default), linked)
    remaining = iter(saved)
    return slots(schema, lambda slot: next(remaining, slot.default), linked)


def expand(specs: Mapping, optional: bool, value_of: ValueOf, linked: Collection[str], parent: str = "") -> Iterator[tuple[Slot, Any]]:
    for name, spec in specs.items():
        kind, options = spec[0], (spec[1] if len(spec) > 1 else {})
        if isinstance(kind, list):
            kind, options = "COMBO", {**options, "options": kind}
        elif kind == "COMFY_MATCHTYPE_V3":
            kind = options["template"]["allowed_types"]
        slot = Slot(parent + name, kind, options, optional, follows=bool(parent))
        if parent and not slot.is_widget:
            slot = replace(slot, label=name)
        if kind == "COMFY_AUTOGROW_V3":
            yield from ((grown, None) for grown in _grow(slot, linked))
            continue
        value = value_of(slot) if slot.is_widget else None
        yield slot, value
        if slot.is_widget and kind in ("INT", "COMBO") and options.get("control_after_generate", slot.name in ("seed", "noise_seed")):
            control = Slot("control_after_generate", CONTROL, {})
            yield control, value_of(control)
        if slot.is_widget and kind == "BOUNDING_BOX":
            for side in SIDES:
                part = Slot(side, PART, {"default": value[side]})
                yield part, value_of(part)
        if kind == "COMFY_DYNAMICCOMBO_V3":
            chosen = next((option["inputs"] for option in options["options"] if option["key"] == value), {})
            for group in ("required", "optional"):
                yield from expand(chosen.get(group, {}), group == "optional", value_of, linked, f"{slot.name}.")


def _grow(slot: Slot, linked: Collection[str]) -> Iterator[Slot]:
    """The sockets that an Autogrow shows: the least number, or up to the last link, and an empty one to drop the next link on."""
    template = slot.options["template"]
    required = "required" in template["input"] and bool(template["input"]["required"])
    (spec,) = (template["input"].get("required") or template["input"]["optional"]).values()
    names = autogrow_names(slot)
    last = max((index for index, name in enumerate(names) if f"{slot.name}.{name}" in linked), default=-1)
    least = template.get("min", 1)
    for index, name in enumerate(names[: max(least, last + 1) + 1]):
        (socket, _), *_ = expand({name: spec}, index >= least or not required, lambda _: None, (), f"{slot.name}.")
        yield replace(socket, label=name, options={**socket.options, "forceInput": True}, follows=slot.follows)


def autogrow_names(slot: Slot) -> list[str]:
    """All names that an Autogrow may use below its own."""
    template = slot.options["template"]
    return list(template["names"]) if "names" in template else [f"{template['prefix']}{index}" for index in range(template["max"])]


def outputs(schema: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and type of each output; a type is "*" if it follows that of an input."""
    kinds = ["COMBO" if isinstance(kind, list) else kind for kind in schema["output"]]
    return [(str(name), "*" if kind == "COMFY_MATCHTYPE_V3" else kind) for name, kind in zip(schema["output_name"], kinds, strict=True)]
