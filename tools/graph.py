"""Workflows described in Python: build the editor's JSON, turn it back into a prompt, check it against a live schema.

The language, by example:

    from graph import Choice, Graph, Place

    graph = Graph("Text to image", description="A picture from a prompt.")
    graph.note("## Text to image\\nWrite a prompt, press **Run**.", title="Read me")

    with graph.group("1 Model and prompt"):
        model = graph.add("CheckpointLoaderSimple", ckpt_name="v1-5-pruned-emaonly.safetensors")
        prompt = graph.add("CLIPTextEncode", title="Prompt", clip=model["CLIP"], text="a cat")
        negative = graph.add("CLIPTextEncode", title="Negative prompt", clip=model["CLIP"], text="")
    with graph.group("2 Sample"):
        latent = graph.add("EmptyLatentImage", width=512, height=512)
        sampled = graph.add(
            "KSampler", model=model["MODEL"], positive=prompt[0], negative=negative[0], latent_image=latent[0], steps=20, seed=7
        )
        picture = graph.add("VAEDecode", samples=sampled[0], vae=model["VAE"])
        graph.add("SaveImage", title="1 result", images=picture[0], filename_prefix="result")

- `add(kind, title=..., place=..., **inputs)`: an input is a constant or an output of an earlier node, `node["NAME"]` or `node[0]`.
  A name is the input's id in the schema. Widgets that are not named get their default, sockets that are not named stay open.
- A DynamicCombo takes `Choice("key", strength=0.7, mask=other["MASK"])`; an Autogrow takes a list of outputs (or a dictionary by name).
- Nodes of a `with graph.group(...) as box` block stand in one titled box. Boxes follow one another from left to right in the order in which
  they begin; `graph.group(title, below=box)` puts a box under an earlier one instead. Nodes outside groups form boxes without a frame.
- In a box a node stands one column right of the nodes it reads from. `place=Place(column=..., row=...)` moves it, `Place(width=..., height=...)`
  sizes it (pixels of the editor at zoom 1). Nodes never overlap, wherever they are put: a column is a stack, sorted by row.
- `note(text)` is Markdown. A note outside groups stands left of what follows; inside a group it heads the first column.
- Nodes that make or read pictures get room for them. Titles of Save and Preview nodes name the pictures in the demo and the thumbnail, which
  take them in natural order: "1 input", "2 result", "3 ground truth".
- `Graph(..., thumbnail=("1 input", "2 result"))` picks the pictures of the thumbnail by title; `thumbnail_of="Other workflow"` borrows the
  thumbnail of a workflow that can run where this one cannot.

`to_workflow` builds the JSON, `to_prompt` is its inverse for running without an editor, `check` lists what a live schema (the reply of
the server's /object_info) would not accept.
"""

from __future__ import annotations

import contextlib
import math
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

ObjectInfo = Mapping[str, Mapping[str, Any]]

EDITOR_ONLY = frozenset({"Note", "MarkdownNote", "Reroute", "PrimitiveNode"})
NEVER, BYPASS = 2, 4  # values of a node's "mode" in the editor

# --- the description language -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """Where a node stands in its group (column, row: from 0) and how large it is (pixels); None leaves it to the layout."""

    column: int | None = None
    row: int | None = None
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True)
class Output:
    """One output of a node, to be given as an input of another; `name` as in the schema, or its index."""

    node: Node
    name: str | int


class Choice:
    """The option `key` of a DynamicCombo with the inputs that belong to it."""

    def __init__(self, key: str, /, **inputs: Any):
        self.key, self.inputs = key, inputs


@dataclass(frozen=True, eq=False)
class Node:
    """A node of a description; index it with an output's name to link from it. `text` is set for notes only."""

    id: int
    kind: str
    title: str | None
    place: Place
    inputs: Mapping[str, Any] = field(default_factory=dict)
    text: str | None = None

    def __getitem__(self, output: str | int) -> Output:
        return Output(self, output)


@dataclass(frozen=True, eq=False)
class Group:
    """A box of nodes; without a title it is laid out alike, and not drawn. `below` is the box it stands under."""

    title: str | None
    color: str = ""
    below: Group | None = None
    nodes: list[Node] = field(default_factory=list)


class Graph:
    """A workflow in the making. `title` names its file, `description` is one sentence about what it does."""

    def __init__(self, title: str, description: str = "", *, thumbnail: tuple[str, ...] | None = None, thumbnail_of: str | None = None):
        self.title, self.description = title, description
        self.thumbnail, self.thumbnail_of = thumbnail, thumbnail_of
        self.groups: list[Group] = []
        self._open: Group | None = None

    @property
    def nodes(self) -> list[Node]:
        """All nodes and notes in the order in which they were added; a node's id is its place in this order, from 1."""
        return sorted((node for group in self.groups for node in group.nodes), key=lambda node: node.id)

    def add(self, kind: str, /, *, title: str | None = None, place: Place | None = None, **inputs: Any) -> Node:
        """Add a node of the class `kind`. Names are checked when the workflow is built, as only the schema knows them."""
        return self._append(Node(len(self.nodes) + 1, kind, title, place or Place(), inputs))

    def note(self, text: str, *, title: str = "Note", place: Place | None = None) -> Node:
        """Add a note in Markdown; it is for the reader and no part of the prompt."""
        if self._open is None:
            self.groups.append(Group(None))
        return self._append(Node(len(self.nodes) + 1, "MarkdownNote", title, place or Place(column=0, row=-1), text=text))

    @contextlib.contextmanager
    def group(self, title: str, *, color: str = "#3f789e", below: Group | None = None) -> Iterator[Group]:
        """Nodes added within the `with` block stand together in a titled box. Groups do not nest: ValueError."""
        if self._open is not None:
            raise ValueError(f"The group {title!r} begins inside the group {self._open.title!r}; groups do not nest.")
        self._open = Group(title, color, below)
        self.groups.append(self._open)
        try:
            yield self._open
        finally:
            self._open = None

    def _append(self, node: Node) -> Node:
        if self._open is None and not self._last_takes(node):
            self.groups.append(Group(None))
        (self._open or self.groups[-1]).nodes.append(node)
        return node

    def _last_takes(self, node: Node) -> bool:
        """Whether the last box is one without a frame that may hold this node; a note has its box to itself."""
        last = self.groups[-1] if self.groups else None
        return last is not None and last.title is None and (not last.nodes or (last.nodes[-1].text is None) == (node.text is None))


# --- the inputs of a node as the editor orders them -------------------------------------------------------------------

WIDGET_KINDS = frozenset({"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", "COLOR", "COMFY_DYNAMICCOMBO_V3"})
EMPTY_VALUES = {"INT": 0, "FLOAT": 0.0, "STRING": "", "BOOLEAN": False, "COLOR": "#ffffff"}
# Buttons and selectors that the editor adds on its own. They have a value in the file and none in a prompt.
CONTROL, UPLOAD = "CONTROL", "IMAGEUPLOAD"
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
        return self.kind in (CONTROL, UPLOAD) or self.options.get("widgetType", self.kind) in WIDGET_KINDS

    @property
    def in_prompt(self) -> bool:
        return self.kind not in (CONTROL, UPLOAD)

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
        yield from _expand({name: given[name] for name in order}, group == "optional", value_of, linked)
        if any(len(spec) > 1 and any(spec[1].get(f"{medium}_upload") for medium in UPLOADS) for spec in given.values()):
            button = Slot("upload", UPLOAD, {})
            yield button, value_of(button)


def _expand(specs: Mapping, optional: bool, value_of: ValueOf, linked: Collection[str], parent: str = "") -> Iterator[tuple[Slot, Any]]:
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
        if kind == "COMFY_DYNAMICCOMBO_V3":
            chosen = next((option["inputs"] for option in options["options"] if option["key"] == value), {})
            for group in ("required", "optional"):
                yield from _expand(chosen.get(group, {}), group == "optional", value_of, linked, f"{slot.name}.")


def _grow(slot: Slot, linked: Collection[str]) -> Iterator[Slot]:
    """The sockets that an Autogrow shows: the least number, or up to the last link, and an empty one to drop the next link on."""
    template = slot.options["template"]
    required = "required" in template["input"] and bool(template["input"]["required"])
    (spec,) = (template["input"].get("required") or template["input"]["optional"]).values()
    names = autogrow_names(slot)
    last = max((index for index, name in enumerate(names) if f"{slot.name}.{name}" in linked), default=-1)
    least = template.get("min", 1)
    for index, name in enumerate(names[: max(least, last + 1) + 1]):
        (socket, _), *_ = _expand({name: spec}, index >= least or not required, lambda _: None, (), f"{slot.name}.")
        yield replace(socket, label=name, options={**socket.options, "forceInput": True}, follows=slot.follows)


def autogrow_names(slot: Slot) -> list[str]:
    """All names that an Autogrow may use below its own."""
    template = slot.options["template"]
    return list(template["names"]) if "names" in template else [f"{template['prefix']}{index}" for index in range(template["max"])]


def outputs(schema: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and type of each output; a type is "*" if it follows that of an input."""
    kinds = ["COMBO" if isinstance(kind, list) else kind for kind in schema["output"]]
    return [(str(name), "*" if kind == "COMFY_MATCHTYPE_V3" else kind) for name, kind in zip(schema["output_name"], kinds, strict=True)]


# --- building the editor's file ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Built:
    """A node with its inputs, in both orders, settled: what it needs to be drawn and linked."""

    node: Node
    schema: Mapping[str, Any]
    values: list[tuple[Slot, Any]]
    links: Mapping[str, Output]

    @property
    def shown(self) -> list[Slot]:
        """Inputs as the editor lists them: sockets first, then widgets; those of a DynamicCombo stay behind it."""
        slots_ = [slot for slot, _ in self.values if slot.kind != CONTROL]
        return sorted(slots_, key=lambda slot: slot.is_widget or (slot.follows and "." in slot.name))


def to_workflow(graph: Graph, object_info: ObjectInfo) -> dict:
    """The workflow as the editor saves it (format 0.4). ValueError names a node, input or output that the schema does not have."""
    built = {node.id: _build(node, object_info) for node in graph.nodes}
    boxes, frames = _lay_out(graph, built)
    records = {node_id: _record(entry, boxes[node_id], order) for order, (node_id, entry) in enumerate(built.items())}
    links = []
    for target_id, entry in built.items():
        for target_slot, slot in enumerate(entry.shown):
            source = entry.links.get(slot.name)
            if source is None:
                continue
            origin_slot, kind = _output_index(source, built[source.node.id])
            links.append([len(links) + 1, source.node.id, origin_slot, target_id, target_slot, kind])
            records[target_id]["inputs"][target_slot]["link"] = len(links)
            records[source.node.id]["outputs"][origin_slot]["links"].append(len(links))
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"graft/{graph.title}")),
        "revision": 0,
        "last_node_id": max(records, default=0),
        "last_link_id": len(links),
        "nodes": list(records.values()),
        "links": links,
        "groups": frames,
        "config": {},
        "extra": {"description": graph.description},
        "version": 0.4,
    }


def _build(node: Node, object_info: ObjectInfo) -> _Built:
    if node.text is not None:
        return _Built(node, {"input": {}, "output": [], "output_name": []}, [(Slot("text", "STRING", {}), node.text)], {})
    if node.kind not in object_info:
        raise ValueError(f"There is no node class {node.kind!r}.")
    schema = object_info[node.kind]
    given = _flatten(node.inputs, schema)
    links = {name: value for name, value in given.items() if isinstance(value, Output)}
    constants = {name: value for name, value in given.items() if name not in links}
    values = list(slots(schema, lambda slot: constants.get(slot.name, slot.default), links))
    known = [slot.name for slot, _ in values if slot.in_prompt]
    for name in given.keys() - set(known):
        raise ValueError(f"{node.kind} has no input {name!r} here; it has: {', '.join(known)}.")
    for slot, _ in values:
        if slot.name in constants and not slot.is_widget:
            raise ValueError(
                f"The input {slot.name!r} of {node.kind} is a socket; it takes an output of another node, not {constants[slot.name]!r}."
            )
    return _Built(node, schema, values, links)


def _flatten(inputs: Mapping[str, Any], schema: Mapping[str, Any], parent: str = "") -> dict[str, Any]:
    """Inputs by their flat names: `mode.strength` for what a Choice holds, `refs.ref0` for an item of an Autogrow."""
    flat: dict[str, Any] = {}
    for name, value in inputs.items():
        path = parent + name
        if isinstance(value, Choice):
            flat[path] = value.key
            flat |= _flatten(value.inputs, schema, f"{path}.")
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


def _output_index(source: Output, built: _Built) -> tuple[int, str]:
    known = outputs(built.schema)
    for index, (name, kind) in enumerate(known):
        if source.name in (index, name):
            return index, kind
    raise ValueError(f"{source.node.kind} has no output {source.name!r}; it has: {', '.join(name for name, _ in known)}.")


def _record(built: _Built, box: _Box, order: int) -> dict:
    node, schema = built.node, built.schema
    record: dict[str, Any] = {
        "id": node.id,
        "type": node.kind,
        "pos": [box.x, box.y],
        "size": [box.width, box.height],
        "flags": {},
        "order": order,
        "mode": 0,
        "inputs": [] if node.text is not None else [_input_record(slot) for slot in built.shown],
        "outputs": [{"name": name, "type": kind, "links": []} for name, kind in outputs(schema)],
        "properties": {} if node.text is not None else {"Node name for S&R": node.kind, "cnr_id": _origin(schema)},
    }
    if node.title is not None:
        record["title"] = node.title
    widgets = [value for slot, value in built.values if slot.is_widget]
    if widgets:
        record["widgets_values"] = widgets
    if node.text is not None:
        record |= {"color": "#432", "bgcolor": "#653"}
    return record


def _input_record(slot: Slot) -> dict:
    record: dict[str, Any] = {"name": slot.name, "type": slot.kind, "link": None}
    if slot.label:
        record["label"] = slot.label
    if slot.optional:
        record["shape"] = 7  # the editor draws optional inputs as hollow circles
    if slot.is_widget:
        record["widget"] = {"name": slot.name}
    return record


def _origin(schema: Mapping[str, Any]) -> str:
    """The registry's name of the pack a node comes from; the editor uses it to say what to install."""
    module = schema.get("python_module", "nodes").split(".")
    return module[1] if module[0] == "custom_nodes" and len(module) > 1 else "comfy-core"


# --- layout -----------------------------------------------------------------------------------------------------------

TITLE, ROW, WIDGET = 30, 20, 24  # heights that the editor draws with, pixels
GAP_X, GAP_Y, PADDING, CAPTION = 60, 30, 20, 50
PICTURE, REPORT, TEXT_WIDTH, NOTE_WIDTH, CHARACTER, NOTE_CHARACTER = 300, 100, 400, 440, 7.5, 6


@dataclass(frozen=True)
class _Box:
    """A node's body in pixels; its title bar stands above it."""

    x: int
    y: int
    width: int
    height: int


def _lay_out(graph: Graph, built: Mapping[int, _Built]) -> tuple[dict[int, _Box], list[dict]]:
    """Body of each node by id, and the frames of the titled groups: a row of stacks of groups."""
    stacks: list[list[Group]] = []
    for group in (group for group in graph.groups if group.nodes):
        under = next((stack for stack in stacks if group.below in stack), None)
        if under is None:
            stacks.append([group])
        else:
            under.append(group)
    boxes: dict[int, _Box] = {}
    frames: list[dict] = []
    left = 0
    for stack in stacks:
        top, rightmost = 0, left
        for group in stack:
            inside = _columns_of_boxes(group, built, left + PADDING, top + CAPTION + TITLE)
            right = max(box.x + box.width for box in inside.values()) + PADDING
            bottom = max(box.y + box.height for box in inside.values()) + PADDING
            if group.title is not None:
                frames.append(_frame(len(frames) + 1, group, _Box(left, top, right - left, bottom - top)))
            boxes |= inside
            top, rightmost = bottom + GAP_X, max(rightmost, right)
        left = rightmost + GAP_X
    return boxes, frames


def _frame(number: int, group: Group, box: _Box) -> dict:
    bounding = [box.x, box.y, box.width, box.height]
    return {"id": number, "title": group.title, "bounding": bounding, "color": group.color, "font_size": 24, "flags": {}}


def _columns_of_boxes(group: Group, built: Mapping[int, _Built], left: int, top: int) -> dict[int, _Box]:
    """Bodies of a group's nodes: columns from `left`, each stacked down from `top`."""
    columns = _columns(group, built)
    boxes = {}
    for column in sorted(set(columns.values())):
        stack = sorted((node for node in group.nodes if columns[node.id] == column), key=lambda node: node.place.row or 0)
        sizes = {node.id: _size(built[node.id]) for node in stack}
        y = top
        for node in stack:
            width, height = sizes[node.id]
            boxes[node.id] = _Box(left, y, width, height)
            y += height + TITLE + GAP_Y
        left += max(width for width, _ in sizes.values()) + GAP_X
    return boxes


def _columns(group: Group, built: Mapping[int, _Built]) -> dict[int, int]:
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


def _size(built: _Built) -> tuple[int, int]:
    """Width and height of a node's body, large enough for what the editor draws in it and for a picture if it shows one."""
    node, place = built.node, built.node.place
    if node.text is not None:
        width = place.width or NOTE_WIDTH
        lines = sum(max(1, math.ceil(len(line) * NOTE_CHARACTER / (width - 40))) for line in node.text.splitlines())
        return width, place.height or lines * ROW + 50
    sockets = [slot for slot in built.shown if not slot.is_widget]
    widgets = [(slot, value) for slot, value in built.values if slot.is_widget]
    texts = [str(value) for slot, value in widgets if slot.options.get("multiline")]
    width = place.width or _width(built, sockets, widgets)
    height = max(len(sockets), len(built.schema["output"]), 1) * ROW + 6 + (len(widgets) * WIDGET + 8 if widgets else 0)
    for text in texts:
        height += max(70, 18 * sum(1 + len(line) * CHARACTER // (width - 40) for line in text.splitlines() or [""]))
    height += sum(30 for slot, _ in widgets if slot.multiple)
    return width, place.height or int(height) + (
        PICTURE if _shows_picture(built.schema) else REPORT if built.schema.get("output_node") else 0
    )


def _width(built: _Built, sockets: list[Slot], widgets: list[tuple[Slot, Any]]) -> int:
    """Wide enough for title, facing socket names, and each widget's name and value; rounded to ten pixels."""
    title = built.node.title or built.schema.get("display_name") or built.node.kind
    left = max((len(slot.label or slot.name) for slot in sockets), default=0)
    right = max((len(name) for name, _ in outputs(built.schema)), default=0)
    multiline = any(slot.options.get("multiline") for slot, _ in widgets)
    labels = [len(slot.name) + len(str(value)) for slot, value in widgets if not slot.options.get("multiline")]
    needed = max([len(title) + 8, left + right + 6, *(label + 10 for label in labels)]) * CHARACTER
    least = TEXT_WIDTH if multiline else PICTURE if _shows_picture(built.schema) else 270
    return max(least, min(500, math.ceil(needed / 10) * 10))


def _shows_picture(schema: Mapping[str, Any]) -> bool:
    """Whether the editor draws a picture in the node: those that upload one, and those that end a graph and handle pictures."""
    specs = [spec for name, group in schema["input"].items() if name != "hidden" for spec in group.values()]
    if any(len(spec) > 1 and spec[1].get("image_upload") for spec in specs):
        return True
    pictures = "IMAGE" in [*schema["output"], *(spec[0] for spec in specs)]
    return pictures and bool(schema.get("output_node") or schema.get("has_intermediate_output"))


# --- the prompt -------------------------------------------------------------------------------------------------------


def to_prompt(workflow: Mapping[str, Any], object_info: ObjectInfo) -> dict[str, dict]:
    """The prompt that the editor's Run would post for this workflow, by node id.

    Notes and muted nodes are left out, links from muted nodes with them; bypassed nodes and reroutes hand on what they get; a
    PrimitiveNode becomes a constant. ValueError for a node class that the schema does not have (a subgraph is one).
    """
    nodes = {node["id"]: node for node in workflow["nodes"]}
    links = {link[0]: link for link in workflow["links"]}
    prompt = {}
    for node in workflow["nodes"]:
        if node["type"] in EDITOR_ONLY or node.get("mode", 0) in (NEVER, BYPASS):
            continue
        if node["type"] not in object_info:
            raise ValueError(f"There is no node class {node['type']!r} (node {node['id']}).")
        schema = object_info[node["type"]]
        inputs = {slot.name: _sent(value) for slot, value in _stored(node, schema) if slot.is_widget and slot.in_prompt}
        for entry in node.get("inputs", []):
            if entry.get("link") is not None:
                source = _source(entry["link"], nodes, links)
                if source is not None:
                    inputs[entry["name"]] = source
        title = node.get("title") or schema.get("display_name") or node["type"]
        prompt[str(node["id"])] = {"class_type": node["type"], "inputs": inputs, "_meta": {"title": title}}
    return prompt


def _stored(node: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[tuple[Slot, Any]]:
    """The inputs of a saved node with their values, read from widgets_values in order; what the file lacks has its default."""
    saved = node.get("widgets_values") or []
    linked = {entry["name"] for entry in node.get("inputs", []) if entry.get("link") is not None}
    if isinstance(saved, dict):
        return slots(schema, lambda slot: saved.get(slot.name, slot.default), linked)
    remaining = iter(saved)
    return slots(schema, lambda slot: next(remaining, slot.default), linked)


def _sent(value: Any) -> Any:
    """A list would be taken for a link; the host unwraps this form."""
    return {"__value__": value} if isinstance(value, list) else value


def _source(link_id: int, nodes: Mapping[int, Mapping], links: Mapping[int, list]) -> Any:
    """What a link brings: [node id, output index], a constant, or None if a muted or open end is behind it."""
    _, origin_id, origin_slot, _, _, kind = links[link_id]
    node = nodes[origin_id]
    mode = node.get("mode", 0)
    if mode == NEVER:
        return None
    if node["type"] == "PrimitiveNode":
        return node["widgets_values"][0]
    if node["type"] != "Reroute" and mode != BYPASS:
        return [str(origin_id), origin_slot]
    entries = node.get("inputs", [])
    same_place = entries[origin_slot : origin_slot + 1]
    passed = next((entry for entry in [*same_place, *entries] if node["type"] == "Reroute" or _fits(entry["type"], kind)), None)
    return None if passed is None or passed.get("link") is None else _source(passed["link"], nodes, links)


def _fits(one: str, other: str) -> bool:
    """Whether a link may join two types; a type may be a list with commas, "*" is any."""
    return "*" in (one, other) or not set(one.upper().split(",")).isdisjoint(other.upper().split(","))


# --- checking a file --------------------------------------------------------------------------------------------------

FILE_SUFFIXES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".gguf", ".png", ".jpg", ".jpeg", ".webp")


def check(workflow: Mapping[str, Any], object_info: ObjectInfo) -> list[str]:
    """Complaints about a saved workflow, one sentence each; empty if the live schema accepts it as it stands.

    Names of models and pictures are not checked against the folders of the machine at hand.
    """
    complaints = []
    links = {link[0]: link for link in workflow["links"]}
    nodes = {node["id"]: node for node in workflow["nodes"]}
    if len(nodes) != len(workflow["nodes"]) or len(links) != len(workflow["links"]):
        complaints.append("Two nodes or two links share an id.")
    for node in workflow["nodes"]:
        if node["type"] in EDITOR_ONLY:
            continue
        where = f"{node.get('title') or node['type']} (node {node['id']}, {node['type']})"
        if node["type"] not in object_info:
            complaints.append(f"{where}: there is no such node class.")
            continue
        schema = object_info[node["type"]]
        found = [*_check_inputs(node, schema, nodes, links), *_check_values(node, schema), *_check_outputs(node, schema)]
        complaints += [f"{where}: {complaint}" for complaint in found]
    return complaints


def _check_inputs(node: Mapping, schema: Mapping, nodes: Mapping[int, Mapping], links: Mapping[int, list]) -> Iterator[str]:
    known = {slot.name: slot for slot, _ in _stored(node, schema) if slot.kind != CONTROL}
    entries = {entry["name"]: entry for entry in node.get("inputs", [])}
    for name in entries.keys() - known.keys():
        yield f"the schema has no input {name!r}; it has {', '.join(known)}."
    for name, slot in known.items():
        entry = entries.get(name)
        if entry is None:
            yield f"the schema has an input {name!r} that the workflow lacks."
        elif entry.get("link") is None:
            if not slot.is_widget and not slot.optional:
                yield f"the input {name!r} needs a link."
        elif entry["link"] not in links:
            yield f"the input {name!r} has the link {entry['link']}, which does not exist."
        else:
            yield from _check_link(links[entry["link"]], node, name, slot, nodes)


def _check_link(link: list, node: Mapping, name: str, slot: Slot, nodes: Mapping[int, Mapping]) -> Iterator[str]:
    number, origin_id, origin_slot, target_id, target_slot, _ = link
    if target_id != node["id"] or node["inputs"][target_slot]["name"] != name:
        yield f"the link {number} of the input {name!r} ends elsewhere."
    offered = nodes.get(origin_id, {}).get("outputs", [])
    if origin_slot >= len(offered):
        yield f"the link {number} of the input {name!r} begins at an output that does not exist."
    elif not _fits(offered[origin_slot]["type"], slot.kind):
        yield f"the input {name!r} takes {slot.kind}, but the link brings {offered[origin_slot]['type']}."


def _check_outputs(node: Mapping, schema: Mapping) -> Iterator[str]:
    saved = [(entry["name"], entry["type"]) for entry in node.get("outputs", [])]
    known = outputs(schema)
    for name, kind in saved:
        if not any(name == other and _fits(kind, other_kind) for other, other_kind in known):
            yield f"the schema has no output {name!r} of type {kind}; it has {', '.join(f'{other} ({of_kind})' for other, of_kind in known)}."
    if [name for name, _ in saved] != [name for name, _ in known][: len(saved)]:
        yield f"the outputs are in another order than the schema's {', '.join(name for name, _ in known)}."


def _check_values(node: Mapping, schema: Mapping) -> Iterator[str]:
    stored = [(slot, value) for slot, value in _stored(node, schema) if slot.is_widget]
    saved = node.get("widgets_values") or []
    if len(saved) != len(stored):
        yield f"it has {len(saved)} widget values, the schema {len(stored)} widgets: {', '.join(slot.name for slot, _ in stored)}."
    for slot, value in stored:
        complaint = _value_complaint(slot, value)
        if complaint:
            yield f"the input {slot.name!r} {complaint}"


def _value_complaint(slot: Slot, value: Any) -> str | None:
    """What is wrong with a widget's value, or None."""
    if slot.kind == CONTROL:
        return None if value == "fixed" else f"is followed by {value!r}; a shipped workflow keeps its seeds fixed."
    if slot.choices is not None:
        chosen = value if slot.multiple and isinstance(value, list) else [value]
        wrong = [item for item in chosen if item not in slot.choices and not _names_a_file(item)]
        return f"does not offer {', '.join(map(repr, wrong))}; it offers {', '.join(map(str, slot.choices))}." if wrong else None
    types = {"INT": int, "FLOAT": (int, float), "STRING": str, "BOOLEAN": bool}.get(slot.kind)
    if types and (not isinstance(value, types) or (isinstance(value, bool) and slot.kind != "BOOLEAN")):
        return f"is of type {slot.kind}, not {value!r}."
    if slot.kind in ("INT", "FLOAT"):
        least, most = slot.options.get("min", -math.inf), slot.options.get("max", math.inf)
        if not least <= value <= most:
            return f"goes from {least} to {most}; {value} is outside."
    return None


def _names_a_file(value: Any) -> bool:
    return isinstance(value, str) and value.lower().endswith(FILE_SUFFIXES)
