"""Pictures of where words are looked at."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn.functional import interpolate

from .attention_record import AttentionRecord
from .layers import Layer, Layers

CAPTION = 18
"""Height of a line of text, in pixels."""
CELL = 64
"""Side of a map in the grid of layers and steps, in pixels."""
COLUMNS = 10
"""Steps shown at most."""


def colours(heat: Tensor) -> Tensor:
    """(..., h, w) in [0, 1] -> (..., h, w, 3) in [0, 1]: black, red, yellow, white."""
    return torch.stack([(3 * heat - channel).clamp(0, 1) for channel in range(3)], dim=-1)


def over_picture(picture: Tensor, heat: Tensor) -> Tensor:
    """`picture` (H, W, 3) under `heat` (h, w), which is brought to [0, 1] first: (H, W, 3)."""
    return laid_over(picture, interpolate(_normalised(heat)[None, None], picture.shape[:2], mode="bilinear", align_corners=False)[0, 0])


def laid_over(picture: Tensor, heat: Tensor) -> Tensor:
    """`picture` (H, W, 3) under `heat` (H, W) in [0, 1]: (H, W, 3)."""
    opacity = (0.85 * heat)[..., None]
    return picture * (1 - 0.45 * (1 - heat[..., None])) * (1 - opacity) + colours(heat) * opacity


def heat_maps(record: AttentionRecord, layers: Layers, pictures: Tensor) -> Tensor:
    """One captioned picture per word and picture: the mean over `layers` and steps, over `pictures` (B, H, W, 3)."""
    shown = [at_level[layer] for at_level in record.maps.values() for layer in at_level if layer in layers]
    means = torch.stack(shown).mean(dim=0)
    captioned = [
        _captioned(over_picture(picture, means[number, row % means.shape[1]]), word)
        for number, word in enumerate(record.words)
        for row, picture in enumerate(pictures.cpu())
    ]
    return torch.stack(captioned)


def layers_by_steps(record: AttentionRecord) -> Tensor:
    """One picture per word, of the first of the batch: a row per layer, coarse and fine, a column per step."""
    levels = sorted(record.maps, reverse=True)
    levels = [levels[index] for index in np.linspace(0, len(levels) - 1, min(COLUMNS, len(levels))).round().astype(int)]
    layers = list(record.maps[levels[0]])
    return torch.stack([_page(record, word, number, layers, levels) for number, word in enumerate(record.words)])


def _page(record: AttentionRecord, word: str, number: int, layers: list[Layer], levels: list[float]) -> Tensor:
    gutter = 90
    page = Image.new("RGB", (gutter + (CELL + 2) * len(levels), 2 * CAPTION + (CELL + 2) * len(layers)), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(12)
    draw.text((4, 2), word, fill="black", font=font)
    for column, sigma in enumerate(levels):
        draw.text((gutter + column * (CELL + 2) + 2, CAPTION), f"sigma {sigma:.2g}", fill="black", font=font)
    for row, layer in enumerate(layers):
        top = 2 * CAPTION + row * (CELL + 2)
        draw.text((4, top + CELL // 2 - 6), f"{layer.block} {layer.number}.{layer.index}", fill="black", font=font)
        for column, sigma in enumerate(levels):
            map_ = colours(_normalised(record.maps[sigma][layer][number, 0]))
            cell = Image.fromarray((map_ * 255).round().byte().numpy()).resize((CELL, CELL), Image.Resampling.NEAREST)
            page.paste(cell, (gutter + column * (CELL + 2), top))
    return torch.from_numpy(np.asarray(page, dtype=np.float32) / 255)


def _captioned(picture: Tensor, text: str) -> Tensor:
    """(H, W, 3) with a line of text below."""
    line = Image.new("RGB", (picture.shape[1], CAPTION), "white")
    ImageDraw.Draw(line).text((3, 1), text, fill="black", font=ImageFont.load_default(12))
    return torch.cat([picture, torch.from_numpy(np.asarray(line, dtype=np.float32) / 255)])


def _normalised(heat: Tensor) -> Tensor:
    low, high = heat.min(), heat.max()
    return (heat - low) / (high - low).clamp(min=1e-12)
