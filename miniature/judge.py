"""The judge of `scenes`: a small network that says what a picture shows, and where.

It labels every second pixel with thing or background and, for things, kind, colour and the style they are painted in; style, ground and
light are read from the picture as a whole. Things may touch, so each pixel also points to the middle of its thing, and a heat map says where
middles are (Panoptic-DeepLab, Cheng et al. 2020): a thing is a peak, and the pixels that point nearest to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from .scenes.scene import COLOURS, GROUNDS, KINDS, LIGHTS, STYLES

STRIDE = 2
"""Pixels per cell of the judge's grid."""
SMALLEST = 24
"""Things of fewer cells (of 64 x 64) are taken for specks."""
PEAK, NEIGHBOURHOOD = 0.3, 9
"""A peak of the heat map is a middle from this height on, if it is the highest cell of so many squared."""

PIXEL_HEADS = {"object": 1, "middle": 1, "offset": 2, "kind": len(KINDS), "colour": len(COLOURS), "style": len(STYLES)}
PICTURE_HEADS = {"ground": len(GROUNDS), "light": len(LIGHTS), "picture style": len(STYLES)}


@dataclass(frozen=True)
class Seen:
    """A thing the judge sees: its attributes in words, and its `mask` (H, W), bool. `colour` is the one it is nearest to: for kinds that
    have colours of their own, and in ink, it says nothing."""

    kind: str
    colour: str
    style: str
    mask: np.ndarray


@dataclass(frozen=True)
class Verdict:
    """What the judge sees in a picture; `things` from left to right."""

    ground: str
    light: str
    style: str
    things: tuple[Seen, ...]


def _convolutions(inputs: int, outputs: int) -> nn.Sequential:
    layers = []
    for channels in (inputs, outputs):
        layers += [nn.Conv2d(channels, outputs, 3, padding=1), nn.GroupNorm(outputs // 8, outputs), nn.SiLU()]
    return nn.Sequential(*layers)


class Judge(nn.Module):
    """A U-Net of four levels on cells of 2 x 2 pixels. (B, 3, H, W) in [0, 1], sides divisible by 16 -> logits by name: those of
    `PIXEL_HEADS` (B, n, H/2, W/2), those of `PICTURE_HEADS` (B, n). Offsets are in parts of the picture's side."""

    def __init__(self, widths: tuple[int, ...] = (24, 48, 96, 128)) -> None:
        super().__init__()
        self.down = nn.ModuleList(_convolutions(i, o) for i, o in zip((3 * STRIDE**2, *widths[:-1]), widths, strict=True))
        self.up = nn.ModuleList(_convolutions(i + o, o) for i, o in zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.pixel = nn.Conv2d(widths[0], sum(PIXEL_HEADS.values()), 1)
        self.picture = nn.Linear(2 * widths[-1], sum(PICTURE_HEADS.values()))

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        x, skips = functional.pixel_unshuffle(2 * pictures - 1, STRIDE), []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else functional.max_pool2d(x, 2))
            skips.append(x)
        whole = self.picture(torch.cat([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))], dim=1))
        for block, skip in zip(self.up, skips[-2::-1], strict=True):
            x = block(torch.cat([functional.interpolate(x, scale_factor=2.0), skip], dim=1))
        return _by_name(self.pixel(x), PIXEL_HEADS) | _by_name(whole, PICTURE_HEADS)

    @torch.no_grad()
    def verdicts(self, pictures: Tensor) -> list[Verdict]:
        """(B, H, W, 3) in [0, 1] -> a verdict per picture."""
        shown = pictures.permute(0, 3, 1, 2).contiguous().to(self.pixel.weight)
        logits = {name: values.float().cpu() for name, values in self(shown).items()}
        return [_verdict({name: values[index] for name, values in logits.items()}) for index in range(len(pictures))]


def _by_name(logits: Tensor, heads: Mapping[str, int]) -> dict[str, Tensor]:
    return dict(zip(heads, logits.split(list(heads.values()), dim=1), strict=True))


def _verdict(logits: dict[str, Tensor]) -> Verdict:
    def name(values: tuple[str, ...], scores: Tensor) -> str:
        return values[int(scores.argmax())]

    def seen(mask: Tensor) -> Seen:
        kind, colour, style = (logits[head][:, mask].log_softmax(dim=0).mean(dim=1) for head in ("kind", "colour", "style"))
        fine = mask.repeat_interleave(STRIDE, dim=0).repeat_interleave(STRIDE, dim=1)
        return Seen(name(KINDS, kind), name(COLOURS, colour), name(STYLES, style), fine.numpy())

    masks = [mask for mask in instances(logits["object"][0], logits["middle"][0], logits["offset"]) if mask.sum() >= SMALLEST]
    masks.sort(key=lambda mask: mask.nonzero()[:, 1].float().mean().item())
    whole = (name(GROUNDS, logits["ground"]), name(LIGHTS, logits["light"]), name(STYLES, logits["picture style"]))
    return Verdict(*whole, tuple(seen(mask) for mask in masks))


def instances(present: Tensor, middle: Tensor, offset: Tensor) -> list[Tensor]:
    """Logits of things (h, w), heat map of their middles (h, w), offsets to them (2, h, w; x, y in parts of the width and height) -> a mask
    (h, w) per thing."""
    high = functional.max_pool2d(middle[None], NEIGHBOURHOOD, stride=1, padding=NEIGHBOURHOOD // 2)[0]
    peaks = ((middle == high) & (middle >= PEAK)).nonzero()
    if not len(peaks):
        return []
    places = cells(*present.shape)
    centres = places[:, peaks[:, 0], peaks[:, 1]]
    nearest = ((places + offset)[:, None] - centres[:, :, None, None]).square().sum(dim=0).argmin(dim=0)
    return [(present > 0) & (nearest == number) for number in range(len(peaks))]


def cells(height: int, width: int) -> Tensor:
    """(2, height, width): x and y of each cell's middle, in parts of the width and the height."""
    y, x = torch.meshgrid((torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij")
    return torch.stack([x, y])


def load_judge(weights: Mapping[str, Tensor]) -> Judge:
    """The trained judge, float32."""
    judge = Judge().eval()
    judge.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    return judge
