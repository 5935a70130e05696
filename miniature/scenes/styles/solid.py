"""3-D: soft light on rounded surfaces, highlights, and shade where one part stands before another."""

from __future__ import annotations

import numpy as np

from ..raster import blurred
from .base import Layer, Painter, Sheet, Surface


class Solid(Painter):
    def __init__(self, sheet: Sheet) -> None:
        super().__init__(sheet)
        light = sheet.lighting
        self.key = np.asarray(light.key, np.float32)[:, None, None]
        self.ambient = np.asarray(light.ambient, np.float32)[:, None, None]
        sun = np.asarray(light.sun)
        halfway = sun + np.array((0, 0, 1))
        self.halfway = tuple(halfway / np.linalg.norm(halfway))

    def surface(self, layer: Layer, surface: Surface) -> None:
        part = surface.part
        if part.lift and part.on is None:
            self._occlude(layer, surface)
        if part.glows:
            layer.lay(surface.window, surface.tints(), surface.cover.alpha)
            return
        _, up, front = surface.normals
        sunlight = np.maximum((surface.lit(self.sheet.lighting.sun) + np.float32(0.22)) / np.float32(1.22), 0)
        skylight = np.float32(0.84) + np.float32(0.34) * up + np.float32(0.08) * front
        colour = surface.tints() * (self.key * sunlight + self.ambient * skylight)
        if part.gloss:
            shine = np.maximum(surface.lit(self.halfway), 0)
            shine *= shine
            shine *= shine
            shine *= shine
            broad = shine * shine
            colour = colour + self.key * (np.float32(0.9 * part.gloss) * broad * broad * shine + np.float32(0.10 * part.gloss) * shine)
            rim = np.float32(0.16) * (1 - front) ** 2 * np.maximum(up + np.float32(0.4), 0)
            colour += self.ambient * rim
        layer.lay(surface.window, np.minimum(colour, 1), surface.cover.alpha)

    def _occlude(self, layer: Layer, surface: Surface) -> None:
        """The soft shade that a part throws on what is painted behind it."""
        reach = max(0.022 * self.sheet.unit, 1.2) * (0.6 + surface.part.lift)
        window = layer.around(surface.window, int(2.5 * reach))
        sun = self.sheet.lighting.sun
        soft = blurred(surface.cover, reach, window, (-0.9 * reach * sun[0], 0.9 * reach * sun[1]))
        layer.shade(window, 1 - np.float32(0.62 * surface.part.lift**0.5) * soft)

    def scenery(self, layer: Layer, surface: Surface) -> None:
        rows, columns = surface.window
        if surface.part.glows:
            colour = surface.tints()
        elif surface.part.volume.bulge:
            self.surface(layer, surface)
            return
        else:
            texture = 1 + np.float32(0.025) * self.sheet.mottling[rows, columns] + np.float32(0.03) * self.sheet.grain[rows, columns]
            light = (self.key * np.float32(0.72) + self.ambient * np.float32(0.95)) * np.float32(self.sheet.lighting.scenery)
            colour = surface.tints() * light * texture
        layer.lay(surface.window, np.clip(colour, 0, 1), surface.cover.alpha)

    def shadow(self, layer: Layer, mask: np.ndarray) -> None:
        whole = layer.window
        missing = self.key * np.float32(1.0) / (self.key + self.ambient)
        layer.shade(whole, 1 - missing * (mask * np.float32(1.25 * self.sheet.lighting.shadow)))
