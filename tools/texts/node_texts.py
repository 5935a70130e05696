"""The texts of nodes in the form that the frontend reads: names, descriptions and tooltips, by node, input and output.

English is in the schemas. What other languages hold, and with which keys, follows from it:

    {node id: {"display_name", "description", "inputs": {key: {"name", "tooltip"}}, "outputs": {index: {"name", "tooltip"}}}}

An input of a choice's option is called "choice.input"; keys have "_" for ".", as the frontend's normalizeI18nKey makes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

ObjectInfo = Mapping[str, Mapping[str, Any]]
Texts = dict[str, dict[str, Any]]
CHOICE = "COMFY_DYNAMICCOMBO_V3"


@dataclass(frozen=True)
class Variant:
    """An input as one option of a choice has it, or as the node has it (option None)."""

    option: str | None
    tooltip: str
    default: Any = None


@dataclass(frozen=True)
class Input:
    """An input of a node. `of_all` says that every option of its choice has it."""

    name: str
    variants: tuple[Variant, ...]
    optional: bool = False
    advanced: bool = False
    of_all: bool = True

    @property
    def key(self) -> str:
        return self.name.replace(".", "_")

    @property
    def label(self) -> str:
        """What the editor calls it."""
        return self.name.rpartition(".")[2]

    @property
    def tooltip(self) -> str:
        """The tooltip; where options differ, all of them, each behind its option's name."""
        texts = dict.fromkeys(variant.tooltip for variant in self.variants)
        if len(texts) == 1:
            return self.variants[0].tooltip
        return " ".join(f"{', '.join(v.option for v in self.variants if v.tooltip == text)}: {text}" for text in texts)


def inputs(node: Mapping[str, Any]) -> list[Input]:
    """All inputs of a node's schema, those of every option included, in the order of the editor."""
    return [found for group in ("required", "optional") for found in _inputs(node["input"].get(group, {}), group == "optional")]


def _inputs(specs: Mapping[str, Any], optional: bool) -> Iterator[Input]:
    for name, spec in specs.items():
        kind, options = spec[0], (spec[1] if len(spec) > 1 else {})
        default = options["options"][0]["key"] if kind == CHOICE else options.get("default")
        yield Input(name, (Variant(None, options.get("tooltip", ""), default),), optional, bool(options.get("advanced")))
        if kind == CHOICE:
            yield from _of_options(name, options["options"])


def _of_options(choice: str, options: list[Mapping[str, Any]]) -> Iterator[Input]:
    """The inputs that a choice's options bring, each once."""
    found: dict[str, list[tuple[str, Input]]] = {}
    for option in options:
        for single in inputs({"input": option["inputs"]}):
            found.setdefault(single.name, []).append((option["key"], single))
    for name, uses in found.items():
        variants = tuple(Variant(key, single.tooltip, single.variants[0].default) for key, single in uses)
        first = uses[0][1]
        yield Input(f"{choice}.{name}", variants, first.optional, first.advanced, len(uses) == len(options))


def outputs(node: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and tooltip of every output."""
    return list(zip(node["output_name"], node["output_tooltips"], strict=True))


def english(object_info: ObjectInfo) -> Texts:
    """The schemas' own texts."""
    return {
        name: {
            "display_name": node["display_name"],
            "description": node["description"],
            "inputs": {single.key: {"name": single.label, "tooltip": single.tooltip} for single in inputs(node)},
            "outputs": {str(index): {"name": label, "tooltip": tip} for index, (label, tip) in enumerate(outputs(node))},
        }
        for name, node in object_info.items()
    }


def english_locale(object_info: ObjectInfo) -> Texts:
    """What the frontend does not find in the schemas by itself: the tooltips of inputs that options bring."""
    texts = {
        name: {"inputs": {single.key: {"tooltip": single.tooltip} for single in inputs(node) if "." in single.name}}
        for name, node in object_info.items()
    }
    return {name: entry for name, entry in texts.items() if entry["inputs"]}


def missing_and_superfluous(texts: Mapping[str, Any], expected: Mapping[str, Any], where: str = "") -> Iterator[str]:
    """A complaint for each key or text that a translation lacks or has too much; English says what there should be."""
    for key in expected.keys() - texts.keys():
        yield f"{where}{key}: missing"
    for key in texts.keys() - expected.keys():
        yield f"{where}{key}: the schema has no such thing"
    for key in expected.keys() & texts.keys():
        if isinstance(expected[key], Mapping):
            yield from missing_and_superfluous(texts[key], expected[key], f"{where}{key}.")
        elif not texts[key].strip():
            yield f"{where}{key}: empty"
