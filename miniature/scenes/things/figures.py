"""Figures that people make."""

from __future__ import annotations

import numpy as np

from ..parts import BLACK, MAIN, MAIN_DARK, MAIN_LIGHT, PANEL, PLANE, SOFT, WHITE, Drawing, Individual, Volume, part
from ..paths import both, box, ellipse, polygon, ribbon, scaled, smooth
from ..paths import star as star_path
from .features import eye


def snowman(it: Individual) -> Drawing:
    low, mid, head = it.between(0.208, 0.226), it.between(0.152, 0.168), it.between(0.117, 0.130)
    at_low, at_mid = low * 0.96, low * 1.92 - 0.045 + mid * 0.82
    at_head = at_mid + mid * 0.84 + head * 0.80
    hat, scarf = (
        it.one_of((0.14, 0.14, 0.17), (0.30, 0.20, 0.16), (0.20, 0.24, 0.36)),
        it.one_of((0.80, 0.16, 0.16), (0.16, 0.46, 0.34), (0.20, 0.34, 0.68), (0.92, 0.62, 0.16)),
    )
    crown, buttons = at_head + 0.72 * head + it.between(0.10, 0.125), it.one_of(2, 3)
    brim = at_head + 0.72 * head
    twig = lambda s, up: ribbon([(s * 0.15, at_mid + 0.02), (s * 0.30, at_mid + 0.05), (s * 0.43, at_mid + up)], [0.028, 0.022, 0.014])  # noqa: E731
    fork = lambda s, up: ribbon([(s * 0.33, at_mid + 0.04 + 0.3 * up), (s * 0.40, at_mid + up - 0.06)], [0.016, 0.008])  # noqa: E731
    left_up, right_up = it.between(0.06, 0.2), it.between(0.06, 0.2)
    end = it.one_of(-1, 1)
    neck = at_head - 0.80 * head
    smile = tuple(
        ellipse(0.016 + 0.050 * np.sin(a), at_head - 0.010 - 0.060 * np.cos(a), 0.010, 0.010) for a in (-0.9, -0.45, 0, 0.45, 0.9)
    )
    return Drawing(
        (
            part("arms", (twig(-1, left_up), fork(-1, left_up), twig(1, right_up), fork(1, right_up)), "twig", line=0.5, ink=1),
            part("base", ellipse(0, at_low, low * 1.06, at_low - 0.002), "snow", gloss=0.15),
            part("middle", ellipse(0, at_mid, mid * 1.05, mid * 0.96), "snow", lift=0.35, gloss=0.15),
            part("head", ellipse(0, at_head, head, head * 0.97), "snow", lift=0.35, gloss=0.15),
            part("buttons", tuple(ellipse(0.005, at_mid + 0.035 - 0.075 * k, 0.018, 0.018) for k in range(buttons)), "coal", lift=0.1, gloss=0.5, line=0, ink=1),
            part("scarf's end", polygon([(end * 0.05, neck), (end * 0.125, neck - 0.01), (end * 0.15, neck - 0.20), (end * 0.075, neck - 0.215)], 0.015), "scarf", lift=0.3, gloss=0, ink=0.3),
            part("fringe", tuple(ribbon([(end * (0.082 + 0.022 * k), neck - 0.155), (end * (0.085 + 0.022 * k), neck - 0.215)], 0.008) for k in range(3)), "white", on="scarf's end", line=0, ink=1),
            part("scarf", ribbon([(-0.86 * head, neck + 0.025), (0, neck - 0.025), (0.86 * head, neck + 0.025)], 0.075), "scarf", lift=0.3, gloss=0, ink=0.3),
            part("smile", smile, "coal", lift=0, line=0, ink=1),
            *eye("left eye", -0.045, at_head + 0.045, 0.021),
            *eye("right eye", 0.075, at_head + 0.045, 0.021),
            part("nose", smooth([(0.005, at_head + 0.022), (0.025, at_head - 0.025), (0.20, at_head - 0.02)], corners=(2,)), "carrot", lift=0.3, gloss=0.2, line=0.8, ink=0.15),
            part("crown", polygon([(-0.72 * head, brim), (0.72 * head, brim), (0.76 * head, crown), (-0.76 * head, crown)], 0.02), "hat", gloss=0.2, lift=0.2, ink=1),
            part("hat band", box(-0.3, brim + 0.012, 0.3, brim + 0.05), "scarf", on="crown", line=0.4, ink=0),
            part("brim", ellipse(0, brim + 0.004, 1.22 * head, 0.028), "hat", gloss=0.2, lift=0.4, ink=1),
        ),
        {"snow": (0.94, 0.96, 0.99), "twig": (0.36, 0.24, 0.15), "coal": BLACK, "scarf": scarf, "carrot": (0.96, 0.50, 0.10), "hat": hat, "black": BLACK, "white": WHITE},
    )  # fmt: skip


def robot(it: Individual) -> Drawing:
    wide, head, tall = it.between(0.19, 0.23), it.between(0.165, 0.20), it.between(0.13, 0.147)
    glow = it.one_of((0.45, 0.92, 0.98), (1.0, 0.90, 0.40), (0.60, 0.98, 0.55))
    antenna, panel, mouth = it.one_of("one", "two"), it.one_of("dials", "screen", "heart"), it.one_of("grill", "smile")
    neck = 0.575
    eyes_at, brow = neck + 0.60 * tall + 0.025, neck + 0.04 + 2 * tall
    bulbs = [0.0] if antenna == "one" else [-0.09, 0.09]
    steel = Volume(0.8)
    boxy = Volume(0.75, 0.5)
    raised = it.between(-0.05, 0.16)
    arm_left = [(-wide, 0.50), (-wide - 0.11, 0.44), (-wide - 0.13, 0.28)]
    arm_right = [(wide, 0.50), (wide + 0.12, 0.45 + raised / 3), (wide + 0.15, 0.30 + 1.6 * raised)]
    hands = [arm_left[-1], arm_right[-1]]
    parts = [
        part("antennae", tuple(box(u - 0.010, brow - 0.02, u + 0.010, brow + 0.045) for u in bulbs), "steel", line=0.7, ink=0.9),
        part("bulbs", tuple(ellipse(u, brow + 0.055, 0.032, 0.032) for u in bulbs), "red", gloss=0.9, lift=0.1, ink=0.2),
        part(
            "legs", (box(-0.135, 0.05, -0.05, 0.20, 0.02), box(0.05, 0.05, 0.135, 0.20, 0.02)), "steel", volume=steel, gloss=0.7, ink=0.35
        ),
        part(
            "feet",
            both(smooth([(0.025, 0.008), (0.03, 0.07), (0.10, 0.095), (0.175, 0.07), (0.195, 0.008)], corners=(0, 4))),
            MAIN_DARK,
            gloss=0.6,
            lift=0.2,
        ),
        part("arms", (ribbon(arm_left, 0.062), ribbon(arm_right, 0.062)), "steel", volume=steel, gloss=0.7, ink=0.3),
        part("hands", tuple(ellipse(u, v - 0.01, 0.058, 0.058) for u, v in hands), MAIN_DARK, gloss=0.6, lift=0.25),
        part("neck", box(-0.06, neck - 0.05, 0.06, neck + 0.06), "steel", volume=steel, gloss=0.7, ink=0.5),
        part("body", box(-wide, 0.16, wide, neck - 0.015, 0.06), MAIN, volume=boxy, gloss=0.8, lift=0.3),
        part("shoulders", both(ellipse(wide, 0.505, 0.052, 0.052)), MAIN_DARK, gloss=0.7, lift=0.2),
        part(
            "ears",
            (
                box(-head - 0.035, eyes_at - 0.045, -head + 0.02, eyes_at + 0.045, 0.015),
                box(head - 0.02, eyes_at - 0.045, head + 0.035, eyes_at + 0.045, 0.015),
            ),
            "steel",
            gloss=0.7,
            ink=0.3,
        ),
        part("head", box(-head, neck + 0.025, head, brow, 0.055), MAIN, volume=boxy, gloss=0.8, lift=0.4),
        part(
            "visor",
            box(-0.82 * head, eyes_at - 0.025, 0.82 * head, eyes_at + 0.125, 0.045),
            "dark",
            volume=SOFT,
            gloss=0.5,
            lift=0,
            line=0.6,
            ink=1,
        ),
        part("eyes", both(ellipse(0.40 * head, eyes_at + 0.05, 0.042, 0.046)), "glow", volume=SOFT, glows=True, lift=0, line=0, ink=0),
    ]
    if mouth == "grill":
        parts.append(
            part(
                "mouth",
                tuple(box(u - 0.011, neck + 0.055, u + 0.011, neck + 0.10, 0.008) for u in (-0.06, -0.02, 0.02, 0.06)),
                "dark",
                lift=0,
                line=0,
                ink=1,
            )
        )
    else:
        parts.append(
            part(
                "mouth",
                ribbon([(-0.075, neck + 0.095), (0, neck + 0.062), (0.075, neck + 0.095)], [0.012, 0.022, 0.012]),
                "dark",
                lift=0,
                line=0,
                ink=1,
            )
        )
    m = 0.36
    if panel == "screen":
        parts += [
            part("screen", box(-0.115, m - 0.085, 0.115, m + 0.095, 0.025), "dark", volume=SOFT, gloss=0.5, lift=0, line=0.5, ink=1),
            part(
                "trace",
                ribbon([(-0.095, m), (-0.045, m), (-0.02, m + 0.06), (0.015, m - 0.05), (0.04, m), (0.095, m)], 0.013),
                "glow",
                glows=True,
                volume=PLANE,
                lift=0,
                line=0,
                ink=0,
            ),
        ]
    else:
        parts.append(
            part("panel", box(-0.125, m - 0.105, 0.125, m + 0.115, 0.025), "cream", volume=PANEL, gloss=0.3, lift=0.1, line=0.7, ink=0)
        )
        if panel == "dials":
            parts += [
                part(
                    "dials",
                    (ellipse(-0.06, m + 0.05, 0.034, 0.034), ellipse(0.06, m + 0.05, 0.034, 0.034)),
                    "steel",
                    gloss=0.6,
                    lift=0.1,
                    line=0.6,
                    ink=0.4,
                ),
                part(
                    "buttons",
                    tuple(ellipse(u, m - 0.05, 0.021, 0.021) for u in (-0.07, 0, 0.07)),
                    "red",
                    gloss=0.6,
                    lift=0.1,
                    line=0.5,
                    ink=0.9,
                ),
            ]
        else:
            heart = smooth(
                [(0, m - 0.07), (-0.085, m + 0.02), (-0.055, m + 0.075), (0, m + 0.04), (0.055, m + 0.075), (0.085, m + 0.02)],
                corners=(0, 3),
            )
            parts.append(part("heart", heart, "red", gloss=0.5, lift=0.1, line=0.6, ink=0.4))
    palette = {
        "steel": (0.70, 0.72, 0.76),
        "dark": (0.14, 0.15, 0.20),
        "red": (0.90, 0.22, 0.20),
        "cream": (0.94, 0.92, 0.86),
        "glow": glow,
    }
    return Drawing(tuple(parts), palette)


def star(it: Individual) -> Drawing:
    """A puffy star, standing on two of its tips."""
    notch, soft, tilt = it.between(0.46, 0.56), it.between(0.09, 0.15), it.between(-4, 4)
    face, border = it.one_of("smile", "asleep", "none"), it.chance(0.45)
    body = star_path(0, 0.43, 0.515, notch, rounding=soft, tilt=tilt)
    parts = [part("body", body, MAIN, volume=Volume(0.95, 0.9), gloss=0.8)]
    if border:
        parts.append(part("field", scaled(body, 0.74, 0.74, (0, 0.42)), it.one_of(MAIN_LIGHT, "white"), volume=SOFT, on="body", line=0.5))
    v = 0.45
    if face == "smile":
        parts += [*eye("left eye", -0.095, v + 0.02, 0.036), *eye("right eye", 0.095, v + 0.02, 0.036)]
    elif face == "asleep":
        lids = tuple(
            ribbon([(s * 0.095 - 0.04, v + 0.03), (s * 0.095, v), (s * 0.095 + 0.04, v + 0.03)], [0.010, 0.020, 0.010]) for s in (-1, 1)
        )
        parts.append(part("lids", lids, "black", lift=0, line=0, ink=1))
    if face != "none":
        parts += [
            part(
                "mouth",
                ribbon([(-0.055, v - 0.065), (0, v - 0.10), (0.055, v - 0.065)], [0.010, 0.020, 0.010]),
                "black",
                lift=0,
                line=0,
                ink=1,
            ),
            part("cheeks", both(ellipse(0.155, v - 0.055, 0.035, 0.025)), "pink", on="body", line=0, ink=0.3),
        ]
    return Drawing(tuple(parts), {"white": WHITE, "black": BLACK, "pink": (0.96, 0.52, 0.52)})
