"""Pictures of where words are looked at."""

from __future__ import annotations

import math

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn.functional import interpolate

from ..families.layer import Layer, Layers
from .attention_record import AttentionRecord
from .captions import GREY, READABLE, SMALLEST_TEXT, Scale, as_image, as_tensor, captioned, counted, noise_levels, number, percent, strips

CELL = 64
"""Longer side of a map in the grid of layers and steps, in pixels: a multiple of most maps' own."""
GAP = 6
TITLE = 18
"""Size of the text above the grid, in pixels."""
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


def over_grey() -> Tensor:
    """(256, 3): what heat from 0 to 1 looks like over a picture that is neither dark nor bright."""
    return laid_over(torch.full((1, 256, 3), 0.5), torch.linspace(0, 1, 256)[None])[0]


def heat_maps(record: AttentionRecord, layers: Layers, pictures: Tensor, sampling) -> Tensor:
    """One captioned picture per word and picture: the mean over `layers` and steps, over `pictures` (B, H, W, 3).

    `sampling` is the model's own, which knows where in a run a noise level is.
    """
    shown = [at_level[layer] for at_level in record.maps.values() for layer in at_level if layer in layers]
    means = torch.stack(shown).mean(dim=0)
    seen_at = f"mean of {counted(len(record.maps), 'step')}, {noise_levels(sampling, list(record.maps))}"
    heated, texts, scales = [], [], []
    for number_of_word, word in enumerate(record.words):
        for row, picture in enumerate(pictures.cpu()):
            mean = means[number_of_word, row % means.shape[1]]
            heated.append(over_picture(picture, mean))
            texts.append(f"{word}\n{seen_at}")
            scales.append(Scale(f"least: {_share(mean.min())}", f"most: {_share(mean.max())} of the attention", over_grey()))
    return captioned(torch.stack(heated), texts, scales)


def layers_by_steps(record: AttentionRecord, sampling) -> Tensor:
    """One picture per word, of the first of the batch: a row per layer, coarse and fine, a column per step.

    Every map has its own scale, as layers differ a hundredfold; what its brightest cell stands for is written below it.
    """
    levels = sorted(record.maps, reverse=True)
    levels = [levels[index] for index in np.linspace(0, len(levels) - 1, min(COLUMNS, len(levels))).round().astype(int)]
    layers = list(record.maps[levels[0]])
    pages = torch.stack([_page(record, number_of_word, layers, levels, sampling) for number_of_word in range(len(record.words))])
    scale = Scale("least of each square", "most of each square: the number below it", colours(torch.linspace(0, 1, 256)))
    texts = [f"{word}\nshare of the attention, layer by layer and step by step: {noise_levels(sampling, levels)}" for word in record.words]
    return torch.cat([strips(pages.shape[2], texts, [scale] * len(pages), TITLE), pages], dim=1)


def _page(record: AttentionRecord, number_of_word: int, layers: list[Layer], levels: list[float], sampling) -> Tensor:
    font = ImageFont.load_default(SMALLEST_TEXT)
    line = sum(font.getmetrics())
    maps = [[record.maps[sigma][layer][number_of_word, 0] for sigma in levels] for layer in layers]
    cell = _cell(maps[0][0])
    heads = [f"sigma {number(sigma)}\n{percent(sampling, sigma)} %" for sigma in levels]
    names = [f"layer {place}\n{layer.block}\n{_size(row[0])}" for place, (layer, row) in enumerate(zip(layers, maps, strict=True))]
    (widest_name, highest_name), (widest_head, highest_head) = _extent(names, font), _extent(heads, font)
    gutter, top = widest_name + 2 * GAP, highest_head + GAP
    across, down = max(cell[0], widest_head) + GAP, max(cell[1] + line, highest_name) + GAP
    page = Image.new("RGB", (max(READABLE, gutter + across * len(levels)), top + down * len(layers)), "white")
    draw = ImageDraw.Draw(page)
    for column, head in enumerate(heads):
        draw.text((gutter + column * across, 0), head, fill="black", font=font)
    for row, (name, of_layer) in enumerate(zip(names, maps, strict=True)):
        upper = top + row * down
        draw.text((GAP, upper), name, fill="black", font=font)
        for column, map_ in enumerate(of_layer):
            left = gutter + column * across
            draw.rectangle((left - 1, upper - 1, left + cell[0], upper + cell[1]), outline=GREY)  # the map may be white
            page.paste(as_image(colours(_normalised(map_))).resize(cell, Image.Resampling.NEAREST), (left, upper))
            draw.text((left, upper + cell[1]), _share(map_.max()), fill=GREY, font=font)
    return as_tensor(page)


def _cell(map_: Tensor) -> tuple[int, int]:
    """Width and height of a map (h, w) on the page, in its own proportions."""
    height, width = map_.shape
    return max(1, round(CELL * width / max(map_.shape))), max(1, round(CELL * height / max(map_.shape)))


def _size(map_: Tensor) -> str:
    return f"{map_.shape[1]} x {map_.shape[0]}"


def _extent(texts: list[str], font: ImageFont.FreeTypeFont) -> tuple[int, int]:
    """Width and height in pixels that hold each of the texts."""
    boxes = [ImageDraw.Draw(Image.new("RGB", (1, 1))).multiline_textbbox((0, 0), text, font=font) for text in texts]
    return math.ceil(max(box[2] for box in boxes)), math.ceil(max(box[3] for box in boxes))


def _share(attention: Tensor) -> str:
    return f"{number(100 * float(attention), digits=2)} %"


def _normalised(heat: Tensor) -> Tensor:
    low, high = heat.min(), heat.max()
    return (heat - low) / (high - low).clamp(min=1e-12)
