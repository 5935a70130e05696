"""Ink: black lines that swell and thin on paper, hatching for shade, no colour."""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw

from ..palette import brightness
from ..parts import MAIN, MAIN_DARK, MAIN_LIGHT
from ..paths import following
from ..raster import Cover, mean
from .base import Layer, Painter, Sheet, Surface

PAPER = np.array((0.955, 0.935, 0.885), np.float32)[:, None, None]
INK = np.array((0.07, 0.065, 0.075), np.float32)[:, None, None]
LINE = 0.0115
"""Width of an outline of weight 1, as a fraction of the sheet at 128 pixels."""
LEVELS = 6
"""Steps between no line and one of full width: as many as can be told apart."""
ROLE_DARKNESS = {MAIN: 0.0, MAIN_DARK: 0.30, MAIN_LIGHT: 0.0}
"""A thing's named colour cannot be told in ink: whatever it is, it is left white."""


class Ink(Painter):
    def __init__(self, sheet: Sheet) -> None:
        super().__init__(sheet)
        self.spacing = sheet.width_of(0.026)

    def _strokes(self, degrees: float) -> np.ndarray:
        """(H, W) in [0, 1]: 0 in the middle of parallel strokes across the sheet, 1 between them."""
        angle = np.deg2rad(degrees)
        y, x = np.arange(self.sheet.height, dtype=np.float32)[:, None], np.arange(self.sheet.width, dtype=np.float32)
        across = np.float32(np.sin(angle) / self.spacing) * x + np.float32(np.cos(angle) / self.spacing) * y
        across = across + np.float32(0.05) * self.sheet.mottling
        return np.abs(2 * (across - np.floor(across)) - 1)

    @cached_property
    def falling(self) -> np.ndarray:
        return self._strokes(47)

    @cached_property
    def rising(self) -> np.ndarray:
        return self._strokes(-38)

    @cached_property
    def level(self) -> np.ndarray:
        return self._strokes(3)

    def hatched(self, strokes: np.ndarray, darkness) -> np.ndarray:
        """How much ink lies on each pixel when strokes are as wide as `darkness` of their distance."""
        return np.clip((darkness - strokes) * np.float32(0.5 * self.spacing) + np.float32(0.5), 0, 1) * np.clip(darkness * 8, 0, 1)

    def surface(self, layer: Layer, surface: Surface) -> None:
        part, (rows, columns) = surface.part, surface.window
        own = self._darkness(surface)
        if own >= 0.8:
            layer.lay(surface.window, INK, surface.cover.alpha)
            return
        shade = np.float32(0.62) * np.clip(np.float32(0.42) - surface.lit(self.sheet.lighting.sun), 0, 1) if part.volume.bulge else 0.0
        ink = np.zeros(surface.cover.alpha.shape, np.float32)
        if part.volume.bulge or own:
            ink = self.hatched(self.falling[rows, columns], np.clip(np.float32(0.8 * own) + shade, 0, 0.62))
            ink = np.maximum(
                ink, self.hatched(self.rising[rows, columns], np.clip(np.float32(0.8 * own - 0.3) + shade - np.float32(0.2), 0, 0.5))
            )
        if part.line:
            ink = np.maximum(ink, self._outline(surface.cover, part.line))
        layer.lay(surface.window, PAPER + (INK - PAPER) * ink, surface.cover.alpha)

    def _darkness(self, surface: Surface) -> float:
        part = surface.part
        if part.ink is not None:
            return part.ink
        if part.colour in ROLE_DARKNESS:
            return ROLE_DARKNESS[part.colour]
        light = brightness(surface.colour)
        return 1.0 if light < 0.22 else max(0.0, 0.55 - light)

    def _outline(self, cover: Cover, weight: float) -> np.ndarray:
        """(h, w) a line along the edge, wider on the side away from the light. Half of it lies inside the part, which is what shows."""
        s, (rows, columns) = cover.samples, cover.window
        fine = Image.new("L", cover.fine.size)
        draw = ImageDraw.Draw(fine)
        sun = self.sheet.lighting.sun
        base = 2 * self.sheet.width_of(LINE) * weight * s
        for path in cover.paths:
            points = (path - np.array((columns.start, rows.start))) * s - 0.5
            widths = np.maximum(1, np.rint(np.rint(LEVELS * _swell(points, sun)) * (base / LEVELS))).astype(int)
            breaks = [0, *(np.flatnonzero(np.diff(widths)) + 1).tolist(), len(points)]
            ring = [tuple(point) for point in np.concatenate([points, points[:1]]).tolist()]
            for start, stop in pairwise(breaks):
                draw.line(ring[start : stop + 1], fill=255, width=int(widths[start]))
        return mean(fine, s)

    def scenery(self, layer: Layer, surface: Surface) -> None:
        part, (rows, columns) = surface.part, surface.window
        own = self._darkness(surface)
        if own >= 0.8:
            layer.lay(surface.window, INK, surface.cover.alpha)
            return
        ink = self.hatched(self.level[rows, columns], np.float32(own)) if own else np.zeros(surface.cover.alpha.shape, np.float32)
        if part.line:
            ink = np.maximum(ink, self._outline(surface.cover, part.line))
        layer.lay(surface.window, PAPER + (INK - PAPER) * ink, surface.cover.alpha)

    def shadow(self, layer: Layer, mask: np.ndarray) -> None:
        ink = self.hatched(self.level, mask * np.float32(0.52))
        layer.lay(layer.window, INK, ink)

    def finish(self, picture: np.ndarray) -> np.ndarray:
        return picture * (1 - np.float32(0.012) * self.sheet.grain)


def _swell(points: np.ndarray, sun: tuple[float, float, float]) -> np.ndarray:
    """The relative width of the line that starts at each point of a ring: a quarter on the lit side to more than one on the other."""
    after = following(points)
    step = after - points
    length = np.maximum(np.hypot(step[:, 0], step[:, 1]), 1e-6)
    turn = np.sign(points[:, 0] @ after[:, 1] - points[:, 1] @ after[:, 0]) or 1.0
    outward = turn * np.stack([step[:, 1], -step[:, 0]], axis=1) / length[:, None]
    away = -(outward @ np.array((sun[0], -sun[1]))) / np.hypot(sun[0], sun[1])
    return 0.78 + 0.45 * away
