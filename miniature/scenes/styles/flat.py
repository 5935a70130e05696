"""Flat: clear colours side by side, one tone of shade with a hard edge, no lines."""

from __future__ import annotations

import numpy as np

from ..palette import mix
from .base import Layer, Painter, Sheet, Surface

TINT = {"day": (1.0, 1.0, 1.0), "evening": (1.0, 0.90, 0.84), "night": (0.74, 0.73, 0.90)}
SHADE = {"day": (0.74, 0.76, 0.90), "evening": (0.78, 0.66, 0.78), "night": (0.66, 0.68, 0.84)}

SKY = {"day": (1.0, 0.94, 0.78), "evening": (0.95, 0.56, 0.50), "night": (0.20, 0.18, 0.42)}
"""A poster's sky is a colour of the printer's, not of the air's."""


class Flat(Painter):
    def __init__(self, sheet: Sheet) -> None:
        super().__init__(sheet)
        self.tint = np.asarray(TINT[sheet.light], np.float32)[:, None, None]
        self.shading = np.asarray(SHADE[sheet.light], np.float32)[:, None, None]

    def _clear(self, surface: Surface) -> np.ndarray:
        """The part's one tone: brighter and more even than in nature."""
        colour = surface.colour if surface.fade is None else mix(surface.colour, surface.fade, 0.4)
        grey = float(np.mean(colour))
        vivid = np.clip(grey + (np.asarray(colour, np.float32) - grey) * 1.12, 0, 1)
        vivid = mix(vivid, (1, 1, 1), 0.06)[:, None, None]
        return vivid if surface.part.glows else vivid * self.tint

    def surface(self, layer: Layer, surface: Surface) -> None:
        colour = self._clear(surface)
        if surface.part.volume.bulge and not surface.part.glows and min(surface.cover.alpha.shape) > 0.05 * self.sheet.unit:
            lit = surface.lit(self.sheet.lighting.sun)
            soft = max(0.03, 0.9 / max(surface.cover.thickness, 1))
            shaded = np.clip((np.float32(0.33) - lit) / np.float32(soft) + np.float32(0.5), 0, 1)
            colour = colour * (1 - (1 - self.shading) * shaded)
        layer.lay(surface.window, colour, surface.cover.alpha)

    def scenery(self, layer: Layer, surface: Surface) -> None:
        if surface.part.name == "sky":
            colour = np.asarray(SKY[self.sheet.light], np.float32)[:, None, None]
        elif surface.part.glows:
            colour = self._clear(surface)
        else:
            colour = mix(self._clear(surface), np.ones((3, 1, 1)), 0.22) * np.float32(self.sheet.lighting.scenery)
        layer.lay(surface.window, colour, surface.cover.alpha)

    def shadow(self, layer: Layer, mask: np.ndarray) -> None:
        layer.shade(layer.window, 1 - (1 - self.shading) * mask)
