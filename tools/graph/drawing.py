"""A workflow as a picture that needs no editor: SVG of its groups, nodes, links and values."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from .language import ObjectInfo
from .layout import ROW, TITLE
from .slots import AFTER_A_RUN
from .wires import SLOT_TOP, Curve, bodies, drawn, last_reroutes, points, wires

MARGIN = 40  # pixels of the editor
COLOURS = {
    "MODEL": "#b39ddb",
    "CLIP": "#ffd500",
    "VAE": "#ff6e6e",
    "CONDITIONING": "#ffa931",
    "LATENT": "#ff9cf9",
    "IMAGE": "#64b5f6",
    "MASK": "#81c784",
}
"""The editor's own for its usual types."""
OTHERS = "#9e9e9e"

STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#ccc}.title{font-size:14px;fill:#eee}.group{font-size:22px;fill:#bbb}"
    ".node{fill:#353535}.head{fill:#2a2a2a}.frame{fill:#3f789e;fill-opacity:.15;stroke:#3f789e}"
    "path{fill:none;stroke-width:3;opacity:.8}"
)


def to_svg(workflow: Mapping[str, Any], object_info: ObjectInfo) -> str:
    """The open graph of a workflow in the editor's format; the insides of subgraphs stay closed."""
    left, top, right, bottom = bounds(workflow)
    kinds = {link[0]: link[5] for link in workflow["links"]}
    parts = [
        *map(_frame, workflow["groups"]),
        *(_wire(path, kinds[wire.link]) for wire, path in drawn(wires(workflow), last_reroutes(workflow)).items()),
        *(_node(node, object_info) for node in workflow["nodes"]),
    ]
    view = f"{left} {top} {right - left} {bottom - top}"
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{view}"><style>{STYLE}</style>{"".join(parts)}</svg>'


def bounds(workflow: Mapping[str, Any]) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of what is drawn with a margin, pixels of the editor; of a workflow or of a subgraph's inside."""
    boxes = [*bodies(workflow).values()]
    boxes += [(x, y, x + width, y + height) for x, y, width, height in (group["bounding"] for group in workflow["groups"])]
    boxes += [2 * point for path in drawn(wires(workflow), last_reroutes(workflow)).values() for curve in path for point in points(curve)]
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts) - MARGIN, min(tops) - MARGIN, max(rights) + MARGIN, max(bottoms) + MARGIN


def _frame(group: Mapping[str, Any]) -> str:
    x, y, width, height = group["bounding"]
    return f'<rect class="frame" x="{x}" y="{y}" width="{width}" height="{height}" rx="6"/>' + _text(
        group["title"], x + 12, y + 30, "group"
    )


def _node(node: Mapping[str, Any], object_info: ObjectInfo) -> str:
    (x, y), (width, height) = node["pos"], node["size"]
    rows = [
        f'<rect class="node" x="{x}" y="{y - TITLE}" width="{width}" height="{height + TITLE}" rx="6"/>',
        f'<rect class="head" x="{x}" y="{y - TITLE}" width="{width}" height="{TITLE}" rx="6"/>',
        _text(
            node.get("title") or object_info.get(node["type"], {}).get("display_name") or node["type"], x + 12, y - 10, "title", width - 24
        ),
    ]
    sockets = [slot for slot in node["inputs"] if "widget" not in slot]
    for row, slot in enumerate(sockets):
        rows.append(_text(slot.get("label") or slot["name"], x + 14, _slot_y(node, row) + 4))
    for row, slot in enumerate(node["outputs"]):
        rows.append(_text(slot["name"], x + width - 14, _slot_y(node, row) + 4, anchor="end"))
    top = y + SLOT_TOP + ROW * max(len(sockets), len(node["outputs"])) + 8
    for row, line in enumerate(_widget_lines(node)):
        if top + row * ROW > y + height:
            break  # A note or a long text: the node shows as much as fits.
        rows.append(_text(line, x + 14, top + row * ROW, width=width - 28))
    return "".join(rows)


def _widget_lines(node: Mapping[str, Any]) -> list[str]:
    """`name: value` for every widget; the lines of a node without named widgets, such as a note."""
    values = list(node.get("widgets_values") or [])
    names = [slot["name"] for slot in node["inputs"] if "widget" in slot and slot["name"] != "upload"]
    if not names:
        return [line for value in values for line in str(value).splitlines() if line]
    lines = []
    for name in names:
        if not values:
            break
        lines.append(f"{name}: {values.pop(0)}")
        if name.endswith("seed") and values and values[0] in AFTER_A_RUN:
            values.pop(0)  # a widget without an input, which seeds of subgraphs do not have
    return lines


def _wire(path: Sequence[Curve], kind: str) -> str:
    (x, y), *_ = path[0]
    curves = "".join("C" + " ".join(f"{x:g} {y:g}" for x, y in controls) for _, *controls in path)
    return f'<path stroke="{COLOURS.get(kind, OTHERS)}" d="M{x:g} {y:g}{curves}"/>'


def _slot_y(node: Mapping[str, Any], row: int) -> float:
    return node["pos"][1] + SLOT_TOP + ROW * row


def _text(text: str, x: float, y: float, kind: str = "", width: float | None = None, anchor: str = "start") -> str:
    if width is not None and len(text) > (most := int(width / 7)):
        text = f"{text[: most - 1]}…"
    return f'<text class="{kind}" x="{x}" y="{y}" text-anchor="{anchor}">{html.escape(text)}</text>'
