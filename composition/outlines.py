"""Showing masks on a picture."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import interpolate, pad

from .keeping import grown

Colour = tuple[float, float, float]


LARGEST_SHOWN = 1024
"""Pixels of the longer side of a picture that is only looked at: no editor shows more of it in a node."""


def reduced(image: Tensor) -> Tensor:
    """(B, h, w, 3): `image` (B, H, W, 3) averaged down to at most `LARGEST_SHOWN` pixels a side, for looking at."""
    height, width = image.shape[1:3]
    share = LARGEST_SHOWN / max(height, width)
    if share >= 1:
        return image
    size = max(1, round(height * share)), max(1, round(width * share))
    return interpolate(image.movedim(-1, 1), size, mode="area").movedim(1, -1)


def outlined(image: Tensor, mask: Tensor, colour: Colour, threshold: float = 0.5) -> Tensor:
    """`image` (B, H, W, 3) with a line along the inner edge of what `mask` (B or 1, H, W) holds, the picture's border included."""
    inside = mask >= threshold
    width = max(1, round(min(image.shape[1:3]) / 256))
    beyond = grown(pad(~inside, [width] * 4, value=True), width)
    line = inside & beyond[:, width:-width, width:-width]
    shown = image.clone()
    shown[line.expand(shown.shape[:3])] = shown.new_tensor(colour)
    return shown
