"""The judge: a small network that says what a picture of the miniature's world shows, and where.

It labels every pixel with object or background and, for objects, shape, colour, pattern and the style they are painted
in; style and ground are also read from the picture as a whole. Objects are the connected parts of the object pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional

from .world import COLOURS, GROUNDS, PATTERNS, SHAPES, STYLES

SMALLEST = 40
"""Objects of fewer pixels (of 64 x 64) are taken for specks."""

PIXEL_HEADS = {"object": 1, "shape": len(SHAPES), "colour": len(COLOURS), "pattern": len(PATTERNS), "style": len(STYLES)}
PICTURE_HEADS = {"ground": len(GROUNDS), "picture style": len(STYLES)}


@dataclass(frozen=True)
class Seen:
    """An object the judge sees: its attributes in words, and its `mask` (H, W), bool."""

    shape: str
    colour: str
    pattern: str
    style: str
    mask: np.ndarray


@dataclass(frozen=True)
class Verdict:
    """What the judge sees in a picture; `things` from left to right."""

    ground: str
    style: str
    things: tuple[Seen, ...]


def _convolutions(inputs: int, outputs: int) -> nn.Sequential:
    layers = []
    for channels in (inputs, outputs):
        layers += [nn.Conv2d(channels, outputs, 3, padding=1), nn.GroupNorm(8, outputs), nn.SiLU()]
    return nn.Sequential(*layers)


class Judge(nn.Module):
    """A U-Net of four levels. (B, 3, H, W) in [0, 1], sides divisible by 8 -> logits by name: those of `PIXEL_HEADS`
    (B, n, H, W), those of `PICTURE_HEADS` (B, n)."""

    def __init__(self, widths: tuple[int, ...] = (16, 32, 48, 64)) -> None:
        super().__init__()
        self.down = nn.ModuleList(_convolutions(i, o) for i, o in zip((3, *widths[:-1]), widths, strict=True))
        self.up = nn.ModuleList(_convolutions(i + o, o) for i, o in zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.pixel = nn.Conv2d(widths[0], sum(PIXEL_HEADS.values()), 1)
        self.picture = nn.Linear(2 * widths[-1], sum(PICTURE_HEADS.values()))

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        x, skips = 2 * pictures - 1, []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else functional.max_pool2d(x, 2))
            skips.append(x)
        whole = self.picture(torch.cat([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))], dim=1))
        for block, skip in zip(self.up, skips[-2::-1], strict=True):
            x = block(torch.cat([functional.interpolate(x, scale_factor=2.0), skip], dim=1))
        pixels = self.pixel(x).split(list(PIXEL_HEADS.values()), dim=1)
        return dict(zip(PIXEL_HEADS, pixels, strict=True)) | dict(
            zip(PICTURE_HEADS, whole.split(list(PICTURE_HEADS.values()), dim=1), strict=True)
        )

    @torch.no_grad()
    def verdicts(self, pictures: Tensor) -> list[Verdict]:
        """(B, H, W, 3) in [0, 1] -> a verdict per picture."""
        logits = self(pictures.permute(0, 3, 1, 2).float().contiguous())
        return [self._verdict({name: values[index] for name, values in logits.items()}) for index in range(len(pictures))]

    @staticmethod
    def _verdict(logits: dict[str, Tensor]) -> Verdict:
        parts, count = ndimage.label((logits["object"][0] > 0).numpy())
        masks = [parts == number for number in range(1, count + 1)]
        masks = sorted((mask for mask in masks if mask.sum() >= SMALLEST), key=lambda mask: np.nonzero(mask)[1].mean())

        def name(head: str, names: tuple[str, ...], mask: np.ndarray) -> str:
            scores = logits[head][:, torch.from_numpy(mask)].log_softmax(dim=0).mean(dim=1)
            return names[int(scores.argmax())]

        heads = (("shape", SHAPES), ("colour", COLOURS), ("pattern", PATTERNS), ("style", STYLES))
        things = tuple(Seen(*(name(*head, mask) for head in heads), mask) for mask in masks)
        return Verdict(GROUNDS[int(logits["ground"].argmax())], STYLES[int(logits["picture style"].argmax())], things)


def load_judge(weights: dict[str, Tensor]) -> Judge:
    """From the tensors named `judge.*` of the miniature's weights."""
    judge = Judge().eval()
    judge.load_state_dict({name.removeprefix("judge."): tensor.float() for name, tensor in weights.items() if name.startswith("judge.")})
    return judge
