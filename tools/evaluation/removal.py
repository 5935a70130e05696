"""FreeCompose's removal of an object with its shadow, the article's ablation, and sampling the place anew instead."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import comfy.samplers
import numpy as np
import torch
from graft.composition.keeping import kept_outside, matched_at_seam
from graft.host.edits.key_value_mask import MaskKeysAndValues
from graft.host.engine.plan import Plan
from graft.host.engine.run import carry_out
from graft.host.engine.windows import Window
from graft.host.families.layers import fine_decoder_layers, require_unet
from graft.host.samplers.guided import Prompts, guided, sample
from graft.host.samplers.latent_optimization import Optimization
from graft.miniature.scenes.sampling import sample_scene
from graft.optimization.descent import Descent
from torch import Tensor

from .freecompose import BATCH, MASK_THRESHOLD, TOUCHED, Method, Task, Terms, described, grown, optimised, prompts_of, psnr_in
from .laboratory import UNSEEN, Laboratory, Pictured, picture
from .report import Sheet, Table
from .swaps import SEAM

PAPER = Optimization(iterations=150, outside=0.2)
SETTINGS = replace(PAPER, iterations=80, guidance=1.5, descent=Descent("sgd", 0.1))
BACKGROUND_WEIGHT = 0.3
GROWN = 2
"""Pixels by which the mask is grown where its place is sampled anew."""


@dataclass(frozen=True)
class Resampled:
    """The masked part sampled anew under the target's prompt, outside it the picture's own latents, as the host's noise masks do it.
    `strength` is the part of the schedule that is run, in `steps`; `hidden` leaves the mask's keys and values out, in every step;
    `filled` fills the mask with the colours of its surroundings first, so that nothing of the thing is left in cells that the mask covers
    in part."""

    steps: int = 25
    strength: float = 1.0
    hidden: bool = False
    filled: bool = False
    guidance: float = 2.5


FAST = Resampled(20, 0.8, hidden=True, filled=True)
FULL = Method(Terms(keys=True, perceptual=True), SETTINGS)


def sooner(times: int) -> Method:
    """With so many times fewer iterations, each twice as long: of longer ones some run away."""
    descent = replace(SETTINGS.descent, learning_rate=2 * SETTINGS.descent.learning_rate)
    return replace(FULL, settings=replace(SETTINGS, iterations=SETTINGS.iterations // times, descent=descent))


METHODS: dict[str, Method | Resampled] = {
    "perceptual only": Method(Terms(score=False, perceptual=True), SETTINGS),
    "DDS only": Method(Terms(), SETTINGS),
    "DDS + mask": Method(Terms(keys=True), SETTINGS),
    "full": FULL,
    "full, mask without the shadow": replace(FULL, shadow=False),
    "full, the article's settings": replace(FULL, settings=PAPER),
    "full, half the iterations": sooner(2),
    "full, a quarter of the iterations": sooner(4),
    "fast": FAST,
    "fast, keys and values seen": replace(FAST, hidden=False),
    "fast, not filled": replace(FAST, filled=False),
    "core inpainting": Resampled(),
}


def run(laboratory: Laboratory, count: int = 64, methods: Mapping[str, Method | Resampled] = METHODS) -> tuple[list[Table], list[Sheet]]:
    """`count` unseen pictures of one thing."""
    before, after = cases_of(np.random.default_rng(UNSEEN + 8), count)
    results = {"input": before.pictures, "truth, through the VAE": laboratory.decode(laboratory.encode(after.pictures))}
    seconds = dict.fromkeys(results, "")
    for label, method in methods.items():
        started = time.process_time()
        results[label] = removed(laboratory, before, after, method)
        seconds[label] = f"{(time.process_time() - started) / count:.1f}"
    rows = tuple(
        {"method": label} | measure(laboratory, before, after, pictures) | {"CPU seconds": seconds[label]}
        for label, pictures in results.items()
    )
    note = (
        f"{count} pictures of one thing; the truth is the scene without it. {described(SETTINGS)}; the article's: {described(PAPER)}. The prompts name the scene with and without the thing. "
        f"The mask is the thing with its shadow: its keys and values are hidden, and the gradient counts {SETTINGS.outside:g} outside. Full: also the perceptual loss, weight {BACKGROUND_WEIGHT:g}, of the VAE's encoder; half and a quarter of the iterations have twice the learning rate. "
        f"Core inpainting: what the host has by itself, {METHODS['core inpainting'].steps} Euler steps on the Karras schedule from full strength, guidance {FAST.guidance:g}, prompt of the empty scene, "
        f"outside the mask, grown by {GROWN} pixels, the picture's own latents. Fast: {FAST.steps} such steps at strength {FAST.strength:g}, from the picture with the mask filled by its surroundings' colours, "
        "the mask's keys and values hidden in every step. CPU seconds: processor time per picture, with the VAE. "
        "Gone: percent of pictures in which the judge sees no thing. Object, shadow: PSNR inside, against the truth. Background: outside both, against the input."
    )
    sheet = {"input": before.pictures, "truth": after.pictures} | {label: results[label] for label in methods}
    return [Table("removal", "FreeCompose: removal", note, rows)], [Sheet("removal", sheet)]


def removed(laboratory: Laboratory, before: Pictured, after: Pictured, method: Method | Resampled) -> Tensor:
    if isinstance(method, Resampled):
        return resampled(laboratory, task_of(before, after, margin=GROWN), method)
    return optimised(laboratory, task_of(before, after, method.shadow), method)


def cases_of(rng: np.random.Generator, count: int) -> tuple[Pictured, Pictured]:
    """Pictures of one thing, and the same without it."""
    before = picture(sample_scene(rng, count=1) for _ in range(count))
    return before, picture(scene.without(0) for scene in before.scenes)


def task_of(before: Pictured, after: Pictured, shadow: bool = True, margin: int = 0) -> Task:
    """The mask covers the thing, its shadow if `shadow`, and `margin` pixels around."""
    covered = np.stack([o[0] + s[0] * shadow for o, s in zip(before.objects, before.shadows, strict=True)])
    mask = torch.from_numpy(grown(covered, margin)).float()
    return Task(before.pictures, prompts_of(before.scenes), prompts_of(after.scenes), mask, BACKGROUND_WEIGHT)


def resampled(laboratory: Laboratory, task: Task, method: Resampled) -> Tensor:
    """The pictures with their masks sampled anew, in batches with a seed each: Euler on the Karras schedule."""
    model = laboratory.model
    if method.hidden:
        window, layers = Window.of_percent(model, 0.0, 1.0), fine_decoder_layers(require_unet(model))
    sigmas = laboratory.sigmas(round(method.steps / method.strength), "karras")[-(method.steps + 1) :]
    sampler, pictures = comfy.samplers.sampler_object("euler"), []
    for start in range(0, len(task.pictures), BATCH):
        part = task.rows(slice(start, start + BATCH))
        edited = carry_out(model, Plan((MaskKeysAndValues(part.mask, window, layers, MASK_THRESHOLD),))) if method.hidden else model
        latent = laboratory.encode(filled(part.pictures, part.mask) if method.filled else part.pictures)
        empty = laboratory.conditioning([""])
        guider = guided(edited, Prompts(laboratory.conditioning(list(part.target_prompts)), empty, empty), method.guidance)
        noise = laboratory.noise(len(latent), UNSEEN + start)
        made = sample(guider, noise, latent, sampler, sigmas, 0, part.mask[:, None])
        pictures.append(laboratory.decode(made))
    return torch.cat(pictures)


def filled(pictures: Tensor, mask: Tensor) -> Tensor:
    """(B, H, W, 3): inside the mask (B, H, W) a membrane between the colours at its border."""
    return kept_outside(pictures, matched_at_seam(pictures, torch.zeros_like(pictures), mask), mask)


def measure(laboratory: Laboratory, before: Pictured, after: Pictured, pictures: Tensor) -> dict[str, float]:
    objects, shadows = (np.stack([mask[0] for mask in masks]) for masks in (before.objects, before.shadows))
    return {
        "gone": 100 * float(np.mean([not verdict.things for verdict in laboratory.verdicts(pictures)])),
        "object PSNR (dB)": psnr_in(objects > TOUCHED, pictures, after.pictures),
        "shadow PSNR (dB)": psnr_in((shadows > TOUCHED) & (objects <= TOUCHED), pictures, after.pictures),
        "background PSNR (dB)": psnr_in(~grown(objects + shadows, SEAM), pictures, before.pictures),
    }
