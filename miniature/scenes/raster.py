"""From outlines to pixels: where a part is, which way its surface faces, and noise that does not depend on the resolution."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import ceil, floor

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .parts import Volume
from .paths import Path, following

Window = tuple[slice, slice]
GRID = 48
"""Most cells per side on which a part's relief is worked out. It is smooth, so that is enough at any size."""


@dataclass(frozen=True)
class Frame:
    """Where a drawing's unit coordinates are in the picture: `scale` pixels per unit, (`left`, `base`) the pixel of their origin."""

    scale: float
    left: float
    base: float
    flipped: bool = False

    def pixels(self, path: Path) -> Path:
        across = -self.scale if self.flipped else self.scale
        return path * (across, -self.scale) + (self.left, self.base)


@dataclass(frozen=True)
class Cover:
    """How much of each pixel a part covers: `alpha` in [0, 1] over `window` of the picture, `paths` in pixels and the `fine` mask, of
    `samples` squared samples per pixel, that it is the mean of."""

    window: Window
    alpha: np.ndarray
    paths: tuple[Path, ...]
    fine: Image.Image
    samples: int

    @cached_property
    def thickness(self) -> float:
        """Half the width of a typical place, in pixels: twice the area by the circumference (a disc's radius)."""
        area = length = 0.0
        for path in self.paths:
            right, down = path.T
            step_right, step_down = (following(path) - path).T
            area += abs(float(right @ step_down - down @ step_right)) / 2
            length += float(np.hypot(step_right, step_down).sum())
        return 2 * area / max(length, 1e-6)

    @cached_property
    def grid(self) -> np.ndarray:
        """The coverage on at most `GRID` cells per side, over the same window."""
        factor = max(1, round(max(self.alpha.shape) / GRID))
        if factor == 1:
            return self.alpha
        return np.asarray(self.fine.reduce(factor * self.samples), np.float32) / 255


def cover(paths: tuple[Path, ...], within: Window, samples: int) -> Cover | None:
    """The coverage of filled `paths` (pixels), or None where nothing of them is `within` the window."""
    points = paths[0] if len(paths) == 1 else np.concatenate(paths)
    (low_x, low_y), (high_x, high_y) = points.min(0).tolist(), points.max(0).tolist()
    rows, columns = within
    left, right = max(floor(low_x) - 1, columns.start), min(ceil(high_x) + 2, columns.stop)
    top, bottom = max(floor(low_y) - 1, rows.start), min(ceil(high_y) + 2, rows.stop)
    if right <= left or bottom <= top:
        return None
    fine = Image.new("L", ((right - left) * samples, (bottom - top) * samples))
    draw = ImageDraw.Draw(fine)
    shift = (-left * samples - 0.5, -top * samples - 0.5)
    for path in paths:
        draw.polygon((path * samples + shift).ravel().tolist(), fill=255)
    return Cover(np.s_[top:bottom, left:right], mean(fine, samples), paths, fine, samples)


def mean(fine: Image.Image, samples: int) -> np.ndarray:
    """The mean of each pixel's samples, in [0, 1]."""
    return np.asarray(fine.reduce(samples), np.float32) / np.float32(255)


def _gaussians(pixels: slice, start: int, stop: int, cells: int, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Matrices (pixels, cells) that smooth a row of cells between the pixels `start` and `stop` by a Gaussian of `sigma` pixels and
    read it at the middle of each of `pixels`; and its derivative, so scaled that a straight edge has slope 1."""
    side = (stop - start) / cells
    distance = (np.arange(pixels.start, pixels.stop, dtype=np.float32)[:, None] + 0.5) - (
        start + (np.arange(cells, dtype=np.float32) + 0.5) * side
    )
    weights = np.exp(distance * distance * np.float32(-0.5 / sigma**2)) * np.float32(side / (sigma * np.sqrt(2 * np.pi)))
    return weights, weights * distance * np.float32(np.sqrt(2 * np.pi) / sigma)


def blurred(cover: Cover, sigma: float, window: Window, shift: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """The coverage over `window`, smoothed by a Gaussian of `sigma` pixels and moved by `shift` (right, down) pixels."""
    grid, (rows, columns) = cover.grid, cover.window
    down, _ = _gaussians(window[0], rows.start + shift[1], rows.stop + shift[1], grid.shape[0], sigma)
    across, _ = _gaussians(window[1], columns.start + shift[0], columns.stop + shift[0], grid.shape[1], sigma)
    return down @ grid @ across.T


def softened(cover: Cover, sigma: float) -> np.ndarray:
    """The coverage smoothed by about a Gaussian of `sigma` pixels, over its own window: also where `blurred`'s grid is too coarse for
    that."""
    if cover.grid is cover.alpha:
        return blurred(cover, max(sigma, 0.5), cover.window)
    coverage = Image.fromarray((cover.alpha * 255).astype(np.uint8))
    return np.asarray(coverage.filter(ImageFilter.GaussianBlur(sigma)), np.float32) / np.float32(255)


def normals(cover: Cover, volume: Volume) -> np.ndarray:
    """(3, h, w) unit normals over the cover's window: right, up, towards the spectator. The slope of the smoothed coverage, 1 at the
    edge of a straight part and 0 in its middle, is the tilt of the surface: near a ball for a disc, a tube for a stroke."""
    rows, columns = cover.window
    h, w = cover.alpha.shape
    across = np.full((h, w), volume.facing[0], np.float32)
    up = np.full((h, w), volume.facing[1], np.float32)
    if volume.bulge and min(h, w) > 4:
        grid = cover.grid
        sigma = max(0.55 * cover.thickness * volume.edge, 0.8 * max(h / grid.shape[0], w / grid.shape[1]))
        down, down_slope = _gaussians(rows, rows.start, rows.stop, grid.shape[0], sigma)
        aside, aside_slope = _gaussians(columns, columns.start, columns.stop, grid.shape[1], sigma)
        across += np.float32(volume.bulge) * (down @ grid @ aside_slope.T)
        up -= np.float32(volume.bulge) * (down_slope @ grid @ aside.T)
    squared = across * across + up * up
    excess = np.sqrt(np.maximum(squared / np.float32(0.98), 1))
    across, up = across / excess, up / excess
    return np.stack([across, up, np.sqrt(np.maximum(1 - across * across - up * up, 0))])


def noise(seed: int, height: int, width: int, cells: float) -> np.ndarray:
    """(height, width) smooth noise of about unit variance, with `cells` independent values along the shorter side."""
    side = cells / min(height, width)
    shape = max(2, round(height * side)), max(2, round(width * side))
    lattice = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    return np.asarray(Image.fromarray(lattice).resize((width, height), Image.Resampling.BICUBIC)) * np.float32(1.35)
