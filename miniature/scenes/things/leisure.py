"""Things for a day off."""

from __future__ import annotations

from ..parts import BLACK, MAIN, MAIN_DARK, MAIN_LIGHT, PANEL, PLANE, SOFT, WHITE, Drawing, Individual, Volume, part
from ..paths import Path, box, ellipse, polygon, ribbon, scaled, smooth
from ..paths import star as star_path
from .features import leaning


def guitar(it: Individual) -> Drawing:
    """Acoustic, upright, leaning a little."""
    wide, waist, upper = it.between(0.245, 0.275), it.between(0.15, 0.17), it.between(0.185, 0.205)
    lean, guard = it.between(-14, -6), it.chance(0.6)
    side = [(0.62 * wide, 0.035), (wide, 0.15), (0.88 * wide, 0.28), (waist, 0.36), (upper, 0.46), (0.72 * upper, 0.545)]
    body = smooth([(0, 0.015), *side, (0, 0.555), *[(-u, v) for u, v in reversed(side)]])
    strings = tuple(box(x - 0.0022, 0.16, x + 0.0022, 0.90) for x in (-0.020, -0.007, 0.007, 0.020))
    frets = tuple(box(-0.04, v, 0.04, v + 0.006) for v in (0.60, 0.65, 0.70, 0.75, 0.80, 0.845))
    pegs = tuple(ellipse(s * 0.075, v, 0.022, 0.014) for s in (-1, 1) for v in (0.895, 0.93, 0.965))
    parts = [
        part("pegs", pegs, "steel", gloss=0.7, line=0.6, ink=0.9),
        part("body", body, MAIN_DARK, volume=Volume(0.8, 0.45), gloss=0.9),
        part("top", scaled(body, 0.92, 0.95, (0, 0.27)), MAIN, volume=Volume(0.25, 0.4), gloss=0.6, lift=0, line=0.4, ink=0),
        part("rosette", ellipse(0, 0.385, 0.086, 0.086), "cream", on="top", line=0.5),
        part("hole", ellipse(0, 0.385, 0.070, 0.070), "black", volume=PLANE, lift=0, line=0, ink=1, gloss=0),
        part(
            "neck",
            polygon([(-0.036, 0.45), (0.036, 0.45), (0.029, 0.88), (-0.029, 0.88)]),
            "dark wood",
            volume=SOFT,
            gloss=0.4,
            lift=0.35,
            ink=0.9,
        ),
        part("frets", frets, "steel", on="neck", line=0, ink=0, volume=PLANE),
        part(
            "head",
            polygon([(-0.033, 0.865), (0.033, 0.865), (0.062, 0.985), (0, 0.972), (-0.062, 0.985)], 0.008),
            MAIN_DARK,
            volume=PANEL,
            gloss=0.5,
            lift=0.2,
            ink=0.3,
        ),
        part("bridge", box(-0.085, 0.145, 0.085, 0.18, 0.012), "dark wood", gloss=0.4, lift=0.3, ink=1),
        part("strings", strings, "steel", volume=PLANE, lift=0, gloss=0, line=0, ink=0.45),
    ]
    if guard:
        guard_path = smooth([(0.075, 0.36), (0.155, 0.30), (0.135, 0.20), (0.06, 0.26), (0.055, 0.31)])
        parts.insert(4, part("guard", guard_path, "dark wood", on="top", line=0.3, ink=0.9))
    return Drawing(
        leaning(parts, lean, (0.0, 0.45)),
        {"steel": (0.82, 0.82, 0.84), "cream": (0.95, 0.88, 0.70), "dark wood": (0.24, 0.15, 0.11), "black": BLACK},
    )


def balloon(it: Individual) -> Drawing:
    """A hot-air balloon that has just left the ground."""
    wide, high, low = it.between(0.36, 0.405), 0.985, it.between(0.30, 0.34)
    pattern = it.one_of("gores", "band", "zigzag")
    m = high - wide * 0.95
    right = [(0.72 * wide, high - 0.085), (wide, m + 0.03), (0.84 * wide, m - 0.21), (0.36 * wide, low + 0.05)]
    envelope = smooth([(0, high), *right, (0.22 * wide, low), (-0.22 * wide, low), *[(-u, v) for u, v in reversed(right)]], corners=(5, 6))

    def gore(a: float, b: float) -> Path:
        """A strip from the top to the mouth."""
        return smooth(
            [
                (0, high + 0.01),
                (a * 0.75 * wide, high - 0.10),
                (a * wide, m),
                (a * 0.82 * wide, m - 0.21),
                (a * 0.2 * wide, low - 0.01),
                (b * 0.2 * wide, low - 0.01),
                (b * 0.82 * wide, m - 0.21),
                (b * wide, m),
                (b * 0.75 * wide, high - 0.10),
            ],
            corners=(0, 4, 5),
        )

    second = it.one_of("white", "white", MAIN_LIGHT)
    parts = [
        part(
            "ropes",
            tuple(ribbon([(s * 0.20 * wide, low + 0.01), (s * 0.062, 0.17)], 0.009) for s in (-1, -0.3, 0.3, 1)),
            "rope",
            line=0,
            ink=1,
        ),
        part(
            "flame",
            smooth([(-0.018, low - 0.075), (0, low + 0.01), (0.018, low - 0.075), (0, low - 0.09)], corners=(1,)),
            "flame",
            volume=SOFT,
            glows=True,
            lift=0,
            line=0.5,
            ink=0,
        ),
        part("basket", polygon([(-0.085, 0.175), (0.085, 0.175), (0.068, 0.035), (-0.068, 0.035)], 0.018), "wicker", gloss=0.1, ink=0.1),
        part(
            "weave",
            (
                *(box(-0.2, v, 0.2, v + 0.008) for v in (0.065, 0.095, 0.125)),
                *(box(u, 0.0, u + 0.007, 0.2) for u in (-0.045, -0.003, 0.04)),
            ),
            "dark wicker",
            on="basket",
            line=0,
            ink=0.9,
        ),
        part("basket's rim", box(-0.095, 0.162, 0.095, 0.192, 0.014), "dark wicker", gloss=0.1, lift=0.2, line=0.6, ink=0.9),
        part("envelope", envelope, MAIN, gloss=0.5),
    ]
    if pattern == "gores":
        parts.append(part("gores", (gore(-0.72, -0.30), gore(0.22, 0.66)), second, on="envelope", line=0.6))
    elif pattern == "band":
        parts += [
            part("band", ribbon([(-0.5, m + 0.02), (0, m - 0.05), (0.5, m + 0.02)], 0.17), second, on="envelope", line=0.6),
            part(
                "stars",
                tuple(star_path(u, m - 0.045 + 0.3 * u * u, 0.055, 0.45) for u in (-0.23, 0.0, 0.23)),
                MAIN_DARK,
                on="envelope",
                line=0.4,
            ),
        ]
    else:
        count = 6
        top = [(-0.48 + 0.96 * k / (2 * count), m + (0.09 if k % 2 else -0.01)) for k in range(2 * count + 1)]
        parts.append(part("zigzag", polygon([*top, *[(u, v - 0.11) for u, v in reversed(top)]]), second, on="envelope", line=0.6))
    parts += [
        part(
            "seams",
            tuple(
                ribbon([(0, high), (s * wide, m), (s * 0.8 * wide, m - 0.21), (s * 0.2 * wide, low)], 0.006)
                for s in (-0.72, -0.3, 0.22, 0.66)
            ),
            MAIN_DARK,
            on="envelope",
            line=0,
            ink=1,
        ),
        part("mouth", box(-0.235 * wide, low - 0.012, 0.235 * wide, low + 0.022, 0.012), MAIN_DARK, gloss=0.1, lift=0.1, line=0.7),
    ]
    return Drawing(
        tuple(parts),
        {
            "white": WHITE,
            "rope": (0.36, 0.28, 0.20),
            "wicker": (0.74, 0.53, 0.30),
            "dark wicker": (0.50, 0.33, 0.17),
            "flame": (1.0, 0.70, 0.24),
        },
    )
