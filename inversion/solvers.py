"""Solvers of the probability-flow ODE, from noise to picture and back.

Everything is in sampler space, where picture and noise are mixed as `mixing.py` says: x = x0 + sigma * noise, or
x = (1 - sigma) * x0 + sigma * noise for flows. A `Denoiser` takes (x, sigma) and returns the predicted x0, as ComfyUI's models
do whatever they predict, and dx / dsigma = (x - x0) / sigma in both, so one set of solvers serves all. Where noise is added,
the papers' variance-preserving terms are x_vp = x / sqrt(1 + sigma^2) and alpha_bar = 1 / (1 + sigma^2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor

from .mixing import Mixing

Denoiser = Callable[[Tensor, Tensor], Tensor]
"""(x (B, C, h, w), sigma ()) -> predicted x0 (B, C, h, w)."""

Solver = Literal["ddim", "dpmpp_2m", "midpoint"]
SOLVERS: tuple[Solver, ...] = get_args(Solver)

FEW_STEPS = 10
"""Runs of DPM-Solver++ with fewer steps end with one of first order, as its authors' code has it (`lower_order_final`)."""


@dataclass(frozen=True)
class Step:
    """One step of a solver: from `x` at `sigma` to noise level `sigma_next`; `denoised` is the prediction it used."""

    index: int
    sigma: Tensor
    sigma_next: Tensor
    x: Tensor
    denoised: Tensor


@dataclass(frozen=True)
class Prediction:
    """What a step of DPM-Solver++ leaves for the next one: the predicted x0, and `h`, its length in lambda = -log(sigma)."""

    denoised: Tensor
    h: Tensor

    @staticmethod
    def of(denoised: Tensor, sigma: Tensor, sigma_next: Tensor) -> Prediction:
        return Prediction(denoised, sigma.log() - sigma_next.log())


class StepHook(Protocol):
    """Called after every step with the latent it arrived at; returns the latent to go on with."""

    def __call__(self, x: Tensor, step: Step) -> Tensor: ...


def keep(x: Tensor, step: Step) -> Tensor:
    """The hook that changes nothing."""
    return x


def noise_prediction(x: Tensor, denoised: Tensor, sigma: Tensor) -> Tensor:
    """eps = (x - x0) / sigma; of a flow its v."""
    return (x - denoised) / sigma


def ddim_step(x: Tensor, noise: Tensor, sigma: Tensor, sigma_next: Tensor) -> Tensor:
    """Deterministic DDIM (Song et al. 2021, eq. 12 with eta 0), which is Euler's step in sampler space; of a flow
    it is Euler's step."""
    return x + (sigma_next - sigma) * noise


def sample_ddim(denoise: Denoiser, x: Tensor, sigmas: Tensor, after_step: StepHook = keep) -> Tensor:
    """DDIM along descending `sigmas` (S + 1), from `x` at the first level to the last."""
    for index, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma)
        x_next = ddim_step(x, noise_prediction(x, denoised, sigma), sigma, sigma_next)
        x = after_step(x_next, Step(index, sigma, sigma_next, x, denoised))
    return x


def relabelling(mixing: Mixing, sigma: Tensor, sigma_next: Tensor) -> Tensor:
    """(): what brings a latent at `sigma` to the range of those at `sigma_next`."""
    return ((1 + sigma_next**2) / (1 + sigma**2)).sqrt() if mixing == "added" else torch.ones_like(sigma)


def invert_ddim(
    denoise: Denoiser, x: Tensor, sigmas: Tensor, after_step: StepHook = keep, iterations: int = 1, mixing: Mixing = "added"
) -> Tensor:
    """DDIM inversion along ascending `sigmas` (S + 1).

    The step to sigma_next asks for the noise at the level it goes to, as DDIM's own step from there would. With one
    iteration the model sees the latent it comes from, rescaled to that level (the usual approximation: "latent of c,
    label of t"); each further one feeds it the estimate just made, a fixed-point iteration for the x whose DDIM step
    back lands exactly on the present latent (Pan et al. 2023, AIDI; Garibi et al. 2024, ReNoise).
    """
    for index, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        estimate = x * relabelling(mixing, sigma, sigma_next)
        for _ in range(iterations):
            denoised = denoise(estimate, sigma_next)
            noise = noise_prediction(estimate, denoised, sigma_next)
            estimate = ddim_step(x, noise, sigma, sigma_next)
        x = after_step(estimate, Step(index, sigma, sigma_next, x, denoised))
    return x


def dpmpp_step(x: Tensor, denoised: Tensor, sigma: Tensor, sigma_next: Tensor, last: Prediction | None = None) -> Tensor:
    """A step of DPM-Solver++ 2M (Lu et al. 2022, Algorithm 2), of second order with the `last` step's prediction.

    With lambda = -log(sigma) and h = lambda_next - lambda the step in sampler space is
    x_next = (sigma_next / sigma) x - (e^-h - 1) [m + h / (2 h_last) (m - m_last)], with m the predicted x0: linear in x, m
    and m_last. To a level of 0 it is the prediction itself.
    """
    if sigma_next == 0:
        return denoised
    h = sigma.log() - sigma_next.log()
    target = denoised if last is None else denoised + h / (2 * last.h) * (denoised - last.denoised)
    return (sigma_next / sigma) * x - torch.expm1(-h) * target


def dpmpp_prediction(x: Tensor, x_next: Tensor, sigma: Tensor, sigma_next: Tensor, last: Prediction | None = None) -> Tensor:
    """The prediction with which `dpmpp_step` goes from `x` to `x_next`."""
    if sigma_next == 0:
        return x_next
    h = sigma.log() - sigma_next.log()
    target = ((sigma_next / sigma) * x - x_next) / torch.expm1(-h)
    if last is None:
        return target
    ratio = h / (2 * last.h)
    return (target + ratio * last.denoised) / (1 + ratio)


def looks_back(index: int, steps: int) -> bool:
    """Whether step `index` of a run of DPM-Solver++ 2M is of second order: the first has nothing to look back at, and in runs of
    fewer than `FEW_STEPS` the last, in either direction, does not."""
    return index > 0 and not (steps < FEW_STEPS and index == steps - 1)


def dpmpp_2m(denoise: Denoiser, x: Tensor, sigmas: Tensor, after_step: StepHook = keep, mixing: Mixing = "added") -> Tensor:
    """DPM-Solver++ 2M along `sigmas` in either direction, by `dpmpp_step`.

    A first level of 0, where the solver has no finite lambda, is left by one DDIM inversion step. Of a flow the step is exact for
    a constant prediction as well; its lambda is that of the host's own solver, which stays finite at a noise level of 1, and the
    order is the same.
    """
    last: Prediction | None = None
    steps = len(sigmas) - 1
    for index, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        if sigma == 0:
            arrived = invert_ddim(denoise, x, sigmas[:2], mixing=mixing)
            x = after_step(arrived, Step(index, sigma, sigma_next, x, x))
            continue
        denoised = denoise(x, sigma)
        arrived = dpmpp_step(x, denoised, sigma, sigma_next, last if looks_back(index, steps) else None)
        last = Prediction.of(denoised, sigma, sigma_next)
        x = after_step(arrived, Step(index, sigma, sigma_next, x, denoised))
    return x


def midpoint(denoise: Denoiser, x: Tensor, sigmas: Tensor, after_step: StepHook = keep) -> Tensor:
    """The midpoint method along `sigmas` in either direction, of second order at one evaluation a step (FireFlow, Deng et al.
    2025, eq. 9 and 10).

    x_half = x + h / 2 d and x_next = x + h d_half, with d_half = (x_half - x0(x_half)) / sigma_half. The d of a step is the
    d_half of the one before, which is close enough to keep the order. The first step, which has none before, asks at its
    middle with the latent it comes from; so no noise level of 0, where d cannot be told, is ever asked about.
    """
    slope: Tensor | None = None
    for index, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        middle = (sigma + sigma_next) / 2
        if slope is None:
            slope = noise_prediction(x, denoise(x, middle), middle)
        half = ddim_step(x, slope, sigma, middle)
        denoised = denoise(half, middle)
        slope = noise_prediction(half, denoised, middle)
        x = after_step(ddim_step(x, slope, sigma, sigma_next), Step(index, sigma, sigma_next, x, denoised))
    return x


def sample(solver: Solver, denoise: Denoiser, x: Tensor, sigmas: Tensor, after_step: StepHook = keep) -> Tensor:
    """From noise to picture: `sigmas` (S + 1) descend."""
    return {"ddim": sample_ddim, "dpmpp_2m": dpmpp_2m, "midpoint": midpoint}[solver](denoise, x, sigmas, after_step)


def invert(
    solver: Solver,
    denoise: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    after_step: StepHook = keep,
    iterations: int = 1,
    mixing: Mixing = "added",
) -> Tensor:
    """From picture to noise: `sigmas` (S + 1) ascend. `iterations` are DDIM's fixed-point iterations; the others have none."""
    match solver:
        case "ddim":
            return invert_ddim(denoise, x, sigmas, after_step, iterations, mixing)
        case "dpmpp_2m":
            return dpmpp_2m(denoise, x, sigmas, after_step, mixing)
    return midpoint(denoise, x, sigmas, after_step)
