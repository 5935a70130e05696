"""How a scene becomes a picture and its masks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil

import numpy as np

from .backdrop import backdrop
from .palette import named_roles
from .parts import Drawing, Individual
from .raster import Frame, Window, cover
from .scene import Scene, Thing
from .styles import PAINTERS, Painter, Sheet
from .styles.base import Layer
from .things import THINGS


@dataclass(frozen=True)
class Rendering:
    """`picture` (H, W, 3) in [0, 1]; `objects` and `shadows` (things, H, W) in [0, 1]: the visible coverage of each thing and of its
    cast shadow, in the order of `scene.things`."""

    picture: np.ndarray
    objects: np.ndarray
    shadows: np.ndarray


def drawing_of(thing: Thing) -> Drawing:
    """The parts of a thing, with all colours of its palette."""
    parts, palette = _individual(thing.kind, thing.individual)
    return Drawing(parts, {**palette, **named_roles(thing.colour)})


@lru_cache(maxsize=64)
def _individual(kind: str, individual: int):
    drawing = THINGS[kind](Individual(individual))
    return drawing.parts, drawing.palette


def render(scene: Scene, width: int = 128, height: int | None = None) -> Rendering:
    """Draws a scene, `width` by `height` pixels (square if no height is given). The composition is the same at every size; in another
    aspect, places keep their fractions of width and height and things their proportions."""
    height = height or width
    sheet = Sheet(height, width, scene.light, scene.texture)
    painter = PAINTERS[scene.style](sheet)
    canvas = Layer(np.s_[0:height, 0:width])
    painter.draw(canvas, backdrop(scene, width / sheet.unit, height / sheet.unit), Frame(sheet.unit, 0, height), scenery=True)
    drawings = [drawing_of(thing) for thing in scene.things]
    frames = [_frame(thing, sheet) for thing in scene.things]
    shadows = [_cast_shadow(drawing, frame, sheet, scene.horizon) for drawing, frame in zip(drawings, frames, strict=True)]
    if shadows:
        painter.shadow(canvas, np.max(shadows, axis=0))
    order = sorted(range(len(scene.things)), key=lambda index: scene.things[index].y)
    objects: list[np.ndarray] = [None] * len(order)
    for place, index in enumerate(order):
        layer = _thing_layer(painter, drawings[index], frames[index])
        rows, columns = layer.window
        canvas.paint[:, rows, columns] *= 1 - layer.alpha
        canvas.paint[:, rows, columns] += layer.paint
        mask = np.zeros((height, width), np.float32)
        mask[rows, columns] = layer.alpha
        for farther in order[:place]:
            objects[farther] = objects[farther] * (1 - mask)
        objects[index] = mask
    free = 1 - sum(objects) if objects else None
    picture = np.clip(painter.finish(canvas.paint), 0, 1)
    return Rendering(
        picture=np.ascontiguousarray(np.moveaxis(picture, 0, -1)),
        objects=_stack(objects, height, width),
        shadows=_stack([shadow * np.clip(free, 0, 1) for shadow in shadows], height, width),
    )


def _stack(masks: list[np.ndarray], height: int, width: int) -> np.ndarray:
    return np.stack(masks) if masks else np.zeros((0, height, width), np.float32)


def _frame(thing: Thing, sheet: Sheet) -> Frame:
    return Frame(thing.size * sheet.unit, thing.x * sheet.width, thing.y * sheet.height, thing.mirrored)


def _thing_layer(painter: Painter, drawing: Drawing, frame: Frame) -> Layer:
    layer = Layer(_window(frame, painter.sheet))
    painter.draw(layer, drawing, frame)
    return layer


def _window(frame: Frame, sheet: Sheet) -> Window:
    """The pixels of a thing's box, two more on each side."""
    left, right = frame.left - frame.scale / 2, frame.left + frame.scale / 2
    top, bottom = frame.base - frame.scale, frame.base
    return np.s_[
        max(0, int(top) - 2) : min(sheet.height, int(bottom) + 3),
        max(0, int(left) - 2) : min(sheet.width, int(right) + 3),
    ]


def _cast_shadow(drawing: Drawing, frame: Frame, sheet: Sheet, horizon: float) -> np.ndarray:
    """(H, W) the silhouette as the light lays it on the ground: sheared sideways and flattened."""
    lighting, mask = sheet.lighting, np.zeros((sheet.height, sheet.width), np.float32)
    fallen = []
    for part in drawing.parts:
        for path in part.outlines if part.on is None else ():
            points = frame.pixels(path)
            high = frame.base - points[:, 1]
            fallen.append(np.stack([points[:, 0] + lighting.shear * high, frame.base - lighting.rise * high], axis=1))
    ground = np.s_[ceil(horizon * sheet.height) : sheet.height, 0 : sheet.width]
    covered = cover(tuple(fallen), ground, sheet.samples)
    if covered is not None:
        mask[covered.window] = covered.alpha
    return mask
