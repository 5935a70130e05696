"""Masks over token grids: from pictures' masks, and from how much a word is looked at."""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, max_pool2d

Interpolation = Literal["nearest", "bilinear", "area"]


def resized(maps: Tensor, size: tuple[int, int], interpolation: Interpolation) -> Tensor:
    """(rows, h, w) -> (rows, *size)."""
    corners = {"align_corners": False} if interpolation == "bilinear" else {}
    return interpolate(maps[:, None].float(), size, mode=interpolation, **corners)[:, 0]


def on_cells(mask: Tensor, latent: Tensor) -> Tensor:
    """(rows, 1, h, w): the part of each of a latent's cells that `mask` (rows, H, W) covers, on the latent's device; (rows, 1, 1, h, w)
    of latents (B, C, 1, h, w), of families that take a picture for a film of one frame."""
    cells = resized(mask.to(latent.device), latent.shape[-2:], "area").to(latent)[:, None]
    return cells if latent.dim() == 4 else cells[:, :, None]


def feathered(mask: Tensor, radius: int) -> Tensor:
    """(rows, H, W) in [0, 1] with a soft edge 2 `radius` pixels wide, inwards: zero wherever `mask` is. The picture's border
    is no edge."""
    if radius == 0:
        return mask
    # Drawn back by the radius, then averaged over it: a linear slope that ends where the mask did. First down, then across.
    inner, width = -mask[:, None].float(), 2 * radius + 1
    lines = ((width, 1), (radius, 0)), ((1, width), (0, radius))
    for kernel, padding in lines:
        inner = max_pool2d(inner, kernel, stride=1, padding=padding)
    for kernel, padding in lines:
        inner = avg_pool2d(inner, kernel, stride=1, padding=padding, count_include_pad=False)
    return -inner[:, 0]


def vanished(before: Tensor, after: Tensor) -> Tensor:
    """(rows,), bool: masks (rows, ...) of which something was shown before and nothing is after, on whatever grids."""
    return before.flatten(1).any(dim=1) & ~after.flatten(1).any(dim=1)


def token_mask(mask: Tensor, size: tuple[int, int], threshold: float, interpolation: Interpolation) -> Tensor:
    """A picture's mask (rows, H, W) on a layer's grid: (rows, *size), bool. SpecRef's mask_s: resized, then >= threshold."""
    return resized(mask, size, interpolation) >= threshold


def word_mask(maps: Tensor, size: tuple[int, int], threshold: float, interpolation: Interpolation) -> Tensor:
    """Where words are looked at: (rows, h, w) -> (rows, *size), bool. SpecRef's mask_t: each row's map is brought to [0, 1],
    resized, and only then compared, >= threshold. A map without contrast is 0 / 0, and masks nothing."""
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    return resized((maps - low) / (high - low), size, interpolation) >= threshold


def blend_mask(maps: Tensor, size: tuple[int, int], threshold: float, pool: bool) -> Tensor:
    """Where words are looked at, for Local Blend (Hertz et al. 2022, section 3.2; released code): (rows, h, w) -> (rows, *size), bool.

    With `pool` each cell takes the highest of its 3 x 3 neighbourhood; resized to the nearest cell, divided by its highest
    value, > threshold. A map without any attention masks nothing.
    """
    if pool:
        maps = max_pool2d(maps[:, None], kernel_size=3, stride=1, padding=1)[:, 0]
    maps = resized(maps, size, "nearest")
    return maps > threshold * maps.amax(dim=(1, 2), keepdim=True)
