"""The sampler that h-space edits need: two predictions per step, or three, instead of one."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from ...hspace.asymmetric_step import asymmetric_step, boosted_step, per_picture_noise
from ...hspace.calibration import calibrated, regularised
from ...hspace.schedules import TRAINING_STEPS, on_grid, pixel_sigma
from ...inversion.solvers import Denoiser, Step, StepHook, ddim_step, noise_prediction
from ...inversion.trajectory import SAME_LEVEL
from ..engine.engine import Engine
from ..engine.plan import RUN_KEY
from ..engine.two_predictions import TwoPredictions
from ..errors import GraftError
from ..families.attention import Hook
from .sampling import GraftSampler, denoiser

Clock = Literal["the model's", "the paper's"]
"""Whose schedule says how noisy a timestep is: at 400 the paper's pixel-space models are at sigma 2.04, Stable Diffusion at 1.16."""

Places = Literal["grid", "every step"]
"""Which steps of an interval count: those of the released code's 50, or all."""

EARLY = 950
"""Down to this timestep the released code scales the direction."""


@dataclass(frozen=True)
class Intervals:
    """When h is injected (down to timestep `edit`) and when fresh noise is added (from `boost` on; 0 never), of 999 to 0."""

    edit: int = 400
    boost: int = 200
    clock: Clock = "the model's"
    injections: Places = "grid"
    boosts: Places = "every step"

    def __post_init__(self) -> None:
        if not 0 <= self.boost < self.edit < TRAINING_STEPS:
            raise GraftError(
                f"edit_timestep, boost_timestep: {self.edit} and {self.boost}; boosting starts after the edit has ended, "
                f"so that they must be 0 <= boost_timestep < edit_timestep < {TRAINING_STEPS}"
            )

    def injected(self, model_sampling, sigmas: Tensor) -> Tensor:
        """(S,), bool: the steps of `sigmas` (S + 1) at which h is injected."""
        return self._down_to(self.edit, model_sampling, sigmas)

    def early(self, model_sampling, sigmas: Tensor) -> Tensor:
        """(S,), bool: the first of the steps at which h may be injected, whether it is or not."""
        return self._down_to(EARLY, model_sampling, sigmas)

    def boosted(self, model_sampling, sigmas: Tensor) -> Tensor:
        """(S,), bool: the steps that add noise."""
        if self.boost == 0:
            return torch.zeros_like(sigmas[:-1], dtype=torch.bool)
        highest = self._sigma(model_sampling, self.boost)
        return (sigmas[:-1] <= highest * (1 + SAME_LEVEL)) & self._among(self.boosts, model_sampling, sigmas)

    def _down_to(self, timestep: int, model_sampling, sigmas: Tensor) -> Tensor:
        lowest = self._sigma(model_sampling, timestep)
        return (sigmas[:-1] >= lowest * (1 - SAME_LEVEL)) & self._among(self.injections, model_sampling, sigmas)

    def _sigma(self, model_sampling, timestep: int) -> float:
        return pixel_sigma(timestep) if self.clock == "the paper's" else float(model_sampling.sigma(torch.tensor(timestep)))

    @staticmethod
    def _among(places: Places, model_sampling, sigmas: Tensor) -> Tensor:
        if places == "every step":
            return torch.ones_like(sigmas[:-1], dtype=torch.bool)
        return on_grid(model_sampling.timestep(sigmas[:-1]))


class AsymmetricSampler(GraftSampler):
    """A SAMPLER that runs DDIM and lets edits of the bottleneck change the predicted picture, but not the direction
    (Jeong et al., InjectFusion, WACV 2024, eq. 3 and 4; with `omega` above 0 its Algorithm 2).

    `direction` is the released code's dt_lambda: the share of the direction that is taken in the early steps, in steps without
    calibration.
    """

    serves: frozenset[Hook] = frozenset({"step", "h"})

    def __init__(self, intervals: Intervals, omega: float, regularise: bool = True, direction: float = 1.0) -> None:
        super().__init__("ddim")
        self.intervals, self.omega, self.regularise = intervals, omega, regularise
        self.direction = 1.0 if omega else direction

    def injected(self, model_sampling, sigmas: Tensor) -> Tensor:
        """(S,), bool: the steps of `sigmas` (S + 1) for which it makes a second prediction where h is edited."""
        return self.intervals.injected(model_sampling, sigmas)

    def solve(self, model, x: Tensor, sigmas: Tensor, extra_args: dict, after_step: StepHook) -> Tensor:
        denoise, model_sampling = denoiser(model, extra_args), model.inner_model.inner_model.model_sampling
        engine: Engine | None = extra_args["model_options"]["transformer_options"].get(RUN_KEY)
        levels = set() if engine is None else set(engine.injected_levels())
        boosted, early = (steps(model_sampling, sigmas).tolist() for steps in (self.intervals.boosted, self.intervals.early))
        # Not the seed itself: the host has drawn the start noise from it.
        seed = (extra_args.get("seed") or 0) + 1
        generators = [torch.Generator().manual_seed(seed + picture) for picture in range(len(x))]
        for index, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
            direction = self.direction if early[index] else 1.0
            if float(sigma) in levels:
                x, denoised, edited = self._injected(denoise, x, sigma, engine.run.two_predictions)
                x_next = asymmetric_step(x, denoised, edited, sigma, sigma_next, direction)
            else:
                denoised = denoise(x, sigma)
                if direction != 1:
                    x_next = asymmetric_step(x, denoised, denoised, sigma, sigma_next, direction)
                elif boosted[index]:
                    x_next = boosted_step(x, denoised, per_picture_noise(x, generators), sigma, sigma_next)
                else:
                    x_next = ddim_step(x, noise_prediction(x, denoised, sigma), sigma, sigma_next)
            x = after_step(x_next, Step(index, sigma, sigma_next, x, denoised))
        return x

    def _injected(self, denoise: Denoiser, x: Tensor, sigma: Tensor, predictions: TwoPredictions) -> tuple[Tensor, Tensor, Tensor]:
        """The latent to step from, its plain prediction and the prediction to step to."""
        denoised, edited = predictions.both(lambda: denoise(x, sigma))
        if self.omega == 0:  # the paper's "no calibration": equation 3, not the limit of equation 10
            return x, denoised, edited
        target = regularised(edited, denoised) if self.regularise else edited
        x = calibrated(x, denoised, edited, target, self.omega)
        denoised = denoise(x, sigma)
        return x, denoised, denoised
