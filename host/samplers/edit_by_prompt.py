"""Editing a picture by prompt in the way that suits the model in hand."""

from __future__ import annotations

from dataclasses import replace

import comfy.samplers
from torch import Tensor

from ..edits.background_preservation import BackgroundPreservation
from ..edits.self_attention import ReplaceSelfAttention
from ..engine.masks import require_of
from ..engine.pictures import for_vae
from ..engine.plan import plan_of
from ..engine.requirements import mixing_of, require_one_prompt
from ..engine.run import carry_out
from ..engine.stream import Stream
from ..engine.windows import Window
from ..families.layers import coarse_layers, is_unet, require_unet
from .flow_edit import DISTILLED, edit_by_flow, settings_for
from .guided import Prompts, guided, sample
from .latent_optimization import Optimization, kept_outside, optimize
from .sampling import GraftSampler, NoFreshNoise, invert

STEPS, LAYOUT_UNTIL, GUIDANCE = 50, 0.8, 7.5
"""Free-Prompt-Editing's settings for real pictures."""
DESCENT_STEPS = 200


def edit_by_prompt(model, prompts: Prompts, latent: Tensor, seed: int, amount: float, distilled: bool, mask: Tensor | None) -> Tensor:
    """`latent`, in the VAE's space, edited from what the source's prompt says it shows to what the positive one says.

    FlowEdit for flows; Free-Prompt-Editing for UNets; Delta Denoising Score for what is neither. `amount` says how much may change
    beside the method's own settings: how many steps edit, how long the layout is held, how long the descent takes. With `mask`
    (B or 1, H, W) nothing changes outside it.
    """
    require_of("mask", mask, latent, "image")
    require_one_prompt(prompts.source_conditioning, "source_conditioning", "an edit")
    if is_unet(model):
        return _by_attention(model, prompts, latent, seed, amount, distilled, mask)
    if mixing_of(model) == "flow":
        settings = DISTILLED if distilled else settings_for(model)
        edited = min(settings.steps, max(1, round(amount * settings.edited)))
        return edit_by_flow(model, prompts, latent, seed, replace(settings, edited=edited, mask=mask))
    guidance = 1.0 if distilled else GUIDANCE
    settings = Optimization(round(amount * DESCENT_STEPS), guidance=guidance, mask=mask, outside=1.0 if mask is None else 0.0)
    return kept_outside(mask, latent, optimize(model, prompts, latent, seed, settings))


def _by_attention(model, prompts: Prompts, latent: Tensor, seed: int, amount: float, distilled: bool, mask: Tensor | None) -> Tensor:
    """Free-Prompt-Editing; with a mask the picture's own latents stand outside it after every step."""
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "ddim_uniform", STEPS)
    trajectory = invert(model, prompts.source_conditioning, latent, sigmas, "ddim", 1)
    window = Window.of_percent(model, 0.0, max(0.0, 1 - amount * (1 - LAYOUT_UNTIL)))
    stream = Stream(trajectory, prompts.source_conditioning, name="image", prompt_name="source_conditioning")
    plan = plan_of(model).with_edit(ReplaceSelfAttention(stream, window, coarse_layers(require_unet(model))))
    if mask is not None:
        plan = plan.with_edit(BackgroundPreservation(trajectory, Window.of_percent(model, 0.0, 1.0), mask))
    guider = guided(carry_out(model, plan), prompts, 1.0 if distilled else GUIDANCE)
    start = for_vae(model, trajectory.latents[0])
    noise = NoFreshNoise(model, float(trajectory.sigmas[0])).generate_noise({"samples": start})
    edited = sample(guider, noise, start, GraftSampler("ddim"), trajectory.sigmas, seed)
    return kept_outside(mask, latent, edited)
