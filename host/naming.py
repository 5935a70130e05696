"""Which node an error is about, as the artist sees it: by its title, and inside a blueprint by the blueprint's title and input too."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from comfy_execution.utils import get_executing_context

from .errors import GraftError

ENTRY = -10
"""The id that the editor gives to the end of a subgraph through which its inputs come."""


def executing_node() -> str | None:
    """The id of the node that the host is running, as in the prompt: "5:12" for the node 12 inside the subgraph's node 5; None outside of a
    prompt."""
    context = get_executing_context()
    return None if context is None else context.node_id


@contextlib.contextmanager
def named(node: str | None) -> Iterator[None]:
    """A `GraftError` that leaves this block begins with the title of the node of this id, unless it has been named already."""
    try:
        yield
    except GraftError as error:
        if node is not None and not getattr(error, "named", False):
            error.args = (titled(str(error), node, *_running()),)
            error.named = True
        raise


def titled(message: str, node: str, prompt: Mapping[str, Any], workflow: Mapping[str, Any]) -> str:
    """`message`, which begins with the name of an input, with the node's title before it.

    `prompt` is the host's, by node id; `workflow` what the editor saved of the graph. In a blueprint the message begins with the blueprint's
    title and, where the input comes straight from one of its own, with that one's name; the inner names follow in parentheses.
    """
    name, colon, rest = message.partition(":")
    title = _title(prompt, node)
    if title is None:
        return message
    outer, _, inner = node.rpartition(":")
    blueprint = _blueprint(workflow, outer)
    if blueprint is None:
        return f"{title}, {message}" if colon and "," not in title else f"{title}: {message}"
    shown, definition = blueprint
    own = _own_input(definition, inner, name.split(",")[0].strip())
    if own is None:
        return f"{shown} ({title}), {message}"
    return f"{shown}, {own} ({title}, {name}):{rest}"


def _running() -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The prompt that the host is running, and the workflow it came from; both empty outside of a server."""
    from server import PromptServer

    context, queue = get_executing_context(), getattr(getattr(PromptServer, "instance", None), "prompt_queue", None)
    if context is None or queue is None:
        return {}, {}
    for _, prompt_id, prompt, extra, *_ in queue.get_current_queue()[0]:
        if prompt_id == context.prompt_id:
            return prompt, (extra.get("extra_pnginfo") or {}).get("workflow") or {}
    return {}, {}


def _title(prompt: Mapping[str, Any], node: str) -> str | None:
    """The title that the editor sent along, else the class's display name, else None."""
    entry = prompt.get(node, {})
    if title := entry.get("_meta", {}).get("title"):
        return title
    import nodes

    kind = entry.get("class_type")
    return nodes.NODE_DISPLAY_NAME_MAPPINGS.get(kind) if kind else None


def _blueprint(workflow: Mapping[str, Any], path: str) -> tuple[str, Mapping[str, Any]] | None:
    """Title and definition of the subgraph that the node `path` ("5", or "5:7" for a subgraph inside another) stands for."""
    definitions = {definition["id"]: definition for definition in (workflow.get("definitions") or {}).get("subgraphs", [])}
    graph, found = workflow, None
    for number in filter(None, path.split(":")):
        placed = next((node for node in graph.get("nodes", []) if str(node["id"]) == number), None)
        if placed is None or placed["type"] not in definitions:
            return None
        graph = definitions[placed["type"]]
        found = found or (placed.get("title") or graph["name"], graph)
    # What the artist sees is the outermost; inputs can be followed only where there is no other between.
    return None if found is None else (found[0], graph if ":" not in path else {})


def _own_input(definition: Mapping[str, Any], node: str, name: str) -> str | None:
    """The input of a subgraph that feeds the input `name` of a node inside: directly, or through nodes that only hand one value on."""
    inside = {str(own["id"]): own for own in definition.get("nodes", [])}
    links = {link["id"]: link for link in definition.get("links", [])}
    for _ in inside:
        entries = [entry for entry in inside.get(node, {}).get("inputs", []) if entry.get("link") is not None]
        entry = next((entry for entry in entries if entry["name"].rpartition(".")[2] == name), None)
        if entry is None:
            return None
        link = links[entry["link"]]
        if link["origin_id"] == ENTRY:
            return definition["inputs"][link["origin_slot"]]["name"]
        node = str(link["origin_id"])
        feeding = [entry["name"] for entry in inside[node]["inputs"] if entry.get("link") is not None]
        if len(feeding) != 1:
            return None
        (name,) = feeding
    return None
