"""What Graft's nodes put on a model: one immutable plan of streams, edits and step operators.

Nodes clone the model and replace the plan on the clone. The plan is read once per sampling run, by `run.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from torch import Tensor

from ..inversion.solvers import Step
from ..inversion.trajectory import Trajectory
from .errors import GraftError
from .layers import Layers
from .windows import Window

PLAN_KEY = "graft_plan"
RUN_KEY = "graft_run"


@dataclass(frozen=True, eq=False)
class Stream:
    """A trajectory replayed beside the sampling run with its own `conditioning` (ComfyUI's CONDITIONING, one entry)."""

    trajectory: Trajectory
    conditioning: list

    def __post_init__(self) -> None:
        if len(self.conditioning) != 1:
            raise GraftError(
                f"source_conditioning: a stream needs one prompt, got {len(self.conditioning)} combined; connect a single encoded prompt"
            )
        options = self.conditioning[0][1]
        if covers_area(options):
            raise GraftError("source_conditioning: a stream cannot be limited to an area; connect a prompt without one")
        if options.get("start_percent", 0) > 0 or options.get("end_percent", 1) < 1:
            raise GraftError("source_conditioning: a stream runs at every noise level; connect a prompt without a timestep range")
        if "hooks" in options:
            raise GraftError("source_conditioning: a stream does not run hooks; connect a prompt without them")


def covers_area(conditioning: dict) -> bool:
    """Whether ComfyUI will show the model only a part of the picture for this entry of a CONDITIONING: an area, or the
    bounds of a mask."""
    return "area" in conditioning or bool(conditioning.get("set_area_to_bounds"))


class Edit(Protocol):
    """A change to the target's self-attention inputs that reads one stream's hidden states."""

    stream: Stream
    window: Window
    layers: Layers

    def attention_inputs(self, query: Tensor, key: Tensor, value: Tensor, source: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Hidden states (rows, tokens, channels) that the target's rows project to queries, keys and values, given the
        `source` stream's at the same layer and noise level."""
        ...


class StepOperator(Protocol):
    """A change to the target's latent between two steps of a Graft Sampler, which may read `streams`."""

    streams: tuple[Stream, ...]

    def after_step(self, x: Tensor, step: Step, streams: StreamLatents) -> Tensor: ...


class StreamLatents(Protocol):
    def latents(self, stream: Stream, sigma: Tensor) -> Tensor:
        """(B, C, h, w): where a stream is at a noise level, on the run's device."""
        ...


@dataclass(frozen=True)
class Plan:
    """Everything Graft will do in a run on this model, in the order in which the nodes were chained."""

    edits: tuple[Edit, ...] = ()
    step_operators: tuple[StepOperator, ...] = ()

    @property
    def streams(self) -> tuple[Stream, ...]:
        of_operators = (stream for operator in self.step_operators for stream in operator.streams)
        return tuple(dict.fromkeys([*(edit.stream for edit in self.edits), *of_operators]))

    def with_edit(self, edit: Edit) -> Plan:
        return replace(self, edits=(*self.edits, edit))

    def with_step_operator(self, operator: StepOperator) -> Plan:
        return replace(self, step_operators=(*self.step_operators, operator))


def plan_of(model) -> Plan:
    """The plan a ModelPatcher carries; an empty one if it carries none."""
    return model.model_options["transformer_options"].get(PLAN_KEY, Plan())


def require_unedited(model) -> None:
    """Raises `GraftError` if the model carries Graft's edits: inverting or recording with them would mix two edits."""
    if plan_of(model) != Plan():
        raise GraftError("model: it already carries Graft edits; connect the model as it was before the editing nodes")
