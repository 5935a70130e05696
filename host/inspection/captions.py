"""What is written below pictures made for looking at: words, noise levels, and a bar that says what colours mean."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..engine.noise_levels import percent_at

READABLE = 256
"""Narrower pictures, in pixels, are enlarged by a whole factor: there is no room for words below them."""
SMALLEST_TEXT = 14
"""In pixels. Wider pictures have larger text, as they are seen from farther away."""
GREY = (96, 96, 96)


@dataclass(frozen=True, eq=False)
class Scale:
    """What colours mean: `bar` (n, 3) in [0, 1] from low to high, and the words below its two ends."""

    low: str
    high: str
    bar: Tensor


def captioned(pictures: Tensor, texts: Sequence[str], scales: Sequence[Scale]) -> Tensor:
    """`pictures` (B, H, W, 3) in [0, 1], enlarged by a whole factor where they are small, with B texts and scales below: (B, ..., 3)."""
    factor = -(-READABLE // pictures.shape[2])
    enlarged = pictures.cpu().repeat_interleave(factor, dim=1).repeat_interleave(factor, dim=2)
    return torch.cat([enlarged, strips(enlarged.shape[2], texts, scales)], dim=1)


def stages_captioned(pictures: Tensor, sigmas: Sequence[float], model) -> Tensor:
    """The stages (B, H, W, 3) of one picture with their B noise levels below, and bars that fill from noise to picture."""
    sampling, part = model.get_model_object("model_sampling"), torch.arange(256)[:, None] / 255
    bars = [torch.where(part <= percent_at(sampling, sigma), 0.3, 0.85).expand(-1, 3) for sigma in sigmas]
    texts = [f"sigma {number(sigma)}\n{percent(sampling, sigma)} % of the run" for sigma in sigmas]
    return captioned(pictures, texts, [Scale("noise", "picture", bar) for bar in bars])


def strips(width: int, texts: Sequence[str], scales: Sequence[Scale], size: int | None = None) -> Tensor:
    """(B, h, width, 3): texts, whose first line is the title, above the bars of their scales. All are as high as the highest.

    `size` is the text's, in pixels; by default it grows with the width.
    """
    font = ImageFont.load_default(size or max(SMALLEST_TEXT, width // 36))
    line, margin = sum(font.getmetrics()), font.size // 2
    inner = width - 2 * margin
    titles = [wrapped(text, font, inner) for text in texts]
    ends = [[wrapped(end, font, (inner - margin) // 2) for end in (scale.low, scale.high)] for scale in scales]
    bar_top = margin + line * max(map(len, titles))
    bar_end = bar_top + margin + line // 2
    height = bar_end + margin + line * max(len(end) for both in ends for end in both)
    drawn = []
    for text, title, scale, (low, high) in zip(texts, titles, scales, ends, strict=True):
        strip = Image.new("RGB", (width, height), "white")
        draw = ImageDraw.Draw(strip)
        of_title = len(wrapped(text.split("\n")[0], font, inner))
        for row, words in enumerate(title):
            draw.text((margin, margin // 2 + row * line), words, fill="black" if row < of_title else GREY, font=font)
        colours = scale.bar[torch.linspace(0, len(scale.bar) - 1, inner).round().long()]
        strip.paste(as_image(colours.expand(bar_end - bar_top - margin // 2, -1, -1)), (margin, bar_top + margin // 2))
        draw.rectangle((margin - 1, bar_top + margin // 2 - 1, margin + inner, bar_end), outline=GREY)  # an end may be white
        for row, words in enumerate(low):
            draw.text((margin, bar_end + row * line), words, fill=GREY, font=font)
        for row, words in enumerate(high):
            draw.text((width - margin, bar_end + row * line), words, fill=GREY, font=font, anchor="ra")
        drawn.append(as_tensor(strip))
    return torch.stack(drawn)


def wrapped(text: str, font: ImageFont.FreeTypeFont, width: float) -> list[str]:
    """The lines of a text that are at most `width` pixels wide.

    They are broken at spaces, in parentheses and within words only where these are wider than a line.
    """
    lines = []
    for paragraph in text.split("\n"):
        lines.append("")
        groups = re.findall(r"\([^()]*\)\S*|\S+", paragraph)
        for word in (word for group in groups for word in ([group] if font.getlength(group) <= width else group.split())):
            if lines[-1] and font.getlength(f"{lines[-1]} {word}") <= width:
                lines[-1] += f" {word}"
                continue
            if lines[-1]:
                lines.append("")
            for letter in word:
                if lines[-1] and font.getlength(lines[-1] + letter) > width:
                    lines.append("")
                lines[-1] += letter
    return lines


def noise_levels(sampling, sigmas: Sequence[float]) -> str:
    """The highest and the lowest of noise levels, as sigmas and in percent of the run."""
    ends = sorted({max(sigmas), min(sigmas)}, reverse=True)
    return f"sigma {' to '.join(map(number, ends))} ({' to '.join(dict.fromkeys(percent(sampling, sigma) for sigma in ends))} % of the run)"


def percent(sampling, sigma: float) -> str:
    """Where in a run a noise level is, in whole percents that count as `start_percent` does."""
    return f"{100 * percent_at(sampling, sigma):.0f}"


def counted(count: int, thing: str) -> str:
    """Such as "1 step" and "2 steps"."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def number(value: float, digits: int = 3) -> str:
    """A number at least 0 with so many digits that count, and at most four decimals."""
    return f"{float(f'{round(value, 4):.{digits}g}'):g}"


def as_image(picture: Tensor) -> Image.Image:
    """(H, W, 3) in [0, 1]."""
    return Image.fromarray((picture * 255).round().byte().contiguous().numpy())


def as_tensor(image: Image.Image) -> Tensor:
    """(H, W, 3) in [0, 1]."""
    return torch.from_numpy(np.asarray(image, dtype=np.float32) / 255)
