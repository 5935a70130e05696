"""Small parts that several things share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..parts import Part, part
from ..paths import Path, Point, ellipse, ribbon, turned


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
    """An oval along a line of three points, narrow at its end."""
    return ribbon(points, [0.55 * width, width, 0.25 * width])


def leaning(parts: Sequence[Part], degrees: float, about: Point) -> tuple[Part, ...]:
    """All of a thing, turned to the left."""
    return tuple(replace(each, outlines=tuple(turned(path, degrees, about) for path in each.outlines)) for each in parts)
