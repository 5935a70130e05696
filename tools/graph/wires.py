"""Where the editor draws the wires of a saved graph, and which of them run under a node."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .language import ENTRY, EXIT
from .layout import ROW, TITLE, WIDGET

Point = tuple[float, float]

SLOT_TOP = 14
"""From the top of a node's body to the middle of its first slot, pixels."""
CURVE = 0.25
"""How far a wire goes straight out of its slot before it bends, as a part of the distance to its other end."""
SAMPLES = 40


def hidden_wires(graph: Mapping[str, Any]) -> list[str]:
    """The wires of a workflow, or of a subgraph's inside, that run under a node which is neither of their ends; empty if all can be followed."""
    nodes = {node["id"]: node for node in graph["nodes"]}
    found = []
    for origin, origin_slot, target, target_slot in _links(graph):
        if ENTRY in (origin, target) or EXIT in (origin, target):
            continue
        wire = list(curve(output_point(nodes[origin], origin_slot), input_point(nodes[target], target_slot)))
        for node in nodes.values():
            if node["id"] not in (origin, target) and any(_covers(node, point) for point in wire):
                found.append(f"{_name(nodes[origin])} to {_name(nodes[target])} under {_name(node)}")
    return found


def curve(begin: Point, end: Point) -> Iterator[Point]:
    """Points of the cubic that the editor draws from an output to an input."""
    reach = CURVE * math.dist(begin, end)
    controls = begin, (begin[0] + reach, begin[1]), (end[0] - reach, end[1]), end
    for step in range(SAMPLES + 1):
        t = step / SAMPLES
        weights = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3
        yield tuple(sum(weight * point[axis] for weight, point in zip(weights, controls, strict=True)) for axis in (0, 1))


def output_point(node: Mapping[str, Any], slot: int) -> Point:
    (x, y), (width, _) = node["pos"], node["size"]
    return x + width, y + SLOT_TOP + ROW * slot


def input_point(node: Mapping[str, Any], slot: int) -> Point:
    """A socket's, or that of a widget, which stand below all sockets."""
    x, y = node["pos"]
    sockets = [index for index, entry in enumerate(node["inputs"]) if "widget" not in entry]
    if slot in sockets:
        return x, y + SLOT_TOP + ROW * sockets.index(slot)
    widgets = [index for index, entry in enumerate(node["inputs"]) if "widget" in entry]
    rows = max(len(sockets), len(node["outputs"]))
    return x, y + ROW * rows + 6 + WIDGET * (widgets.index(slot) + 0.5)


def _links(graph: Mapping[str, Any]) -> Iterator[Sequence]:
    for link in graph["links"]:
        if isinstance(link, Mapping):
            yield link["origin_id"], link["origin_slot"], link["target_id"], link["target_slot"]
        else:
            yield link[1:5]


def _covers(node: Mapping[str, Any], point: Point) -> bool:
    (x, y), (width, height) = node["pos"], node["size"]
    return x < point[0] < x + width and y - TITLE < point[1] < y + height


def _name(node: Mapping[str, Any]) -> str:
    return f"{node.get('title') or node['type']} ({node['id']})"
