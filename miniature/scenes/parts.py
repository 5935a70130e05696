"""What a thing is made of: parts from back to front, and the colours that they name.

A part says where it is, which colour of the palette it has and how it bulges. How that becomes paint is the style's business, so
every drawing has its counterpart in every style.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .paths import Path

Rgb = tuple[float, float, float]
WHITE: Rgb = (0.97, 0.97, 0.95)
BLACK: Rgb = (0.10, 0.09, 0.11)

MAIN, MAIN_DARK, MAIN_LIGHT = "main", "main dark", "main light"
"""Roles that the thing's named colour fills: itself, a darker and a lighter one."""


@dataclass(frozen=True)
class Volume:
    """How a part stands out of the picture plane, for light and shade. `bulge` 1 is a ball for a round outline and a tube for a long
    one, 0 a plane; `edge` scales how far the rounding reaches inwards (1: to the middle); `facing` is how far the whole part is turned
    (rightwards, upwards) away from the spectator, as the first two components of a unit normal."""

    bulge: float = 0.9
    edge: float = 1.0
    facing: tuple[float, float] = (0.0, 0.0)


ROUND = Volume()
SOFT = Volume(bulge=0.55)
PANEL = Volume(bulge=0.35, edge=0.35)
PLANE = Volume(bulge=0.0)


@dataclass(frozen=True)
class Part:
    """A named piece. `outlines` are filled together. `colour` is a role of the drawing's palette. A part `on` another one is a marking:
    it is cut off at that part's edge and lies in its light and shade. `lift` in [0, 1] is how far a part stands before what is behind
    it (the depth of the shade around it), `gloss` in [0, 1] how polished it is, `line` the weight of its ink line (0: none), `ink` how
    dark its own colour is in ink (0 paper, 1 solid black; None: by the colour's lightness), `fade` a second colour, which the first
    becomes towards the part's top, and `glows` whether it shines by itself."""

    name: str
    outlines: tuple[Path, ...]
    colour: str
    volume: Volume = ROUND
    on: str | None = None
    lift: float = 0.5
    gloss: float = 0.25
    line: float = 1.0
    ink: float | None = None
    fade: str | None = None
    glows: bool = False


@dataclass(frozen=True)
class Drawing:
    """`parts` from back to front inside the box -0.5 <= u <= 0.5, 0 <= v <= 1, and the `palette`: role to colour. `MAIN` and its
    relatives are not in it; they come with the thing's colour."""

    parts: tuple[Part, ...]
    palette: dict[str, Rgb] = field(default_factory=dict)


class Individual:
    """The choices that make one of a kind, drawn in order from a seed."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self._rng.random()

    def chance(self, probability: float) -> bool:
        return bool(self._rng.random() < probability)

    def one_of(self, *options):
        return options[int(self._rng.random() * len(options))]

    def many(self, count: int, *ranges: tuple[float, float]) -> np.ndarray:
        """(count, len(ranges)) numbers, each column within its range."""
        low, high = np.array(ranges).T
        return low + (high - low) * self._rng.random((count, len(ranges)))


def part(name: str, outlines: Path | tuple[Path, ...], colour: str, **rest) -> Part:
    """A `Part` of one outline or several."""
    return Part(name, outlines if isinstance(outlines, tuple) else (outlines,), colour, **rest)
