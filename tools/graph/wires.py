"""Where the editor draws the wires of a saved graph, with the reroutes on their way, and which of them run under a node."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .language import ENTRY, EXIT
from .layout import END_MARGIN, ROW, TITLE, WIDGET
from .slots import AFTER_A_RUN
from .subgraphs import LINK

Point = tuple[float, float]
Curve = tuple[Point, Point, Point, Point]
"""The control points of a cubic."""
Rectangle = tuple[float, float, float, float]
"""Left, top, right, bottom."""

SLOT_TOP, SLOT_LEFT, SLOT_RIGHT = 14, 10, 9
"""From the top of a node's body to the middle of its first slot, from its left side to its inputs and from its outputs to its right; pixels."""
SLOT_DEPTH = 15
"""How far a wire runs under the nodes that it begins and ends at."""
CURVE, LONGEST_CURVE = 0.25, 20
"""How far a wire goes straight out of a slot or a reroute before it bends, as a part of the distance to what comes next, and from a reroute
at most, in pixels (the editor's setting "Reroute spline offset")."""
SAMPLES = 40
WEIGHTS = [((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3) for t in (step / SAMPLES for step in range(SAMPLES + 1))]
"""Of the control points of a curve in its points."""
SEEDS = frozenset({"seed", "noise_seed"})


@dataclass(frozen=True)
class Wire:
    """A link, with the middles of the slots at its ends."""

    link: int
    origin: int
    slot: int
    target: int
    begin: Point
    end: Point


@dataclass(eq=False)
class Reroute:
    """A point through which wires of one output run, after they came through its parent's."""

    pos: Point
    parent: Reroute | None
    links: list[int]

    def way(self) -> list[Reroute]:
        """From the first one after the output to this one."""
        return [*(self.parent.way() if self.parent else []), self]


def hidden_wires(graph: Mapping[str, Any]) -> list[str]:
    """The wires of a workflow, or of a subgraph's inside, that run under a node; empty if all can be followed."""
    names = {node["id"]: f"{node.get('title') or node['type']} ({node['id']})" for node in graph["nodes"]} | {ENTRY: "entry", EXIT: "exit"}
    boxes = bodies(graph)
    return [
        f"{names[wire.origin]} to {names[wire.target]} under {names[node]}"
        for wire, path in drawn(wires(graph), last_reroutes(graph)).items()
        for node in dict.fromkeys(itertools.chain.from_iterable(covering(curve, around(wire, boxes)) for curve in path))
    ]


def around(wire: Wire, boxes: Mapping[int, Rectangle], margin: float = 0) -> dict[int, Rectangle]:
    """What a wire must not touch: the boxes with a margin, but not of those at its own ends where its slots are."""
    grown = {}
    for node, (left, top, right, bottom) in boxes.items():
        right = right - SLOT_DEPTH if node == wire.origin else right + margin
        left = left + SLOT_DEPTH if node == wire.target else left - margin
        grown[node] = (left, top - margin, right, bottom + margin)
    return grown


def bodies(graph: Mapping[str, Any]) -> dict[int, Rectangle]:
    """Nodes with their title bars, and both ends of a subgraph, by id."""
    boxes = {node["id"]: (*node["pos"], *node["size"]) for node in graph["nodes"]}
    boxes = {node: (x, y - TITLE, x + width, y + height) for node, (x, y, width, height) in boxes.items()}
    for x, y, width, height, node in ((*graph[end]["bounding"], graph[end]["id"]) for end in ("inputNode", "outputNode") if end in graph):
        boxes[node] = (x, y, x + width, y + height)
    return boxes


def wires(graph: Mapping[str, Any]) -> list[Wire]:
    """The links of a workflow, or of a subgraph's inside."""
    nodes = {node["id"]: node for node in graph["nodes"]}
    found = []
    for link in graph["links"]:
        number, origin, slot, target, target_slot, _ = (link[key] for key in LINK) if isinstance(link, Mapping) else link
        begin = output_point(nodes[origin], slot) if origin in nodes else _end_point(graph["inputNode"], slot)
        end = input_point(nodes[target], target_slot) if target in nodes else _end_point(graph["outputNode"], target_slot)
        found.append(Wire(number, origin, slot, target, begin, end))
    return found


def last_reroutes(graph: Mapping[str, Any]) -> dict[int, Reroute]:
    """The last reroute on the way of each link that has any."""
    extra = graph.get("extra") or {}
    entries = graph.get("reroutes") or extra.get("reroutes") or []
    reroutes = {entry["id"]: Reroute(tuple(entry["pos"]), None, entry["linkIds"]) for entry in entries}
    for entry in entries:
        reroutes[entry["id"]].parent = reroutes.get(entry.get("parentId"))
    extensions = extra.get("linkExtensions") or [link for link in graph["links"] if isinstance(link, Mapping) and link.get("parentId")]
    return {entry["id"]: reroutes[entry["parentId"]] for entry in extensions}


def drawn(wires_: Iterable[Wire], last: Mapping[int, Reroute]) -> dict[Wire, list[Curve]]:
    """What the editor draws of each wire. All wires that share a reroute have to be given."""
    ways = {wire: last[wire.link].way() if wire.link in last else [] for wire in wires_}
    ahead: dict[Reroute, list[Point]] = defaultdict(list)
    for wire, way in ways.items():
        # The editor does not find the place of a subgraph's exit here.
        beyond = [reroute.pos for reroute in way[1:]] + ([] if wire.target == EXIT else [wire.end])
        for reroute, point in zip(way, beyond, strict=False):
            ahead[reroute].append(point)
    paths = {}
    for wire, way in ways.items():
        path, begin = [], wire.begin
        leaving = (1, 0), math.inf
        for reroute in way:
            tangent = _tangent(begin, reroute.pos, ahead[reroute])
            path.append(_curve(begin, *leaving, reroute.pos, tangent, LONGEST_CURVE))
            begin, leaving = reroute.pos, (tangent, LONGEST_CURVE)
        path.append(_curve(begin, *leaving, wire.end, (1, 0), math.inf))
        paths[wire] = path
    return paths


def covering(curve: Curve, boxes: Mapping[Any, Rectangle]) -> list:
    """The boxes over some point of a curve."""
    (left, right), (top, bottom) = ((min(point[axis] for point in curve), max(point[axis] for point in curve)) for axis in (0, 1))
    near = {name: box for name, box in boxes.items() if box[0] < right and left < box[2] and box[1] < bottom and top < box[3]}
    if not near:
        return []
    on_it = list(points(curve))
    return [name for name, (x1, y1, x2, y2) in near.items() if any(x1 < x < x2 and y1 < y < y2 for x, y in on_it)]


def points(curve: Curve) -> Iterator[Point]:
    """SAMPLES points of a curve and its last."""
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = curve
    for a, b, c, d in WEIGHTS:
        yield a * x0 + b * x1 + c * x2 + d * x3, a * y0 + b * y1 + c * y2 + d * y3


def output_point(node: Mapping[str, Any], slot: int) -> Point:
    (x, y), (width, _) = node["pos"], node["size"]
    return x + width - SLOT_RIGHT, y + SLOT_TOP + ROW * slot


def input_point(node: Mapping[str, Any], slot: int) -> Point:
    """A socket's, or that of a widget, which stand below all sockets."""
    x, y = node["pos"]
    sockets = [index for index, entry in enumerate(node["inputs"]) if "widget" not in entry]
    if slot in sockets:
        return x + SLOT_LEFT, y + SLOT_TOP + ROW * sockets.index(slot)
    above = [entry["name"] for entry in node["inputs"][:slot] if "widget" in entry]
    controls = any(value in AFTER_A_RUN for value in node.get("widgets_values", [])) and any(name in SEEDS for name in above)
    rows = max(len(sockets), len(node["outputs"]))
    return x + SLOT_LEFT, y + ROW * rows + 4 + WIDGET * (len(above) + controls + 0.5)


def _end_point(end: Mapping[str, Any], slot: int) -> Point:
    """A slot of a subgraph's entry, at its right, or of its exit, at its left."""
    x, y, width, _ = end["bounding"]
    return x + (width - END_MARGIN if end["id"] == ENTRY else END_MARGIN), y + END_MARGIN + ROW * slot + ROW / 2


def _tangent(before: Point, at: Point, ahead: Sequence[Point]) -> Point:
    """The direction of wires in a reroute: half-way between that of their coming and that of their going on, on the average."""
    if not ahead:
        return 0, 0
    coming = math.atan2(at[1] - before[1], at[0] - before[0])
    going = sum(math.atan2(point[1] - at[1], point[0] - at[0]) for point in ahead) / len(ahead)
    half = (coming - going) / 2
    if abs(half) > math.pi / 2:
        half += math.pi
    return math.cos(coming - half), math.sin(coming - half)


def _curve(begin: Point, leaving: Point, most: float, end: Point, coming: Point, most_there: float) -> Curve:
    """From one point to another with these directions in them; each reaches as far as CURVE says, and at most so many pixels."""
    reach = CURVE * math.dist(begin, end)
    return begin, _moved(begin, leaving, min(most, reach)), _moved(end, coming, -min(most_there, reach)), end


def _moved(point: Point, direction: Point, by: float) -> Point:
    return point[0] + by * direction[0], point[1] + by * direction[1]
