"""Ways around the nodes for wires that would run under one: through the channels that a layout leaves free, by the editor's reroutes.

Each wire takes the cheapest way on a lattice of lanes between the nodes: short, of few bends, and not on a lane of another output's wire.
Wires of one output share their way as far as it goes. Of a way the reroutes are kept without which the editor's curve would touch a node.
"""

from __future__ import annotations

import functools
import heapq
import itertools
import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .wires import Curve, Point, Rectangle, Reroute, Wire, around, covering, drawn

LANE, LANES, SAME = 14, 10, 3
"""Pixels between lanes, how many of them there are at most beside a node, and how many pixels apart two count as one."""
CLEAR, TOUCH = 11, 5
"""Pixels from a node that lanes keep, and that curves keep."""
BEND, TAKEN, SHARED = 60, 4, 0.25
"""What a bend costs, as if it were that many pixels; how much dearer a lane is that another wire has, and how much cheaper one's own."""
GUARD, SHORT = 30, 100
"""Pixels before and behind a bend within which a curve can be held, and up to which a stretch may be left to a slope."""

ACROSS, DOWN, BEGIN, END = range(4)
"""The axis of a stretch, or that a point is the bend behind an output or before an input."""
SEVERAL = None
"""The owner of a lane that wires of several outputs have."""


def routed(wires: Sequence[Wire], boxes: Mapping[int, Rectangle], captions: Sequence[Rectangle] = ()) -> dict[int, Reroute]:
    """The last reroute of each wire that would run under one of the boxes, which are named by the ids of the wires' ends; captions are kept clear
    too. ValueError if there is no way between two nodes.
    """
    return _routed(tuple(wires), tuple(boxes.items()), tuple(captions))


@functools.cache  # the same subgraph is in several workflows
def _routed(wires: Sequence[Wire], named_boxes: Sequence[tuple[int, Rectangle]], captions: Sequence[Rectangle]) -> dict[int, Reroute]:
    boxes = dict(named_boxes)
    nets: dict[tuple[int, int], list[Wire]] = defaultdict(list)
    for wire, path in drawn(wires, {}).items():
        if any(covering(curve, around(wire, boxes)) for curve in path):
            nets[wire.origin, wire.slot].append(wire)
    if not nets:
        return {}
    titles = {("title", number): caption for number, caption in enumerate(captions)}
    lattice = _Lattice(boxes | titles)
    last: dict[int, Reroute] = {}
    for net in sorted(nets.values(), key=lambda net: sum(_between(wire.begin, wire.end) for wire in net)):
        ways = _ways(sorted(net, key=lambda wire: _between(wire.begin, wire.end)), lattice)
        last |= _fewest(net, ways, boxes, titles)
    return last


def _between(one: Point, other: Point) -> float:
    """How far it is across and down."""
    return abs(one[0] - other[0]) + abs(one[1] - other[1])


class _Lattice:
    """Crossings of lanes, by the indices of their x and y; which of the edges between them are free, and whose they are."""

    def __init__(self, obstacles: Mapping[Any, Rectangle]):
        self.obstacles = obstacles
        upright = list(obstacles.values())
        flipped = [(top, left, bottom, right) for left, top, right, bottom in upright]
        self.lanes = (_lanes(upright), _lanes(flipped))
        self.blocked: tuple[set, set] = (set(), set())
        self.taken: tuple[dict, dict] = ({}, {})
        self._steps: dict[tuple[int, int], list] = {}
        for axis, rectangles in ((ACROSS, upright), (DOWN, flipped)):
            along, beside = self.lanes[axis], self.lanes[1 - axis]
            for near, low, far, high in rectangles:
                edges = range(bisect_right(along, near - CLEAR) - 1, bisect_left(along, far + CLEAR))
                for lane in range(bisect_right(beside, low - CLEAR), bisect_left(beside, high + CLEAR)):
                    self.blocked[axis].update((edge, lane) for edge in edges)

    def point(self, at: tuple[int, int]) -> Point:
        return self.lanes[0][at[0]], self.lanes[1][at[1]]

    def steps(self, at: tuple[int, int]) -> list[tuple[tuple[int, int], int, tuple[int, int], float]]:
        """Crossings beside this one, each with the axis, the edge and the distance on the way."""
        if at not in self._steps:
            self._steps[at] = list(self._find_steps(at))
        return self._steps[at]

    def _find_steps(self, at: tuple[int, int]) -> Iterator[tuple[tuple[int, int], int, tuple[int, int], float]]:
        for axis in (ACROSS, DOWN):
            lanes = self.lanes[axis]
            for by in (-1, 1):
                beside = (at[0] + by, at[1]) if axis == ACROSS else (at[0], at[1] + by)
                edge = (min(at[axis], beside[axis]), at[1 - axis])
                if 0 <= beside[axis] < len(lanes) and edge not in self.blocked[axis]:
                    yield beside, axis, edge, abs(lanes[beside[axis]] - lanes[at[axis]])

    def take(self, begin: Point, end: Point, owner: Wire) -> None:
        """Make a straight stretch the lane of a wire's output, with what lies too near to be told apart."""
        axis = ACROSS if begin[1] == end[1] else DOWN
        along, beside = self.lanes[axis], self.lanes[1 - axis]
        near, far = sorted((begin[axis], end[axis]))
        for lane in range(bisect_right(beside, begin[1 - axis] - LANE), bisect_left(beside, begin[1 - axis] + LANE)):
            for edge in range(max(0, bisect_right(along, near) - 1), bisect_left(along, far)):
                known = self.taken[axis].setdefault((edge, lane), (owner.origin, owner.slot))
                if known != (owner.origin, owner.slot):
                    self.taken[axis][edge, lane] = SEVERAL

    def clear(self, begin: Point, end: Point, but: int | None = None) -> bool:
        """Whether a straight stretch keeps away from all obstacles but one."""
        (x1, x2), (y1, y2) = sorted((begin[0], end[0])), sorted((begin[1], end[1]))
        return not any(
            left - CLEAR < x2 and x1 < right + CLEAR and top - CLEAR < y2 and y1 < bottom + CLEAR
            for name, (left, top, right, bottom) in self.obstacles.items()
            if name != but
        )

    def approaches(self, slot: Point, node: int, side: int) -> Iterator[tuple[tuple[int, int], Point]]:
        """Crossings from which a slot of a node is reached by a stretch down and one across, each with the bend; `side` is 1 for slots on the right."""
        columns, rows = self.lanes
        row = bisect_left(rows, slot[1])
        first = bisect_right(columns, slot[0]) if side > 0 else bisect_left(columns, slot[0]) - 1
        for column in range(first, len(columns) if side > 0 else -1, side):
            bend = (columns[column], slot[1])
            if not self.clear(slot, bend, node):
                return
            for near in (row - 1, row):
                if 0 <= near < len(rows) and self.clear(bend, (columns[column], rows[near])):
                    yield (column, near), bend


def _lanes(rectangles: Sequence[Rectangle]) -> list[int]:
    """Coordinates of the lanes between rectangles that face each other from left to right, and outside of all."""
    found = set()
    for near, low, far, high in rectangles:
        facing = [other for other in rectangles if other[1] < high + CLEAR and low - CLEAR < other[3]]
        beyond = min((other[0] for other in facing if other[0] >= far), default=far + LANE * (LANES + 1))
        before = max((other[2] for other in facing if other[2] <= near), default=near - LANE * (LANES + 1))
        for begin, end in ((far, beyond), (before, near)):
            count = min(LANES, int((end - begin) / LANE) - 1)
            found |= {round((begin + end) / 2 + (lane - (count - 1) / 2) * LANE) for lane in range(count)}
    lanes: list[int] = []
    for lane in sorted(found):
        if not lanes or lane - lanes[-1] > SAME:
            lanes.append(lane)
    return lanes


@dataclass
class _Ways:
    """The ways of an output's wires as a tree of points, each with the one before it; stretches are straight."""

    before: dict[Point, Point | None] = field(default_factory=dict)
    crossings: dict[tuple[int, int], int] = field(default_factory=dict)
    """Those on the way, each with the axis on which it is reached."""
    ends: dict[int, Point] = field(default_factory=dict)
    """The last bend of each link."""

    def to(self, point: Point) -> list[Point]:
        """The points from the output to this one."""
        points = [point]
        while (before := self.before[points[-1]]) is not None:
            points.append(before)
        return points[::-1]

    def length(self, point: Point) -> float:
        return sum(_between(*pair) for pair in itertools.pairwise(self.to(point)))


def _ways(net: Sequence[Wire], lattice: _Lattice) -> _Ways:
    """The cheapest ways for the wires of an output, one after another: each may begin with a part of those found."""
    ways = _Ways({net[0].begin: None})
    for wire in net:
        found = _cheapest(wire, ways, lattice)
        points = [*found, wire.end]
        for begin, end in itertools.pairwise(points):
            lattice.take(begin, end, wire)
        ways.ends[wire.link] = found[-1]
    return ways


def _cheapest(wire: Wire, ways: _Ways, lattice: _Lattice) -> list[Point]:
    """Points of the cheapest way from the output or from what is found of its ways to the last bend before the input; they are added to `ways`."""
    own = (wire.origin, wire.slot)
    ends: dict[tuple[int, int], list[Point]] = defaultdict(list)
    for at, bend in lattice.approaches(wire.end, wire.target, -1):
        ends[at].append(bend)
    queue: list = []
    best: dict[tuple, float] = {}
    came: dict[tuple, tuple | None] = {}

    def push(cost: float, state: tuple, before: tuple | None) -> None:
        """A state is a bend from which the wire's end is reached, or a crossing with the axis on which it was reached."""
        if cost < best.get(state, math.inf):
            best[state], came[state] = cost, before
            point = lattice.point(state[0]) if state[1] in (ACROSS, DOWN) else state[0]
            heapq.heappush(queue, (cost + _between(point, wire.end), cost, state))

    for at, axis in ways.crossings.items():
        travelled = SHARED * ways.length(lattice.point(at))
        for leaving in (ACROSS, DOWN):
            push(travelled + (BEND if leaving != axis else 0), (at, leaving), None)
    for at, bend in lattice.approaches(wire.begin, wire.origin, 1):
        push(_between(wire.begin, bend) + BEND + _between(bend, lattice.point(at)), (at, DOWN), (bend, BEGIN))
    while queue:
        _, cost, state = heapq.heappop(queue)
        if cost > best[state]:
            continue
        at, axis = state
        if axis == END:
            return _add(ways, state, came, lattice, wire)
        for bend in ends.get(at, ()):
            stretch = _between(lattice.point(at), bend) + _between(bend, wire.end)
            push(cost + stretch + BEND + (BEND if axis == ACROSS else 0), (bend, END), state)
        for beside, along, edge, step in lattice.steps(at):
            dear = TAKEN if lattice.taken[along].get(edge, own) != own else 1
            push(cost + step * dear + (BEND if along != axis else 0), (beside, along), state)
    raise ValueError(f"There is no way from node {wire.origin} to node {wire.target} but under others.")


def _add(ways: _Ways, state: tuple, came: Mapping, lattice: _Lattice, wire: Wire) -> list[Point]:
    """The points up to a state, which become a part of the ways."""
    states = [state]
    while came.get(states[-1]) is not None:
        states.append(came[states[-1]])
    points = []
    for at, axis in reversed(states):
        if axis in (ACROSS, DOWN):
            ways.crossings.setdefault(at, axis)
            points.append(lattice.point(at))
        else:
            points += [wire.begin, at] if axis == BEGIN else [at]
    for before, point in itertools.pairwise(points):
        if point != before:
            ways.before.setdefault(point, before)
    return points


def _fewest(net: Sequence[Wire], ways: _Ways, boxes: Mapping[int, Rectangle], titles: Mapping[Any, Rectangle]) -> dict[int, Reroute]:
    """The last reroutes of an output's wires: of the bends and branches of their ways, and of points before and behind them, those that are needed."""
    last, reroutes = _all_reroutes(net, ways)
    keep_off = [{**around(wire, boxes, TOUCH), **titles} for wire in net]

    @functools.cache
    def is_free(number: int, curve: Curve) -> bool:
        return not covering(curve, keep_off[number])

    def free() -> bool:
        return all(is_free(number, curve) for number, path in enumerate(drawn(net, last).values()) for curve in path)

    kept = list(reroutes)
    for reroute in reroutes:
        following = [other for other in kept if other.parent is reroute]
        ending = [link for link, other in last.items() if other is reroute]
        if len(following) + len(ending) > 1 or not _is_short(
            reroute, following, [wire for wire in net if wire.link in ending], net[0].begin
        ):
            continue
        _lead(following, ending, last, reroute.parent)
        if free():
            kept.remove(reroute)
        else:
            _lead(following, ending, last, reroute)
    for wire in net:
        for reroute in last[wire.link].way():
            reroute.links.append(wire.link)
    return last


def _is_short(reroute: Reroute, following: Sequence[Reroute], ending: Sequence[Wire], begin: Point) -> bool:
    """Whether a wire that goes without this reroute still goes down and across, but for a short stretch."""
    before = reroute.parent.pos if reroute.parent else begin
    beyond = [*(other.pos for other in following), *(wire.end for wire in ending)]
    return all(min(_between(before, reroute.pos), _between(reroute.pos, point)) < SHORT for point in beyond)


def _lead(following: Sequence[Reroute], ending: Sequence[int], last: dict[int, Reroute], through: Reroute | None) -> None:
    """Let reroutes and the ends of links follow after `through`, or after the output."""
    for reroute in following:
        reroute.parent = through
    for link in ending:
        if through is None:
            del last[link]
        else:
            last[link] = through


def _all_reroutes(net: Sequence[Wire], ways: _Ways) -> tuple[dict[int, Reroute], list[Reroute]]:
    """A reroute for every bend and branch, and for points beside them; the last of each link, and all: those first that are best done without."""
    chains = [[*ways.to(ways.ends[wire.link]), wire.end] for wire in net]
    after: dict[Point, set[Point]] = defaultdict(set)
    for point, following in itertools.chain.from_iterable(map(itertools.pairwise, chains)):
        after[point].add(following)
    last: dict[int, Reroute] = {}
    made: dict[tuple[Point, Point], Reroute] = {}
    guards = []
    for wire, chain in zip(net, chains, strict=True):
        points = [
            point
            for before, point, following in zip(chain, chain[1:], chain[2:], strict=False)
            if len(after[point]) > 1 or not _straight(before, point, following)
        ]
        parent = None
        stops = [wire.begin, *points, wire.end]
        for before, point, following in zip(stops, stops[1:], stops[2:], strict=False):
            beside = [_on_the_way(point, before), point, _on_the_way(point, following)]
            for stop in filter(None, beside):
                key = (point, stop)
                if key not in made:
                    made[key] = Reroute((round(stop[0]), round(stop[1])), parent, [])
                    if stop != point:
                        guards.append(made[key])
                parent = made[key]
        last[wire.link] = parent
    bends = [reroute for reroute in made.values() if reroute not in guards]
    return last, [*guards, *bends]


def _straight(*points: Point) -> bool:
    return any(len({point[axis] for point in points}) == 1 for axis in (0, 1))


def _on_the_way(point: Point, other: Point) -> Point | None:
    """A point beside this one towards another, if that is far enough."""
    distance = _between(point, other)
    if distance < 3 * GUARD:
        return None
    return tuple(round(here + (there - here) * GUARD / distance) for here, there in zip(point, other, strict=True))
