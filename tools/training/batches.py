"""Batches to train the denoisers on: scenes, pairs that see each other, close-ups."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from graft.miniature.network import LATENT_SCALE, LATENT_SHIFT
from graft.miniature.scenes.prompts import Wording, prompt_of, sample_wording
from graft.miniature.scenes.scene import Scene
from torch import Tensor

from .layouts import Layout, squares
from .pictures import Shards
from .trainer import batch_indices

UNPROMPTED = 0.1
"""The share of prompts that are left out, for classifier-free guidance."""


@dataclass(frozen=True)
class Batch:
    """Latents (B, C, h, w) of unit deviation, what is where in them, their prompts, and where in the schedule they are (B,). The last
    2 * `pairs` rows are pairs, first partners first."""

    latents: Tensor
    layout: Layout
    prompts: list[str]
    share: Tensor
    pairs: int


class Material:
    """The shards that the VAE with a key has encoded, as a training sees them: `shard` pictures each, `grid` (C, h, w)."""

    def __init__(self, shards: Shards, key: str) -> None:
        self.shards = shards.encoded(key)
        self._latents = [shard.latents(key) for shard in self.shards.shards]
        self.shard, *self.grid = self._latents[0].shape

    def latents(self, chosen: Tensor) -> Tensor:
        """(B, C, h, w) of unit deviation."""
        rows = np.stack([self._latents[i // self.shard][i % self.shard] for i in chosen.tolist()])
        return (torch.from_numpy(rows).float() - LATENT_SHIFT) * LATENT_SCALE

    def layout(self, chosen: Tensor) -> Layout:
        return Layout.of(self.shards.scenes(chosen), self.shards.labels(chosen), *self.grid[1:])


def whole_pictures(material: Material, step: int, size: int) -> Batch:
    """Half of the rows are scenes, the others pairs, whose prompts often leave the look to be seen."""
    rng, pairs, shards = np.random.default_rng([32, step]), size // 4, material.shards
    alone = batch_indices("scenes", step, len(shards), size - 2 * pairs)
    first = batch_indices("shards", step, len(shards.shards), pairs) * material.shard + material.shard // 2
    first += 2 * batch_indices("pairs", step, material.shard // 4, pairs)
    chosen = torch.cat([alone, first, first + 1])
    scenes = shards.scenes(chosen)
    prompts = [_prompt(rng, scene, sample_wording(rng), UNPROMPTED) for scene in scenes[: len(alone)]]
    for row, scene in enumerate(scenes[len(alone) :]):
        wording = replace(sample_wording(rng), colour=False, style=rng.random() < 0.5) if rng.random() < 0.75 else sample_wording(rng)
        prompts.append(_prompt(rng, scene, wording, UNPROMPTED if row < pairs else 0.4))
    # A look is open at high noise levels only. A quarter of the partners are at the same level, as two parts of one picture
    # are; the others are seen more clearly.
    noisy = 0.4 + 0.6 * _stratified(rng, pairs)
    clearer = torch.from_numpy(np.where(rng.random(pairs) < 0.25, 1.0, rng.random(pairs)))
    share = torch.cat([_stratified(rng, size - 2 * pairs), noisy, noisy * clearer]).float()
    return Batch(material.latents(chosen), material.layout(chosen), prompts, share, pairs)


def close_ups(material: Material, step: int, size: int) -> Batch:
    """Squares around a thing each, half as wide as a picture, whose prompts name the things that are mostly inside. Most things fit
    into a quarter of the cells, so a network sees more of them in the same time."""
    rng, (_, height, width) = np.random.default_rng([33, step]), material.grid
    side = height // 2
    drawn = batch_indices("close-ups", step, len(material.shards), 2 * size)
    with_things = [row for row, scene in enumerate(material.shards.scenes(drawn)) if scene.things]
    chosen = drawn[with_things[:size]]
    tops, lefts, prompts = [], [], []
    for scene in material.shards.scenes(chosen):
        left, top, right, bottom = scene.things[rng.integers(len(scene.things))].box
        for corners, centre, extent in ((tops, (top + bottom) / 2, height), (lefts, (left + right) / 2, width)):
            corner = round(centre * extent - side / 2 + rng.uniform(-1, 1))
            corners.append(min(max(corner, 0), extent - side))
        inside = tuple(thing for thing in scene.things if _inside(thing.box, lefts[-1] / width, tops[-1] / height, side / height) > 0.5)
        prompts.append(_prompt(rng, replace(scene, things=inside), sample_wording(rng), UNPROMPTED))
    layout, latents = material.layout(chosen).squares(tops, lefts, side), squares(material.latents(chosen), tops, lefts, side)
    return Batch(latents, layout, prompts, _stratified(rng, len(latents)).float(), pairs=0)


def _inside(box: tuple[float, float, float, float], left: float, top: float, side: float) -> float:
    """The part of a box that lies in a square."""
    width = min(box[2], left + side) - max(box[0], left)
    height = min(box[3], top + side) - max(box[1], top)
    return max(width, 0) * max(height, 0) / ((box[2] - box[0]) * (box[3] - box[1]))


def _prompt(rng: np.random.Generator, scene: Scene, wording: Wording, dropped: float) -> str:
    return "" if rng.random() < dropped else prompt_of(scene, wording)


def _stratified(rng: np.random.Generator, count: int) -> Tensor:
    """(count,) in [0, 1), one in each of as many equal parts."""
    return (torch.from_numpy(rng.permutation(count)) + torch.from_numpy(rng.random(count))) / max(count, 1)
