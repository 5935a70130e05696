"""The pictures to train on, rendered once."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from graft.miniature import drawing, world

from .trainer import DEVICE


def scenes(work: Path, count: int) -> None:
    """Renders `count` scenes: pictures, object labels (0 none, 1, 2) and the scenes themselves."""
    _render(work, "", _scenes_of_shard, count)


def pairs(work: Path, count: int) -> None:
    """Renders half as many pairs of scenes whose things look alike; picture 2i + 1 is the partner of 2i."""
    _render(work, "pair_", _pairs_of_shard, count)


def _render(work: Path, prefix: str, scenes_of_shard: Callable[[int, int], list[world.Scene]], count: int) -> None:
    if (work / f"{prefix}scenes.pkl").exists():
        return
    shards = max(1, count // 500)
    with ProcessPoolExecutor() as pool:
        parts = list(pool.map(_render_shard, [scenes_of_shard] * shards, range(shards), [count // shards] * shards))
    np.save(work / f"{prefix}pictures.npy", np.concatenate([part[0] for part in parts]))
    np.save(work / f"{prefix}labels.npy", np.concatenate([part[1] for part in parts]))
    (work / f"{prefix}scenes.pkl").write_bytes(pickle.dumps([scene for part in parts for scene in part[2]]))


def _scenes_of_shard(shard: int, count: int) -> list[world.Scene]:
    rng = np.random.default_rng([20, shard])
    return [world.sample_scene(rng) for _ in range(count)]


def _pairs_of_shard(shard: int, count: int) -> list[world.Scene]:
    rng = np.random.default_rng([21, shard])
    return [scene for _ in range(count // 2) for scene in world.sample_pair(rng)]


def _render_shard(scenes_of_shard, shard: int, count: int):
    torch.set_num_threads(1)
    drawn = scenes_of_shard(shard, count)
    pictures, labels = np.empty((len(drawn), 64, 64, 3), np.uint8), np.zeros((len(drawn), 64, 64), np.uint8)
    for index, scene in enumerate(drawn):
        rendering = drawing.render(scene)
        pictures[index] = np.round(rendering.picture * 255)
        for number, mask in enumerate(rendering.objects, start=1):
            labels[index][mask > 0.5] = number
    return pictures, labels, drawn


def load_pictures(work: Path, prefix: str = "") -> torch.Tensor:
    """(N, 3, 64, 64) uint8."""
    return torch.from_numpy(np.load(work / f"{prefix}pictures.npy")).permute(0, 3, 1, 2)


def as_input(pictures: torch.Tensor) -> torch.Tensor:
    """uint8 -> [-1, 1] on the training device; contiguous, since channels-last is several times slower on CPUs here."""
    return pictures.contiguous().to(DEVICE).float() / 127.5 - 1
