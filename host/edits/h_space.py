"""InjectFusion's mixing of bottlenecks, as the stream engine runs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ...attention.masks import resized
from ...hspace.schedules import Course, adapted_gamma, gammas
from ...hspace.slerp import Mixing, mix
from ..engine.masks import PerGrid
from ..engine.plan import RunningEdit
from ..engine.sampling_run import Run
from ..engine.stream import Stream, Tap
from ..errors import GraftError
from ..families.attention import Hook
from ..families.layer import BOTTLENECK, Layer


@dataclass(frozen=True, eq=False)
class MixHSpace:
    """The bottleneck of the target takes the share `gamma` of the content stream's, at the steps that the Asymmetric Sampler
    injects in; inside `mask` (B or 1, H, W) in [0, 1], soft if it is.

    `adapt`: gamma is meant for 30 injections, and is made stronger or weaker for fewer or more.
    """

    hooks: ClassVar[frozenset[Hook]] = frozenset({"h"})

    stream: Stream
    gamma: float
    mixing: Mixing = "slerp"
    course: Course = "constant"
    adapt: bool = True
    mask: Tensor | None = None

    def begin(self, run: Run) -> RunningEdit:
        return RunningMixHSpace(self, run)


class RunningMixHSpace(RunningEdit):
    def __init__(self, edit: MixHSpace, run: Run) -> None:
        self.edit, self.run, self.content = edit, run, edit.stream.trajectory
        run.require_fits(self.content, "content")
        run.require_mask("mask", edit.mask)
        self._mask: PerGrid[Tensor] = PerGrid()
        levels = run.injected_levels()
        if not levels:
            raise GraftError(
                f"sigmas: none of the {len(run.sigmas) - 1} noise levels, from {float(run.sigmas[0]):.4g} on, is one that content is injected at; "
                "start at a noisier level, or lower the Asymmetric Sampler's edit_timestep"
            )
        gamma = adapted_gamma(edit.gamma, len(levels)) if edit.adapt else edit.gamma
        self.gammas = dict(zip(levels, gammas(gamma, len(levels), edit.course), strict=True))
        self.replayed = frozenset(level for level in levels if self.content.bottleneck_at(level) is None)
        self.streams = (edit.stream,) if self.replayed else ()

    def active_at(self, sigma: float) -> bool:
        return sigma in self.gammas

    def streams_at(self, sigma: float) -> tuple[Stream, ...]:
        return self.streams if sigma in self.replayed else ()

    def reads(self, tap: Tap, stream: Stream, layer: Layer) -> bool:
        return tap == "h" and stream == self.edit.stream and layer == BOTTLENECK

    def bottleneck(self, h: Tensor) -> Tensor:
        sigma, mask = self.run.sigma, self.edit.mask
        if sigma in self.replayed:
            (content,) = self.run.tapped("h", self.edit.stream, BOTTLENECK, len(h))
        else:
            content = self.content.bottleneck_at(sigma)
        if mask is not None:
            mask = self._mask.of(h.shape[-2:], lambda: resized(self.edit.mask.to(h.device), h.shape[-2:], "area")[:, None])
        return mix(h, content, self.gammas[sigma], self.edit.mixing, mask)
