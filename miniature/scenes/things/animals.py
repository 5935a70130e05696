"""Animals, seen from the side."""

from __future__ import annotations

from ..parts import BLACK, MAIN, MAIN_DARK, MAIN_LIGHT, PLANE, SOFT, WHITE, Drawing, Individual, part
from ..paths import ellipse, polygon, ribbon, scaled, smooth, turned
from .features import eye, leaf


def rabbit(it: Individual) -> Drawing:
    """Sitting, seen from the side."""
    fur, belly = it.one_of(
        ((0.62, 0.45, 0.32), (0.92, 0.84, 0.74)),
        ((0.55, 0.54, 0.56), (0.90, 0.89, 0.88)),
        ((0.90, 0.87, 0.83), (0.98, 0.97, 0.95)),
        ((0.78, 0.60, 0.40), (0.96, 0.90, 0.80)),
        ((0.40, 0.31, 0.27), (0.80, 0.71, 0.63)),
    )
    ears, lean, spread = it.between(0.26, 0.31), it.between(-8, 10), it.between(10, 20)
    plump, patch = it.between(0.94, 1.06), it.chance(0.4)
    near = leaf([(0.15, 0.66), (0.11, 0.66 + 0.55 * ears), (0.09, 0.66 + ears)], 0.125)
    inner = leaf([(0.15, 0.68), (0.12, 0.66 + 0.55 * ears), (0.10, 0.63 + ears)], 0.062)
    about = (0.15, 0.66)
    body = smooth(
        [
            (-0.33, 0.10),
            (-0.36, 0.27),
            (-0.25, 0.44 * plump),
            (-0.04, 0.52 * plump),
            (0.16, 0.50),
            (0.24, 0.34),
            (0.20, 0.05),
            (-0.10, 0.02),
        ]
    )
    parts = [
        part("tail", ellipse(-0.37, 0.17, 0.095, 0.095), "belly", line=0.8),
        part("far ear", turned(leaf([(0.20, 0.66), (0.17, 0.66 + 0.5 * ears), (0.17, 0.66 + 0.94 * ears)], 0.11), lean - spread, about), "dark fur"),
        part("far foreleg", ribbon([(0.19, 0.3), (0.24, 0.12), (0.28, 0.035)], [0.11, 0.08, 0.065]), "dark fur"),
        part("body", body, "fur", gloss=0.08),
        part("chest", ellipse(0.22, 0.33, 0.085, 0.15), "belly", on="body", line=0),
        part("foreleg", ribbon([(0.12, 0.34), (0.155, 0.15), (0.155, 0.05), (0.23, 0.042)], [0.13, 0.10, 0.075, 0.07]), "fur", lift=0.3, gloss=0.05),
        part("haunch", smooth([(-0.32, 0.06), (-0.34, 0.24), (-0.20, 0.37), (-0.04, 0.30), (0.0, 0.12), (-0.06, 0.03)]), "fur", lift=0.25, gloss=0.08),
        part("foot", ribbon([(-0.20, 0.045), (-0.06, 0.05), (0.05, 0.038)], [0.07, 0.09, 0.07]), "fur", lift=0.35, gloss=0.05),
        part("near ear", turned(near, lean, about), "fur", lift=0.3, gloss=0.05),
        part("inside of the ear", turned(inner, lean, about), "pink", on="near ear", line=0.5),
        part(
            "head",
            smooth([(0.05, 0.60), (0.10, 0.70), (0.21, 0.73), (0.31, 0.68), (0.39, 0.585), (0.37, 0.50), (0.26, 0.455), (0.12, 0.48)]),
            "fur",
            lift=0.45,
            gloss=0.08,
        ),
        part("cheek", ellipse(0.33, 0.515, 0.095, 0.065, 20), "belly", on="head", line=0),
        part("nose", ellipse(0.387, 0.575, 0.022, 0.018), "pink", lift=0.1, line=0.5),
        part("mouth", ribbon([(0.38, 0.555), (0.365, 0.525), (0.335, 0.515)], [0.008, 0.010, 0.004]), "black", lift=0, line=0, ink=1),
        *eye("eye", 0.255, 0.62, 0.033),
    ]  # fmt: skip
    if patch:
        spot = part(
            "patch", ellipse(it.between(-0.2, 0.0), it.between(0.38, 0.48), 0.14, 0.10, 20), "belly", on="body", volume=SOFT, line=0
        )
        parts.insert(4, spot)
    dark = tuple(0.72 * c for c in fur)
    return Drawing(tuple(parts), {"fur": fur, "dark fur": dark, "belly": belly, "pink": (0.90, 0.58, 0.58), "black": BLACK, "white": WHITE})


def turtle(it: Individual) -> Drawing:
    skin = it.one_of((0.52, 0.66, 0.34), (0.46, 0.58, 0.40), (0.66, 0.68, 0.36), (0.40, 0.56, 0.46))
    shell, rim = it.one_of(
        ((0.46, 0.33, 0.18), (0.72, 0.56, 0.32)), ((0.28, 0.40, 0.22), (0.58, 0.62, 0.34)), ((0.50, 0.26, 0.16), (0.78, 0.55, 0.34))
    )
    high, reach = it.between(0.54, 0.62), it.between(0.0, 0.05)
    dome = smooth(
        [(-0.44, 0.155), (-0.40, 0.36), (-0.24, 0.93 * high), (-0.04, high), (0.16, 0.92 * high), (0.30, 0.36), (0.34, 0.155)],
        corners=(0, 6),
    )
    plates = []
    for u, v, size in (
        (-0.05, 0.70, 0.105),
        (-0.25, 0.62, 0.088),
        (0.14, 0.62, 0.088),
        (-0.15, 0.36, 0.088),
        (0.05, 0.36, 0.088),
        (-0.34, 0.36, 0.07),
        (0.24, 0.36, 0.07),
    ):
        hexagon = [
            (u + size * x, high * v + 0.9 * size * y) for x, y in ((-0.5, 0.87), (0.5, 0.87), (1, 0), (0.5, -0.87), (-0.5, -0.87), (-1, 0))
        ]
        plates.append(polygon(hexagon, 0.03))
    head = (0.39 + 0.6 * reach, 0.37 + 1.2 * reach)
    parts = [
        part(
            "far legs",
            (ribbon([(0.15, 0.2), (0.19, 0.05)], [0.12, 0.10]), ribbon([(-0.22, 0.2), (-0.20, 0.05)], [0.12, 0.10])),
            "dark skin",
            ink=0.3,
        ),
        part("tail", smooth([(-0.38, 0.20), (-0.495, 0.115), (-0.38, 0.115)], corners=(1,)), "skin", gloss=0.1),
        part("neck", ribbon([(0.22, 0.20), (0.33, 0.24), (head[0] - 0.015, head[1] - 0.02)], [0.15, 0.13, 0.11]), "skin", gloss=0.1),
        part(
            "head",
            smooth(
                [
                    (head[0] - 0.09, head[1] + 0.01),
                    (head[0] - 0.03, head[1] + 0.075),
                    (head[0] + 0.045, head[1] + 0.05),
                    (head[0] + 0.075, head[1] - 0.015),
                    (head[0] + 0.02, head[1] - 0.06),
                    (head[0] - 0.07, head[1] - 0.055),
                ]
            ),
            "skin",
            lift=0.2,
            gloss=0.15,
        ),
        *eye("eye", head[0] + 0.018, head[1] + 0.018, 0.021),
        part(
            "mouth",
            ribbon(
                [(head[0] + 0.068, head[1] - 0.022), (head[0] + 0.03, head[1] - 0.033), (head[0] + 0.005, head[1] - 0.022)],
                [0.006, 0.009, 0.004],
            ),
            "black",
            lift=0,
            line=0,
            ink=1,
        ),
        part("belly", ribbon([(-0.40, 0.125), (-0.05, 0.10), (0.32, 0.125)], [0.07, 0.10, 0.07]), "belly", gloss=0.1),
        part(
            "legs",
            (ribbon([(0.21, 0.18), (0.25, 0.06)], [0.13, 0.115]), ribbon([(-0.30, 0.18), (-0.31, 0.06)], [0.13, 0.115])),
            "skin",
            lift=0.3,
            gloss=0.1,
        ),
        part("shell", dome, "shell", lift=0.35, gloss=0.45),
        part("plates", tuple(plates), "plate", on="shell", line=0.6, ink=0.12),
        part("rim", ribbon([(-0.45, 0.165), (-0.05, 0.145), (0.35, 0.165)], 0.062), "rim", lift=0.2, gloss=0.3, ink=0),
    ]
    if it.chance(0.5):
        spots = tuple(ellipse(0.21 + 0.05 * k, 0.12 + 0.04 * (k % 2), 0.014, 0.012) for k in range(2))
        parts.append(
            part("freckles", (*spots, ellipse(head[0] - 0.045, head[1] + 0.01, 0.013, 0.011)), "dark skin", lift=0, line=0, ink=0.9)
        )
    plate = tuple(0.55 * a + 0.45 * b for a, b in zip(shell, rim, strict=True))
    dark = tuple(0.72 * c for c in skin)
    return Drawing(
        tuple(parts),
        {
            "skin": skin,
            "dark skin": dark,
            "shell": shell,
            "plate": plate,
            "rim": rim,
            "belly": (0.88, 0.80, 0.56),
            "black": BLACK,
            "white": WHITE,
        },
    )


def fish(it: Individual) -> Drawing:
    """Hovering a little above the ground."""
    tall, tail, pattern = it.between(0.20, 0.26), it.between(0.85, 1.1), it.one_of("bands", "scales", "plain")
    m = 0.39
    body = smooth(
        [
            (0.46, m - 0.01),
            (0.33, m + 0.72 * tall),
            (0.08, m + tall),
            (-0.16, m + 0.62 * tall),
            (-0.31, m + 0.05),
            (-0.31, m - 0.05),
            (-0.16, m - 0.58 * tall),
            (0.08, m - 0.95 * tall),
            (0.33, m - 0.66 * tall),
        ]
    )
    fan = smooth(
        [(-0.27, m), (-0.36, m + 0.10 * tail), (-0.485, m + 0.23 * tail), (-0.445, m), (-0.485, m - 0.23 * tail), (-0.36, m - 0.10 * tail)],
        corners=(2, 4),
    )
    back = smooth(
        [(0.22, m + 0.80 * tall), (0.06, m + tall + 0.13), (-0.14, m + tall + 0.08), (-0.20, m + 0.40 * tall), (0.0, m + 0.7 * tall)],
        corners=(2,),
    )
    under = smooth([(0.10, m - 0.85 * tall), (-0.03, m - tall - 0.11), (-0.14, m - tall - 0.03), (-0.10, m - 0.6 * tall)], corners=(2,))
    flap = smooth([(0.12, m - 0.02), (0.02, m + 0.035), (-0.09, m - 0.03), (-0.05, m - 0.12), (0.06, m - 0.11)], corners=(2,))
    rays = tuple(ribbon([(-0.31, m + 0.2 * y), (-0.43, m + y * tail)], [0.004, 0.010]) for y in (-0.14, -0.05, 0.05, 0.14))
    parts = [
        part("fins", (back, under), MAIN_DARK, volume=SOFT, gloss=0.3),
        part("tail", fan, MAIN_DARK, volume=SOFT, gloss=0.3),
        part("rays", rays, MAIN, on="tail", line=0, ink=1),
        part("body", body, MAIN_LIGHT, fade=MAIN, gloss=0.8, lift=0.25),
    ]
    if pattern == "bands":
        bands = tuple(
            ribbon([(u - 0.03, m - 0.3), (u + 0.02, m), (u - 0.03, m + 0.3)], w) for u, w in ((0.13, 0.055), (-0.02, 0.065), (-0.165, 0.05))
        )
        parts.append(part("bands", bands, "white", on="body", line=0.6))
    elif pattern == "scales":
        scales = tuple(
            ribbon(
                [
                    (u + (0.045 if r % 2 else 0), v + 0.03),
                    (u - 0.022 + (0.045 if r % 2 else 0), v),
                    (u + (0.045 if r % 2 else 0), v - 0.03),
                ],
                [0.003, 0.010, 0.003],
            )
            for r, v in enumerate((m + 0.10, m + 0.045, m - 0.01, m - 0.065, m - 0.12))
            for u in (-0.2, -0.11, -0.02, 0.07)
        )
        parts.append(part("scales", scales, MAIN_DARK, on="body", line=0, ink=1))
    parts += [
        part("gill", ribbon([(0.20, m + 0.13), (0.155, m), (0.20, m - 0.13)], [0.004, 0.016, 0.004]), MAIN_DARK, on="body", line=0, ink=1),
        part("flap", flap, MAIN_DARK, volume=SOFT, lift=0.3, gloss=0.3),
        part("white of the eye", ellipse(0.305, m + 0.055, 0.052, 0.056), "white", lift=0.05, gloss=0.4, line=0.7),
        *eye("eye", 0.315, m + 0.055, 0.031, 1.1),
        part(
            "mouth",
            ribbon([(0.455, m - 0.022), (0.42, m - 0.045), (0.39, m - 0.042)], [0.012, 0.015, 0.005]),
            "black",
            lift=0,
            line=0,
            ink=1,
        ),
    ]
    return Drawing(tuple(parts), {"white": WHITE, "black": BLACK})


def butterfly(it: Individual) -> Drawing:
    """Wings spread, seen from above."""
    low, span, ringed = it.between(0.85, 1.05), it.between(0.92, 1.0), it.chance(0.5)
    upper = [(0.02, 0.56), (0.10, 0.74), (0.26, 0.93), (0.42, 0.97), (0.47, 0.84), (0.43, 0.64), (0.30, 0.51), (0.04, 0.48)]
    lower = [(0.02, 0.50), (0.16, 0.50), (0.34, 0.43), (0.40, 0.30), (0.33, 0.15), (0.22, 0.10), (0.10, 0.26)]
    hind = scaled(smooth(lower), span, low, (0, 0.5))
    fore = scaled(smooth(upper), span, 1.0, (0, 0.5))
    pairs = lambda path: (path, scaled(path, -1, 1))  # noqa: E731
    inner = lambda path, size, about: pairs(scaled(path, size, size, about))  # noqa: E731
    dots = [(0.405, 0.90), (0.43, 0.80), (0.405, 0.70), (0.35, 0.94)]
    veins = [ribbon([(0.05, 0.55), (u, v)], [0.012, 0.004]) for u, v in ((0.26, 0.84), (0.36, 0.78), (0.36, 0.64))]
    body = ribbon([(0, 0.24), (0, 0.42), (0, 0.58), (0, 0.68)], [0.03, 0.055, 0.075, 0.055])
    parts = [
        part("hind wings", pairs(hind), "black", volume=SOFT, gloss=0.2, ink=1),
        part("hind fields", inner(hind, 0.80, (0.07, 0.44)), MAIN, fade=MAIN_LIGHT, volume=SOFT, gloss=0.3, lift=0, line=0, ink=0),
        part("fore wings", pairs(fore), "black", volume=SOFT, gloss=0.2, lift=0.3, ink=1),
        part("fore fields", inner(fore, 0.79, (0.06, 0.60)), MAIN, volume=SOFT, gloss=0.3, lift=0, line=0, ink=0),
        part("veins", tuple(side for path in veins for side in pairs(path)), "black", lift=0, line=0, ink=1),
        part(
            "dots",
            tuple(side for u, v in dots for side in pairs(ellipse(span * u, v, 0.016, 0.016))),
            "white",
            lift=0,
            line=0,
            volume=PLANE,
        ),
        part(
            "antennae",
            tuple(
                side
                for path in (ribbon([(0.01, 0.70), (0.07, 0.84), (0.13, 0.92)], [0.010, 0.009, 0.008]), ellipse(0.132, 0.925, 0.016, 0.016))
                for side in pairs(path)
            ),
            "black",
            lift=0,
            line=0,
            ink=1,
        ),
        part("body", body, "black", gloss=0.4, lift=0.3, line=0, ink=1),
        part("head", ellipse(0, 0.695, 0.04, 0.042), "black", gloss=0.4, lift=0.1, line=0, ink=1),
    ]
    if ringed:
        for name, at, radius in (("hind", (0.245 * span, 0.5 - (0.5 - 0.29) * low), 0.05), ("fore", (0.29 * span, 0.74), 0.042)):
            parts.insert(
                5,
                part(
                    f"{name} eyes",
                    tuple(pairs(ellipse(*at, 0.5 * radius, 0.5 * radius))[k] for k in (0, 1)),
                    "black",
                    lift=0,
                    line=0,
                    ink=1,
                ),
            )
            parts.insert(5, part(f"{name} rings", pairs(ellipse(*at, radius, radius)), "white", lift=0, line=0.4, volume=PLANE))
    return Drawing(tuple(parts), {"black": (0.14, 0.11, 0.13), "white": WHITE})
