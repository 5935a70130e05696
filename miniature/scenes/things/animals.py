"""Things with eyes."""

from __future__ import annotations

from ..parts import BLACK, SOFT, WHITE, Drawing, Individual, Part, part
from ..paths import Path, ellipse, ribbon, smooth, turned


def eye(name: str, u: float, v: float, radius: float, tall: float = 1.15) -> tuple[Part, Part]:
    """A shining black eye."""
    return (
        part(name, ellipse(u, v, radius, radius * tall), "black", lift=0.05, gloss=0.8, line=0, ink=1),
        part(
            f"{name}'s shine",
            ellipse(u - 0.3 * radius, v + 0.4 * radius, 0.34 * radius, 0.34 * radius),
            "white",
            lift=0,
            line=0,
            glows=True,
        ),
    )


def leaf(points: list[tuple[float, float]], width: float) -> Path:
    """A pointed oval along a line of three points."""
    return ribbon([points[0], points[1], points[2]], [0.55 * width, width, 0.25 * width])


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
