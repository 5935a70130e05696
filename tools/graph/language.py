"""The words in which workflows are described: graphs, groups, nodes and their outputs."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

ObjectInfo = Mapping[str, Mapping[str, Any]]
"""The reply of the server's /object_info."""

PASSAGE = "Passage"  # our own name of what stands for the ends of a subgraph once it is taken apart
EDITOR_ONLY = frozenset({"Note", "MarkdownNote", "Reroute", "PrimitiveNode", PASSAGE})
NEVER, BYPASS = 2, 4  # values of a node's "mode" in the editor
ENTRY, EXIT = -10, -20  # ids of the two ends of a subgraph in the editor


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

    @property
    def preset(self) -> Any:
        """The value that an input of a subgraph has until another is given; None for other outputs."""
        return self.node.inputs.get(self.name) if self.node.id == ENTRY else None


class Choice:
    """The option `key` of a DynamicCombo with the inputs that belong to it."""

    def __init__(self, key: str, /, **inputs: Any):
        self.key, self.inputs = key, inputs


@dataclass(frozen=True, eq=False)
class Node:
    """A node of a description; index it with an output's name to link from it. `text` is set for notes only, `subgraph` for subgraphs."""

    id: int
    kind: str
    title: str | None
    place: Place
    inputs: Mapping[str, Any] = field(default_factory=dict)
    text: str | None = None
    subgraph: Subgraph | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What it is called in messages: its class, or its subgraph."""
        return self.kind if self.subgraph is None else self.subgraph.title

    def __getitem__(self, output: str | int) -> Output:
        return Output(self, output)


@dataclass(frozen=True, eq=False)
class Group:
    """A box of nodes; without a title it is laid out alike, and not drawn. `below` is the box it stands under."""

    title: str | None
    color: str = ""
    below: Group | None = None
    nodes: list[Node] = field(default_factory=list)


@dataclass(frozen=True)
class App:
    """A workflow as the editor's view of apps shows it: a form with the open widgets of these nodes, and the pictures of those."""

    form: tuple[Node, ...]
    results: tuple[Node, ...]


class Graph:
    """A workflow in the making. `title` names its file, `description` is one sentence about what it does; `app` is its form, if it has one."""

    def __init__(self, title: str, description: str = "", *, thumbnail: tuple[str, ...] | None = None, thumbnail_of: str | None = None):
        self.title, self.description = title, description
        self.thumbnail, self.thumbnail_of = thumbnail, thumbnail_of
        self.app: App | None = None
        self.groups: list[Group] = []
        self._open: Group | None = None

    @property
    def nodes(self) -> list[Node]:
        """All nodes and notes in the order in which they were added; a node's id is its place in this order, from 1."""
        return sorted((node for group in self.groups for node in group.nodes), key=lambda node: node.id)

    @property
    def subgraphs(self) -> list[Subgraph]:
        """All subgraphs that stand in it, those inside others before these."""
        placed = [node.subgraph for node in self.nodes if node.subgraph is not None]
        return list(dict.fromkeys(inner for subgraph in placed for inner in (*subgraph.subgraphs, subgraph)))

    def add(
        self,
        kind: str | Subgraph,
        /,
        *,
        title: str | None = None,
        at: Place | None = None,
        properties: Mapping[str, Any] | None = None,
        **inputs: Any,
    ) -> Node:
        """Add a node of the class `kind`, or a subgraph. Names are checked when the workflow is built, as only the schema knows them.

        `properties` are what the editor keeps with the node beside its values.
        """
        subgraph = kind if isinstance(kind, Subgraph) else None
        name, title = (kind, title) if subgraph is None else (subgraph.id, title or subgraph.title)
        return self._append(Node(len(self.nodes) + 1, name, title, at or Place(), inputs, subgraph=subgraph, properties=properties or {}))

    def note(self, text: str, *, title: str = "Note", at: Place | None = None) -> Node:
        """Add a note in Markdown; it is for the reader and no part of the prompt."""
        if self._open is None:
            self.groups.append(Group(None))
        return self._append(Node(len(self.nodes) + 1, "MarkdownNote", title, at or Place(column=0, row=-1), text=text))

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


class Subgraph(Graph):
    """A graph that stands in others as one node. `category` is where the editor lists it, as a blueprint."""

    def __init__(self, title: str, description: str = "", *, category: str = ""):
        super().__init__(title, description)
        self.category = category
        self.entry = Node(ENTRY, "inputs", None, Place(), {})
        self.kinds: dict[str, str | None] = {}
        self.exits: dict[str, Output] = {}

    @property
    def id(self) -> str:
        """What the editor knows it by."""
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"graft/subgraph/{self.title}"))

    def input(self, name: str, preset: Any = None, kind: str | None = None) -> Output:
        """An input of the subgraph, to be given to nodes in it: what is linked to it outside, else what is set in its widget.

        It is a socket or a widget as the first input is that takes it; `preset` replaces a widget's default, `kind` the type of an input
        that takes several.
        """
        self.entry.inputs[name], self.kinds[name] = preset, kind
        return self.entry[name]

    def output(self, name: str, source: Output) -> None:
        """An output of the subgraph, fed by a node in it."""
        self.exits[name] = source
