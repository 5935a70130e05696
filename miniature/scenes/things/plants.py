"""Things that grow."""

from __future__ import annotations

import numpy as np

from ..parts import MAIN, MAIN_DARK, PLANE, SOFT, WHITE, Drawing, Individual, Part, part
from ..paths import Path, box, ellipse, polygon, ribbon, smooth


def mushroom(it: Individual) -> Drawing:
    """A toadstool: a spotted cap on a pale stalk."""
    wide, low, high = it.between(0.42, 0.48), it.between(0.46, 0.54), it.between(0.92, 0.98)
    stalk = it.between(0.11, 0.15)
    cap = smooth(
        [
            (-wide, low + 0.02),
            (-0.86 * wide, low + 0.22),
            (-0.45 * wide, high - 0.05),
            (0, high),
            (0.45 * wide, high - 0.05),
            (0.86 * wide, low + 0.22),
            (wide, low + 0.02),
            (0.6 * wide, low - 0.045),
            (0, low - 0.06),
            (-0.6 * wide, low - 0.045),
        ],
    )
    spots = []
    for u, v, r in (
        (-0.55, 0.22, 0.13),
        (-0.08, 0.34, 0.17),
        (0.50, 0.25, 0.14),
        (-0.78, 0.05, 0.09),
        (0.24, 0.09, 0.11),
        (-0.30, 0.07, 0.10),
        (0.82, 0.06, 0.09),
        (0.12, 0.62, 0.10),
    ):
        du, dv, size = it.between(-0.05, 0.05), it.between(-0.025, 0.025), it.between(0.75, 1.1)
        spots.append(ellipse(wide * (u + du), low + (high - low) * (v + 0.06) + dv, size * r * 0.95 * wide, size * r * 0.75 * wide))
    parts = [
        part(
            "stalk",
            smooth(
                [
                    (-stalk, 0.02),
                    (-0.82 * stalk, 0.25),
                    (-0.8 * stalk, low),
                    (0.8 * stalk, low),
                    (0.82 * stalk, 0.25),
                    (stalk, 0.02),
                    (0, 0.012),
                ]
            ),
            "cream",
            gloss=0.05,
        ),
        part(
            "gills",
            smooth([(-0.80 * wide, low - 0.005), (0, low - 0.10), (0.80 * wide, low - 0.005), (0, low + 0.05)]),
            "gills",
            lift=0.6,
            volume=SOFT,
            gloss=0,
        ),
        part(
            "skirt",
            smooth(
                [
                    (-1.1 * stalk, low - 0.13),
                    (-0.7 * stalk, low - 0.07),
                    (0.7 * stalk, low - 0.07),
                    (1.1 * stalk, low - 0.13),
                    (0.5 * stalk, low - 0.115),
                    (0, low - 0.14),
                    (-0.5 * stalk, low - 0.115),
                ]
            ),
            "white",
            lift=0.3,
            gloss=0,
        ),
        part("cap", cap, MAIN, lift=0.6, gloss=0.7),
        part(
            "rim",
            ribbon([(-wide, low), (-0.55 * wide, low - 0.045), (0, low - 0.065), (0.55 * wide, low - 0.045), (wide, low)], 0.045),
            MAIN_DARK,
            on="cap",
            line=0,
        ),
        part("spots", tuple(spots), "white", on="cap", line=0.7),
    ]
    if it.chance(0.5):
        side, tall = it.one_of(-1, 1), it.between(0.2, 0.28)
        u = side * it.between(0.26, 0.32)
        parts += [
            part("little stalk", ribbon([(u, 0.04), (u, tall - 0.03)], [0.075, 0.055]), "cream", lift=0.2, gloss=0),
            part(
                "little cap",
                smooth(
                    [
                        (u - 0.12, tall - 0.02),
                        (u - 0.07, tall + 0.08),
                        (u, tall + 0.105),
                        (u + 0.07, tall + 0.08),
                        (u + 0.12, tall - 0.02),
                        (u, tall - 0.05),
                    ]
                ),
                MAIN,
                lift=0.5,
                gloss=0.6,
            ),
            part(
                "little spots",
                (ellipse(u - 0.04, tall + 0.03, 0.02, 0.017), ellipse(u + 0.045, tall + 0.045, 0.024, 0.02)),
                "white",
                on="little cap",
                line=0.4,
            ),
        ]
    return Drawing(tuple(parts), {"cream": (0.95, 0.89, 0.78), "gills": (0.80, 0.70, 0.58), "white": WHITE})


def cactus(it: Individual) -> Drawing:
    green = it.one_of((0.30, 0.55, 0.28), (0.24, 0.50, 0.36), (0.42, 0.58, 0.28))
    potted, blooms = it.chance(0.4), it.chance(0.6)
    foot, top, wide = (0.24 if potted else 0.01), it.between(0.86, 0.93), it.between(0.22, 0.27)
    left, right = it.between(0.46, 0.60), it.between(0.38, 0.54)
    left_tip, right_tip = left + it.between(0.16, 0.26), right + it.between(0.18, 0.30)
    trunk = (
        box(-wide / 2, foot, wide / 2, top, wide / 2)
        if not potted
        else smooth(
            [
                (-0.44 * wide, foot),
                (-0.5 * wide, 0.5),
                (-0.36 * wide, top - 0.04),
                (0, top),
                (0.36 * wide, top - 0.04),
                (0.5 * wide, 0.5),
                (0.44 * wide, foot),
            ],
            corners=(0, 6),
        )
    )
    arms = (
        ribbon([(0, left), (-0.20, left - 0.01), (-0.31, left + 0.05), (-0.325, left_tip)], [0.13, 0.13, 0.135, 0.12]),
        ribbon([(0, right), (0.20, right - 0.01), (0.31, right + 0.05), (0.325, right_tip)], [0.13, 0.13, 0.135, 0.12]),
    )
    ribs = tuple(
        ribbon([(0.8 * x * wide, foot + 0.02), (x * wide, 0.55), (0.75 * x * wide, top - 0.05)], [0.010, 0.014, 0.004])
        for x in (-0.30, 0.0, 0.30)
    )
    arm_ribs = (
        ribbon([(-0.18, left - 0.005), (-0.305, left + 0.055), (-0.325, left_tip - 0.01)], [0.004, 0.011, 0.004]),
        ribbon([(0.18, right - 0.005), (0.305, right + 0.055), (0.325, right_tip - 0.01)], [0.004, 0.011, 0.004]),
    )
    rows = [foot + 0.07 + 0.105 * k for k in range(int((top - foot - 0.1) / 0.105) + 1)]
    spines = tuple(
        _spine(x * wide * 1.0, v + (0.05 if k % 2 else 0)) for v in rows for k, x in enumerate((-0.40, -0.15, 0.15, 0.40)) if v < top - 0.12
    )
    parts = [
        part("arms", arms, "green", gloss=0.15),
        part("arms' ribs", arm_ribs, "dark green", on="arms", line=0, ink=0.9),
        part("trunk", trunk, "green", gloss=0.15, lift=0.35),
        part("ribs", ribs, "dark green", on="trunk", line=0, ink=0.9),
        part("spines", spines, "spine", on="trunk", volume=PLANE, line=0, ink=1),
    ]
    if blooms:
        parts += _bloom(0, top - 0.005, 0.055)
        if it.chance(0.5):
            parts += _bloom(0.325, right_tip + 0.055, 0.038)
    if potted:
        parts += [
            part("pot", polygon([(-0.20, 0.20), (0.20, 0.20), (0.155, 0.01), (-0.155, 0.01)], 0.02), "clay", gloss=0.1, lift=0.2, ink=0.12),
            part("pot's rim", box(-0.225, 0.185, 0.225, 0.26, 0.02), "clay", gloss=0.15, lift=0.5, ink=0),
        ]
    dark = tuple(0.66 * c for c in green)
    palette = {
        "green": green,
        "dark green": dark,
        "spine": (0.95, 0.93, 0.80),
        "clay": (0.78, 0.42, 0.27),
        "petal": it.one_of((0.94, 0.42, 0.62), (0.97, 0.80, 0.30), (0.98, 0.94, 0.92)),
        "heart": (0.98, 0.84, 0.36),
    }
    return Drawing(tuple(parts), palette)


def _spine(u: float, v: float) -> Path:
    return polygon([(u - 0.016, v + 0.014), (u, v + 0.006), (u + 0.016, v + 0.014), (u + 0.004, v), (u, v - 0.018), (u - 0.004, v)])


def _bloom(u: float, v: float, size: float) -> list[Part]:
    petals = tuple(
        ellipse(u + size * du, v + size * dv, 0.52 * size, 0.40 * size, tilt)
        for du, dv, tilt in ((-0.75, 0.1, -20), (0.75, 0.1, 20), (-0.4, 0.55, -60), (0.4, 0.55, 60))
    )
    return [
        part(f"petals {u:.2f}", petals, "petal", lift=0.1, gloss=0.1, line=0.7, ink=0),
        part(f"heart {u:.2f}", ellipse(u, v + 0.12 * size, 0.42 * size, 0.34 * size), "heart", lift=0.1, gloss=0.1, line=0.6, ink=0),
    ]


def tree(it: Individual) -> Drawing:
    """A broad-leaved tree."""
    leaves = it.one_of((0.25, 0.50, 0.20), (0.36, 0.56, 0.20), (0.18, 0.42, 0.24), (0.46, 0.58, 0.22))
    bark = it.one_of((0.45, 0.30, 0.19), (0.38, 0.29, 0.23), (0.55, 0.40, 0.28))
    fruit, bend, trunk = it.one_of(None, None, (0.86, 0.16, 0.12), (0.98, 0.66, 0.14)), it.between(-0.035, 0.035), it.between(0.06, 0.085)
    stem = smooth(
        [
            (-2.0 * trunk, 0.008),
            (-1.05 * trunk, 0.09),
            (-trunk + bend, 0.28),
            (-0.9 * trunk + bend, 0.5),
            (0.9 * trunk + bend, 0.5),
            (trunk + bend, 0.28),
            (1.05 * trunk, 0.09),
            (2.0 * trunk, 0.008),
            (0, 0.03),
        ],
        corners=(0, 7),
    )
    limbs = (
        ribbon([(bend, 0.30), (bend - 0.10, 0.44), (bend - 0.17, 0.55)], [0.06, 0.05, 0.03]),
        ribbon([(bend, 0.33), (bend + 0.09, 0.45), (bend + 0.16, 0.54)], [0.06, 0.045, 0.03]),
    )
    parts = [
        part("far leaves", _foliage(it, bend, 0.56, 0.36, 0.17), "dark leaves", gloss=0.05, ink=0.35),
        part("limbs", limbs, "bark", gloss=0.05, ink=0.1),
        part("trunk", stem, "bark", gloss=0.05, lift=0.3, ink=0.1),
        part(
            "grain",
            (
                ribbon([(-0.3 * trunk, 0.05), (-0.35 * trunk + bend, 0.3)], [0.004, 0.010]),
                ribbon([(0.35 * trunk, 0.10), (0.3 * trunk + bend, 0.38)], [0.008, 0.004]),
            ),
            "dark bark",
            on="trunk",
            line=0,
            ink=1,
        ),
    ]
    clumps = (
        (-0.23, 0.60, 0.205, 0.165),
        (0.24, 0.60, 0.20, 0.165),
        (0.0, 0.56, 0.19, 0.14),
        (-0.13, 0.77, 0.20, 0.165),
        (0.15, 0.77, 0.19, 0.16),
        (0.0, 0.70, 0.18, 0.14),
    )
    for number, (u, v, across, up) in enumerate(clumps):
        du, dv, size = it.between(-0.02, 0.02), it.between(-0.015, 0.015), it.between(0.92, 1.06)
        parts.append(
            part(f"leaves {number}", _foliage(it, u + du + bend, v + dv, size * across, size * up), "leaves", lift=0.4, gloss=0.05)
        )
    if fruit:
        places = ((-0.28, 0.56), (-0.12, 0.64), (0.06, 0.56), (0.25, 0.60), (-0.16, 0.80), (0.13, 0.78), (0.02, 0.70), (0.30, 0.68))
        fruits = tuple(ellipse(u + bend + it.between(-0.03, 0.03), v + it.between(-0.03, 0.03), 0.026, 0.026) for u, v in places)
        parts.append(part("fruit", fruits, "fruit", lift=0.2, gloss=0.6, line=0.7, ink=0))
    dark = lambda colour: tuple(0.68 * c for c in colour)  # noqa: E731
    return Drawing(
        tuple(parts), {"leaves": leaves, "dark leaves": dark(leaves), "bark": bark, "dark bark": dark(bark), "fruit": fruit or (0, 0, 0)}
    )


def _foliage(it: Individual, u: float, v: float, across: float, up: float) -> Path:
    """A clump of leaves: an oval with a bumpy edge."""
    bumps, start = it.one_of(8, 9, 10), it.between(0, 1)
    points = []
    for k in range(2 * bumps):
        turn = np.pi * (k / bumps + start)
        reach = 1.0 if k % 2 else 0.86 + it.between(-0.03, 0.03)
        points.append((u + across * reach * np.cos(turn), v + up * reach * np.sin(turn)))
    return smooth(points)
