"""When h is injected, and how much of it (Jeong et al., InjectFusion, WACV 2024, sections 3.1 and E.2, appendix G).

Timesteps are those of the 1000 training steps, 999 the noisiest.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

TRAINING_STEPS = 1000
GRID = tuple((TRAINING_STEPS - 1) * k // 49 for k in range(50))
"""The 50 timesteps at which the released code injects, however many steps it samples; 30 of them are at 400 or above."""

REFERENCE_INJECTIONS = 30
LARGEST_ADAPTED = 0.7
"""Above it the paper finds distortions and no more content (appendix B)."""

Course = Literal["constant", "decreasing", "increasing", "cosine"]
COURSES: tuple[Course, ...] = get_args(Course)


def on_grid(timesteps: Tensor) -> Tensor:
    """(N,), bool: at which of the steps that evaluate the model at descending `timesteps` (N,) h may be injected.

    Each injection shifts the latent by an amount that does not shrink with the step, so that their number is the strength:
    of more than 50 steps only those nearest to the 50 of `GRID` count. The released code asks for equal timesteps instead,
    which hits 30 times in 50 or 1000 steps and hardly ever in 100.
    """
    if len(timesteps) <= len(GRID):
        return torch.ones_like(timesteps, dtype=torch.bool)
    nearest = (timesteps.double()[None, :] - torch.tensor(GRID, dtype=torch.float64, device=timesteps.device)[:, None]).abs().argmin(dim=1)
    chosen = torch.zeros_like(timesteps, dtype=torch.bool)
    chosen[nearest] = True
    return chosen


def adapted_gamma(gamma: float, injections: int) -> float:
    """The gamma that injects in `injections` steps what `gamma` does in 30: 1 - (1 - gamma)^(30 / n) (from eq. 13).

    That equation takes angles for small and injections for lasting, and so promises too much: the result is at most 0.7,
    or `gamma` where that is more.
    """
    return min(1 - (1 - gamma) ** (REFERENCE_INJECTIONS / injections), max(gamma, LARGEST_ADAPTED))


def gammas(gamma: float, injections: int, course: Course = "constant") -> list[float]:
    """The share of content at each of `injections` steps, from noise to picture, with the same total (appendix G).

    The appendix has no formula. Here 1 - gamma_i = (1 - gamma)^u_i with weights u of mean 1, so that the product of eq. 13,
    what is left of the original's h, is the same for every course.
    """
    if injections < 2:
        return [gamma] * injections
    progress = [index / (injections - 1) for index in range(injections)]
    weight = {
        "constant": lambda p: 1.0,
        "decreasing": lambda p: 2 * (1 - p),
        "increasing": lambda p: 2 * p,
        "cosine": lambda p: 1 + math.cos(math.pi * p),
    }[course]
    return [1 - (1 - gamma) ** weight(p) for p in progress]


def pixel_sigma(timestep: float) -> float:
    """The noise level of a timestep in the models the paper used: betas from 1e-4 to 2e-2 in even steps."""
    betas = torch.linspace(1e-4, 2e-2, TRAINING_STEPS, dtype=torch.float64)
    alphas = (1 - betas).cumprod(dim=0)
    sigmas = ((1 - alphas) / alphas).sqrt().log()
    low = min(int(timestep), TRAINING_STEPS - 2)
    return float(torch.lerp(sigmas[low], sigmas[low + 1], timestep - low).exp())
