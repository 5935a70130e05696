"""TF-ICON's background preservation, as the stream engine runs it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ...attention.masks import on_cells
from ...inversion.solvers import Prediction, Step, dpmpp_prediction, dpmpp_step, looks_back
from ...inversion.trajectory import Trajectory
from ..engine.plan import RunningEdit
from ..engine.sampling_run import Run
from ..engine.windows import Window
from ..errors import GraftError
from ..families.attention import Hook
from .composition import ORDER

Mode = Literal["every step", "released"]
"""After every step, before the model looks again; or as the released code does, one look late."""


@dataclass(frozen=True, eq=False)
class BackgroundPreservation:
    """After every step inside the window the main picture's own latents stand outside the region (Lu et al., TF-ICON,
    ICCV 2023, section 3.4).

    `region` (B or 1, H, W) in [0, 1], soft if its edge is. The latents are those of the inversion: the released code solves
    them anew from the inverted noise, which costs as many model calls again and is less exact. A recording of that run is the
    trajectory with which the mode `released` is the released code.
    """

    hooks: ClassVar[frozenset[Hook]] = frozenset({"step"})

    main: Trajectory
    window: Window
    region: Tensor
    mode: Mode = "every step"

    def begin(self, run: Run) -> RunningEdit:
        run.require_fits(self.main, "main")
        run.require_mask("region", self.region)
        return (RunningReleasedPreservation if self.mode == "released" else RunningBackgroundPreservation)(self, run)


class RunningBackgroundPreservation(RunningEdit):
    def __init__(self, edit: BackgroundPreservation, run: Run) -> None:
        self.edit, self.run, self.windows = edit, run, (edit.window,)
        kept = [after for before, after in pairwise(run.sigmas.tolist()) if before in edit.window]
        run.require_reaches(edit.main, "main", kept)

    def active_at(self, sigma: float) -> bool:
        return False  # It works between steps.

    def after_step(self, x: Tensor, step: Step) -> Tensor:
        if float(step.sigma) not in self.edit.window:
            return x
        # lerp returns either end bit for bit where the region is 0 or 1.
        return torch.lerp(self.main_at(step.sigma_next, x).expand_as(x), x, on_cells(self.edit.region, x))

    def main_at(self, sigma: Tensor, x: Tensor) -> Tensor:
        """(B or 1, C, h, w): the main picture's latents at a noise level, as `x` has them."""
        if self.edit.main.nearest(float(sigma)) is None:
            self.run.note("the main trajectory has no latents at some of the run's noise levels; they are interpolated")
        return self.edit.main.at(float(sigma)).to(x)


class RunningReleasedPreservation(RunningBackgroundPreservation):
    """The released code's order: the model has looked at a latent when it is blended, so that only the step from there takes the
    blended one. The latents of the first two steps stay as they are, and what was predicted from them is blended, once both are there.

    A step is linear in the latent and the predictions that it is made of: what is changed in them changes where it arrives by
    the step of the change.
    """

    def __init__(self, edit: BackgroundPreservation, run: Run) -> None:
        if getattr(run.sampler, "solver", None) != "dpmpp_2m":
            raise GraftError(
                "sampler: the released code blends what its solver of second order keeps of its first two steps; choose DPM-Solver++ 2M in "
                "Graft Sampler, or another mode in Background Preservation"
            )
        super().__init__(edit, run)
        self.mains: list[Prediction] = []
        """What was first predicted of the main picture, as its latents tell."""
        self.added: list[Prediction] = []
        """What blending adds to the target's own."""

    def after_step(self, x: Tensor, step: Step) -> Tensor:
        blended = step.index >= ORDER and float(step.sigma) in self.edit.window
        if step.index > ORDER and not blended:
            return x
        outside = 1 - on_cells(self.edit.region, x)
        if step.index < ORDER:
            self._keep_prediction(x, step, outside)
        if step.index == 0:
            return x
        nothing = torch.zeros_like(x)
        moved = outside * (self.main_at(step.sigma, x) - step.x) if blended else nothing
        denoised = self.added[step.index].denoised if step.index < ORDER else nothing
        last = self.added[step.index - 1] if step.index <= ORDER and self._looks_back(step) else None
        return x + dpmpp_step(moved, denoised, step.sigma, step.sigma_next, last)

    def _keep_prediction(self, x: Tensor, step: Step, outside: Tensor) -> None:
        ends = (self.main_at(sigma, x) for sigma in (step.sigma, step.sigma_next))
        main = dpmpp_prediction(*ends, step.sigma, step.sigma_next, self.mains[-1] if self._looks_back(step) else None)
        for kept, prediction in ((self.mains, main), (self.added, outside * (main - step.denoised))):
            kept.append(Prediction.of(prediction, step.sigma, step.sigma_next))

    def _looks_back(self, step: Step) -> bool:
        return looks_back(step.index, len(self.run.sigmas) - 1)
