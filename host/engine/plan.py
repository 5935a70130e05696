"""What Graft's nodes put on a model: one immutable plan of edits and the streams they look at.

Nodes clone the model and replace the plan on the clone. The plan is read once per sampling run, by `run.py`, which has
every edit begin a `RunningEdit`: that one may keep state, and is gone when the run ends.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from torch import Tensor

from ...attention.cross_attention import AttentionMap
from ...attention.self_attention import Attend, Plain
from ...inversion.solvers import Step
from ...inversion.trajectory import Trajectory
from ..errors import GraftError
from ..families.layers import Layer
from .fingerprints import conditioning_fingerprint
from .requirements import require_one_prompt
from .windows import Window

if TYPE_CHECKING:
    from .run import Run

PLAN_KEY = "graft_plan"
RUN_KEY = "graft_run"

Pairing = Literal["same level", "as inverted", "TF-ICON", "TF-ICON cross"]
"""Which latents a stream shows the model at a noise level: those of that level; those that plain DDIM inversion showed it
there; or, in TF-ICON's released order, those of `Trajectory.released_level` and those `left_behind_at` it."""

Tap = Literal["hidden", "queries_keys", "keys_values", "cross", "h"]
"""What is kept of a stream at a layer: the hidden states that self-attention projects; its queries and keys; its keys and
values; the queries and keys of cross-attention; or, at `BOTTLENECK`, the output of the middle block."""

Hook = Literal["attn1", "attn2", "step", "h"]
"""What an edit needs beyond changing self-attention's inputs: computing self-attention or cross-attention itself, a turn
between steps, or a second prediction in which only the bottleneck is changed."""


@dataclass(frozen=True, eq=False)
class Stream:
    """A trajectory replayed beside the sampling run with its own `conditioning` (ComfyUI's CONDITIONING, one entry).

    `name` is the node's input that the trajectory came through, `prompt_name` the one its prompt came through (by default
    `name`_conditioning). Streams of one trajectory under one prompt are equal, so that edits which look at the same picture
    share its rows.
    """

    trajectory: Trajectory
    conditioning: list
    pairing: Pairing = "same level"
    name: str = "source"
    prompt_name: str = ""
    identity: tuple = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "prompt_name", self.prompt_name or f"{self.name}_conditioning")
        prompt = self.prompt_name
        require_one_prompt(self.conditioning, prompt, "a stream")
        states, options = self.conditioning[0]
        if len(states) not in (1, self.trajectory.batch):
            raise GraftError(
                f"{prompt}: it holds {len(states)} prompts, the {self.name} {self.trajectory.batch} pictures; "
                f"they must agree, or {prompt} hold one"
            )
        same = id(self.trajectory), conditioning_fingerprint(self.conditioning), id(options.get("control")), self.pairing
        object.__setattr__(self, "identity", same)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and self.identity == other.identity

    def __hash__(self) -> int:
        return hash(self.identity)

    def label(self, sigma: float) -> float:
        """The noise level that the model is told of when the target is at `sigma`."""
        return self.trajectory.released_level(sigma) if self.pairing.startswith("TF-ICON") else sigma

    def latents(self, sigma: float) -> Tensor:
        """(B, C, h, w): what the model is shown when the target is at noise level `sigma`."""
        match self.pairing:
            case "as inverted":
                return self.trajectory.shown_at(self.label(sigma))
            case "TF-ICON cross":
                return self.trajectory.left_behind_at(self.label(sigma))
        return self.trajectory.at(self.label(sigma))


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

    def active_at(self, sigma: float) -> bool:
        """Whether it changes or watches attention at this noise level."""
        return any(sigma in window for window in self.windows)

    def streams_at(self, sigma: float) -> tuple[Stream, ...]:
        """The streams that have to run at this noise level."""
        return self.streams if self.active_at(sigma) else ()

    def reads(self, tap: Tap, stream: Stream, layer: Layer) -> bool:
        """Whether this tap of a stream has to be kept."""
        return False

    def attention_inputs(self, place: Place, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The hidden states (rows, N, C) that are projected to self-attention's queries, keys and values."""
        return query, key, value

    def computes(self, place: Place) -> bool:
        """Whether it computes the target's self-attention here. Other edits leave the layer's inputs plain then."""
        return False

    def computes_stream(self, stream: Stream) -> bool:
        """Whether it computes this stream's self-attention."""
        return False

    def self_attention(self, place: Place, query: Tensor, key: Tensor, value: Tensor, plain: Plain, attend: Attend) -> Tensor:
        """Self-attention's output (rows, N, C) before its projection; `plain` computes what it would be without this edit."""
        return plain()

    def stream_attention(
        self, place: Place, stream: Stream, query: Tensor, key: Tensor, value: Tensor, plain: Plain, attend: Attend
    ) -> Tensor:
        """The same of a stream, for edits that change how a stream of their own attends to itself."""
        return plain()

    def cross_attention(self, place: Place, attention: AttentionMap) -> AttentionMap:
        """The target's cross-attention map."""
        return attention

    def watch(self, place: Place, attention: AttentionMap, stream: Stream | None) -> None:
        """Is shown the cross-attention map of a stream, or, after all edits, of the target's guided rows (None)."""

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

    @property
    def hooks(self) -> frozenset[Hook]:
        return frozenset().union(*(edit.hooks for edit in self.edits))

    def with_edit(self, edit: Edit) -> Plan:
        return replace(self, edits=(*self.edits, edit))


def plan_of(model) -> Plan:
    """The plan a ModelPatcher carries; an empty one if it carries none."""
    return model.model_options["transformer_options"].get(PLAN_KEY, Plan())


def require_unedited(model) -> None:
    """Raises `GraftError` if the model carries Graft's edits: inverting or recording with them would mix two edits."""
    if plan_of(model) != Plan():
        raise GraftError("model: it already carries Graft edits; connect the model as it was before the editing nodes")
