"""What runs and inversions need of a model, its latents and a schedule."""

from __future__ import annotations

import comfy.model_sampling
from torch import Tensor

from ...inversion.mixing import Mixing
from ..errors import GraftError


def require_descending(sigmas: Tensor) -> None:
    if len(sigmas) < 2 or not bool((sigmas.diff() < 0).all()):
        raise GraftError(
            f"sigmas: a schedule of at least one step that falls from noise to picture is needed, got {sigmas.tolist()}; connect a scheduler's output"
        )


def mixing_of(model) -> Mixing:
    """How the model's noisy latents are made of picture and noise. Raises `GraftError` for models that start from something else
    than noise, and so have no way back to it."""
    sampling = model.get_model_object("model_sampling")
    if isinstance(sampling, comfy.model_sampling.IMG_TO_IMG_FLOW | comfy.model_sampling.IMG_TO_IMG):
        raise GraftError(f"model: {type(model.model).__name__} makes pictures of pictures, not of noise; connect a model that generates")
    if isinstance(sampling, comfy.model_sampling.EPS | comfy.model_sampling.COSMOS_RFLOW):
        return "added"
    if isinstance(sampling, comfy.model_sampling.CONST):
        return "flow"
    raise GraftError(
        f"model: {type(model.model).__name__} mixes picture and noise in a way Graft cannot invert; connect an SD1.x, SD2.x or SDXL "
        "checkpoint or a flow model such as Flux, Qwen-Image or Z-Image"
    )


def require_added_noise(model, what: str) -> None:
    """Raises `GraftError` unless noisy latents are picture + sigma * noise, as in all models of Stable Diffusion up to SDXL."""
    if mixing_of(model) != "added":
        raise GraftError(f"model: {type(model.model).__name__} is a flow model; {what} is for SD1.x, SD2.x and SDXL checkpoints")


def require_channels(model, latents: Tensor, name: str, remedy: str) -> None:
    """Raises `GraftError` unless `latents` (B, C, h, w), which came through the input `name`, have the model's channels."""
    channels = model.get_model_object("latent_format").latent_channels
    if latents.shape[1] != channels:
        raise GraftError(f"{name}: its latents have {latents.shape[1]} channels, this model's have {channels}; {remedy}")
