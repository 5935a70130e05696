"""The methods as the pack ships them, with the nodes' defaults: what samples with each, and what has to be made before.

FreeCompose's perceptual term is left out: it is the same on every side, and random weights have no VAE.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import comfy.samplers
import torch
from comfy_extras.nodes_custom_sampler import Noise_RandomNoise
from graft.host.edits.background_preservation import BackgroundPreservation
from graft.host.edits.composite_attention import CompositeAttention
from graft.host.edits.composition import composed_start
from graft.host.edits.cross_attention import CrossAttentionControl
from graft.host.edits.h_space import MixHSpace
from graft.host.edits.local_blend import BlendWords, LocalBlend
from graft.host.edits.reference_attention import ReferenceAttention
from graft.host.edits.self_attention import ReplaceSelfAttention
from graft.host.engine.pictures import for_vae
from graft.host.engine.plan import Edit, Plan
from graft.host.engine.run import carry_out
from graft.host.engine.shared_decoder import MIDDLE, OUTPUT, Halfway, decoded
from graft.host.engine.stream import Stream
from graft.host.engine.windows import Window
from graft.host.families.layers import all_layers, coarse_layers, fine_decoder_layers, layers_at
from graft.host.samplers.asymmetric_sampler import AsymmetricSampler
from graft.host.samplers.guided import Prompts
from graft.host.samplers.latent_optimization import MaskedKeys, optimize
from graft.host.samplers.sampling import GraftSampler, NoFreshNoise, invert, record
from graft.host.samplers.schedules import uniform_time_sigmas
from torch import Tensor

from . import settings
from .networks import Subject

Run = Callable[[], Tensor]
"""Samples the edited latents (1, C, h, w), in the VAE's space; as often as it is called, as an artist presses Run again."""


Work = Callable[[], None]


def nothing_beside() -> Work:
    """Most methods compute whole rows and no more."""
    return lambda: None


@dataclass(frozen=True)
class Shipped:
    """A method ready to run; `beside` makes what computes alone what it computes that is no whole row of the network."""

    run: Run
    beside: Callable[[], Work] = nothing_beside


def edited(subject: Subject, edits: Sequence[Edit], start: Tensor, sigmas: Tensor, guidance: float, sampler) -> Run:
    """Sampling with `edits` from the noisy latents `start`, in sampler space."""
    model = carry_out(subject.model, Plan(tuple(edits)))
    latent = for_vae(model, start)
    noise = NoFreshNoise(model, float(sigmas[0])).generate_noise({"samples": latent})

    def run() -> Tensor:
        return _guided(model, subject, guidance).sample(noise, latent, sampler, sigmas, disable_pbar=True, seed=settings.SEED)

    return run


def _guided(model, subject: Subject, guidance: float) -> comfy.samplers.CFGGuider:
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(subject.target, subject.empty)
    guider.set_cfg(guidance)
    return guider


def free_prompt_editing(subject: Subject) -> Shipped:
    model = subject.model
    source = Stream(invert(model, subject.empty, subject.picture, subject.sigmas(), "ddim", 1), subject.empty)
    edit = ReplaceSelfAttention(source, Window.of_percent(model, 0.0, settings.LAYOUT), coarse_layers(model.model.diffusion_model))
    trajectory = source.trajectory
    return Shipped(edited(subject, [edit], trajectory.latents[0], trajectory.sigmas, settings.GUIDANCE, GraftSampler("ddim")))


def specref(subject: Subject) -> Shipped:
    """With Prompt-to-Prompt's control of both attentions, and local blend."""
    model, network = subject.model, subject.model.model.diffusion_model
    sigmas, looked_at = subject.sigmas(), layers_at(network, 2)
    source = Stream(invert(model, subject.source, subject.picture, sigmas, "ddim", 1), subject.source)
    reference = Stream(invert(model, subject.empty, subject.reference, sigmas, "ddim", 1), subject.empty, "as inverted", "reference")
    words = BlendWords(*subject.words, "", "", settings.BLEND_THRESHOLD, settings.BLEND_THRESHOLD, looked_at)
    edits = [
        CrossAttentionControl(source, "replace", (0.0, settings.CROSS)),
        ReplaceSelfAttention(source, Window.of_percent(model, 0.0, settings.LAYOUT), coarse_layers(network)),
        ReferenceAttention(
            stream=reference,
            window=Window.of_percent(model, settings.REFERENCE_FROM, 1.0),
            layers=fine_decoder_layers(network),
            target_words=subject.words[1],
            map_layers=looked_at,
            threshold=settings.MASK_THRESHOLD,
            interpolation="area",
            reference_mask=subject.object,
        ),
        LocalBlend(source, Window.of_percent(model, settings.BLEND_FROM, 1.0), words, None, "the source's own step"),
    ]
    return Shipped(edited(subject, edits, source.trajectory.latents[0], sigmas, settings.GUIDANCE, GraftSampler("ddim")))


def tf_icon(subject: Subject) -> Shipped:
    """Across styles: the object starts from the reference's noise."""
    model, sigmas, prompt = subject.model, uniform_time_sigmas(subject.model, subject.steps), subject.exceptional
    main, reference = (
        Stream(invert(model, prompt, latent, sigmas, "dpmpp_2m", 1), prompt, name=name)
        for latent, name in ((subject.picture, "main"), (subject.reference, "reference"))
    )
    edits = [
        CompositeAttention(main, reference, subject.object, subject.region, settings.TAU_A, all_layers(model.model.diffusion_model)),
        BackgroundPreservation(main.trajectory, Window.of_percent(model, 0.0, settings.TAU_B), subject.region),
    ]
    start = composed_start(model, main.trajectory, reference.trajectory, subject.object, subject.region, settings.SEED)
    return Shipped(
        edited(subject, edits, model.model.process_latent_in(start), sigmas, settings.COMPOSED_GUIDANCE, GraftSampler("dpmpp_2m"))
    )


def freecompose(subject: Subject) -> Shipped:
    """Removal: hidden keys, Delta Denoising Score."""
    model, mask = subject.model, subject.object
    removal = replace(settings.REMOVAL, mask=mask)
    keys = MaskedKeys(mask, fine_decoder_layers(model.model.diffusion_model), settings.HIDDEN_FROM, settings.COVERED, "area")
    return Shipped(
        lambda: optimize(model, Prompts(subject.target, subject.source, subject.empty), subject.picture, settings.SEED, removal, [keys])
    )


def injectfusion(subject: Subject) -> Shipped:
    """The content's h is kept when its generation is recorded. Edited rows cost a decoder each."""
    model, sigmas, latent = subject.model, subject.sigmas(), torch.zeros_like(subject.picture)
    noise = Noise_RandomNoise(settings.SEED)
    content_guider = comfy.samplers.CFGGuider(model)
    content_guider.set_conds(subject.source, subject.empty)
    content_guider.set_cfg(settings.GUIDANCE)
    _, content = record(content_guider, noise, {"samples": latent}, GraftSampler("ddim"), sigmas, bottlenecks=True)
    mixing = carry_out(model, Plan((MixHSpace(Stream(content, subject.source, name="content"), settings.GAMMA),)))
    start, sampler = (
        Noise_RandomNoise(settings.SEED + 1).generate_noise({"samples": latent}),
        AsymmetricSampler(settings.INJECTING, omega=0.0),
    )
    injections = int(settings.INJECTING.injected(model.get_model_object("model_sampling"), sigmas).sum())

    def run() -> Tensor:
        return _guided(mixing, subject, settings.GUIDANCE).sample(start, latent, sampler, sigmas, disable_pbar=True, seed=settings.SEED)

    return Shipped(run, partial(_decoders, subject, injections))


def _decoders(subject: Subject, times: int) -> Work:
    """The network's decoder alone, `times` times over a row."""
    network, device = subject.model.model.diffusion_model, subject.model.load_device
    dtype = subject.model.model.get_dtype_inference()
    latent = subject.picture.to(device, dtype)
    halfway = Halfway(torch.arange(1, device=device), 1, lambda h: h, keep_copies=False)
    patches = {MIDDLE: [halfway.at_the_middle], OUTPUT: [halfway.at_an_output_block]}
    ((states, options),) = subject.empty
    extra = {}
    if network.num_classes is not None:
        extra["y"] = subject.model.model.encode_adm(pooled_output=options["pooled_output"], width=8, height=8).to(device, dtype)
    timesteps = torch.full((1,), 500.0, device=device)
    network(latent, timesteps, context=states.to(device, dtype), transformer_options={"patches": patches}, **extra)

    def run() -> None:
        for _ in range(times):
            decoded(network, halfway, {"patches": {}})

    return run
