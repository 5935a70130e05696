"""Things that grow."""

from __future__ import annotations

from ..parts import MAIN, MAIN_DARK, SOFT, WHITE, Drawing, Individual, part
from ..paths import ellipse, ribbon, smooth


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
