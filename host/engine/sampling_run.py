"""One sampling run, as edits and samplers see it."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sized
from functools import cached_property

from torch import Tensor

from ...attention.words import Prompt
from ...inversion.trajectory import Trajectory
from ..errors import GraftError
from ..families.layer import Layer, Layers
from ..families.table import family_of
from .fingerprints import model_fingerprint, require_made_with
from .masks import Grid, require_aspect, require_held
from .prompts import prompts_of
from .stream import Stream, Tap
from .two_predictions import TwoPredictions

GUIDED = ("positive", "middle")
"""Names under which guiders keep the conditionings that edits apply to."""

PLAIN = "negative"
"""The name of the conditioning whose rows stay plain, unless an edit says otherwise."""

OF_THE_TARGET = frozenset({"model_conds", "uuid", "control", "control_apply_to_uncond", "gligen", "mask"})
"""Options of the run's negative prompt that are about the target's picture, not about the prompt."""

ABOVE = 1.2
"""A run may start this much noisier than a trajectory, whose first step is extended so far: schedulers differ by less."""

Held = Callable[[Tensor, Grid], Tensor]
"""(mask (rows, H, W), grid) -> (rows, ...), bool: the cells of the grid that are the mask's."""

logger = logging.getLogger("graft")


class Run:
    """What is known of one sampling run, and what is kept of its streams at the present noise level.

    It knows nothing of the edits, which hold it: so what a run leaves is freed as soon as nobody looks at it any more.
    """

    def __init__(self, guider, sampler, sigmas: Tensor, shape: tuple[int, ...]) -> None:
        self.guider, self.sampler, self.sigmas, self.shape = guider, sampler, sigmas, shape
        self.model = guider.model_patcher
        self.sigma = 0.0
        self.plain: frozenset[int] = frozenset()
        """Which conditionings of the present denoise call are the negative."""
        self.guided: frozenset[int] = frozenset()
        """And which are positive prompts."""
        self.conditionings: dict[Stream, dict] = {}
        self.taps: dict[tuple[Tap, Stream, Layer], tuple[Tensor, ...]] = {}
        self.denoised: dict[Stream, Tensor] = {}
        self.negatives: set[Stream] = set()
        self.two_predictions = TwoPredictions()
        self._noted: set[str] = set()

    @property
    def model_sampling(self):
        return self.model.get_model_object("model_sampling")

    @cached_property
    def fingerprint(self) -> str:
        """Of the model."""
        return model_fingerprint(self.model)

    @property
    def guidance(self) -> float:
        """The guider's scale, 1 where it compares with no negative. Raises `GraftError` for guiders that mix more than two prompts."""
        if PLAIN not in self.guider.conds:
            return 1.0
        if set(self.guider.conds) - {"positive", PLAIN}:
            raise GraftError(f"guider: it mixes {', '.join(self.guider.conds)}; connect a CFG Guider")
        return float(self.guider.cfg)

    def prompts(self, why: str) -> tuple[Prompt, ...]:
        """The words of the one positive prompt, for all rows or per row. Raises `GraftError` if there are several prompts,
        or one that carries no words; `why` says what needs them."""
        entries = [entry for name in GUIDED for entry in self.guider.conds.get(name, ())]
        if len(entries) != 1:
            raise GraftError(f"positive: {why} needs one prompt, got {len(entries)} combined; connect a single encoded prompt")
        prompts = prompts_of(entries[0]["cross_attn"].shape[1], entries[0], "positive")
        self.require_batch("positive", prompts)
        return prompts

    @property
    def guided_tokens(self) -> int | None:
        """Length of the positive prompt's text states, which the host repeats to the length of the negative's; None if there
        are several."""
        lengths = {entry["cross_attn"].shape[1] for name in GUIDED for entry in self.guider.conds.get(name, ())}
        return lengths.pop() if len(lengths) == 1 else None

    def require_batch(self, name: str, values: Sized | None) -> None:
        """Raises `GraftError` unless what came through the input `name` is one for all pictures, or one for each."""
        if values is not None and len(values) not in (1, self.shape[0]):
            raise GraftError(
                f"{name}: it holds {len(values)}, the sampled batch {self.shape[0]} pictures; they must agree, or {name} hold one"
            )

    def require_mask(self, name: str, mask: Tensor | None, layers: Layers = frozenset(), held: Held | None = None) -> None:
        """Raises `GraftError` unless a mask (B, H, W), which came through the input `name`, is one for all pictures or one for
        each, and of their aspect. With `layers` it must be there on one of their grids, of which it has the cells that `held`
        says; a note names those on which it has none."""
        if mask is None:
            return
        self.require_batch(name, mask)
        require_aspect(name, mask, self.shape)
        lost = require_held(name, {grid: held(mask, grid) for grid in self.grids(layers)}) if layers else []
        if lost:
            sizes = ", ".join(f"{width} x {height}" for height, width in lost)
            self.note(f"{name}: what it shows is too small for the layers of {sizes} tokens; they stay as they are")

    def grids(self, layers: Layers) -> list[Grid]:
        """The token grids of some of the network's layers, the finest first."""
        family = family_of(self.model)
        parts = [family.patch * 2**level for level in sorted({family.layers[layer] for layer in layers})]
        return [(math.ceil(self.shape[-2] / part), math.ceil(self.shape[-1] / part)) for part in parts]

    def require_fits(self, trajectory: Trajectory, name: str) -> None:
        """Raises `GraftError` unless a trajectory, which came through the input `name`, was made with this model and is of
        pictures of the size and number that are sampled."""
        require_made_with(self.fingerprint, trajectory, name)
        if trajectory.latents.shape[2:] != self.shape[1:]:
            raise GraftError(
                f"{name}: its latents are {tuple(trajectory.latents.shape[2:])} (channels, height, width), "
                f"the sampled latent is {tuple(self.shape[1:])}; invert a picture of the size you sample"
            )
        if trajectory.batch not in (1, self.shape[0]):
            raise GraftError(
                f"{name}: it holds {trajectory.batch} pictures, the sampled batch {self.shape[0]}; they must agree, or the {name} hold one"
            )

    def require_reaches(self, trajectory: Trajectory, name: str, levels: list[float]) -> None:
        """Raises `GraftError` if a trajectory, which came through the input `name`, starts far below the highest of the noise levels
        at which it is needed."""
        highest = float(trajectory.sigmas[0])
        if levels and max(levels) > ABOVE * highest:
            raise GraftError(
                f"sigmas: the {name} is needed at noise level {max(levels):.4g}, its trajectory starts at {highest:.4g}; "
                "use the same schedule for both, or Start From Trajectory"
            )

    def negative_of(self, stream: Stream) -> Stream | None:
        """The same pictures under the run's negative prompt; None in a run without one."""
        entries = self.guider.conds.get(PLAIN)
        if entries is None:
            return None
        own = {key: value for key, value in stream.conditioning[0][1].items() if key == "control"}
        options = [{key: value for key, value in entry.items() if key not in OF_THE_TARGET} | own for entry in entries]
        conditioning = [(entry["cross_attn"], kept) for entry, kept in zip(entries, options, strict=True)]
        negative = Stream(stream.trajectory, conditioning, stream.pairing, stream.name, PLAIN)
        self.negatives.add(negative)
        return negative

    def injected_levels(self) -> list[float]:
        """The noise levels, descending, at which the sampler asks for a second prediction, in which h is edited."""
        injected = self.sampler.injected(self.model_sampling, self.sigmas)
        return self.sigmas[:-1][injected].tolist()

    def tapped(self, tap: Tap, stream: Stream, layer: Layer, rows: int) -> tuple[Tensor, ...]:
        """What was kept of a stream at this noise level, for as many target rows."""
        return tuple(tensor.expand(rows, *tensor.shape[1:]) for tensor in self.taps[tap, stream, layer])

    def predicted(self, stream: Stream) -> Tensor:
        """(B, C, h, w): what the model made of a stream at this noise level. Raises `GraftError` if another node skipped the call."""
        if stream not in self.denoised:
            raise GraftError(
                "model: another node has kept the network from computing what Graft's edits look at; remove nodes that skip the network"
            )
        return self.denoised[stream]

    def drop_taps(self) -> None:
        self.taps.clear()
        self.denoised.clear()

    def note(self, message: str) -> None:
        """Logs once per run what is approximated or skipped."""
        if message not in self._noted:
            self._noted.add(message)
            logger.warning("Graft: %s", message)
