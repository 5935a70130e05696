"""The judge."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from graft.miniature.judge import STRIDE, Judge, Verdict, cells
from graft.miniature.scenes.scene import COLOURED, COLOURS, GROUNDS, KINDS, LIGHTS, STYLES, Scene
from torch import Tensor
from torch.nn import functional

from .pictures import Shard, Shards, held_out
from .trainer import SAVED_EVERY, Machine, Trainer, averages_of, batch_indices, save_part

NOT_ASKED = -1
"""The target of cells that an attribute says nothing about."""
SPREAD = 2.0
"""Deviation of a middle's peak in the heat map, in cells."""


def train(work: Path, machine: Machine, steps: int = 5000, size: int = 24, rate: float = 2e-3) -> None:
    """On pictures jittered in brightness, blur and noise, so that it reads generated pictures too."""
    torch.manual_seed(5)
    model = machine.place(Judge())
    start = work / "model" / "judge.safetensors"
    trainer = Trainer(model, machine=machine, rate=rate, steps=steps, average=0.995, checkpoint=work / "judge.pt", start=start)
    shards = None
    while trainer.unfinished:
        if shards is None or trainer.step % SAVED_EVERY == 0:
            shards = Shards.of(work)
        chosen = batch_indices("judge", trainer.step, len(shards), size)
        rng = torch.Generator().manual_seed(trainer.step)
        x = shards.pictures(chosen).float() / 255
        targets = targets_of(shards.labels(chosen).long(), shards.scenes(chosen))
        x, targets = _with_pasted_things(x, targets)
        x = _jittered(x, rng, blurred=trainer.step % 2 == 1)
        logits = {name: value.float().cpu() for name, value in model(machine.floats(x)).items()}
        trainer.update(loss_of(logits, targets))
        if trainer.step % 500 == 0 or not trainer.unfinished:
            with trainer.averaged():
                trainer.note(**right(model, held_out(work)))


def targets_of(labels: Tensor, scenes: list[Scene]) -> dict[str, Tensor]:
    """Labels (B, h, w), numbers of things from 1 -> by head: numbers of values (B, h, w) or (B,), heat map (B, h, w), offsets (B, 2, h, w)."""
    things = [scene.things for scene in scenes]
    coloured = [[thing.colour if scene.style != "ink drawing" else None for thing in scene.things] for scene in scenes]
    places, present = cells(*labels.shape[1:]), labels > 0
    middles = torch.zeros(len(labels), 3, 2)  # of the background and two things, in parts of the sides
    heat = torch.zeros(labels.shape)
    for row, label in enumerate(labels):
        for number in range(1, len(things[row]) + 1):
            if (label == number).any():
                middles[row, number] = places[:, label == number].mean(dim=1)
                away = (places - middles[row, number][:, None, None]) * torch.tensor(label.shape[::-1])[:, None, None]
                heat[row] = torch.maximum(heat[row], torch.exp(-away.square().sum(dim=0) / (2 * SPREAD**2)))
    towards = middles[torch.arange(len(labels))[:, None, None], labels].permute(0, 3, 1, 2) - places
    return {
        "object": present.float(),
        "middle": heat,
        "offset": towards * present[:, None],
        "kind": _of_things(labels, [[KINDS.index(thing.kind) for thing in row] for row in things]),
        "colour": _of_things(labels, [[COLOURS.index(colour) if colour else NOT_ASKED for colour in row] for row in coloured]),
        "style": torch.where(present, torch.tensor([STYLES.index(scene.style) for scene in scenes])[:, None, None], NOT_ASKED),
        "ground": torch.tensor([GROUNDS.index(scene.ground) for scene in scenes]),
        "light": torch.tensor([LIGHTS.index(scene.light) for scene in scenes]),
        "picture style": torch.tensor([STYLES.index(scene.style) for scene in scenes]),
    }


def _of_things(labels: Tensor, values: list[list[int]]) -> Tensor:
    """(B, h, w): the value of the thing that a cell's label counts, from 1."""
    table = torch.tensor([[NOT_ASKED, *row, NOT_ASKED, NOT_ASKED][:3] for row in values])
    return table.gather(1, labels.flatten(1)).view_as(labels)


def _with_pasted_things(x: Tensor, targets: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """A quarter of the pictures with the things of another one pasted in: a thing may be of another style than its picture."""
    donors = torch.arange(len(x)).roll(1)
    pasted = (torch.arange(len(x)) % 4 == 1)[:, None, None] & (targets["object"][donors] > 0)
    fine = pasted.repeat_interleave(STRIDE, dim=1).repeat_interleave(STRIDE, dim=2)
    mixed = {name: torch.where(pasted, targets[name][donors], targets[name]) for name in ("object", "kind", "colour", "style")}
    mixed["offset"] = torch.where(pasted[:, None], targets["offset"][donors], targets["offset"])
    given = pasted.flatten(1).any(dim=1)[:, None, None]
    mixed["middle"] = torch.where(given, torch.maximum(targets["middle"][donors], targets["middle"]), targets["middle"])
    return torch.where(fine[:, None], x[donors], x), targets | mixed


def _jittered(x: Tensor, rng: torch.Generator, blurred: bool) -> Tensor:
    gain, lift, grain = (torch.rand(3, len(x), 1, 1, 1, generator=rng) - 0.5).unbind()
    x = x * (1 + 0.12 * gain) + 0.05 * lift + 0.06 * (grain + 0.5) * torch.randn(x.shape, generator=rng)
    return functional.avg_pool2d(functional.pad(x, (0, 1, 0, 1), mode="replicate"), 2, stride=1) if blurred else x


def loss_of(logits: dict[str, Tensor], targets: dict[str, Tensor]) -> Tensor:
    present = targets["object"][:, None]
    losses = [
        functional.binary_cross_entropy_with_logits(logits["object"][:, 0], targets["object"]),
        20 * (logits["middle"][:, 0] - targets["middle"]).square().mean(),
        10 * ((logits["offset"] - targets["offset"]).abs() * present).sum() / present.sum().clamp(min=1),
    ]
    losses += [
        functional.cross_entropy(logits[head], targets[head], ignore_index=NOT_ASKED)
        for head in ("kind", "colour", "style", "ground", "light", "picture style")
        if (targets[head] != NOT_ASKED).any()
    ]
    return torch.stack(losses).sum()


def right(model: Judge, shard: Shard) -> dict[str, float]:
    """`percentages` on the pictures of a shard."""
    pictures = torch.from_numpy(shard.pictures.copy()).permute(0, 2, 3, 1) / 255
    return percentages([verdict for part in pictures.split(32) for verdict in model.verdicts(part)], shard.scenes)


def percentages(verdicts: list[Verdict], scenes: list[Scene]) -> dict[str, float]:
    """How many in a hundred verdicts name what the scenes have, by fact: of pictures ground, light, style and count; of the things, left to
    right, where the count is right, kind, and colour of those that have one to see."""
    facts: dict[str, list[bool]] = {name: [] for name in ("ground", "light", "style", "count", "thing", "colour")}
    for verdict, scene in zip(verdicts, scenes, strict=True):
        for name in ("ground", "light", "style"):
            facts[name].append(getattr(verdict, name) == getattr(scene, name))
        facts["count"].append(len(verdict.things) == len(scene.things))
        if facts["count"][-1]:
            for seen, thing in zip(verdict.things, sorted(scene.things, key=lambda thing: thing.x), strict=True):
                facts["thing"].append(seen.kind == thing.kind)
                if thing.kind in COLOURED and scene.style != "ink drawing":
                    facts["colour"].append(seen.colour == thing.colour)
    return {name: 100 * float(np.mean(values)) if values else float("nan") for name, values in facts.items()}


def export(work: Path) -> None:
    averages, step = averages_of(work / "judge.pt")
    save_part(work / "model" / "judge.safetensors", averages, step)
