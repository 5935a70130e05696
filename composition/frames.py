"""A picture of any size at a size that a model is made for, and back: scaled without changing its proportions, then padded."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import interpolate, pad

Size = tuple[int, int]
"""Height and width, pixels."""


@dataclass(frozen=True)
class Frame:
    """How a picture of `size` lies in one of `padded` pixels: scaled to `scaled`, at the top left; what is beyond mirrors it."""

    size: Size
    scaled: Size
    padded: Size

    @staticmethod
    def of(size: Size, longer: int, multiple: int) -> Frame:
        """The picture's longer side becomes `longer` pixels; the padded sides are multiples of `multiple`."""
        scaled = tuple(max(1, round(side * longer / max(size))) for side in size)
        return Frame(size, scaled, tuple(math.ceil(side / multiple) * multiple for side in scaled))

    @staticmethod
    def within(size: Size, padded: Size) -> Frame:
        """As large as the proportions allow in a picture of `padded` pixels."""
        scale = min(whole / side for whole, side in zip(padded, size, strict=True))
        return Frame(size, tuple(max(1, round(side * scale)) for side in size), padded)

    def fit(self, picture: Tensor) -> Tensor:
        """(B, *size, C) in [0, 1] -> (B, *padded, C)."""
        return _mirrored(resized(picture, self.scaled), self.padded)

    def fit_mask(self, mask: Tensor) -> Tensor:
        """(B, *size) in [0, 1] -> (B, *padded); nothing is masked beyond the picture."""
        (height, width), (padded_height, padded_width) = self.scaled, self.padded
        return pad(resized_mask(mask, self.scaled), (0, padded_width - width, 0, padded_height - height))

    def take_out(self, picture: Tensor) -> Tensor:
        """(B, *padded, C) -> (B, *size, C): the picture without what was padded, at its own size."""
        return resized(picture[:, : self.scaled[0], : self.scaled[1]], self.size)

    def take_out_mask(self, mask: Tensor) -> Tensor:
        """(B, *padded) -> (B, *size)."""
        return resized_mask(mask[:, : self.scaled[0], : self.scaled[1]], self.size)


def resized(picture: Tensor, size: Size) -> Tensor:
    """(B, H, W, C) in [0, 1] -> (B, *size, C): bicubic, with the filter widened where the picture shrinks; bit for bit at its own size."""
    if picture.shape[1:3] == size:
        return picture
    channels_first = rearrange(picture, "b h w c -> b c h w")
    return rearrange(interpolate(channels_first, size, mode="bicubic", antialias=True), "b c h w -> b h w c").clamp(0, 1)


def resized_mask(mask: Tensor, size: Size) -> Tensor:
    """(B, H, W) in [0, 1] -> (B, *size): linear, so that a mask never reaches beyond its neighbours; bit for bit at its own size."""
    if mask.shape[1:] == size:
        return mask
    return interpolate(mask[:, None], size, mode="bilinear", antialias=True)[:, 0].clamp(0, 1)


def _mirrored(picture: Tensor, size: Size) -> Tensor:
    """(B, h, w, C) -> (B, *size, C): below and to the right it goes on as its mirror image, forth and back as often as need be."""
    rows, columns = (_forth_and_back(side, length) for side, length in zip(picture.shape[1:3], size, strict=True))
    return picture[:, rows][:, :, columns]


def _forth_and_back(side: int, length: int) -> Tensor:
    """(length,): 0, 1, ..., side - 1, side - 1, ..., 1, 0, 0, 1, ..."""
    place = torch.arange(length) % (2 * side)
    return torch.minimum(place, 2 * side - 1 - place)
