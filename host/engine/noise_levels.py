"""Asking a model about a picture at chosen noise levels, whatever its family."""

from __future__ import annotations

from bisect import bisect_left

import torch
from torch import Tensor

from ..engine.requirements import require_channels
from ..errors import GraftError

TIMESTEPS = 1000
"""Timesteps count thousandths of a model's schedule, from the picture to noise."""


def noise_parts(sampling, sigma: float) -> tuple[float, float]:
    """(alpha, beta) of x = alpha z + beta n at a noise level, as the model's own family mixes picture and noise."""
    level, zero, one = torch.tensor(sigma), torch.zeros(1), torch.ones(1)
    return float(sampling.noise_scaling(level, zero, one)), float(sampling.noise_scaling(level, one, zero))


def level_at(sampling, timesteps: Tensor) -> Tensor:
    """The noise levels of timesteps (n,), int64, in thousandths of the model's own schedule."""
    levels = sampling.sigmas.float().cpu()
    return levels[timesteps * len(levels) // TIMESTEPS]


def percent_at(sampling, sigma: float) -> float:
    """Where in a run a noise level is, from 0 for noise to 1 for the picture, to a thousandth: `percent_to_sigma` backwards."""
    return bisect_left(range(1000), -sigma, key=lambda thousandths: -float(sampling.percent_to_sigma(thousandths / 1000))) / 1000


def require_picture_latent(model, latent: Tensor, name: str) -> None:
    """Raises `GraftError` unless a latent, from the input so named, is this model's of pictures, and the model adds noise to it."""
    film = latent.dim() == 5 and model.get_model_object("latent_format").latent_dimensions == 3
    frames = latent.shape[2] if film else 1
    if not (film or latent.dim() == 4) or frames != 1:
        what = f"{frames} frames" if film else f"{latent.dim()} dimensions"
        raise GraftError(f"{name}: its latent has {what}, of a picture it has 4 dimensions, or 5 with one frame; connect pictures")
    require_channels(model, latent, name, "encode the picture with the model's own VAE")
    sampling = model.get_model_object("model_sampling")
    if noise_parts(sampling, float(sampling.sigmas[len(sampling.sigmas) // 2]))[1] == 0:
        raise GraftError(f"model: {type(model.model).__name__} adds no noise to its latents, so there is nothing to ask it")


def require_timesteps(name: str, timesteps: tuple[int, int]) -> None:
    """Raises `GraftError` unless there is a timestep from the first to before the second's predecessor, as the released code counts."""
    low, high = timesteps
    if not 0 <= low < high - 1 < TIMESTEPS:
        raise GraftError(
            f"lowest_{name}, highest_{name}: {low} and {high} leave nothing to draw; they lie between 0 and {TIMESTEPS}, at least 2 apart"
        )
