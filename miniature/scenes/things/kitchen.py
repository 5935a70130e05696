"""Things from the table."""

from __future__ import annotations

import numpy as np

from ..parts import MAIN, MAIN_DARK, MAIN_LIGHT, SOFT, WHITE, Drawing, Individual, part
from ..paths import box, ellipse, polygon, ribbon, smooth


def apple(it: Individual) -> Drawing:
    wide, drop, lean = it.between(0.40, 0.46), it.between(0.04, 0.09), it.between(-0.06, 0.08)
    right = [(0.15, 0.855), (0.75 * wide, 0.84), (wide, 0.60), (0.86 * wide, 0.26), (0.44 * wide, 0.03)]
    body = smooth([(0, 0.855 - drop), *right, (0, 0.065), *[(-u, v) for u, v in reversed(right)]])
    speckles = tuple(ellipse(u * wide, v, 0.010, 0.010) for u, v in it.many(14, (-0.8, 0.8), (0.2, 0.72)))
    parts = [
        part("stalk", ribbon([(0, 0.78), (0.3 * lean, 0.86), (lean, 0.965)], [0.030, 0.030, 0.045]), "stalk", gloss=0.2, lift=0.1, ink=0.9),
        part("body", body, MAIN, gloss=1.0),
        part("speckles", speckles, MAIN_LIGHT, on="body", line=0, ink=0.9),
        part(
            "hollow",
            smooth([(-0.15, 0.79), (0, 0.835 - drop), (0.15, 0.79), (0, 0.745 - drop / 2)], corners=(0, 2)),
            MAIN_DARK,
            on="body",
            line=0.4,
        ),
        part("stalk's foot", ribbon([(0.0, 0.765), (0.3 * lean, 0.86)], [0.026, 0.030]), "stalk", gloss=0.2, lift=0.1, line=0.5, ink=0.9),
    ]
    if it.chance(0.75):
        tip = it.one_of(-1, 1)
        blade = smooth(
            [(0.3 * lean, 0.86), (tip * 0.12, 0.955), (tip * 0.27, 0.93), (tip * 0.33, 0.865), (tip * 0.19, 0.835)], corners=(0, 3)
        )
        parts += [
            part("leaf", blade, "leaf", lift=0.35, gloss=0.4, ink=0),
            part(
                "vein",
                ribbon([(0.3 * lean, 0.862), (tip * 0.17, 0.895), (tip * 0.30, 0.872)], [0.006, 0.010, 0.003]),
                "vein",
                on="leaf",
                line=0,
                ink=1,
            ),
        ]
    return Drawing(tuple(parts), {"stalk": (0.36, 0.24, 0.14), "leaf": (0.36, 0.62, 0.22), "vein": (0.22, 0.42, 0.14)})


def teapot(it: Individual) -> Drawing:
    wide, tall, m = it.between(0.26, 0.30), it.between(0.24, 0.29), 0.335
    pattern, knob = it.one_of("dots", "band", "flower", "plain"), it.between(0.038, 0.05)
    lid = m + 0.84 * tall
    spout = smooth(
        [
            (wide - 0.08, m - 0.13),
            (wide + 0.06, m - 0.02),
            (wide + 0.11, m + 0.14),
            (0.47, m + 0.265),
            (0.405, m + 0.285),
            (wide + 0.04, m + 0.21),
            (wide - 0.06, m + 0.12),
        ],
        corners=(0, 3, 4, 6),
    )
    handle = ribbon(
        [(-0.82 * wide, m + 0.15), (-wide - 0.10, m + 0.19), (-0.455, m + 0.05), (-wide - 0.07, m - 0.11), (-0.88 * wide, m - 0.12)],
        [0.055, 0.06, 0.065, 0.055, 0.05],
    )
    body = smooth(
        [
            (-0.62 * wide, m - 0.92 * tall),
            (-0.97 * wide, m - 0.42 * tall),
            (-0.97 * wide, m + 0.3 * tall),
            (-0.62 * wide, m + 0.82 * tall),
            (0, m + 0.96 * tall),
            (0.62 * wide, m + 0.82 * tall),
            (0.97 * wide, m + 0.3 * tall),
            (0.97 * wide, m - 0.42 * tall),
            (0.62 * wide, m - 0.92 * tall),
            (0, m - tall),
        ]
    )
    dome = smooth(
        [
            (-0.60 * wide, lid - 0.01),
            (-0.46 * wide, lid + 0.07),
            (0, lid + 0.115),
            (0.46 * wide, lid + 0.07),
            (0.60 * wide, lid - 0.01),
            (0, lid - 0.035),
        ],
        corners=(0, 4),
    )
    parts = [
        part("handle", handle, MAIN, gloss=0.8),
        part("spout", spout, MAIN, gloss=0.8),
        part("spout's mouth", ellipse(0.437, m + 0.274, 0.036, 0.013, -18), MAIN_DARK, lift=0, line=0.6, ink=0.9),
        part("foot", box(-0.58 * wide, m - tall - 0.03, 0.58 * wide, m - 0.82 * tall, 0.025), MAIN_DARK, gloss=0.6, lift=0.2),
        part("body", body, MAIN, gloss=1.0, lift=0.4),
        part("lid", dome, MAIN, gloss=0.9, lift=0.35),
        part("knob", ellipse(0, lid + 0.105 + 0.7 * knob, knob, knob * 0.95), "accent", gloss=0.9, lift=0.3, ink=0),
    ]
    if pattern == "dots":
        dots = tuple(
            ellipse(u * wide, m + v * tall, 0.030, 0.030)
            for u, v in (
                (-0.7, 0.1),
                (-0.35, 0.45),
                (-0.35, -0.25),
                (0, 0.1),
                (0.35, 0.45),
                (0.35, -0.25),
                (0.7, 0.1),
                (0, -0.62),
                (-0.7, -0.55),
                (0.7, -0.55),
            )
        )
        parts.insert(5, part("dots", dots, "accent", on="body", line=0.5))
    elif pattern == "band":
        parts.insert(5, part("band", ribbon([(-0.4, m + 0.02), (0, m - 0.04), (0.4, m + 0.02)], 0.10), "accent", on="body", line=0.6))
        parts.insert(
            6, part("band's line", ribbon([(-0.4, m + 0.02), (0, m - 0.04), (0.4, m + 0.02)], 0.022), MAIN_DARK, on="body", line=0.4)
        )
    elif pattern == "flower":
        petals = tuple(
            ellipse(0.062 * u, m - 0.02 + 0.062 * v, 0.045, 0.045)
            for u, v in ((0, 1), (0.95, 0.31), (0.59, -0.81), (-0.59, -0.81), (-0.95, 0.31))
        )
        parts.insert(5, part("petals", petals, "accent", on="body", line=0.5))
        parts.insert(6, part("heart", ellipse(0, m - 0.02, 0.032, 0.032), "gold", on="body", line=0.5))
    return Drawing(tuple(parts), {"accent": it.one_of(WHITE, WHITE, (0.96, 0.88, 0.68)), "gold": (0.97, 0.76, 0.26)})


def burger(it: Individual) -> Drawing:
    wide, thick, double = it.between(0.42, 0.44), it.between(0.085, 0.11), it.chance(0.3)
    w = wide
    parts = [
        part(
            "lower bun",
            smooth(
                [(-0.95 * w, 0.15), (-0.93 * w, 0.06), (-0.6 * w, 0.012), (0.6 * w, 0.012), (0.93 * w, 0.06), (0.95 * w, 0.15)],
                corners=(0, 5),
            ),
            "bun",
            gloss=0.3,
        )
    ]
    v = 0.13
    for layer in range(2 if double else 1):
        drips = [(-0.5, 0.09), (0.15, 0.11), (0.62, 0.07)] if layer == 0 else [(-0.2, 0.08), (0.45, 0.09)]
        sheet = [(-1.0 * w, v + thick + 0.03), (1.0 * w, v + thick + 0.03), (1.0 * w, v + thick - 0.012)]
        for u, d in reversed(drips):
            sheet += [((u + 0.2) * w, v + thick - 0.012), (u * w, v + thick - d * it.between(0.8, 1.1)), ((u - 0.2) * w, v + thick - 0.012)]
        sheet.append((-1.0 * w, v + thick - 0.012))
        parts += [
            part(f"patty {layer}", box(-1.02 * w, v, 1.02 * w, v + thick, 0.045), "patty", gloss=0.25, lift=0.4, ink=0.6),
            part(f"cheese {layer}", polygon(sheet, 0.02), "cheese", volume=SOFT, gloss=0.4, lift=0.25, ink=0),
        ]
        v += thick + 0.02
    if it.chance(0.75):
        parts.append(
            part(
                "tomato",
                (box(-0.9 * w, v, -0.08 * w, v + 0.05, 0.022), box(0.05 * w, v, 0.88 * w, v + 0.05, 0.022)),
                "tomato",
                gloss=0.5,
                lift=0.2,
                ink=0.2,
            )
        )
        v += 0.035
    count, phase = it.one_of(6, 7, 8), it.between(0, 6)
    frill = [
        (1.02 * w * (-1 + 2 * k / (2 * count)), v - 0.01 + (0.026 if k % 2 else -0.014) * (1 + 0.4 * np.sin(phase + k)))
        for k in range(2 * count + 1)
    ]
    parts.append(
        part(
            "lettuce",
            smooth([*frill, (0.97 * w, v + 0.055), (-0.97 * w, v + 0.055)], corners=(0, 2 * count)),
            "lettuce",
            volume=SOFT,
            gloss=0.3,
            lift=0.4,
            ink=0,
        )
    )
    v += 0.03
    top = v + it.between(0.29, 0.34)
    bun = smooth(
        [
            (-1.0 * w, v + 0.035),
            (-0.96 * w, v + 0.15),
            (-0.58 * w, top - 0.045),
            (0, top),
            (0.58 * w, top - 0.045),
            (0.96 * w, v + 0.15),
            (1.0 * w, v + 0.035),
            (0.5 * w, v),
            (-0.5 * w, v),
        ]
    )
    seeds = tuple(
        ellipse(x * w + it.between(-0.02, 0.02), v + (top - v) * y + it.between(-0.012, 0.012), 0.019, 0.0115, it.between(-50, 50))
        for x, y in ((-0.62, 0.52), (-0.40, 0.72), (-0.30, 0.48), (-0.12, 0.84), (-0.02, 0.60), (0.20, 0.80), (0.26, 0.52), (0.46, 0.68), (0.64, 0.46), (-0.80, 0.32), (0.82, 0.30), (0.04, 0.36))
    )  # fmt: skip
    parts += [part("upper bun", bun, "bun", gloss=0.7, lift=0.5), part("seeds", seeds, "seed", on="upper bun", line=0.5, ink=0)]
    palette = {
        "bun": it.one_of((0.87, 0.58, 0.26), (0.80, 0.50, 0.22), (0.92, 0.66, 0.34)),
        "patty": (0.36, 0.20, 0.13),
        "cheese": (0.99, 0.76, 0.20),
        "tomato": (0.86, 0.20, 0.15),
        "lettuce": (0.46, 0.72, 0.24),
        "seed": (0.98, 0.93, 0.80),
    }
    return Drawing(tuple(parts), palette)
