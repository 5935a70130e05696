"""Editing a picture by prompt in the way that suits the model in hand."""

from __future__ import annotations

from dataclasses import replace

import comfy.samplers
import comfy.utils
import latent_preview
from torch import Tensor

from ..edits.background_preservation import BackgroundPreservation
from ..edits.self_attention import ReplaceSelfAttention
from ..engine.masks import require_of
from ..engine.pictures import for_vae
from ..engine.plan import plan_of
from ..engine.requirements import mixing_of
from ..engine.run import carry_out
from ..engine.stream import Stream
from ..engine.windows import Window
from ..families.layers import coarse_layers, is_unet, require_unet
from .flow_edit import DISTILLED, edit_by_flow, settings_for
from .latent_optimization import Optimization, kept_outside, optimize
from .sampling import GraftSampler, NoFreshNoise, invert

STEPS, LAYOUT_UNTIL, GUIDANCE = 50, 0.8, 7.5
"""Free-Prompt-Editing's settings for real pictures."""
DESCENT_STEPS = 200


def edit_by_prompt(
    model,
    positive: list,
    source_conditioning: list,
    negative: list,
    latent: Tensor,
    seed: int,
    amount: float,
    distilled: bool,
    mask: Tensor | None,
) -> Tensor:
    """`latent`, in the VAE's space, edited from what `source_conditioning` says it shows to what `positive` says.

    FlowEdit for flows; Free-Prompt-Editing for UNets; Delta Denoising Score for what is neither. `amount` says how much may change
    beside the method's own settings: how many steps edit, how long the layout is held, how long the descent takes. With `mask`
    (B or 1, H, W) nothing changes outside it.
    """
    prompts = positive, source_conditioning, negative
    require_of("mask", mask, latent, "image")
    if is_unet(model):
        return _by_attention(model, *prompts, latent, seed, amount, distilled, mask)
    if mixing_of(model) == "flow":
        settings = DISTILLED if distilled else settings_for(model)
        edited = min(settings.steps, max(1, round(amount * settings.edited)))
        return edit_by_flow(model, *prompts, latent, seed, replace(settings, edited=edited, mask=mask))
    guidance = 1.0 if distilled else GUIDANCE
    settings = Optimization(round(amount * DESCENT_STEPS), guidance=guidance, mask=mask, outside=1.0 if mask is None else 0.0)
    return kept_outside(mask, latent, optimize(model, *prompts, latent, seed, settings))


def _by_attention(
    model,
    positive: list,
    source_conditioning: list,
    negative: list,
    latent: Tensor,
    seed: int,
    amount: float,
    distilled: bool,
    mask: Tensor | None,
) -> Tensor:
    """Free-Prompt-Editing; with a mask the picture's own latents stand outside it after every step."""
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "ddim_uniform", STEPS)
    trajectory = invert(model, source_conditioning, latent, sigmas, "ddim", 1)
    window = Window.of_percent(model, 0.0, max(0.0, 1 - amount * (1 - LAYOUT_UNTIL)))
    stream = Stream(trajectory, source_conditioning, name="image", prompt_name="source_conditioning")
    plan = plan_of(model).with_edit(ReplaceSelfAttention(stream, window, coarse_layers(require_unet(model))))
    if mask is not None:
        plan = plan.with_edit(BackgroundPreservation(trajectory, Window.of_percent(model, 0.0, 1.0), mask))
    guider = comfy.samplers.CFGGuider(carry_out(model, plan))
    guider.set_conds(positive, negative)
    guider.set_cfg(1.0 if distilled else GUIDANCE)
    start = {"samples": for_vae(model, trajectory.latents[0])}
    edited = guider.sample(
        NoFreshNoise(model, float(trajectory.sigmas[0])).generate_noise(start),
        start["samples"],
        GraftSampler("ddim"),
        trajectory.sigmas,
        callback=latent_preview.prepare_callback(model, trajectory.steps),
        disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
        seed=seed,
    )
    return kept_outside(mask, latent, edited)
