"""What every style has in common: a sheet with its grain, layers of paint, and the order in which a drawing's parts are painted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..palette import LIGHTING, Lighting
from ..parts import Drawing, Part, Rgb
from ..raster import Cover, Frame, Window, cover, noise, normals
from ..scene import Light


@dataclass(frozen=True)
class Sheet:
    """The picture's size and all that is fixed before something is painted: light, and noise that belongs to the place on the sheet, so
    that taking a thing away changes nothing elsewhere."""

    height: int
    width: int
    light: Light
    seed: int

    @property
    def unit(self) -> int:
        """Pixels of the shorter side, which sizes are fractions of."""
        return min(self.height, self.width)

    @property
    def samples(self) -> int:
        """Samples per pixel and direction."""
        return 4 if self.unit <= 256 else 3

    @property
    def lighting(self) -> Lighting:
        return LIGHTING[self.light]

    @cached_property
    def grain(self) -> np.ndarray:
        """Coarse and, on large sheets, also fine."""
        grain = noise(self.seed + 1, self.height, self.width, 100)
        if self.unit <= 256:
            return grain
        return np.float32(0.5) * grain + np.float32(0.75) * noise(self.seed + 4, self.height, self.width, self.unit / 1.6)

    @cached_property
    def mottling(self) -> np.ndarray:
        return noise(self.seed + 2, self.height, self.width, 26)

    @cached_property
    def blotches(self) -> np.ndarray:
        return noise(self.seed + 3, self.height, self.width, 8)

    def width_of(self, fraction: float) -> float:
        """A line's width in pixels: `fraction` of the sheet at 128 pixels, finer in proportion on larger ones."""
        return fraction * 128 * (self.unit / 128) ** 0.75

    def cover(self, part: Part, frame: Frame, within: Window) -> Cover | None:
        return cover(tuple(frame.pixels(path) for path in part.outlines), within, self.samples)


class Layer:
    """Paint over a window of the sheet: `paint` (3, h, w), already multiplied by `alpha` (h, w)."""

    def __init__(self, window: Window) -> None:
        rows, columns = self.window = window
        self.paint = np.zeros((3, rows.stop - rows.start, columns.stop - columns.start), np.float32)
        self.alpha = np.zeros(self.paint.shape[1:], np.float32)

    def inside(self, window: Window) -> Window:
        """A window of the sheet in the layer's own coordinates."""
        return tuple(slice(inner.start - outer.start, inner.stop - outer.start) for inner, outer in zip(window, self.window, strict=True))

    def around(self, window: Window, margin: int) -> Window:
        """A window of the sheet, widened by `margin` pixels as far as the layer goes."""
        return tuple(
            slice(max(inner.start - margin, outer.start), min(inner.stop + margin, outer.stop))
            for inner, outer in zip(window, self.window, strict=True)
        )

    def lay(self, window: Window, colour: np.ndarray, alpha: np.ndarray) -> None:
        """Covers with `colour` (3, h, w) or (3, 1, 1)."""
        place = self.inside(window)
        paint, present = self.paint[:, place[0], place[1]], self.alpha[place]
        paint += (colour - paint) * alpha
        present += (1 - present) * alpha

    def shade(self, window: Window, light: np.ndarray) -> None:
        """Multiplies what is there by `light`, (h, w) or (3, h, w)."""
        place = self.inside(window)
        self.paint[:, place[0], place[1]] *= light


@dataclass(frozen=True)
class Surface:
    """A part on the sheet: what to paint where. `normals` (3, h, w) over the cover's window."""

    part: Part
    cover: Cover
    colour: Rgb
    fade: Rgb | None
    normals: np.ndarray

    @property
    def window(self) -> Window:
        return self.cover.window

    def lit(self, towards: tuple[float, float, float]) -> np.ndarray:
        """(h, w) cosine between the surface and a direction."""
        across, up, front = self.normals
        return across * np.float32(towards[0]) + up * np.float32(towards[1]) + front * np.float32(towards[2])

    def tints(self) -> np.ndarray:
        """(3, h or 1, 1) the part's own colour, from `colour` at its foot to `fade` at its top."""
        colour = np.asarray(self.colour, np.float32)[:, None, None]
        if self.fade is None:
            return colour
        rows = self.cover.alpha.shape[0]
        high = np.clip((rows - 1.5 - np.arange(rows, dtype=np.float32)) / max(rows - 3, 1), 0, 1)[None, :, None]
        return colour + (np.asarray(self.fade, np.float32)[:, None, None] - colour) * high


class Painter(ABC):
    """A style at work on one sheet."""

    def __init__(self, sheet: Sheet) -> None:
        self.sheet = sheet

    @abstractmethod
    def surface(self, layer: Layer, surface: Surface) -> None:
        """Paints one part of a thing."""

    def scenery(self, layer: Layer, surface: Surface) -> None:
        """Paints one part of the ground and sky."""
        self.surface(layer, surface)

    @abstractmethod
    def shadow(self, layer: Layer, mask: np.ndarray) -> None:
        """Darkens the ground under `mask` (H, W)."""

    def finish(self, picture: np.ndarray) -> np.ndarray:
        """The last touch to the whole picture (3, H, W)."""
        return picture

    def draw(self, layer: Layer, drawing: Drawing, frame: Frame, scenery: bool = False) -> None:
        """Paints a drawing's parts from back to front."""
        paint = self.scenery if scenery else self.surface
        painted: dict[str, Surface] = {}
        for part in drawing.parts:
            covered = self.sheet.cover(part, frame, layer.window)
            if covered is None:
                continue
            facing = None
            if part.on is not None:
                base = painted.get(part.on)
                covered, facing = _upon(covered, base) if base else (None, None)
                if covered is None:
                    continue
            surface = Surface(
                part,
                covered,
                drawing.palette[part.colour],
                drawing.palette[part.fade] if part.fade else None,
                normals(covered, part.volume) if facing is None else facing,
            )
            paint(layer, surface)
            painted[part.name] = surface


def _upon(marking: Cover, base: Surface) -> tuple[Cover | None, np.ndarray | None]:
    """A marking cut off at its base's edge, and the base's normals there."""
    common = tuple(
        slice(max(one.start, other.start), min(one.stop, other.stop)) for one, other in zip(marking.window, base.window, strict=True)
    )
    if any(side.stop <= side.start for side in common):
        return None, None
    own, under = (
        tuple(slice(inner.start - outer.start, inner.stop - outer.start) for inner, outer in zip(common, window, strict=True))
        for window in (marking.window, base.window)
    )
    alpha = marking.alpha[own] * base.cover.alpha[under]
    s = marking.samples
    fine = marking.fine.crop((own[1].start * s, own[0].start * s, own[1].stop * s, own[0].stop * s))
    return Cover(common, alpha, marking.paths, fine, s), base.normals[:, under[0], under[1]]
