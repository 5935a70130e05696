"""Things that drive, sail and fly."""

from __future__ import annotations

from ..parts import BLACK, MAIN, MAIN_DARK, MAIN_LIGHT, PANEL, SOFT, WHITE, Drawing, Individual, Volume, part
from ..paths import box, ellipse, polygon, ribbon, smooth


def car(it: Individual) -> Drawing:
    """A small car, seen from its right side."""
    high, front, back = it.between(0.47, 0.53), it.between(0.10, 0.16), it.between(-0.40, -0.34)
    wheel, rim = it.between(0.105, 0.118), it.one_of("plain", "spokes")
    at_back, at_front, belt = -0.285, 0.285, 0.285
    body = smooth(
        [
            (-0.485, 0.13),
            (-0.49, 0.25),
            (-0.44, 0.31),
            (-0.2, belt + 0.045),
            (0.15, belt + 0.04),
            (0.36, 0.285),
            (0.475, 0.235),
            (0.49, 0.13),
            (0.44, 0.085),
            (-0.44, 0.085),
        ],
        corners=(8, 9),
    )
    cabin = smooth(
        [(back, belt), (back + 0.055, high - 0.05), (-0.2, high), (0.0, high), (front, high - 0.055), (front + 0.15, belt)], corners=(0, 5)
    )
    glass_top = high - 0.045
    rear = polygon([(back + 0.055, belt + 0.03), (back + 0.095, glass_top), (-0.10, glass_top), (-0.10, belt + 0.03)], 0.03)
    fore = polygon([(-0.055, belt + 0.03), (-0.055, glass_top), (front - 0.025, glass_top - 0.015), (front + 0.095, belt + 0.03)], 0.03)
    parts = [
        part("underside", box(-0.42, 0.06, 0.42, 0.2), "black", lift=0, line=0, ink=1),
        part("cabin", cabin, MAIN, volume=Volume(0.7, 0.5), gloss=0.7),
        part("windows", (rear, fore), "glass", volume=PANEL, fade="sky", lift=0.1, gloss=0.6, line=0.8, ink=0.25),
        part("body", body, MAIN, volume=Volume(0.85, 0.8), gloss=0.9, lift=0.2),
        part("sill", box(-0.48, 0.085, 0.48, 0.135), MAIN_DARK, on="body", line=0.4),
        part("door", ribbon([(-0.078, belt + 0.03), (-0.078, 0.15)], 0.010), MAIN_DARK, on="body", line=0, ink=1),
        part("handle", box(-0.17, 0.245, -0.11, 0.262, 0.01), MAIN_LIGHT, on="body", line=0.5),
        part("headlight", ellipse(0.445, 0.215, 0.032, 0.034), "lamp", lift=0.15, gloss=0.9, line=0.7, ink=0),
        part("tail light", box(-0.485, 0.20, -0.455, 0.265, 0.012), "red", lift=0.1, line=0.6, ink=0.3),
        part(
            "bumpers",
            (box(0.43, 0.085, 0.5, 0.13, 0.02), box(-0.5, 0.085, -0.43, 0.13, 0.02)),
            "steel",
            gloss=0.6,
            lift=0.2,
            line=0.7,
            ink=0,
        ),
    ]
    if it.chance(0.35):
        parts.insert(4, part("stripe", box(-0.5, 0.185, 0.5, 0.215), "white", on="body", line=0.4))
    if it.chance(0.4):
        rack = (
            box(-0.27, high + 0.012, 0.02, high + 0.03, 0.008),
            box(-0.24, high - 0.01, -0.22, high + 0.02),
            box(-0.03, high - 0.01, -0.01, high + 0.02),
        )
        parts.insert(0, part("roof rack", rack, "steel", lift=0.1, line=0.7, ink=0.3))
    for name, u in (("rear wheel", at_back), ("front wheel", at_front)):
        parts += [
            part(f"{name}'s arch", ellipse(u, wheel, wheel + 0.022, wheel + 0.022), "black", volume=SOFT, on="body", line=0, ink=1),
            part(name, ellipse(u, wheel, wheel, wheel), "tyre", gloss=0.15, lift=0.1, line=1, ink=1),
            part(
                f"{name}'s rim", ellipse(u, wheel, 0.56 * wheel, 0.56 * wheel), "steel", volume=SOFT, gloss=0.7, lift=0.05, line=0.5, ink=0
            ),
            part(f"{name}'s hub", ellipse(u, wheel, 0.18 * wheel, 0.18 * wheel), "tyre", lift=0.05, line=0, ink=1),
        ]
        if rim == "spokes":
            spokes = tuple(
                ellipse(u + 0.36 * wheel * x, wheel + 0.36 * wheel * y, 0.10 * wheel, 0.10 * wheel)
                for x, y in ((1, 0), (0.31, 0.95), (-0.81, 0.59), (-0.81, -0.59), (0.31, -0.95))
            )
            parts.append(part(f"{name}'s holes", spokes, "tyre", lift=0, line=0, ink=1))
    palette = {
        "black": BLACK,
        "tyre": (0.13, 0.13, 0.15),
        "steel": (0.80, 0.82, 0.85),
        "glass": (0.30, 0.42, 0.52),
        "sky": (0.72, 0.86, 0.95),
        "lamp": (1.0, 0.95, 0.70),
        "red": (0.80, 0.10, 0.10),
        "white": WHITE,
    }
    return Drawing(tuple(parts), palette)
