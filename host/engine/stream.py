"""A trajectory replayed beside the sampling run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from ...inversion.trajectory import Trajectory
from ..errors import GraftError
from .fingerprints import conditioning_fingerprint
from .requirements import require_one_prompt

Pairing = Literal["same level", "as inverted", "TF-ICON", "TF-ICON cross"]
"""Which latents a stream shows the model at a noise level: those of that level; those that plain DDIM inversion showed it
there; or, in TF-ICON's released order, those of `Trajectory.released_level` and those `left_behind_at` it."""

Tap = Literal["structure", "content", "queries_keys", "keys_values", "cross", "h"]
"""What is kept of a stream at a layer: what self-attention's queries and keys are made of, or its keys and values (in a UNet the
hidden states that it projects, in a transformer they themselves); the queries and keys, or the keys and values, as they are
computed with; the queries and keys of cross-attention; or, at `BOTTLENECK`, the output of the middle block."""


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

    def __repr__(self) -> str:
        return f"Stream({self.name}, {self.trajectory!r}, {self.pairing!r})"

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
