"""What Graft's nodes put on a model: one immutable plan of edits and the streams they look at.

Nodes clone the model and replace the plan on the clone. The plan is read once per sampling run, by `run.py`, which has
every edit begin a `RunningEdit`: that one may keep state, and is gone when the run ends.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor

from ...attention.cross_attention import AttentionMap
from ...attention.self_attention import Attend, Plain
from ...inversion.solvers import Step
from ..errors import GraftError
from ..families.attention import Hook, Site
from ..families.layer import Layer
from ..naming import executing_node
from .sampling_run import Run
from .stream import Stream, Tap
from .windows import Window

PLAN_KEY = "graft_plan"
RUN_KEY = "graft_run"

Part = Literal["queries", "keys", "values", "mask", "map"]
"""What an edit changes of self-attention: what goes in, which keys are seen, or what is computed of it."""

INPUTS: frozenset[Part] = frozenset({"queries", "keys", "values"})
"""What goes in."""


@dataclass(frozen=True)
class Place:
    """One call of a layer for some of the target's rows: the layer, its token grid and heads, and whether the rows are
    `guided` (the positive prompt's) or plain (the negative's)."""

    layer: Layer
    height: int
    width: int
    heads: int
    guided: bool = True

    @property
    def grid(self) -> tuple[int, int]:
        return self.height, self.width


def place_of(site: Site, guided: bool = True) -> Place:
    return Place(site.layer, site.height, site.width, site.heads, guided)


class Edit(Protocol):
    """A change to a sampling run, as a node configures it. Immutable; the same edit serves any number of runs."""

    hooks: ClassVar[frozenset[Hook]]

    def begin(self, run: Run) -> RunningEdit:
        """Its part in one run. Raises `GraftError` for what cannot work, before the model is first called."""
        ...


class RunningEdit:
    """An edit during one run. What it does not override, it leaves alone.

    `sigma` is the noise level of the denoise call, `place` a layer of the target's. Streams have run when the target's
    methods are called: their taps are read with `run.tapped`.
    """

    streams: tuple[Stream, ...] = ()
    """Every stream it may look at in this run."""

    windows: tuple[Window, ...] = ()
    """When it works, where a node says so: in any of these."""

    changes: frozenset[Part] = frozenset()
    """What it changes of self-attention."""

    ignores: frozenset[Part] = frozenset()
    """What it does not look at of what goes in, so that edits before it, which change no more than that, come to nothing."""

    takes_over: frozenset[Part] = frozenset()
    """Edits that change no more than that of what goes in are left out wherever this one works."""

    name: str = ""
    """What notes call it."""

    def active_at(self, sigma: float) -> bool:
        """Whether it changes or watches attention at this noise level."""
        return any(sigma in window for window in self.windows)

    def streams_at(self, sigma: float) -> tuple[Stream, ...]:
        """The streams that have to run at this noise level."""
        return self.streams if self.active_at(sigma) else ()

    def reads(self, tap: Tap, stream: Stream, layer: Layer) -> bool:
        """Whether this tap of a stream has to be kept."""
        return False

    def works_at(self, place: Place) -> bool:
        """Whether it changes the target's self-attention here: by the next methods, of which `changes` says which are called."""
        return False

    def attention_inputs(self, place: Place, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What self-attention's queries, keys and values are made of, (rows, N, C) of the picture's tokens: in a UNet the hidden states
        that are projected to them, in a transformer they themselves."""
        return query, key, value

    def seen(self, place: Place, rows: int, device: torch.device) -> Tensor:
        """(rows, N), bool: the picture's tokens whose keys and values anybody may see; the same whenever it is asked. Where a row
        has none, it keeps its own attention."""
        raise NotImplementedError

    def self_attention(self, place: Place, query: Tensor, key: Tensor, value: Tensor, plain: Plain, attend: Attend) -> Tensor:
        """Self-attention's output (rows, N, C) before its projection; `plain` computes what it would be without this edit."""
        return plain()

    def computes_stream(self, stream: Stream) -> bool:
        """Whether it computes this stream's self-attention."""
        return False

    def stream_attention(
        self, place: Place, stream: Stream, query: Tensor, key: Tensor, value: Tensor, plain: Plain, attend: Attend
    ) -> Tensor:
        """The same of a stream, for edits that change how a stream of their own attends to itself."""
        return plain()

    def cross_attention(self, place: Place, attention: AttentionMap) -> AttentionMap:
        """The target's cross-attention map."""
        return attention

    def watch(self, place: Place, attention: AttentionMap, stream: Stream | None) -> None:
        """Is shown the cross-attention map of a stream, where it reads that, or, after all edits, of the target's guided rows (None)."""

    def bottleneck(self, h: Tensor) -> Tensor:
        """The output (rows, C, h, w) of the middle block for guided rows, in the second prediction of a step of the Asymmetric
        Sampler."""
        return h

    def after_step(self, x: Tensor, step: Step) -> Tensor:
        """The target's latent (B, C, h, w) to go on with after a step of the Graft Sampler."""
        return x


class RunningOnBothPrompts(RunningEdit):
    """An edit that looks at a stream under its own prompt, and under the run's negative one where that is run."""

    def __init__(self, stream: Stream, run: Run) -> None:
        self.stream, self.run, self.negative = stream, run, run.negative_of(stream)
        self.streams = (stream,) if self.negative is None else (stream, self.negative)

    def streams_at(self, sigma: float) -> tuple[Stream, ...]:
        if not self.active_at(sigma):
            return ()
        # At guidance 1 the host leaves out the negative's rows.
        return self.streams if self.run.plain else (self.stream,)


@dataclass(frozen=True)
class Plan:
    """Everything Graft will do in a run on this model, in the order in which the nodes were chained."""

    edits: tuple[Edit, ...] = ()
    nodes: tuple[str | None, ...] = field(default=(), compare=False)

    @property
    def hooks(self) -> frozenset[Hook]:
        return frozenset().union(*(edit.hooks for edit in self.edits))

    def with_edit(self, edit: Edit) -> Plan:
        return replace(self, edits=(*self.edits, edit), nodes=(*(node for _, node in self.placed()), executing_node()))

    def placed(self) -> list[tuple[Edit, str | None]]:
        """Each edit with the id of the node that put it there, None where no prompt was running."""
        return list(zip_longest(self.edits, self.nodes))


def plan_of(model) -> Plan:
    """The plan a ModelPatcher carries; an empty one if it carries none."""
    return model.model_options["transformer_options"].get(PLAN_KEY, Plan())


def require_unedited(model) -> None:
    """Raises `GraftError` if the model carries Graft's edits: inverting or recording with them would mix two edits."""
    if plan_of(model) != Plan():
        raise GraftError("model: it already carries Graft edits; connect the model as it was before the editing nodes")
