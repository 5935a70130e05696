"""FreeCompose's removal of an object with its shadow, and the article's ablation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from graft.host.samplers.latent_optimization import Optimization
from graft.miniature.world import sample_scene
from graft.optimization.descent import Descent
from torch import Tensor

from .freecompose import TOUCHED, Method, Task, Terms, described, grown, optimised, prompts_of, psnr_in
from .laboratory import UNSEEN, Laboratory, Pictured, picture
from .report import Sheet, Table

PAPER = Optimization(iterations=150, outside=0.2)
SETTINGS = replace(PAPER, iterations=80, guidance=1.5, descent=Descent("sgd", 0.1))
BACKGROUND_WEIGHT = 0.3

METHODS = {
    "perceptual only": Method(Terms(score=False, perceptual=True), SETTINGS),
    "DDS only": Method(Terms(), SETTINGS),
    "DDS + mask": Method(Terms(keys=True), SETTINGS),
    "full": Method(Terms(keys=True, perceptual=True), SETTINGS),
    "full, mask without the shadow": Method(Terms(keys=True, perceptual=True), SETTINGS, shadow=False),
    "full, the article's settings": Method(Terms(keys=True, perceptual=True), PAPER),
}


def run(laboratory: Laboratory, count: int = 64, methods: Mapping[str, Method] = METHODS) -> tuple[list[Table], list[Sheet]]:
    """`count` unseen pictures of one thing."""
    before, after = cases_of(np.random.default_rng(UNSEEN + 8), count)
    results = {"input": before.pictures, "truth, through the VAE": laboratory.decode(laboratory.encode(after.pictures))}
    results |= {label: optimised(laboratory, task_of(before, after, method.shadow), method) for label, method in methods.items()}
    rows = tuple({"method": label} | measure(laboratory, before, after, pictures) for label, pictures in results.items())
    note = (
        f"{count} pictures of one thing; the truth is the scene without it. {described(SETTINGS)}; the article's: {described(PAPER)}. The prompts name the scene with and without the thing. "
        f"The mask is the thing with its shadow: its keys and values are hidden, and the gradient counts {SETTINGS.outside:g} outside. Full: also the perceptual loss, weight {BACKGROUND_WEIGHT:g}, of the VAE's encoder. "
        "Gone: percent of pictures in which the judge sees no thing. Object, shadow: PSNR inside, against the truth. Background: outside both, against the input."
    )
    sheet = {"input": before.pictures, "truth": after.pictures} | {label: results[label] for label in methods}
    return [Table("removal", "FreeCompose: removal", note, rows)], [Sheet("removal", sheet)]


def cases_of(rng: np.random.Generator, count: int) -> tuple[Pictured, Pictured]:
    """Pictures of one thing, and the same without it."""
    before = picture(sample_scene(rng, count=1) for _ in range(count))
    return before, picture(scene.without(0) for scene in before.scenes)


def task_of(before: Pictured, after: Pictured, shadow: bool = True) -> Task:
    """The mask covers the thing, and its shadow if `shadow`."""
    covered = np.stack([o[0] + s[0] * shadow for o, s in zip(before.objects, before.shadows, strict=True)])
    mask = torch.from_numpy(covered > TOUCHED).float()
    return Task(before.pictures, prompts_of(before.scenes), prompts_of(after.scenes), mask, BACKGROUND_WEIGHT)


def measure(laboratory: Laboratory, before: Pictured, after: Pictured, pictures: Tensor) -> dict[str, float]:
    objects, shadows = (np.stack([mask[0] for mask in masks]) for masks in (before.objects, before.shadows))
    return {
        "gone": 100 * float(np.mean([not verdict.things for verdict in laboratory.verdicts(pictures)])),
        "object PSNR (dB)": psnr_in(objects > TOUCHED, pictures, after.pictures),
        "shadow PSNR (dB)": psnr_in((shadows > TOUCHED) & (objects <= TOUCHED), pictures, after.pictures),
        "background PSNR (dB)": psnr_in(~grown(objects + shadows, 2), pictures, before.pictures),
    }
