"""How a scene becomes a picture: silhouettes, shading, cast shadows and the two styles. numpy and scipy only."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .world import Scene, Thing

SKY = {"grass": (0.60, 0.79, 0.95), "sand": (0.95, 0.87, 0.74), "snow": (0.70, 0.76, 0.85), "night": (0.12, 0.13, 0.27)}
SOIL = {"grass": (0.36, 0.57, 0.25), "sand": (0.85, 0.72, 0.48), "snow": (0.92, 0.94, 0.97), "night": (0.21, 0.26, 0.37)}
LIGHT = {"grass": (1, 1, 1), "sand": (1, 0.98, 0.94), "snow": (0.98, 1, 1), "night": (0.72, 0.74, 0.88)}
PAPER, INK = (0.96, 0.94, 0.88), (0.16, 0.14, 0.15)
HSV = {
    "red": (0.0, 0.84, 0.86),
    "orange": (0.075, 0.90, 0.96),
    "yellow": (0.150, 0.82, 0.95),
    "green": (0.36, 0.74, 0.64),
    "blue": (0.60, 0.78, 0.84),
    "purple": (0.79, 0.62, 0.72),
}
SUN = np.array((-0.55, -0.62, 0.56), dtype=np.float32)
"""Unit vector towards the light: from the left, above and before the picture."""
SHADOW_SHIFT, SHADOW_RISE = 0.72, 0.24
"""Where a cast shadow falls: one unit of height goes this far right and this far back (up in the picture)."""
SHADOW_LIGHT = 0.56
OUTLINE = 0.028
STRIPES_PER_SIZE = 2.1


@dataclass(frozen=True)
class Rendering:
    """`picture` (H, W, 3) in [0, 1]; `objects` and `shadows` (things, H, W) in [0, 1]: the visible coverage of each
    thing and of its cast shadow, in the order of `scene.things`."""

    picture: np.ndarray
    objects: np.ndarray
    shadows: np.ndarray


def render(scene: Scene, side: int = 64, supersampling: int = 4) -> Rendering:
    """Draws a scene, `side` pixels square, each the mean of `supersampling` squared samples."""
    fine = side * supersampling
    y, x = np.meshgrid(*[(np.arange(fine, dtype=np.float32) + 0.5) / fine] * 2, indexing="ij")
    ground = y > scene.horizon
    canvas = _backdrop(scene, x, y, ground)
    silhouettes = [_silhouette(thing, x, y) for thing in scene.things]
    shadows = [_cast_shadow(thing, x, y) & ground for thing in scene.things]
    canvas[np.logical_or.reduce(shadows)] *= SHADOW_LIGHT if scene.style == "photo" else 0.75
    for index in _back_to_front(scene):
        _paint(canvas, scene, scene.things[index], x, y)
    visible, covered = [None] * len(scene.things), np.zeros_like(ground)
    for index in reversed(_back_to_front(scene)):
        visible[index] = silhouettes[index] & ~covered
        covered |= silhouettes[index]
    return Rendering(
        picture=_shrink(np.clip(canvas, 0, 1), supersampling),
        objects=_stack([_shrink(mask, supersampling) for mask in visible], side),
        shadows=_stack([_shrink(mask & ~covered, supersampling) for mask in shadows], side),
    )


def _back_to_front(scene: Scene) -> list[int]:
    return sorted(range(len(scene.things)), key=lambda index: scene.things[index].y)


def _shrink(fine: np.ndarray, factor: int) -> np.ndarray:
    side = fine.shape[0] // factor
    return fine.reshape(side, factor, side, factor, *fine.shape[2:]).mean(axis=(1, 3), dtype=np.float32)


def _stack(masks: list[np.ndarray], side: int) -> np.ndarray:
    return np.stack(masks) if masks else np.zeros((0, side, side), np.float32)


def _colour(value) -> np.ndarray:
    return np.asarray(value, dtype=np.float32)


def _mix(a, b, amount) -> np.ndarray:
    return _colour(a) * (1 - amount) + _colour(b) * amount


def _backdrop(scene: Scene, x, y, ground) -> np.ndarray:
    rng = np.random.default_rng(scene.texture)
    tint = rng.uniform(0.94, 1.06, 3)
    sky, soil = _colour(SKY[scene.ground]), np.clip(_colour(SOIL[scene.ground]) * tint, 0, 1).astype(np.float32)
    if scene.style == "drawing":
        wash = 0.75 if scene.ground == "night" else 0.5
        sky, soil = _mix(PAPER, sky, 0.7 * wash), _mix(PAPER, soil, wash)
    strength = 0.35 if scene.style == "drawing" else 1.0
    mottling = np.zeros_like(x)
    for _ in range(3):
        across, down, phase = rng.uniform(-9, 9), rng.uniform(6, 20), rng.uniform(0, 2 * np.pi)
        mottling += np.sin(across * x + down * y + phase)
    depth = (y - scene.horizon) / (1 - scene.horizon)
    lightness = np.where(ground, 1 + strength * (0.10 * (0.5 - depth) + 0.03 * mottling), 1 + 0.12 * strength * depth)
    canvas = np.where(ground[..., None], soil, sky) * lightness[..., None]
    if scene.style == "drawing":
        line = np.abs(y - scene.horizon) < 0.4 * OUTLINE
        canvas[line] = _mix(canvas[line], INK, 0.55)
    return canvas.astype(np.float32)


def _faces(thing: Thing, x, y) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(face number or 0 outside, brightness, u, v) over the grid; u and v are coordinates in units of `size`,
    v downwards with 0 at the object's middle height."""
    u, v = (x - thing.x) / thing.size, (y - thing.y) / thing.size + 1
    return (*_SILHOUETTE[thing.shape](u, v), u, v)


def _lambert(normal_x, normal_y, normal_z) -> np.ndarray:
    return 0.5 + 0.62 * np.maximum(0, normal_x * SUN[0] + normal_y * SUN[1] + normal_z * SUN[2])


def _ball(u, v):
    squared = u * u + v * v
    inside = squared <= 1
    normal_z = np.sqrt(np.maximum(0, 1 - squared))
    shine = np.maximum(0, 0.62 * (-u) + 0.62 * (-v) + 0.48 * normal_z)
    return inside.astype(np.int8), _lambert(u, v, normal_z) + 0.35 * shine**18


def _cube(u, v):
    front = (u >= -1) & (u <= 0.5) & (v >= -0.5) & (v <= 1)
    rise = -(v + 0.5) / 0.5
    top = (rise >= 0) & (rise <= 1) & (u - 0.5 * rise >= -1) & (u - 0.5 * rise <= 0.5)
    back = (u - 0.5) / 0.5
    right = (back >= 0) & (back <= 1) & (v + 0.5 * back >= -0.5) & (v + 0.5 * back <= 1)
    faces = np.where(front, 1, np.where(top, 2, np.where(right, 3, 0))).astype(np.int8)
    return faces, np.take(_colour((1, 0.86, 1.12, 0.56)), faces)


def _cone(u, v):
    middle = 0.76
    half_width = np.clip((v + 1) / (middle + 1), 0, 1)
    flank = (np.abs(u) <= half_width) & (v >= -1) & (v <= middle)
    base = u * u + ((v - middle) / (1 - middle)) ** 2 <= 1
    across = np.clip(u / np.maximum(half_width, 1e-3), -1, 1)
    return (flank | base).astype(np.int8), _lambert(across, -0.35, np.sqrt(1 - across**2))


def _star(u, v):
    radius, centre = 1.05, 0.15
    angle = np.arctan2(u, -(v - centre)) / (2 * np.pi) * 5
    turn = angle - np.round(angle)
    distance = np.hypot(u, v - centre)
    tip, notch = radius, radius * 0.48
    along, aside = distance * np.cos(turn * 2 * np.pi / 5), np.abs(distance * np.sin(turn * 2 * np.pi / 5))
    notch_x, notch_y = notch * np.cos(np.pi / 5), notch * np.sin(np.pi / 5)
    inside = (tip - along) * notch_y - aside * (tip - notch_x) >= 0
    facing = (np.round(angle) + np.where(turn > 0, 0.25, -0.25)) / 5 * 2 * np.pi
    return inside.astype(np.int8), 0.86 + 0.26 * np.cos(facing + 0.73)


_SILHOUETTE = {"ball": _ball, "cube": _cube, "cone": _cone, "star": _star}


def _window(side: int, left: float, top: float, right: float, bottom: float):
    """The slices of a grid of `side` samples that hold a box given in fractions of the side."""
    first, last = (lambda edge: max(0, int(edge * side) - 2)), (lambda edge: int(edge * side) + 3)
    return np.s_[first(top) : last(bottom), first(left) : last(right)]


def _silhouette(thing: Thing, x, y) -> np.ndarray:
    mask, window = np.zeros(x.shape, bool), _window(len(x), *thing.box)
    mask[window] = _faces(thing, x[window], y[window])[0] > 0
    return mask


def _cast_shadow(thing: Thing, x, y) -> np.ndarray:
    """The silhouette as the sun lays it on the ground: sheared to the right and flattened."""
    left, _, right, bottom = thing.box
    reach = 2 * thing.size
    window = _window(len(x), left, bottom - SHADOW_RISE * reach, right + SHADOW_SHIFT * reach, bottom)
    height = (thing.y - y[window]) / SHADOW_RISE
    mask = np.zeros(x.shape, bool)
    mask[window] = _faces(thing, x[window] - SHADOW_SHIFT * height, thing.y - height)[0] > 0
    return mask


def _base_colour(thing: Thing) -> np.ndarray:
    hue, saturation, value = HSV[thing.colour]
    shaded = ((hue + 0.014 * thing.shade) % 1, saturation, min(1.0, value * (1 + 0.12 * thing.tone)))
    return _colour(colorsys.hsv_to_rgb(*shaded))


def _paint(canvas, scene: Scene, thing: Thing, x, y) -> None:
    window = _window(len(canvas), *thing.box)
    faces, brightness, u, v = _faces(thing, x[window], y[window])
    inside, base = faces > 0, _base_colour(thing)
    drawing = scene.style == "drawing"
    pale = _mix(PAPER, base, 0.68) if drawing else base
    albedo = np.broadcast_to(pale, (*faces.shape, 3))
    if thing.pattern == "striped":
        second = np.floor((v + 0.3 * u) * STRIPES_PER_SIZE + 0.5) % 2 == 0
        albedo = np.where(second[..., None], _mix(pale, (1, 1, 1), 0.85), albedo)
    light = np.where(brightness > 0.72, 1.0, 0.86) if drawing else brightness
    lit = albedo * light[..., None] * (_mix((1, 1, 1), LIGHT[scene.ground], 0.5 if drawing else 1.0))
    if drawing:
        padded = np.pad(faces, 1)
        changes = [
            padded[1:-1, 1:-1] != neighbour for neighbour in (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
        ]
        edge = inside & np.logical_or.reduce(changes)
        lit = np.where((ndimage.distance_transform_edt(~edge) <= OUTLINE * len(canvas))[..., None], _colour(INK), lit)
    canvas[window][inside] = lit[inside]
