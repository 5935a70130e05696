"""Prompts that are bound to fail, refused when they are queued: nothing of them runs, and the editor shows the sentence that says why."""

from __future__ import annotations

from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

from ..errors import GraftError
from ..naming import titled
from .queued import QueuedNode

REFUSAL = "GraftRefusal"


class Refusal:
    """What is queued in the place of a node that would fail: the host's own check of the prompt refuses it, and the editor marks the node and
    shows the message, which it would hide behind a button were it a run's. It stands in no list of nodes."""

    CATEGORY, FUNCTION, RETURN_TYPES, OUTPUT_NODE, DEV_ONLY = "Graft", "refuse", (), True, True

    @classmethod
    def INPUT_TYPES(cls) -> dict:
        return {"required": {"message": ("STRING", {})}}

    @classmethod
    def VALIDATE_INPUTS(cls, message: str):
        raise GraftError(message)

    def refuse(self, message: str):
        """The host does not come to this."""
        raise GraftError(message)


def watch_prompts() -> None:
    """From now on the server shows every prompt to `refused`."""
    from server import PromptServer

    import nodes

    if getattr(PromptServer, "instance", None) is not None:
        nodes.NODE_CLASS_MAPPINGS[REFUSAL] = Refusal
        PromptServer.instance.add_on_prompt_handler(refused)


def refused(request: dict) -> dict:
    """A request to queue a prompt as the host goes on with it: as it came, or with nothing left of it but a `Refusal`.

    A node sees that it would fail in its `foresee`. The message begins as all do, with titles as the artist sees them.
    """
    prompt = request.get("prompt")
    for node in _to_run(prompt, request.get("partial_execution_targets")):
        try:
            if hasattr(node.node_class, "foresee"):
                node.node_class.foresee(node)
        except GraftError as error:
            number = getattr(error, "about", node.id)
            workflow = ((request.get("extra_data") or {}).get("extra_pnginfo") or {}).get("workflow") or {}
            refusal = {"class_type": REFUSAL, "inputs": {"message": titled(str(error), number, prompt, workflow)}}
            told = {**prompt, number: {**prompt[number], **refusal}}
            return {**request, "prompt": told, "partial_execution_targets": [number]}
    return request


def _to_run(prompt: Any, targets: list[str] | None) -> list[QueuedNode]:
    """The nodes that the host would run, each after those it reads from; none of a prompt that it refuses itself, since it is none or
    runs in a circle."""
    if not (isinstance(prompt, Mapping) and all(map(_is_node, prompt.values()))):
        return []
    queued = {number: QueuedNode(prompt, number) for number in prompt}
    reads = {number: {source.id for source in node.sources()} for number, node in queued.items()}
    try:
        order = tuple(TopologicalSorter(reads).static_order())
    except CycleError:
        return []
    outputs = (number for number, node in queued.items() if getattr(node.node_class, "OUTPUT_NODE", False))
    wanted = {number for number in outputs if targets is None or number in targets}
    for number in reversed(order):
        if number in wanted:
            wanted |= reads[number]
    return [queued[number] for number in order if number in wanted]


def _is_node(entry: Any) -> bool:
    return isinstance(entry, Mapping) and isinstance(entry.get("class_type"), str) and isinstance(entry.get("inputs", {}), Mapping)
