"""Showing masks on a picture."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d, pad

Colour = tuple[float, float, float]


def outlined(image: Tensor, mask: Tensor, colour: Colour, threshold: float = 0.5) -> Tensor:
    """`image` (B, H, W, 3) with a line along the inner edge of what `mask` (B or 1, H, W) holds, the picture's border included."""
    inside = mask[:, None] >= threshold
    width = max(1, round(min(image.shape[1:3]) / 256))
    outside = pad((~inside).float(), [width] * 4, value=1)
    line = inside & (max_pool2d(outside, 2 * width + 1, stride=1) > 0)
    return torch.where(line[:, 0, ..., None], image.new_tensor(colour), image)
