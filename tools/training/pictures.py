"""The pictures to train on: scenes, drawn into shards by a process of its own while trainings run."""

from __future__ import annotations

import os
import pickle
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from graft.miniature.judge import STRIDE
from graft.miniature.network import SIDE
from graft.miniature.scenes.rendering import render
from graft.miniature.scenes.sampling import sample_pair, sample_scene
from graft.miniature.scenes.scene import Scene
from torch import Tensor

from .trainer import Machine

SHARD = 128
"""Pictures of a shard. The second half are pairs, partners one after the other."""


def draw(work: Path, shards: int, side: int = SIDE) -> None:
    """Draws the shards that are missing. A shard is there once it is whole, and trainings see it from then on; delete the folder
    `scenes` when drawings have changed."""
    for number in range(shards):
        folder = work / "scenes" / f"{number:05d}"
        if not folder.exists():
            _draw_shard(folder, number, side)
            print(f"shard {number + 1} of {shards}", flush=True)


def _draw_shard(folder: Path, number: int, side: int) -> None:
    rng = np.random.default_rng([30, number])
    scenes = [sample_scene(rng) for _ in range(SHARD // 2)] + [scene for _ in range(SHARD // 4) for scene in sample_pair(rng)]
    pictures, labels = np.empty((SHARD, 3, side, side), np.uint8), np.zeros((SHARD, side // STRIDE, side // STRIDE), np.uint8)
    for index, scene in enumerate(scenes):
        rendering = render(scene, side)
        pictures[index] = np.round(rendering.picture * 255).transpose(2, 0, 1)
        for thing, mask in enumerate(rendering.objects, start=1):
            labels[index][mask.reshape(side // STRIDE, STRIDE, -1, STRIDE).mean(axis=(1, 3)) > 0.5] = thing
    partial = folder.with_suffix(f".{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    np.save(partial / "pictures.npy", pictures)
    np.save(partial / "labels.npy", labels)
    (partial / "scenes.pkl").write_bytes(pickle.dumps(scenes))
    partial.rename(folder)


@dataclass(frozen=True)
class Shard:
    """`pictures` (N, 3, H, W) uint8; `labels` (N, H/2, W/2): 0 for the background, else the number of the thing from 1."""

    folder: Path

    @cached_property
    def pictures(self) -> np.ndarray:
        return np.load(self.folder / "pictures.npy", mmap_mode="r")

    @cached_property
    def labels(self) -> np.ndarray:
        return np.load(self.folder / "labels.npy", mmap_mode="r")

    @cached_property
    def scenes(self) -> list[Scene]:
        return pickle.loads((self.folder / "scenes.pkl").read_bytes())

    def latents(self, key: str) -> np.ndarray:
        """(N, C, h, w) float16, of the VAE with that key."""
        return np.load(self.latents_at(key), mmap_mode="r")

    def latents_at(self, key: str) -> Path:
        return self.folder / f"latents-{key}.npy"


@dataclass(frozen=True)
class Shards:
    """All shards but the first, which is held out."""

    shards: tuple[Shard, ...]

    @classmethod
    def of(cls, work: Path) -> Shards:
        shards = cls(all_shards(work)[1:])
        if not shards.shards:
            raise SystemExit(f"{work / 'scenes'} has fewer than two shards: start the stage draw first, it may go on beside this one")
        return shards

    def encoded(self, key: str) -> Shards:
        """Those whose latents the VAE with that key has made."""
        shards = Shards(tuple(shard for shard in self.shards if shard.latents_at(key).exists()))
        if not shards.shards:
            raise SystemExit("no shard has latents of the exported VAE: run the stage latents first")
        return shards

    def __len__(self) -> int:
        return SHARD * len(self.shards)

    def pictures(self, chosen: Tensor) -> Tensor:
        """(n, 3, H, W) uint8."""
        return torch.from_numpy(np.stack([self.shards[i // SHARD].pictures[i % SHARD] for i in chosen.tolist()]))

    def labels(self, chosen: Tensor) -> Tensor:
        return torch.from_numpy(np.stack([self.shards[i // SHARD].labels[i % SHARD] for i in chosen.tolist()]))

    def scenes(self, chosen: Tensor) -> list[Scene]:
        return [self.shards[i // SHARD].scenes[i % SHARD] for i in chosen.tolist()]


def all_shards(work: Path) -> tuple[Shard, ...]:
    return tuple(Shard(folder) for folder in sorted((work / "scenes").glob("[0-9]" * 5)))


def held_out(work: Path) -> Shard:
    return Shard(work / "scenes" / "00000")


def as_input(pictures: Tensor, machine: Machine) -> Tensor:
    """uint8 -> float32 in [-1, 1]; contiguous, since channels-last is several times slower on CPUs here."""
    return pictures.contiguous().to(machine.device).float() / 127.5 - 1
