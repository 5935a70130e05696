"""What every node of Graft has of its own accord: its inputs are checked, by type, before it does anything, and it refuses under its own title."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import ClassVar

import torch
from comfy_api.latest import io

from ..host import naming
from ..host.engine.queued import QueuedNode
from .checks import received, require_painted


class GraftNode(io.ComfyNode):
    """A node whose `execute` is given values that its inputs' checks have passed, as `nodes/checks.py` makes them: pictures in
    three channels, masks in batches."""

    EMPTY_IN_SOME: ClassVar[frozenset[str]] = frozenset()
    """Mask inputs of which some masks of a batch may be empty, as in a film whose object leaves; elsewhere every mask holds something."""

    @classmethod
    def foresee(cls, node: QueuedNode) -> None:
        """Raises `GraftError`, as its run would, for what can be told of `node`, one of this class, when its prompt is queued. It may let pass
        what fails later, and must not refuse what would run."""
        for name in node.inputs:
            if (size := node.empty_mask(name)) is not None:
                require_painted(name.rpartition(".")[2], torch.zeros(1, size[1], size[0]))

    def __init_subclass__(cls, **options) -> None:
        super().__init_subclass__(**options)
        own = cls.__dict__.get("execute")
        # The host copies node classes, whose `execute` is wrapped already.
        if own is not None and not hasattr(own.__func__, "__wrapped__"):
            cls.execute = classmethod(_checking(own.__func__))


def _checking(execute: Callable) -> Callable:
    takes = inspect.signature(execute)
    preset = frozenset(name for name, parameter in takes.parameters.items() if parameter.default is not parameter.empty)

    @functools.wraps(execute)
    def checking(cls, *args, **kwargs):
        # Of a choice that is none the host leaves out all but the links of what it would bring; the checks refuse it by its name.
        bound = takes.bind_partial(cls, *args, **{name: value for name, value in kwargs.items() if "." not in name})
        named = {name: value for name, value in bound.arguments.items() if name != "cls"}
        rest = next((name for name, parameter in takes.parameters.items() if parameter.kind is parameter.VAR_KEYWORD), None)
        values = {**named, **named.pop(rest, {})}
        values.pop(rest, None)
        with naming.named(naming.executing_node()):
            return execute(cls, **received(cls.define_schema().inputs, values, cls.EMPTY_IN_SOME, preset))

    return checking
