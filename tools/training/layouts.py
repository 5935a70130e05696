"""What is where in the scenes to train on, and what reads it from a network half way."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from graft.miniature.scenes.scene import KINDS, Scene
from torch import Tensor, nn

THING_WEIGHT = 4.0
"""How much more errors count where things are. Things cover a seventh of the pictures; most errors elsewhere are of paper, grain and
hatching, which nobody can foresee."""
READERS = 128
"""The width of what reads."""
SEEN = 0.3
"""The part of a cell that a thing has to cover for the cell to be its."""


@dataclass(frozen=True)
class Layout:
    """What is where in pictures: the part of each cell that things cover (B, h, w), the number of the kind, from 1, that covers most of it
    (B, h, w), 0 for none, and where in that thing's box it lies (B, 3, h, w): across and down in [-1, 1], and -1 or 1 for its side."""

    covered: Tensor
    kinds: Tensor
    places: Tensor

    @classmethod
    def of(cls, scenes: list[Scene], labels: Tensor, height: int, width: int) -> Layout:
        """`labels` (B, H, W): 0 for the background, else the number of the thing from 1."""
        shares = [nn.functional.adaptive_avg_pool2d((labels == number).float(), (height, width)) for number in (1, 2)]
        largest, owner = torch.stack(shares).max(dim=0)
        kinds, places = torch.zeros(2, len(scenes), dtype=torch.long), torch.zeros(2, len(scenes), 3, height, width)
        down, across = torch.meshgrid((torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij")
        for row, scene in enumerate(scenes):
            for number, thing in enumerate(scene.things):
                left, top, right, bottom = thing.box
                kinds[number, row] = KINDS.index(thing.kind) + 1
                side = torch.full_like(across, -1.0 if thing.mirrored else 1.0)
                places[number, row] = torch.stack([2 * (across - left) / (right - left) - 1, 2 * (down - top) / (bottom - top) - 1, side])
        seen = largest > SEEN
        own_kinds = torch.where(owner == 0, kinds[0][:, None, None], kinds[1][:, None, None])
        own_places = torch.where(owner[:, None] == 0, places[0], places[1])
        return cls(sum(shares), own_kinds * seen, own_places * seen[:, None])

    def squares(self, tops: list[int], lefts: list[int], side: int) -> Layout:
        return Layout(*(squares(part, tops, lefts, side) for part in (self.covered, self.kinds, self.places)))


def squares(values: Tensor, tops: list[int], lefts: list[int], side: int) -> Tensor:
    """(B, ..., side, side): a square of each row of (B, ..., h, w)."""
    return torch.stack([row[..., top : top + side, left : left + side] for row, top, left in zip(values, tops, lefts, strict=True)])


class Reading(nn.Module):
    """Reads from a network's state half way (B, C, h, w) what is where. It is trained along and not shipped: a network that has to
    know the kind of each cell there learns early to bring the prompt's words to their things."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(channels, READERS, 1), nn.SiLU(), nn.Conv2d(READERS, len(KINDS) + 1 + 3, 1))

    def loss(self, state: Tensor, layout: Layout) -> Tensor:
        """The cross entropy of kinds, things counted as `THING_WEIGHT` of the rest, and the squared error of places."""
        read, step = self.layers(state).float(), layout.kinds.shape[-1] // state.shape[-1]
        kinds, places = layout.kinds[:, ::step, ::step].to(read.device), layout.places[:, :, ::step, ::step].to(read.device)
        seen = (kinds > 0).float()
        wrong = nn.functional.cross_entropy(read[:, :-3], kinds, reduction="none") * (1 + (THING_WEIGHT - 1) * seen)
        beside = (read[:, -3:] - places).square().mean(dim=1) * seen
        return wrong.mean() + beside.sum() / seen.sum().clamp(min=1)
