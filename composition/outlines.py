"""Showing masks on a picture."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from .keeping import grown

Colour = tuple[float, float, float]


def outlined(image: Tensor, mask: Tensor, colour: Colour, threshold: float = 0.5) -> Tensor:
    """`image` (B, H, W, 3) with a line along the inner edge of what `mask` (B or 1, H, W) holds, the picture's border included."""
    inside = mask >= threshold
    width = max(1, round(min(image.shape[1:3]) / 256))
    beyond = grown(pad(~inside, [width] * 4, value=True), width)
    line = inside & beyond[:, width:-width, width:-width]
    return torch.where(line[..., None], image.new_tensor(colour), image)
