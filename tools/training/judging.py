"""The judge."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import torch
from graft.miniature.judge import Judge
from graft.miniature.world import COLOURS, GROUNDS, PATTERNS, SHAPES, STYLES, Scene
from torch import Tensor
from torch.nn import functional

from .pictures import load_pictures
from .trainer import DEVICE, Trainer, batch_indices, for_training

NAMES = {"shape": SHAPES, "colour": COLOURS, "pattern": PATTERNS, "ground": GROUNDS, "style": STYLES}
NOT_ASKED = -1
"""The target of pixels that an attribute says nothing about."""


def judge(work: Path, steps: int = 6000, size: int = 24, rate: float = 2e-3) -> None:
    """The judge, on pictures jittered in brightness, blur and noise, so that it reads generated pictures too."""
    torch.manual_seed(5)
    model = for_training(Judge())
    trainer = Trainer({"judge": model}, rate=rate, steps=steps, average=0.995, checkpoint=work / "judge.pt")
    pictures, labels = load_pictures(work), torch.from_numpy(np.load(work / "labels.npy"))
    drawn = pickle.loads((work / "scenes.pkl").read_bytes())
    while trainer.unfinished:
        chosen = batch_indices("judge", trainer.step, len(pictures), size)
        rng = torch.Generator().manual_seed(trainer.step)
        x = pictures[chosen].contiguous().float() / 255
        label, scenes = labels[chosen].long(), [drawn[i] for i in chosen]
        target = {"object": (label > 0).long()} | {head: _of_things(label, scenes, head) for head in ("shape", "colour", "pattern")}
        target["style"] = _of_scenes(scenes, "style")[:, None, None].expand_as(label)
        # Things of other pictures pasted into half of them: a thing may be of another style than the picture.
        pasted = (label > 0).roll(1, dims=0)
        pasted[::2] = False
        x = torch.where(pasted[:, None], x.roll(1, dims=0), x)
        target = {head: torch.where(pasted, value.roll(1, dims=0), value) for head, value in target.items()}
        target["style"] = target["style"].masked_fill(target["object"] == 0, NOT_ASKED)
        gain, lift, grain = (torch.rand(3, size, 1, 1, 1, generator=rng) - 0.5).unbind()
        x = x * (1 + 0.16 * gain) + 0.06 * lift + 0.06 * (grain + 0.5) * torch.randn(x.shape, generator=rng)
        if trainer.step % 2:
            x = functional.avg_pool2d(functional.pad(x, (0, 1, 0, 1), mode="replicate"), 2, stride=1)
        logits = {name: value.float().cpu() for name, value in model(x.to(DEVICE, torch.bfloat16)).items()}
        loss = functional.binary_cross_entropy_with_logits(logits["object"][:, 0], target.pop("object").float())
        target |= {"ground": _of_scenes(scenes, "ground"), "picture style": _of_scenes(scenes, "style")}
        trainer.update(loss + sum(functional.cross_entropy(logits[head], value, ignore_index=NOT_ASKED) for head, value in target.items()))


def _of_things(label: Tensor, scenes: list[Scene], head: str) -> Tensor:
    """(B, H, W): the number of the attribute `head` of the thing that a pixel's `label` counts, from 1."""
    table = torch.tensor(
        [[NOT_ASKED, *(NAMES[head].index(getattr(thing, head)) for thing in scene.things), NOT_ASKED, NOT_ASKED][:3] for scene in scenes]
    )
    return table.gather(1, label.flatten(1)).view_as(label)


def _of_scenes(scenes: list[Scene], head: str) -> Tensor:
    """(B,): the number of the attribute `head`."""
    return torch.tensor([NAMES[head].index(getattr(scene, head)) for scene in scenes])
