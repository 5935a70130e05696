"""Grounds and skies as parts, from the sky to what lies at the spectator's feet.

Lengths are in units of the picture's shorter side, v upwards from its lower edge. `line` is the horizon's height.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .parts import PLANE, Drawing, Individual, Part, Rgb, part
from .paths import Path, box, ellipse, polygon, ribbon, smooth
from .scene import Ground, Light, Scene

SKY: dict[Light, tuple[Rgb, Rgb]] = {
    "day": ((0.80, 0.91, 0.99), (0.36, 0.62, 0.94)),
    "evening": ((1.0, 0.70, 0.38), (0.46, 0.34, 0.60)),
    "night": ((0.17, 0.22, 0.43), (0.04, 0.06, 0.18)),
}
"""At the horizon and overhead."""
SKY_INK: dict[Light, float] = {"day": 0.0, "evening": 0.2, "night": 0.66}
COLOURS: dict[str, Rgb] = {
    "cloud": (0.98, 0.98, 0.99),
    "sun": (1.0, 0.90, 0.58),
    "moon": (0.97, 0.95, 0.82),
    "star": (0.98, 0.97, 0.90),
    "grass": (0.30, 0.53, 0.19),
    "far grass": (0.56, 0.73, 0.34),
    "blades": (0.16, 0.37, 0.12),
    "hills": (0.36, 0.58, 0.36),
    "far hills": (0.47, 0.66, 0.60),
    "petals": (0.98, 0.96, 0.88),
    "sand": (0.88, 0.70, 0.42),
    "far sand": (0.96, 0.86, 0.62),
    "dunes": (0.92, 0.76, 0.48),
    "ripples": (0.72, 0.52, 0.28),
    "pebbles": (0.62, 0.55, 0.48),
    "snow": (0.78, 0.85, 0.96),
    "far snow": (0.92, 0.95, 1.0),
    "mounds": (0.93, 0.96, 1.0),
    "furrows": (0.60, 0.69, 0.86),
    "firs": (0.14, 0.32, 0.27),
    "sea": (0.20, 0.60, 0.68),
    "far sea": (0.08, 0.34, 0.58),
    "foam": (0.96, 0.98, 0.98),
    "wet sand": (0.72, 0.60, 0.42),
    "beach": (0.93, 0.83, 0.62),
    "asphalt": (0.33, 0.34, 0.38),
    "far asphalt": (0.40, 0.41, 0.44),
    "pavement": (0.70, 0.68, 0.65),
    "kerb": (0.84, 0.82, 0.78),
    "joints": (0.50, 0.48, 0.46),
    "marking": (0.95, 0.94, 0.88),
    "brick": (0.68, 0.44, 0.36),
    "plaster": (0.80, 0.74, 0.62),
    "slate": (0.52, 0.56, 0.64),
    "pane": (0.62, 0.76, 0.86),
    "lit pane": (1.0, 0.86, 0.48),
}


def backdrop(scene: Scene, wide: float, high: float) -> Drawing:
    """The parts of a picture `wide` by `high` units."""
    line, it = high * (1 - scene.horizon), Individual(scene.texture)
    low, zenith = SKY[scene.light]
    sky = part(
        "sky",
        box(-0.1, line - 0.03, wide + 0.1, high + 0.1),
        "sky",
        fade="zenith",
        volume=PLANE,
        glows=True,
        line=0,
        ink=SKY_INK[scene.light],
    )
    parts = [sky, *_heavens(scene.light, it, line, wide, high), *_GROUNDS[scene.ground](it, line, wide, scene.light)]
    return Drawing(tuple(parts), {**COLOURS, "sky": low, "zenith": zenith})


def _heavens(light: Light, it: Individual, line: float, wide: float, high: float) -> list[Part]:
    """Clouds by day, a low sun in the evening, moon and stars at night."""
    room = high - line
    if light == "evening":
        return [
            part("sun", ellipse(it.between(0.15, 0.85) * wide, line + 0.02, 0.105, 0.105), "sun", volume=PLANE, glows=True, line=0.6, ink=0)
        ]
    if light == "night":
        places = it.many(9, (0.03, 0.97), (0.35, 0.97))
        stars = tuple(ellipse(u * wide, line + v * room, 0.007, 0.007) for u, v in places)
        moon = ellipse(it.between(0.12, 0.88) * wide, line + it.between(0.55, 0.75) * room, 0.06, 0.06)
        return [
            part("stars", stars, "star", volume=PLANE, glows=True, line=0, ink=0),
            part("moon", moon, "moon", volume=PLANE, glows=True, line=0, ink=0),
        ]
    clouds = []
    for number in range(2):
        u, v, size = wide * (0.5 * number + it.between(0.05, 0.45)), line + it.between(0.45, 0.85) * room, it.between(0.07, 0.12)
        clouds.append(part(f"cloud {number}", _cloud(u, v, size), "cloud", volume=PLANE, glows=True, line=0.5, ink=0))
    return clouds


def _cloud(u: float, v: float, size: float) -> Path:
    shape = (
        (-1.5, -0.25),
        (-1.3, 0.1),
        (-0.85, 0.15),
        (-0.55, 0.5),
        (-0.05, 0.6),
        (0.4, 0.35),
        (0.85, 0.4),
        (1.2, 0.05),
        (1.5, -0.2),
        (0.6, -0.3),
        (-0.6, -0.3),
    )
    return smooth([(u + size * x, v + 0.75 * size * y) for x, y in shape])


def _ridge(it: Individual, line: float, wide: float, low: float, high: float, count: int = 5) -> Path:
    """A smooth skyline from side to side, between `low` and `high` above the horizon."""
    heights = it.many(count, (low, high))[:, 0]
    tops = [(-0.15 + (wide + 0.3) * k / (count - 1), line + heights[k]) for k in range(count)]
    return smooth([(-0.2, line - 0.04), *tops, (wide + 0.2, line - 0.04)], corners=(0, count + 1))


def _land(line: float, wide: float, colour: str, far: str) -> Part:
    return part("land", box(-0.1, -0.1, wide + 0.1, line), colour, fade=far, volume=PLANE, line=0.6, ink=0)


def _scattered(it: Individual, count: int, line: float, wide: float) -> np.ndarray:
    """(count, 3) places on the ground and their scale: small and close together far away, large in front."""
    places = it.many(count, (0.01, 0.99), (0.0, 1.0))
    near = places[:, 1] ** 0.7
    return np.stack([places[:, 0] * wide, line * (0.96 - 0.93 * near), 0.35 + near], axis=1)


_TUFT = np.array([(-0.45, 0), (-0.95, 0.8), (-0.2, 0.25), (0.05, 1.15), (0.25, 0.25), (0.85, 0.9), (0.45, 0)])


def _meadow(it: Individual, line: float, wide: float, light: Light) -> list[Part]:
    tufts = tuple(_TUFT * (0.034 * size) + (u, v) for u, v, size in _scattered(it, 16, line, wide))
    flowers = tuple(ellipse(u, v, 0.011 * size, 0.010 * size) for u, v, size in _scattered(it, it.one_of(0, 6, 10) + 1, line, wide))
    return [
        part("far hills", _ridge(it, line, wide, 0.03, 0.12), "far hills", volume=PLANE, line=0.6, ink=0),
        part("hills", _ridge(it, line, wide, 0.0, 0.06), "hills", volume=PLANE, line=0.7, ink=0),
        _land(line, wide, "grass", "far grass"),
        part("tufts", tufts, "blades", volume=PLANE, line=0, ink=1),
        part("flowers", flowers, "petals", volume=PLANE, line=0.4, ink=0),
    ]


def _sand(it: Individual, line: float, wide: float, light: Light) -> list[Part]:
    ripples = []
    for u, v, size in _scattered(it, 9, line, wide):
        reach, bend = 0.11 * size, 0.012 * size
        ripples.append(
            ribbon(
                [(u - reach, v), (u - 0.3 * reach, v + bend), (u + 0.4 * reach, v - 0.3 * bend), (u + reach, v + bend)],
                [0.0, 0.011 * size, 0.009 * size, 0.0],
            )
        )
    pebbles = tuple(ellipse(u, v, 0.012 * size, 0.008 * size) for u, v, size in _scattered(it, 6, line, wide))
    return [
        part("far dunes", _ridge(it, line, wide, 0.01, 0.13, 4), "far sand", volume=PLANE, line=0.6, ink=0),
        part("dunes", _ridge(it, line, wide, -0.01, 0.06, 4), "dunes", volume=PLANE, line=0.7, ink=0),
        _land(line, wide, "sand", "far sand"),
        part("ripples", tuple(ripples), "ripples", volume=PLANE, line=0, ink=1),
        part("pebbles", pebbles, "pebbles", volume=PLANE, line=0.5, ink=0.3),
    ]


def _snow(it: Individual, line: float, wide: float, light: Light) -> list[Part]:
    firs = []
    for u, tall, base in it.many(9, (0.0, 1.0), (0.08, 0.19), (-0.015, 0.01)):
        shape = (
            (-0.32, 0.0),
            (-0.2, 0.38),
            (-0.25, 0.36),
            (-0.12, 0.70),
            (-0.16, 0.68),
            (0, 1),
            (0.16, 0.68),
            (0.12, 0.70),
            (0.25, 0.36),
            (0.2, 0.38),
            (0.32, 0.0),
        )
        firs.append(polygon([(u * wide + tall * x, line + base + tall * y) for x, y in shape]))
    furrows = []
    for u, v, size in _scattered(it, 6, line, wide):
        reach = 0.15 * size
        furrows.append(ribbon([(u - reach, v), (u, v + 0.028 * size), (u + reach, v - 0.006 * size)], [0.0, 0.016 * size, 0.0]))
    return [
        part("far slope", _ridge(it, line, wide, 0.02, 0.14, 4), "furrows", volume=PLANE, line=0.6, ink=0),
        part("firs", tuple(firs), "firs", volume=PLANE, line=0, ink=1),
        _land(line, wide, "snow", "far snow"),
        part("mounds", _ridge(it, line, wide, -0.03, 0.03), "mounds", volume=PLANE, line=0.6, ink=0),
        part("furrows", tuple(furrows), "furrows", volume=PLANE, line=0, ink=1),
    ]


def _shore(it: Individual, line: float, wide: float, light: Light) -> list[Part]:
    water = line * it.between(0.62, 0.72)
    bends = it.many(6, (-0.025, 0.025))[:, 0]
    edge = [(-0.15 + (wide + 0.3) * k / 5, water + bends[k]) for k in range(6)]
    below = lambda drop: smooth([(-0.2, -0.15), *[(u, v - drop) for u, v in edge], (wide + 0.2, -0.15)], corners=(0, 7))  # noqa: E731
    glints = []
    for u, v, size in it.many(11, (0.0, 1.0), (0.12, 0.92), (0.5, 1.2)):
        reach, v = 0.085 * size * (1.35 - v), water + v * (line - water)
        glints.append(ribbon([(u * wide - reach, v), (u * wide, v + 0.006), (u * wide + reach, v)], [0.0, 0.011, 0.0]))
    pebbles = tuple(
        ellipse(u * wide, v * water, 0.014 * size, 0.009 * size) for u, v, size in it.many(7, (0.02, 0.98), (0.03, 0.8), (0.6, 1.4))
    )
    return [
        part("sea", box(-0.1, water - 0.1, wide + 0.1, line), "sea", fade="far sea", volume=PLANE, line=0.7, ink=0),
        part("glints", tuple(glints), "foam", volume=PLANE, line=0, ink=1),
        part("foam", below(-0.012), "foam", volume=PLANE, line=0.9, ink=0),
        part("wet sand", below(0.012), "wet sand", volume=PLANE, line=0.5, ink=0),
        part("land", below(0.055), "beach", volume=PLANE, line=0.4, ink=0),
        part("pebbles", pebbles, "pebbles", volume=PLANE, line=0.5, ink=0.3),
    ]


def _street(it: Individual, line: float, wide: float, light: Light) -> list[Part]:
    parts, u, number = [], -0.1, 0
    panes = "lit pane" if light == "night" else "pane"
    while u < wide:
        across, tall = it.between(0.17, 0.30), it.between(0.14, 0.27)
        wall = it.one_of("brick", "plaster", "slate")
        parts.append(
            part(
                f"house {number}",
                box(u, line - 0.02, u + across, line + tall),
                wall,
                volume=PLANE,
                line=0.6,
                ink=0.0 if number % 2 else 0.12,
            )
        )
        columns, rows = max(2, round(across / 0.075)), max(1, round((tall - 0.05) / 0.075))
        step, rise = across / columns, (tall - 0.04) / rows
        windows = tuple(
            box(u + step * (c + 0.28), line + 0.03 + rise * (r + 0.2), u + step * (c + 0.72), line + 0.03 + rise * (r + 0.78))
            for c in range(columns)
            for r in range(rows)
        )
        parts.append(
            part(f"windows {number}", windows, panes, volume=PLANE, glows=light == "night", line=0.4, ink=0.0 if light == "night" else 0.9)
        )
        u, number = u + across, number + 1
    kerb, lane = line * it.between(0.66, 0.76), line * it.between(0.26, 0.36)
    start = it.between(-0.3, 0.0)
    dashes = tuple(
        polygon([(u, lane), (u + 0.17, lane), (u + 0.185, lane + 0.022), (u + 0.015, lane + 0.022)])
        for u in start + 0.33 * np.arange(int(wide / 0.33) + 2)
    )
    joints = tuple(
        polygon([(u, kerb), (u + 0.008, kerb), (u + 0.035, line), (u + 0.029, line)]) for u in start + 0.2 * np.arange(int(wide / 0.2) + 3)
    )
    return [
        *parts,
        part("pavement", box(-0.1, kerb - 0.02, wide + 0.1, line), "pavement", volume=PLANE, line=0.6, ink=0),
        part("joints", joints, "joints", volume=PLANE, line=0, ink=0.5),
        part("land", box(-0.1, -0.1, wide + 0.1, kerb), "asphalt", fade="far asphalt", volume=PLANE, line=0.6, ink=0.12),
        part("kerb", box(-0.1, kerb - 0.022, wide + 0.1, kerb + 0.008), "kerb", volume=PLANE, line=0.5, ink=0),
        part("dashes", dashes, "marking", volume=PLANE, line=0.5, ink=0),
    ]


_GROUNDS: dict[Ground, Callable[[Individual, float, float, Light], list[Part]]] = {
    "meadow": _meadow,
    "sand": _sand,
    "snow": _snow,
    "shore": _shore,
    "street": _street,
}
