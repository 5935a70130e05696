"""Editing a picture on a flow model without inverting it, as one more sampler of the host's (FlowEdit).

At every noise level the picture as it was and as it is so far are shown to the model under the same noise: the source's rows are a
stream, the picture's are the target, as in `latent_optimization.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import comfy.model_base
import comfy.model_management
import comfy.samplers
import torch
from torch import Tensor

from ...attention.masks import on_cells
from ...optimization.flow_edit import shifted, velocity_difference
from ..engine.engine import Engine
from ..engine.masks import require_of
from ..engine.noise_levels import require_picture_latent
from ..engine.plan import RUN_KEY, plan_of
from ..engine.requirements import mixing_of
from ..engine.run import carry_out
from ..engine.stream import Stream
from ..errors import GraftError
from ..families.guidance import is_told_guidance, told
from .guided import Prompts, guided, sample
from .latent_optimization import NoisedSource, RunningSourceScore, SourceScore, kept_outside


@dataclass(frozen=True)
class FlowEdit:
    """What one edit does. FlowEdit's names in brackets."""

    steps: int
    """Of the model's own schedule (T)."""
    edited: int
    """As many of the last of them are taken (n_max): the fewer, the less of the layout can change."""
    source_guidance: float
    guidance: float
    plain: int = 0
    """As many at the end sample plainly, under the target's prompt alone (n_min)."""
    draws: int = 1
    """Noises over which a step is averaged (n_avg)."""
    shift: float = 1.0
    """How far the picture moves the path of its noise: 1 is FlowEdit, 0 Delta Denoising Score."""
    scheduler: str = "simple"
    mask: Tensor | None = None
    """(B or 1, H, W): where the picture may change, softly at an edge; elsewhere it stays to the bit."""


DISTILLED = FlowEdit(steps=8, edited=6, source_guidance=1.0, guidance=1.0)
"""For models distilled to few steps, which know no guidance."""
GUIDED = FlowEdit(steps=28, edited=20, source_guidance=1.5, guidance=5.0)
"""For other families: a start, from no paper."""
PAPERS = {
    comfy.model_base.SD3: FlowEdit(steps=50, edited=33, source_guidance=3.5, guidance=13.5),
    comfy.model_base.Flux: FlowEdit(steps=28, edited=24, source_guidance=1.5, guidance=5.5),
}
"""FlowEdit's released settings, for SD3 and for Flux.1 dev."""


def settings_for(model) -> FlowEdit:
    """The settings for the model in hand: the released ones for its kind; else `GUIDED`. That a model was distilled to few steps cannot
    be seen in most families."""
    kind = type(model.model)
    if kind is comfy.model_base.Flux and not is_told_guidance(model):
        return DISTILLED  # Flux.1 schnell
    return PAPERS.get(kind, GUIDED)


class FlowEditor(comfy.samplers.Sampler):
    """A SAMPLER that walks from the latent image to its edit, along descending noise levels."""

    def __init__(self, source: NoisedSource, settings: FlowEdit) -> None:
        self.source, self.settings = source, settings

    def sample(self, model_wrap, sigmas, extra_args, callback, noise, latent_image=None, denoise_mask=None, disable_pbar=False) -> Tensor:
        engine: Engine = extra_args["model_options"]["transformer_options"][RUN_KEY]
        source, settings = self.source, self.settings
        clean = source.clean = source.clean.to(noise)
        weights = 1.0 if settings.mask is None else on_cells(settings.mask, clean)
        latent, last, total = clean, settings.edited - settings.plain, settings.edited

        def denoise(x: Tensor, sigma: float) -> Tensor:
            return model_wrap(x, x.new_full((len(x),), sigma), **extra_args)

        for step, (sigma, sigma_next) in enumerate(pairwise(sigmas.tolist())):
            comfy.model_management.throw_exception_if_processing_interrupted()
            if step < last:
                differences = [
                    self._difference(engine, denoise, latent, sigma, step, extra_args["model_options"]) for _ in range(settings.draws)
                ]
                latent = latent + weights * (sigma_next - sigma) * torch.stack(differences).mean(dim=0)
            else:
                if step == last:
                    source.draw(step)
                    engine.drop_taps()
                    latent = shifted(source.noised(latent, sigma), latent, clean, sigma, settings.shift)
                velocity = (latent - denoise(latent, sigma)) / sigma
                latent = torch.lerp(source.at(sigma_next), latent + (sigma_next - sigma) * velocity, torch.as_tensor(weights).to(latent))
            if callback is not None:
                callback(step, latent, latent, total)
        return latent

    def _difference(self, engine: Engine, denoise, latent: Tensor, sigma: float, step: int, model_options: dict) -> Tensor:
        """The direction of the edit under one new noise."""
        source, shift = self.source, self.settings.shift
        source.draw(step)
        engine.drop_taps()
        shown = shifted(source.noised(latent, sigma), latent, source.clean, sigma, shift), source.at(sigma)
        denoised = denoise(shown[0], sigma)
        (score,) = (edit for edit in engine.edits if isinstance(edit, RunningSourceScore))
        levels = latent.new_full((len(latent),), sigma)
        source_denoised = score.denoised(shown[1], levels, model_options)
        return velocity_difference(latent, source.clean, shown, (denoised, source_denoised), sigma, shift)


def edit_by_flow(model, prompts: Prompts, latent: Tensor, seed: int, settings: FlowEdit) -> Tensor:
    """`latent`, in the VAE's space, edited from what the source's prompt says it shows to what the positive one says.

    Costs two rows a picture and draw in every edited step, four where both prompts are guided, and one or two in a plain one.
    """
    _check(model, latent, settings)
    guidance, source_guidance = settings.guidance, settings.source_guidance
    if is_told_guidance(model):
        asked = told(prompts.positive, guidance), told(prompts.source_conditioning, source_guidance)
        prompts = Prompts(*asked, prompts.negative)
        guidance = source_guidance = 1.0
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), settings.scheduler, settings.steps)
    sigmas = sigmas[-settings.edited - 1 :].float().cpu()
    source = NoisedSource(model, prompts.source_conditioning, latent, sigmas, seed)
    stream = Stream(source, prompts.source_conditioning, name="latent_image", prompt_name="source_conditioning")
    score = SourceScore(stream, source_guidance, settings.edited - settings.plain)
    guider = guided(carry_out(model, plan_of(model).with_edit(score)), prompts, guidance)
    edited = sample(guider, torch.zeros_like(latent), latent, FlowEditor(source, settings), sigmas, seed)
    return kept_outside(settings.mask, latent, edited)


def _check(model, latent: Tensor, settings: FlowEdit) -> None:
    """Raises `GraftError` for what cannot be edited, before the model is loaded."""
    if mixing_of(model) != "flow":
        raise GraftError(
            f"model: {type(model.model).__name__} is no flow model, and Flow Edit needs one such as Flux, Qwen-Image or Z-Image; "
            "take Replace Self-Attention or Optimize Latent instead"
        )
    require_picture_latent(model, latent, "latent_image")
    if not 1 <= settings.edited <= settings.steps:
        raise GraftError(f"edited_steps: {settings.edited} of {settings.steps} steps; take between 1 and all of them")
    if not 0 <= settings.plain < settings.edited:
        raise GraftError(
            f"plain_steps: {settings.plain} of {settings.edited} edited steps leave none that edits; make it smaller than edited_steps"
        )
    require_of("mask", settings.mask, latent, "latent_image")
