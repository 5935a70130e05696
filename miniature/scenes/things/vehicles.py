"""Things that drive, sail and fly."""

from __future__ import annotations

from ..parts import BLACK, MAIN, MAIN_DARK, MAIN_LIGHT, PANEL, SOFT, WHITE, Drawing, Individual, Volume, part
from ..paths import both, box, ellipse, polygon, ribbon, smooth, star


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


def sailboat(it: Individual) -> Drawing:
    top, lean, stripes = it.between(0.92, 0.97), it.between(0.02, 0.06), it.one_of("stripes", "emblem", "plain")
    hull_colour = it.one_of("white", "wood", "navy")
    mast = -0.03
    main = smooth(
        [(mast - 0.015, top), (mast - 0.17, 0.66), (mast - 0.40, 0.33), (mast - 0.2, 0.295), (mast - 0.015, 0.30)], corners=(0, 2, 4)
    )
    jib = smooth(
        [
            (mast + 0.03, 0.94 * top),
            (mast + 0.25, 0.60),
            (mast + 0.43, 0.31),
            (mast + 0.24, 0.275 - lean / 3),
            (mast + 0.045, 0.31),
            (mast + 0.09, 0.60),
        ],
        corners=(0, 2, 4),
    )
    hull = smooth([(-0.44, 0.235), (0.0, 0.205), (0.485, 0.25), (0.40, 0.10), (0.24, 0.015), (-0.24, 0.015), (-0.37, 0.09)], corners=(0, 2))
    parts = [
        part("mast", box(mast - 0.013, 0.2, mast + 0.013, top + 0.02, 0.01), "dark wood", gloss=0.3, line=0.8, ink=0.9),
        part("jib", jib, MAIN_LIGHT, volume=Volume(0.7, 1.0), gloss=0.1),
        part("sail", main, MAIN, volume=Volume(0.7, 1.0), gloss=0.1, lift=0.3),
        part("boom", ribbon([(mast - 0.41, 0.29), (mast + 0.02, 0.265)], 0.024), "dark wood", lift=0.2, line=0.6, ink=0.9),
        part("hull", hull, hull_colour, volume=Volume(0.85, 1.1), gloss=0.6, lift=0.3, ink=0.0),
        part("gunwale", ribbon([(-0.44, 0.228), (0.0, 0.198), (0.48, 0.243)], 0.035), "trim", on="hull", line=0.5, ink=0.9),
        part("keel", box(-0.5, 0.0, 0.5, 0.07), "red", on="hull", line=0.5, ink=0.35),
    ]
    if it.chance(0.6):
        parts.append(
            part(
                "portholes",
                tuple(ellipse(u, 0.135, 0.024, 0.024) for u in (-0.15, 0.0, 0.15)),
                "glass",
                lift=0,
                gloss=0.5,
                line=0.7,
                ink=0.9,
            )
        )
    if it.chance(0.6):
        pennant = polygon([(mast + 0.005, top + 0.022), (mast - 0.13, top - 0.01), (mast + 0.005, top - 0.035)])
        parts.insert(1, part("pennant", pennant, "red", volume=SOFT, line=0.7, ink=0.9))
    sail = [p.name for p in parts].index("sail") + 1
    if stripes == "stripes":
        bars = tuple(polygon([(-0.6, v), (0.2, v - 0.02), (0.2, v + 0.05), (-0.6, v + 0.07)]) for v in (0.40, 0.56))
        parts.insert(sail, part("stripes", bars, "white", on="sail", line=0.5))
    elif stripes == "emblem":
        parts.insert(sail, part("emblem", star(mast - 0.12, 0.48, 0.075, 0.42), "white", on="sail", line=0.6))
    palette = {
        "white": WHITE,
        "wood": (0.66, 0.43, 0.24),
        "navy": (0.18, 0.22, 0.34),
        "dark wood": (0.38, 0.25, 0.16),
        "trim": (0.30, 0.20, 0.14),
        "red": (0.72, 0.20, 0.16),
        "glass": (0.25, 0.36, 0.46),
    }
    return Drawing(tuple(parts), palette)


def rocket(it: Individual) -> Drawing:
    """Ready to start, or starting."""
    wide, window, flies = it.between(0.155, 0.195), it.between(0.58, 0.64), it.chance(0.5)
    banded, twin = it.chance(0.6), it.chance(0.35)
    side = [(0.62 * wide, 0.86), (0.98 * wide, 0.68), (wide, 0.46), (0.72 * wide, 0.20)]
    body = smooth([(0, 0.995), *side, *[(-u, v) for u, v in reversed(side)]], corners=(0, 4, 5))
    fin = smooth([(0.86 * wide, 0.44), (0.30, 0.32), (0.40, 0.09), (0.385, 0.055), (0.27, 0.14), (0.70 * wide, 0.20)], corners=(0, 3, 5))
    parts = [
        part("fins", both(fin), MAIN_DARK, volume=Volume(0.7, 0.6), gloss=0.6),
        part("nozzle", polygon([(-0.075, 0.22), (0.075, 0.22), (0.11, 0.13), (-0.11, 0.13)], 0.02), "steel", gloss=0.7, ink=0.45),
        part("body", body, MAIN, gloss=0.8, lift=0.35),
        part("tip", box(-0.3, 0.80, 0.3, 1.0), it.one_of("white", MAIN_DARK), on="body", line=0.8),
        part("window frame", ellipse(0, window, 0.50 * wide, 0.50 * wide), "steel", lift=0.15, gloss=0.7, line=0.8, ink=0),
        part(
            "window",
            ellipse(0, window, 0.36 * wide, 0.36 * wide),
            "glass",
            fade="sky",
            volume=SOFT,
            lift=0.05,
            gloss=0.8,
            line=0.6,
            ink=0.9,
        ),
        part("glint", ellipse(-0.11 * wide, window + 0.12 * wide, 0.08 * wide, 0.12 * wide, -35), "white", lift=0, line=0, glows=True),
        part(
            "middle fin",
            smooth([(0, 0.42), (0.03, 0.27), (0.022, 0.085), (-0.022, 0.085), (-0.03, 0.27)], corners=(0,)),
            MAIN_DARK,
            lift=0.3,
            gloss=0.6,
        ),
    ]
    if banded:
        parts.insert(4, part("band", box(-0.3, 0.33, 0.3, 0.38), "white", on="body", line=0.6))
    if twin:
        parts += [
            part("lower frame", ellipse(0, window - 0.17, 0.34 * wide, 0.34 * wide), "steel", lift=0.1, gloss=0.7, line=0.7, ink=0),
            part(
                "lower window",
                ellipse(0, window - 0.17, 0.23 * wide, 0.23 * wide),
                "glass",
                volume=SOFT,
                lift=0,
                gloss=0.8,
                line=0,
                ink=0.9,
            ),
        ]
    if flies:
        flame = smooth(
            [(-0.085, 0.15), (-0.11, 0.09), (-0.05, 0.055), (0, 0.003), (0.05, 0.055), (0.11, 0.09), (0.085, 0.15)], corners=(0, 3, 6)
        )
        parts.insert(0, part("flame", flame, "flame", fade="hot", volume=SOFT, glows=True, lift=0, line=0.8, ink=0))
    palette = {
        "white": WHITE,
        "steel": (0.74, 0.76, 0.80),
        "glass": (0.16, 0.32, 0.46),
        "sky": (0.55, 0.80, 0.94),
        "flame": (0.98, 0.42, 0.08),
        "hot": (1.0, 0.90, 0.42),
    }
    return Drawing(tuple(parts), palette)
