"""An edited picture put back into its original: outside a mask the original stays, bit for bit."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad

SEAM_GRAIN = 8
"""Pixels: what is averaged of the colours beside a seam, so that their texture does not count."""


def grown(mask: Tensor, radius: int) -> Tensor:
    """(B, H, W), at least 0 or bool: every pixel takes the mask's highest value within `radius` pixels, rows and columns counted alike."""
    return _highest_along(_highest_along(mask, radius, 1), radius, 2)


def _highest_along(mask: Tensor, radius: int, dim: int) -> Tensor:
    """The highest within `radius` pixels along one dimension: windows that double until they are 2 * radius + 1 pixels long."""
    width = 2 * radius + 1
    borders = [0, 0] * (mask.ndim - 1 - dim) + [radius, radius]
    highest, length = pad(mask, borders), 1
    while length < width:
        shift = min(length, width - length)
        starts = highest.shape[dim] - shift
        highest = torch.maximum(highest.narrow(dim, 0, starts), highest.narrow(dim, shift, starts))
        length += shift
    return highest


def kept_outside(original: Tensor, edited: Tensor, mask: Tensor) -> Tensor:
    """`original` (B, H, W, C) with the colours of `edited` (B, H, W, 3) as far as `mask` (1 or B, H, W) in [0, 1] lets them through.

    Where the mask is 0 the original stands bit for bit, whatever the edited picture holds; channels after the third are the original's.
    """
    colours, part = original[..., :3], mask[..., None]
    blended = torch.where(part > 0, torch.lerp(colours, edited, part.expand_as(colours)), colours)
    return torch.cat([blended, original[..., 3:]], dim=-1)


def matched_at_seam(original: Tensor, edited: Tensor, mask: Tensor) -> Tensor:
    """`edited` (B, H, W, 3) with its colours shifted so that they meet those of `original` (B, H, W, 3) at the border of `mask` (1 or B, H, W).

    The shift is known where the mask is 0 and spreads smoothly into it: the membrane of Pérez, Gangnet and Blake, "Poisson Image
    Editing", SIGGRAPH 2003, section 3, here spread by pull and push (Gortler et al., "The Lumigraph", SIGGRAPH 1996, section 3.4) from
    averages over SEAM_GRAIN pixels. A mask that covers everything knows no shift and changes nothing.
    """
    outside = (mask == 0).to(edited)[:, None].expand(len(edited), -1, -1, -1)
    shift = rearrange(original - edited, "b h w c -> b c h w")
    coarse_shift, coarse_outside = _averaged(shift, outside, SEAM_GRAIN)
    spread = _pulled_and_pushed(coarse_shift, coarse_outside)
    smooth = interpolate(spread, edited.shape[1:3], mode="bilinear", align_corners=False)
    return (edited + rearrange(smooth, "b c h w -> b h w c")).clamp(0, 1)


def _averaged(values: Tensor, known: Tensor, cells: int) -> tuple[Tensor, Tensor]:
    """Means of `values` (B, C, h, w) over squares of `cells` pixels, of what is `known` (B, 1, h, w) in [0, 1], and how well they are known:
    wholly, if a quarter of a square is."""
    weight = avg_pool2d(known, cells, ceil_mode=True, count_include_pad=False)
    means = avg_pool2d(values * known, cells, ceil_mode=True, count_include_pad=False) / weight.clamp(min=1e-6)
    return means, (4 * weight).clamp(max=1)


def _pulled_and_pushed(values: Tensor, known: Tensor) -> Tensor:
    """`values` (B, C, h, w) where they are `known` (B, 1, h, w), and elsewhere what half the grid, filled likewise, has there."""
    if max(values.shape[-2:]) == 1:
        return values
    filled = _pulled_and_pushed(*_averaged(values, known, 2))
    pushed = interpolate(filled, values.shape[-2:], mode="bilinear", align_corners=False)
    return torch.lerp(pushed, values, known)
