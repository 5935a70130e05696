"""The judge."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import torch
from graft.miniature.judge import PICTURE_HEADS, Judge
from graft.miniature.world import COLOURS, GROUNDS, PATTERNS, SHAPES, STYLES
from torch.nn import functional

from .pictures import load_pictures
from .trainer import DEVICE, Trainer, batch_indices, for_training


def judge(work: Path, steps: int = 1600, size: int = 24, rate: float = 2e-3) -> None:
    """The judge, on pictures jittered in brightness, blur and noise, so that it reads generated pictures too."""
    torch.manual_seed(5)
    model = for_training(Judge())
    trainer = Trainer({"judge": model}, rate=rate, steps=steps, average=0.995, checkpoint=work / "judge.pt")
    pictures, labels = load_pictures(work), torch.from_numpy(np.load(work / "labels.npy"))
    drawn = pickle.loads((work / "scenes.pkl").read_bytes())
    names = {"shape": SHAPES, "colour": COLOURS, "pattern": PATTERNS, "ground": GROUNDS, "style": STYLES}
    while trainer.unfinished:
        chosen = batch_indices("judge", trainer.step, len(pictures), size)
        rng = torch.Generator().manual_seed(trainer.step)
        x = pictures[chosen].contiguous().float() / 255
        gain, lift, grain = (torch.rand(3, size, 1, 1, 1, generator=rng) - 0.5).unbind()
        x = x * (1 + 0.16 * gain) + 0.06 * lift + 0.06 * (grain + 0.5) * torch.randn(x.shape, generator=rng)
        if trainer.step % 2:
            x = functional.avg_pool2d(functional.pad(x, (0, 1, 0, 1), mode="replicate"), 2, stride=1)
        logits = {name: value.float().cpu() for name, value in model(x.to(DEVICE, torch.bfloat16)).items()}
        label = labels[chosen].long()
        loss = functional.binary_cross_entropy_with_logits(logits["object"][:, 0], (label > 0).float())
        for head in ("shape", "colour", "pattern"):
            of_thing = [[-1] + [names[head].index(getattr(thing, head)) for thing in drawn[i].things] for i in chosen]
            table = torch.tensor([row + [-1] * (3 - len(row)) for row in of_thing])
            target = table.gather(1, label.flatten(1)).view_as(label)
            loss = loss + functional.cross_entropy(logits[head], target, ignore_index=-1)
        for head in PICTURE_HEADS:
            target = torch.tensor([names[head].index(getattr(drawn[i], head)) for i in chosen])
            loss = loss + functional.cross_entropy(logits[head], target)
        trainer.update(loss)
