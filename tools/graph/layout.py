"""Where nodes stand: columns from left to right, groups side by side in rows that fit a screen, nothing overlapping."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .built import Built
from .language import Graph, Group
from .slots import Slot, outputs

TITLE, ROW, WIDGET = 30, 20, 24  # heights that the editor draws with, pixels
GAP_X, GAP_Y, PADDING, CAPTION = 60, 30, 20, 50
CAPTION_CHARACTER = 0.55
"""The width of a letter of a group's title as a part of its height."""
ROW_WIDTH = 1880
"""Where a row of groups ends and the next begins: what is seen of a graph at VIEW_SCALE in a window 1600 pixels wide."""
VIEW_SCALE, VIEW_LEFT, VIEW_TOP = 0.8, 85, 120
"""How a workflow opens: its scale, and where its upper left corner is seen, in pixels of the window; beside and below the editor's bars."""
END_LEAST, END_MARGIN, END_CHARACTER = 100, 14, 6.3
PICTURE, REPORT, TEXT_WIDTH, WIDEST, CHARACTER = 280, 100, 400, 380, 7.5
NOTE_WIDTH, NOTE_CHARACTER, NOTE_LINE, NOTE_HEADING, NOTE_GAP = 440, 5, 12, 31, 10
"""Of notes: how wide they are, what a letter takes of it at most on the average, and how high lines, headings and gaps between paragraphs are."""
SIDE = 10
"""From the side of a node to what is in it, pixels."""
LIST = re.compile(r"(-|\d+\.) ")
NOTE_MARGIN, NOTE_INDENT, NOTE_LEAST = 40, 40, 90
"""What a note is higher than its text, how far lists stand to the right, and how high a note is at least."""


@dataclass(frozen=True)
class Box:
    """A node's body in pixels; its title bar stands above it, `room` is kept free for what it grows by once it has run."""

    x: int
    y: int
    width: int
    height: int
    room: int = 0

    @property
    def bottom(self) -> int:
        return self.y + self.height + self.room


def lay_out(graph: Graph, built: Mapping[int, Built]) -> tuple[dict[int, Box], list[dict]]:
    """Body of each node by id, and the frames of the titled groups: rows of stacks of groups."""
    boxes: dict[int, Box] = {}
    frames: list[dict] = []
    left, top, lowest = 0, 0, 0
    for stack in _stacks(graph):
        inside, framed, right, bottom = _stack(stack, built, left, top)
        if left and right > ROW_WIDTH:
            left, top = 0, lowest + GAP_X
            inside, framed, right, bottom = _stack(stack, built, left, top)
        boxes |= inside
        frames += [_frame(len(frames) + number, group, box) for number, (group, box) in enumerate(framed, start=1)]
        left, lowest = right + GAP_X, max(lowest, bottom)
    return boxes, frames


def captions(frames: Iterable[Mapping[str, Any]]) -> list[tuple[float, float, float, float]]:
    """Left, top, right and bottom of the titles of groups."""
    found = []
    for frame in frames:
        x, y, *_ = frame["bounding"]
        found.append((x, y, x + PADDING + len(frame["title"]) * frame["font_size"] * CAPTION_CHARACTER, y + CAPTION - PADDING / 2))
    return found


def view(boxes: Iterable[Box], frames: Iterable[Mapping[str, Any]], reroutes: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What the editor shows of a workflow when it opens it: its upper left part, at a size at which it can be read."""
    corners = [(box.x, box.y - TITLE) for box in boxes] + [tuple(frame["bounding"][:2]) for frame in frames]
    corners += [tuple(reroute["pos"]) for reroute in reroutes]
    left, top = (min((corner[axis] for corner in corners), default=0) for axis in (0, 1))
    return {"scale": VIEW_SCALE, "offset": [VIEW_LEFT / VIEW_SCALE - left, VIEW_TOP / VIEW_SCALE - top]}


def _stacks(graph: Graph) -> list[list[Group]]:
    """The groups that have nodes, each with those that stand below it."""
    stacks: list[list[Group]] = []
    for group in (group for group in graph.groups if group.nodes):
        under = next((stack for stack in stacks if group.below in stack), None)
        if under is None:
            stacks.append([group])
        else:
            under.append(group)
    return stacks


def _stack(
    stack: Sequence[Group], built: Mapping[int, Built], left: int, top: int
) -> tuple[dict[int, Box], list[tuple[Group, Box]], int, int]:
    """Bodies of the nodes of a stack of groups, the titled groups with their boxes, and where the stack ends at the right and below."""
    boxes: dict[int, Box] = {}
    framed = []
    rightmost = bottom = 0
    for group in stack:
        inside = _columns_of_boxes(group, built, left + PADDING, top + CAPTION + TITLE)
        right = max(box.x + box.width for box in inside.values()) + PADDING
        bottom = max(box.bottom for box in inside.values()) + PADDING
        if group.title is not None:
            framed.append((group, Box(left, top, right - left, bottom - top)))
        boxes |= inside
        top, rightmost = bottom + GAP_X, max(rightmost, right)
    return boxes, framed, rightmost, bottom


def ends_beside(boxes: Sequence[Box], entering: Sequence[str], leaving: Sequence[str]) -> tuple[Box, Box]:
    """Where the two ends of a subgraph with these names stand: left and right of its nodes, level with their top."""
    left, right = min(box.x for box in boxes), max(box.x + box.width for box in boxes)
    top = min(box.y for box in boxes)
    (width, height), size = _end_size(entering), _end_size(leaving)
    return Box(left - 3 * GAP_X - width, top, width, height), Box(right + 3 * GAP_X, top, *size)


def _end_size(names: Sequence[str]) -> tuple[int, int]:
    """Width and height that the editor gives an end of a subgraph, to which it adds a free slot."""
    width = max([END_LEAST, *(len(name) * END_CHARACTER + ROW for name in names)])
    return round(width) + 2 * END_MARGIN, (len(names) + 1) * ROW + 2 * END_MARGIN


def _frame(number: int, group: Group, box: Box) -> dict:
    bounding = [box.x, box.y, box.width, box.height]
    return {"id": number, "title": group.title, "bounding": bounding, "color": group.color, "font_size": 24, "flags": {}}


def _columns_of_boxes(group: Group, built: Mapping[int, Built], left: int, top: int) -> dict[int, Box]:
    """Bodies of a group's nodes: columns from `left`, each stacked down from `top`."""
    columns = _columns(group, built)
    boxes = {}
    for column in sorted(set(columns.values())):
        stack = sorted((node for node in group.nodes if columns[node.id] == column), key=lambda node: node.place.row or 0)
        sizes = {node.id: _size(built[node.id]) for node in stack}
        y = top
        for node in stack:
            boxes[node.id] = Box(left, y, *sizes[node.id], _room(built[node.id]))
            y = boxes[node.id].bottom + TITLE + GAP_Y
        left += max(width for width, _ in sizes.values()) + GAP_X
    return boxes


def _columns(group: Group, built: Mapping[int, Built]) -> dict[int, int]:
    """The column of each node: right of what it reads; a node that reads nothing here stands just left of its first reader."""
    reads = {node.id: {link.node.id for link in built[node.id].links.values()} for node in group.nodes}
    columns: dict[int, int] = {}
    for node in group.nodes:
        columns[node.id] = max((columns[source] for source in reads[node.id] if source in columns), default=-1) + 1
        if node.place.column is not None:
            columns[node.id] = node.place.column
    for node in group.nodes:
        readers = [columns[reader] for reader, sources in reads.items() if node.id in sources]
        if node.place.column is None and readers and not reads[node.id] & columns.keys():
            columns[node.id] = max(0, min(readers) - 1)
    return columns


def _size(built: Built) -> tuple[int, int]:
    """Width and height of a node's body, large enough for what the editor draws in it and for a picture if it shows one."""
    node, place = built.node, built.node.place
    if node.text is not None:
        width = place.width or NOTE_WIDTH
        return width, place.height or max(NOTE_LEAST, _text_height(node.text, width - 2 * SIDE) + NOTE_MARGIN)
    sockets = [slot for slot in built.shown if not slot.is_widget]
    widgets = [(slot, value) for slot, value in built.values if slot.is_widget]
    texts = [str(value) for slot, value in widgets if slot.options.get("multiline")]
    width = place.width or _width(built, sockets, widgets)
    grows = any(spec[0] == "COMFY_AUTOGROW_V3" for group in built.schema["input"].values() for spec in group.values())
    rows = max(len(sockets) + grows, len(built.schema["output"]), 1)  # the editor shows one socket more while it loads a node that grows
    height = rows * ROW + 6 + (len(widgets) * WIDGET + 8 if widgets else 0)
    for text in texts:
        height += max(70, 18 * sum(1 + len(line) * CHARACTER // (width - 40) for line in text.splitlines() or [""]))
    height += sum(30 for slot, _ in widgets if slot.multiple)
    if not _shrinks(built):
        height += PICTURE if shows_picture(built.schema) else REPORT if built.schema.get("output_node") else 0
    return width, place.height or int(height)


def _text_height(text: str, width: int) -> int:
    """How high the editor draws Markdown at most: headings, paragraphs and lists."""
    height = 0
    for line, following in itertools.pairwise([*text.splitlines(), ""]):
        if line.startswith("#"):
            height += NOTE_HEADING
        elif line:
            room = width - NOTE_INDENT if LIST.match(line) else width
            height += math.ceil(len(line.replace("*", "")) * NOTE_CHARACTER / room) * NOTE_LINE + (0 if following else NOTE_GAP)
    return height


def _room(built: Built) -> int:
    return PICTURE if _shrinks(built) and shows_picture(built.schema) else 0


def _shrinks(built: Built) -> bool:
    """Whether the editor, when it opens the node, fits its height to its inputs: it does after it has set a DynamicCombo."""
    return any(slot.kind == "COMFY_DYNAMICCOMBO_V3" for slot, _ in built.values)


def _width(built: Built, sockets: list[Slot], widgets: list[tuple[Slot, Any]]) -> int:
    """Wide enough for title, facing socket names, and each widget's name and value; rounded to ten pixels."""
    title = built.node.title or built.schema.get("display_name") or built.node.kind
    left = max((len(slot.label or slot.name) for slot in sockets), default=0)
    right = max((len(name) for name, _ in outputs(built.schema)), default=0)
    multiline = any(slot.options.get("multiline") for slot, _ in widgets)
    labels = [len(slot.name) + len(str(value)) for slot, value in widgets if not slot.options.get("multiline")]
    needed = max([len(title) + 8, left + right + 6, *(label + 10 for label in labels)]) * CHARACTER
    least = TEXT_WIDTH if multiline else PICTURE if shows_picture(built.schema) else 270
    return max(least, min(WIDEST, math.ceil(needed / 10) * 10))


def shows_picture(schema: Mapping[str, Any]) -> bool:
    """Whether the editor draws a picture in the node: those that upload one, and those that end a graph and handle pictures or masks."""
    specs = [spec for name, group in schema["input"].items() if name != "hidden" for spec in group.values()]
    if any(len(spec) > 1 and spec[1].get("image_upload") for spec in specs):
        return True
    handled = [*schema["output"], *(spec[0] for spec in specs)]
    return ("IMAGE" in handled or "MASK" in handled) and bool(schema.get("output_node") or schema.get("has_intermediate_output"))
