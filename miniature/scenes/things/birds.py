"""Birds, seen from the front."""

from __future__ import annotations

from ..parts import BLACK, SOFT, WHITE, Drawing, Individual, part
from ..paths import both, ellipse, ribbon, smooth
from .features import eye


def owl(it: Individual) -> Drawing:
    feather, pale, disc = it.one_of(
        ((0.52, 0.36, 0.24), (0.90, 0.79, 0.60), (0.80, 0.65, 0.46)),
        ((0.42, 0.40, 0.42), (0.86, 0.84, 0.80), (0.74, 0.72, 0.70)),
        ((0.70, 0.48, 0.26), (0.97, 0.90, 0.76), (0.96, 0.87, 0.72)),
        ((0.34, 0.26, 0.24), (0.80, 0.68, 0.52), (0.66, 0.52, 0.40)),
    )
    iris = it.one_of((0.98, 0.78, 0.14), (0.98, 0.60, 0.12), (0.96, 0.88, 0.40))
    wide, tuft, gaze = it.between(0.31, 0.36), it.between(0.92, 1.0), it.between(-0.02, 0.02)
    side = [(0.7 * wide, 0.92), (wide, 0.76), (1.02 * wide, 0.48), (0.82 * wide, 0.16)]
    body = smooth([(0, 0.935), *side, (0, 0.045), *[(-u, v) for u, v in reversed(side)]])
    wing = smooth([(0.74 * wide, 0.60), (1.08 * wide, 0.54), (1.17 * wide, 0.34), (1.0 * wide, 0.13), (0.80 * wide, 0.26)], corners=(3,))
    ear = smooth([(0.30 * wide, 0.905), (1.0 * wide, 0.985 * tuft), (0.96 * wide, 0.78)], corners=(0, 1, 2))
    scallops = []
    for row, v in enumerate((0.46, 0.37, 0.28, 0.19)):
        count = (3, 4, 3, 2)[row]
        scallops += [ellipse(0.115 * (k - (count - 1) / 2), v, 0.034, 0.022) for k in range(count)]
    toes = tuple(ellipse(sign * 0.12 + d, 0.04, 0.032, 0.04) for sign in (-1, 1) for d in (-0.055, 0, 0.055))
    parts = [
        part("ears", both(ear), "feather", gloss=0),
        part("body", body, "feather", gloss=0.05),
        part("belly", ellipse(0, 0.32, 0.70 * wide, 0.27), "pale", on="body", line=0.6),
        part("scallops", tuple(scallops), "feather", on="belly", line=0, ink=0.9),
        part("wings", both(wing), "dark", lift=0.35, gloss=0.05),
        part("feet", toes, "beak", lift=0.3, gloss=0.3, line=0.8, ink=0),
        part("face", both(ellipse(0.47 * wide, 0.715, 0.50 * wide, 0.155, -8)), "disc", volume=SOFT, lift=0.12, gloss=0, line=0.7, ink=0),
    ]
    for name, sign in (("left", -1), ("right", 1)):
        parts += [
            part(
                f"{name} iris", ellipse(sign * 0.43 * wide, 0.72, 0.105, 0.108), "iris", volume=SOFT, lift=0.12, gloss=0.5, line=0.9, ink=0
            ),
            *eye(f"{name} pupil", sign * 0.43 * wide + gaze, 0.722, 0.062, 1.0),
        ]
    parts += [
        part(
            "brows",
            both(smooth([(0.015, 0.79), (0.40 * wide, 0.885), (0.94 * wide, 0.885), (0.45 * wide, 0.85)], corners=(0, 2))),
            "feather",
            lift=0.2,
            gloss=0,
        ),
        part(
            "beak", smooth([(-0.05, 0.665), (0, 0.70), (0.05, 0.665), (0.005, 0.555)], corners=(3,)), "beak", lift=0.3, gloss=0.5, ink=0.25
        ),
    ]
    dark = tuple(0.76 * c for c in feather)
    palette = {
        "feather": feather,
        "pale": pale,
        "disc": disc,
        "dark": dark,
        "iris": iris,
        "beak": (0.92, 0.62, 0.22),
        "black": BLACK,
        "white": WHITE,
    }
    return Drawing(tuple(parts), palette)


def penguin(it: Individual) -> Drawing:
    coat = it.one_of((0.12, 0.13, 0.18), (0.15, 0.19, 0.29), (0.19, 0.17, 0.19))
    orange = it.one_of((0.97, 0.60, 0.12), (0.95, 0.48, 0.16), (0.98, 0.74, 0.20))
    fat, flap, bib = it.between(0.29, 0.35), it.between(-9, 16), it.chance(0.4)
    side = [(0.16, 0.955), (0.225, 0.83), (0.24, 0.69), (0.92 * fat, 0.52), (fat, 0.30), (0.78 * fat, 0.09)]
    body = smooth([(0, 0.99), *side, (0, 0.035), *[(-u, v) for u, v in reversed(side)]])
    inner = [(0.10, 0.665), (0.62 * fat, 0.53), (0.76 * fat, 0.30), (0.56 * fat, 0.085)]
    belly = smooth([(0, 0.675), *inner, (0, 0.05), *[(-u, v) for u, v in reversed(inner)]])
    flipper = ribbon([(0.84 * fat, 0.60), (0.98 * fat + 0.0022 * flap, 0.45), (1.04 * fat + 0.006 * flap, 0.26)], [0.09, 0.125, 0.035])
    foot = smooth(
        [(0.03, 0.03), (0.08, 0.075), (0.20, 0.075), (0.27, 0.03), (0.22, 0.02), (0.19, 0.028), (0.15, 0.018), (0.11, 0.028), (0.07, 0.018)]
    )
    mask = smooth([(0.015, 0.80), (0.045, 0.89), (0.12, 0.90), (0.165, 0.82), (0.12, 0.72), (0.04, 0.70)])
    parts = [
        part("feet", both(foot), "orange", gloss=0.3, lift=0.2, ink=0),
        part("flippers", both(flipper), "coat", gloss=0.25),
        part("body", body, "coat", gloss=0.35),
        part("belly", belly, "white", on="body", line=0.8),
        part("face", both(mask), "white", on="body", line=0.7),
        *eye("left eye", -0.088, 0.825, 0.032),
        *eye("right eye", 0.088, 0.825, 0.032),
        part(
            "beak", smooth([(-0.07, 0.765), (0, 0.80), (0.07, 0.765), (0, 0.70)], corners=(0, 2)), "orange", lift=0.35, gloss=0.5, ink=0.3
        ),
    ]
    if bib:
        parts.insert(4, part("bib", ellipse(0, 0.645, 0.13, 0.07), "orange", on="belly", line=0.4, ink=0.2))
    return Drawing(tuple(parts), {"coat": coat, "orange": orange, "white": WHITE, "black": BLACK})
