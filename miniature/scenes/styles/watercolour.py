"""Watercolour: transparent washes that stray from their outlines, dry darker at their edges and settle in the paper's grain."""

from __future__ import annotations

import numpy as np

from ..palette import mix
from ..raster import softened
from .base import Layer, Painter, Sheet, Surface

PAPER = np.array((0.975, 0.965, 0.935), np.float32)[:, None, None]
GLAZE = {"day": (1.0, 1.0, 1.0), "evening": (1.0, 0.91, 0.85), "night": (0.79, 0.79, 0.89)}
SHADOW = np.array((0.56, 0.56, 0.74), np.float32)[:, None, None]


class Watercolour(Painter):
    def __init__(self, sheet: Sheet) -> None:
        super().__init__(sheet)
        self.glaze = np.asarray(GLAZE[sheet.light], np.float32)[:, None, None]
        self.density = 1 + np.float32(0.28) * sheet.blotches + np.float32(0.14) * sheet.mottling + np.float32(0.05) * sheet.grain
        self.straying = np.float32(0.13) * sheet.mottling + np.float32(0.02) * sheet.grain

    def surface(self, layer: Layer, surface: Surface) -> None:
        self._wash(layer, surface, reserve=0.10, pale=0.16, shade=1.0 if surface.part.volume.bulge else 0.0)

    def scenery(self, layer: Layer, surface: Surface) -> None:
        self._wash(layer, surface, reserve=-0.02, pale=0.34, shade=0.0)

    def _wash(self, layer: Layer, surface: Surface, reserve: float, pale: float, shade: float) -> None:
        """One wash on paper that was left white for it. `reserve` draws its edge back inside the outline (but not that of thin parts,
        which a brush fills in one stroke), `pale` is how far it is thinned with water, and `shade` how much more pigment, and grey,
        lies on the side away from the light."""
        rows, columns = surface.window
        cover = surface.cover
        wet = min(self.sheet.width_of(0.010), 0.22 * cover.thickness)
        small = float(np.clip(cover.thickness / (0.016 * self.sheet.unit) - 0.5, 0, 1))
        soft = softened(cover, max(wet, 0.45))
        wash = np.clip((soft - np.float32(0.5 + reserve) + self.straying[rows, columns]) * 3.2 + np.float32(0.5), 0, 1)
        wash = 1 - np.float32(small) * (1 - wash)
        density, grey = self.density[rows, columns], np.float32(0)
        if cover.thickness > 0.015 * self.sheet.unit:
            dried = np.clip(np.float32(0.86) - softened(cover, max(2.2 * wet, 0.9)), 0, 1)
            density = density + np.float32(1.3) * dried
            grey = grey + np.float32(0.5 * shade) * dried
        if shade:
            away = np.float32(0.5) - surface.lit(self.sheet.lighting.sun)
            density = density + np.float32(0.7 * shade) * away
            grey = grey + np.float32(0.8 * shade) * np.maximum(away, 0)
        layer.lay(surface.window, PAPER, cover.alpha)
        laid = np.log(np.clip(self._pigment(surface, pale), 0.02, 0.99)) * np.clip(density, 0.25, 2.6) + np.log(SHADOW) * grey
        layer.shade(surface.window, np.exp(laid * (wash * cover.alpha)))

    def _pigment(self, surface: Surface, pale: float) -> np.ndarray:
        """What a wash of density 1 leaves of each colour of light."""
        tints = surface.tints()
        grey = tints.mean(0, keepdims=True)
        thin = np.clip(mix(grey + (tints - grey) * np.float32(1.1), np.ones((3, 1, 1)), pale), 0, 1)
        return thin if surface.part.glows else thin * self.glaze

    def shadow(self, layer: Layer, mask: np.ndarray) -> None:
        depth = mask * np.clip(np.float32(0.8) * self.density + np.float32(0.8) * (1 - mask), 0.3, 1.8)
        layer.shade(layer.window, np.exp(np.log(SHADOW) * depth))

    def finish(self, picture: np.ndarray) -> np.ndarray:
        return picture * (1 - np.float32(0.02) * self.sheet.grain)
