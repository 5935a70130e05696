"""TF-ICON's background preservation, as the stream engine runs it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor

from ...attention.masks import on_cells
from ...inversion.solvers import Step
from ...inversion.trajectory import Trajectory
from ..engine.plan import RunningEdit
from ..engine.sampling_run import Run
from ..engine.windows import Window
from ..families.attention import Hook


@dataclass(frozen=True, eq=False)
class BackgroundPreservation:
    """After every step inside the window the main picture's own latents stand outside the region (Lu et al., TF-ICON,
    ICCV 2023, section 3.4).

    `region` (B or 1, H, W) in [0, 1], soft if its edge is. The latents are those of the inversion: the released code solves
    them anew from the inverted noise, which costs as many model calls again and is less exact.
    """

    hooks: ClassVar[frozenset[Hook]] = frozenset({"step"})

    main: Trajectory
    window: Window
    region: Tensor

    def begin(self, run: Run) -> RunningEdit:
        run.require_fits(self.main, "main")
        run.require_mask("region", self.region)
        kept = [after for before, after in pairwise(run.sigmas.tolist()) if before in self.window]
        run.require_reaches(self.main, "main", kept)
        return RunningBackgroundPreservation(self, run)


class RunningBackgroundPreservation(RunningEdit):
    def __init__(self, edit: BackgroundPreservation, run: Run) -> None:
        self.edit, self.run, self.windows = edit, run, (edit.window,)

    def active_at(self, sigma: float) -> bool:
        return False  # It works between steps.

    def after_step(self, x: Tensor, step: Step) -> Tensor:
        if float(step.sigma) not in self.edit.window:
            return x
        region = on_cells(self.edit.region, x)
        if self.edit.main.nearest(float(step.sigma_next)) is None:
            self.run.note("the main trajectory has no latents at some of the run's noise levels; they are interpolated")
        main = self.edit.main.at(float(step.sigma_next)).to(x)
        # lerp returns either end bit for bit where the region is 0 or 1.
        return torch.lerp(main.expand_as(x), x, region)
