"""What runs and inversions need of a model, its latents and prompts, and of a schedule."""

from __future__ import annotations

import comfy.model_base
import comfy.model_sampling
from torch import Tensor

from ...inversion.mixing import Mixing
from ..errors import GraftError
from ..families.table import family_of

SIZES_OF_SDXL = 6 * 256
"""Channels that SDXL adds to a prompt's pooled output."""


def require_descending(sigmas: Tensor, name: str = "sigmas") -> None:
    """Raises `GraftError` unless `sigmas`, from the input so named, fall in finite steps from noise to picture."""
    falls = sigmas.dim() == 1 and len(sigmas) >= 2 and sigmas.is_floating_point() and bool((sigmas.diff() < 0).all())
    if not falls or not bool(sigmas.isfinite().all()) or float(sigmas[-1]) < 0:
        seen = ", ".join(f"{sigma:.4g}" for sigma in sigmas.flatten()[:8].tolist()) + (", ..." if sigmas.numel() > 8 else "")
        raise GraftError(
            f"{name}: a schedule of at least one step that falls from noise to picture is needed, got [{seen}]; connect a scheduler's output"
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


def require_vae_of(model, vae, name: str) -> None:
    """Raises `GraftError` if a VAE makes latents of other channels than the model's."""
    made, channels = getattr(vae, "latent_channels", None), model.get_model_object("latent_format").latent_channels
    if made is not None and made != channels:
        raise GraftError(f"{name}: its latents have {made} channels, this model's have {channels}; connect the model's own VAE")


def require_text_of(model, conditioning: list, name: str) -> None:
    """Raises `GraftError` if the network cannot read a CONDITIONING: text states of another width, or for SDXL another pooled output."""
    width = family_of(model).text_width
    remedy = "encode the prompt with the text encoder of this model's checkpoint"
    for states, options in conditioning:
        if width is not None and states is not None and states.shape[-1] != width:
            raise GraftError(f"{name}: its text states are {states.shape[-1]} wide, this model reads {width}; {remedy}")
        if type(model.model) is comfy.model_base.SDXL:
            pooled, needed = options.get("pooled_output"), model.model.adm_channels - SIZES_OF_SDXL
            if pooled is None or pooled.shape[-1] != needed:
                seen = "no pooled output" if pooled is None else f"a pooled output {pooled.shape[-1]} wide"
                raise GraftError(f"{name}: it has {seen}, this model reads one {needed} wide; {remedy}")


def require_one_prompt(conditioning: list, name: str, what: str) -> None:
    """Raises `GraftError` unless a CONDITIONING, which came through the input `name`, is one prompt that holds everywhere and at
    every noise level: a fingerprint knows nothing else of it. `what` asks for it."""
    if len(conditioning) != 1:
        raise GraftError(f"{name}: {what} needs one prompt, got {len(conditioning)} combined; connect a single encoded prompt")
    ((_, options),) = conditioning
    if covers_area(options) or "mask" in options:
        limit = "an area" if covers_area(options) else "a mask"
        raise GraftError(f"{name}: {what} cannot be limited to {limit}; connect a prompt without one")
    if options.get("start_percent", 0) > 0 or options.get("end_percent", 1) < 1:
        raise GraftError(f"{name}: {what} runs at every noise level; connect a prompt without a timestep range")
    if options.get("hooks") is not None:
        raise GraftError(f"{name}: {what} does not run hooks; connect a prompt without them")


def covers_area(conditioning: dict) -> bool:
    """Whether ComfyUI will show the model only a part of the picture for this entry of a CONDITIONING: an area, or the
    bounds of a mask."""
    return "area" in conditioning or bool(conditioning.get("set_area_to_bounds"))


def require_finite(name: str, made: Tensor, what: str) -> Tensor:
    """What a network made, if it is finite. Raises `GraftError` for the input `name`, which is to blame."""
    if not bool(made.isfinite().all()):
        raise GraftError(
            f"{name}: {what} is not finite (NaN or infinite); half precision overflows like that, and weights that are damaged: start ComfyUI "
            "with --force-fp32 and --fp32-vae, or load another file"
        )
    return made
