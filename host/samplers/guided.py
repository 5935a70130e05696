"""Runs of the host's guiders, as its own nodes make them: with previews, progress and interrupts."""

from __future__ import annotations

from typing import NamedTuple

import comfy.samplers
import comfy.utils
import latent_preview
from torch import Tensor


class Prompts(NamedTuple):
    """What an edit goes by: CONDITIONINGs, by the names of a node's inputs."""

    positive: list
    source_conditioning: list
    negative: list


def guided(model, prompts: Prompts, guidance: float) -> comfy.samplers.CFGGuider:
    """A guider by classifier-free guidance; at a `guidance` of 1 the negative prompt costs no rows."""
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(prompts.positive, prompts.negative)
    guider.set_cfg(guidance)
    return guider


def unguided(model, conditioning: list) -> comfy.samplers.CFGGuider:
    """A guider under one prompt: one row per call and picture."""
    guider = comfy.samplers.CFGGuider(model)
    guider.inner_set_conds({"positive": conditioning})
    return guider


def sample(guider, noise: Tensor, latent: Tensor, sampler, sigmas: Tensor, seed: int, noise_mask: Tensor | None = None) -> Tensor:
    """(B, C, h, w), in the VAE's space: what `sampler` makes of `latent` under `noise` along `sigmas` (S + 1)."""
    return guider.sample(
        noise,
        latent,
        sampler,
        sigmas,
        denoise_mask=noise_mask,
        callback=latent_preview.prepare_callback(guider.model_patcher, len(sigmas) - 1),
        disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
        seed=seed,
    )
