"""The pictures to train on, rendered once."""

from __future__ import annotations

import pickle
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from graft.miniature import drawing, world

from .trainer import DEVICE


def scenes(work: Path, count: int) -> None:
    """Renders `count` scenes: pictures, object labels (0 none, 1, 2) and the scenes themselves."""
    if (work / "scenes.pkl").exists():
        return
    shards = max(1, count // 500)
    with ProcessPoolExecutor() as pool:
        parts = list(pool.map(_render_shard, range(shards), [count // shards] * shards))
    np.save(work / "pictures.npy", np.concatenate([part[0] for part in parts]))
    np.save(work / "labels.npy", np.concatenate([part[1] for part in parts]))
    (work / "scenes.pkl").write_bytes(pickle.dumps([scene for part in parts for scene in part[2]]))


def _render_shard(shard: int, count: int):
    torch.set_num_threads(1)
    rng = np.random.default_rng([20, shard])
    drawn = [world.sample_scene(rng) for _ in range(count)]
    pictures, labels = np.empty((count, 64, 64, 3), np.uint8), np.zeros((count, 64, 64), np.uint8)
    for index, scene in enumerate(drawn):
        rendering = drawing.render(scene)
        pictures[index] = np.round(rendering.picture * 255)
        for number, mask in enumerate(rendering.objects, start=1):
            labels[index][mask > 0.5] = number
    return pictures, labels, drawn


def load_pictures(work: Path) -> torch.Tensor:
    """(N, 3, 64, 64) uint8."""
    return torch.from_numpy(np.load(work / "pictures.npy")).permute(0, 3, 1, 2)


def as_input(pictures: torch.Tensor) -> torch.Tensor:
    """uint8 -> [-1, 1] on the training device; contiguous, since channels-last is several times slower on CPUs here."""
    return pictures.contiguous().to(DEVICE).float() / 127.5 - 1
