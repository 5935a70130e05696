"""Things of the house."""

from __future__ import annotations

from itertools import pairwise

from ..parts import MAIN, MAIN_DARK, MAIN_LIGHT, PLANE, WHITE, Drawing, Individual, Volume, part
from ..paths import Path, box, ellipse, polygon, ribbon, smooth
from .features import leaning


def chair(it: Individual) -> Drawing:
    """Wooden, turned a little to the right."""
    seat, top, leg = it.between(0.38, 0.42), it.between(0.84, 0.885), it.between(0.048, 0.062)
    back, cushion = it.one_of("slats", "bars", "board"), it.chance(0.45)
    near_left, near_right, far_right, far_left = (-0.30, seat), (0.17, seat - 0.035), (0.33, seat + 0.10), (-0.10, seat + 0.125)
    wood = Volume(0.7)
    lean = -0.05

    def across(height: float, thick: float) -> Path:
        """A board between the two posts of the back, at a part of its height."""
        left = (near_left[0] + lean * height, seat + (top - seat - 0.04) * height)
        right = (far_left[0] + lean * height, far_left[1] + (top - seat - 0.02) * height * 0.92)
        return polygon([left, right, (right[0] - 0.002, right[1] + thick), (left[0] - 0.002, left[1] + thick)], 0.006)

    def pole(u: float, high: float, low: float) -> Path:
        return polygon([(u - leg / 2, high), (u + leg / 2, high), (u + 0.40 * leg, low), (u - 0.40 * leg, low)], 0.008)

    def post(foot: tuple[float, float], height: float) -> Path:
        return ribbon([foot, (foot[0] + 0.5 * lean, foot[1] + 0.5 * height), (foot[0] + lean, foot[1] + height)], 0.9 * leg)

    far_post, near_post = post(far_left, 0.92 * (top - seat)), post((near_left[0] + 0.01, near_left[1]), top - seat)
    parts = [
        part(
            "far legs",
            (pole(far_left[0] + 0.01, far_left[1], 0.15), pole(far_right[0] - 0.03, far_right[1], 0.13)),
            MAIN_DARK,
            volume=wood,
            gloss=0.3,
        ),
        part("far post", far_post, MAIN_DARK, volume=wood, gloss=0.3),
    ]
    if back == "slats":
        parts.append(
            part(
                "slats",
                (across(0.30, 0.075), across(0.56, 0.075), across(0.82, 0.09)),
                MAIN,
                volume=Volume(0.5, facing=(0.3, 0.05)),
                gloss=0.4,
            )
        )
    elif back == "bars":
        bars = tuple(
            ribbon(
                [
                    (near_left[0] + t * 0.2, seat + 0.125 * t),
                    (near_left[0] + t * 0.2 + lean * 0.85, seat + 0.125 * t + 0.84 * (top - seat)),
                ],
                0.020,
            )
            for t in (0.25, 0.5, 0.75)
        )
        parts += [
            part("bars", bars, MAIN, volume=wood, gloss=0.4),
            part("rail", across(0.80, 0.10), MAIN, volume=Volume(0.5, facing=(0.3, 0.05)), gloss=0.4),
        ]
    else:
        parts.append(part("board", across(0.36, 0.56 * (top - seat)), MAIN, volume=Volume(0.3, 0.3, (0.3, 0.05)), gloss=0.4))
    parts += [
        part("near post", near_post, MAIN, volume=wood, gloss=0.5, lift=0.2),
        part(
            "near legs",
            (pole(near_left[0] + 0.025, near_left[1], 0.025), pole(near_right[0] - 0.025, near_right[1], 0.005)),
            MAIN,
            volume=wood,
            gloss=0.5,
        ),
        part(
            "seat's front",
            polygon([near_left, near_right, (near_right[0], near_right[1] - 0.055), (near_left[0], near_left[1] - 0.055)], 0.008),
            MAIN,
            volume=Volume(0.0, facing=(-0.1, -0.1)),
            gloss=0.3,
            lift=0.3,
        ),
        part(
            "seat's side",
            polygon([near_right, far_right, (far_right[0], far_right[1] - 0.055), (near_right[0], near_right[1] - 0.055)], 0.008),
            MAIN_DARK,
            volume=Volume(0.0, facing=(0.55, -0.1)),
            gloss=0.3,
            lift=0.2,
        ),
        part(
            "seat",
            polygon([near_left, near_right, far_right, far_left], 0.02),
            MAIN,
            volume=Volume(0.0, facing=(0.05, 0.68)),
            gloss=0.5,
            lift=0.15,
        ),
    ]
    if cushion:
        middle = ((near_left[0] + far_right[0]) / 2, (near_left[1] + far_right[1]) / 2 + 0.015)
        corners = [
            (m + 0.80 * (c - m) for c, m in zip(corner, middle, strict=True)) for corner in (near_left, near_right, far_right, far_left)
        ]
        parts.append(
            part(
                "cushion",
                polygon([tuple(corner) for corner in corners], 0.07),
                MAIN_LIGHT,
                volume=Volume(0.6, 0.6, (0.0, 0.25)),
                gloss=0.05,
                lift=0.3,
            )
        )
    return Drawing(tuple(parts), {})


def lamp(it: Individual) -> Drawing:
    """A table lamp, lit."""
    top, low, flare = it.between(0.16, 0.22), it.between(0.53, 0.58), it.between(0.33, 0.40)
    base, pattern = it.one_of("vase", "column", "beads"), it.one_of("plain", "hem", "stripes")
    shade = smooth(
        [
            (-top, 0.96),
            (-0.5 * top, 0.967),
            (0.5 * top, 0.967),
            (top, 0.96),
            (flare, low),
            (0.5 * flare, low - 0.022),
            (-0.5 * flare, low - 0.022),
            (-flare, low),
        ],
        corners=(0, 3, 4, 7),
    )
    if base == "vase":
        outline = smooth(
            [(-0.10, 0.055), (-0.17, 0.17), (-0.12, 0.31), (-0.04, 0.40), (0.04, 0.40), (0.12, 0.31), (0.17, 0.17), (0.10, 0.055)],
            corners=(0, 3, 4, 7),
        )
        stand = [part("vase", outline, "base", gloss=0.9, lift=0.2)]
    elif base == "column":
        stand = [part("column", polygon([(-0.035, 0.42), (0.035, 0.42), (0.055, 0.06), (-0.055, 0.06)], 0.01), "base", gloss=0.8, lift=0.2)]
    else:
        stand = [
            part(f"bead {k}", ellipse(0, v, r, 0.8 * r), "base", gloss=0.9, lift=0.2)
            for k, (v, r) in enumerate(((0.37, 0.055), (0.27, 0.075), (0.145, 0.105)))
        ]
    parts = [
        part("pole", box(-0.018, 0.35, 0.018, 0.62), "brass", gloss=0.8, ink=0.3),
        part(
            "foot",
            smooth([(-0.20, 0.025), (-0.15, 0.065), (0.15, 0.065), (0.20, 0.025), (0.12, 0.004), (-0.12, 0.004)]),
            "brass",
            gloss=0.8,
            ink=0.2,
        ),
        *stand,
        part("collar", box(-0.055, 0.385, 0.055, 0.42, 0.012), "brass", gloss=0.8, lift=0.2, ink=0.2),
        part("light", ellipse(0, low - 0.005, 0.92 * flare, 0.028), "light", volume=PLANE, glows=True, lift=0, line=0.7, ink=0),
        part("shade", shade, MAIN, volume=Volume(0.85, 1.1), gloss=0.1, lift=0.3),
        part("knob", ellipse(0, 0.977, 0.020, 0.020), "brass", gloss=0.8, lift=0, line=0.7, ink=0.3),
    ]
    if pattern == "hem":
        hems = (polygon([(-0.5, low - 0.03), (0.5, low - 0.03), (0.5, low + 0.045), (-0.5, low + 0.045)]), box(-0.3, 0.93, 0.3, 0.99))
        parts.insert(-1, part("hems", hems, "white", on="shade", line=0.5))
    elif pattern == "stripes":
        stripes = tuple(
            polygon([(x * top - 0.018, 0.98), (x * top + 0.018, 0.98), (x * flare + 0.03, low - 0.03), (x * flare - 0.03, low - 0.03)])
            for x in (-0.72, -0.25, 0.25, 0.72)
        )
        parts.insert(-1, part("stripes", stripes, "white", on="shade", line=0.4))
    base_colour = it.one_of((0.90, 0.88, 0.84), (0.30, 0.32, 0.38), (0.72, 0.56, 0.38))
    return Drawing(tuple(parts), {"base": base_colour, "brass": (0.80, 0.64, 0.30), "light": (1.0, 0.94, 0.66), "white": WHITE})


def umbrella(it: Individual) -> Drawing:
    """Open, its handle on the ground."""
    span, low, top = it.between(0.455, 0.485), it.between(0.50, 0.56), it.between(0.92, 0.95)
    two_toned, turn, hook = it.chance(0.5), it.between(-5, 5), it.one_of(-1, 1)
    spans = (-1.0, -0.62, -0.22, 0.22, 0.62, 1.0)
    hem: list[tuple[float, float]] = []
    for left, right in pairwise(spans):
        hem += [(span * left, low), (span * (left + right) / 2, low + 0.042)]
    hem.append((span, low))
    outline = smooth(
        [
            *reversed(hem),
            (-0.80 * span, low + 0.24),
            (-0.42 * span, top - 0.045),
            (0, top),
            (0.42 * span, top - 0.045),
            (0.80 * span, low + 0.24),
        ],
        corners=tuple(range(0, 11, 2)),
    )
    panels = tuple(
        smooth(
            [
                (0, top + 0.01),
                (0.6 * span * left, low + 0.26),
                (span * left, low - 0.01),
                (span * right, low - 0.01),
                (0.6 * span * right, low + 0.26),
            ],
            corners=(0, 2, 3),
        )
        for left, right in zip(spans[:-1:2], spans[1::2], strict=True)
    )
    ribs = tuple(ribbon([(0, top), (0.62 * span * s, low + 0.27), (span * s, low)], [0.006, 0.010, 0.006]) for s in spans[1:-1])
    parts = [
        part(
            "inside",
            smooth([(-0.97 * span, low + 0.01), (0, low - 0.045), (0.97 * span, low + 0.01), (0, low + 0.12)], corners=(0, 2)),
            MAIN_DARK,
            gloss=0,
            ink=0.5,
        ),
        part("shaft", box(-0.014, 0.10, 0.014, 0.8), "steel", gloss=0.7, lift=0.2, line=0.8, ink=0.2),
        part(
            "handle",
            ribbon(
                [(0, 0.26), (0, 0.12), (hook * 0.025, 0.045), (hook * 0.085, 0.035), (hook * 0.115, 0.10)],
                [0.042, 0.045, 0.045, 0.045, 0.042],
            ),
            "wood",
            gloss=0.6,
            lift=0.2,
            ink=0.45,
        ),
        part("tip", ribbon([(0, top - 0.01), (0, top + 0.035)], [0.024, 0.012]), "steel", gloss=0.6, line=0.7, ink=0.9),
        part("canopy", outline, MAIN, volume=Volume(0.9, 0.9), gloss=0.4, lift=0.5),
        part("panels", panels, it.one_of(MAIN_LIGHT, "white") if two_toned else MAIN_DARK, on="canopy", line=0.4)
        if two_toned
        else part("ribs", ribs, MAIN_DARK, on="canopy", line=0, ink=1),
    ]
    if two_toned:
        parts.append(part("ribs", ribs, MAIN_DARK, on="canopy", line=0, ink=1))
    return Drawing(leaning(parts, 0.6 * turn, (0.0, 0.5)), {"steel": (0.72, 0.74, 0.78), "wood": (0.50, 0.31, 0.18), "white": WHITE})
