"""Random scenes from a seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .scene import COLOURED, COLOURS, GROUNDS, LIGHTS, STYLES, Ground, Kind, Light, Scene, Style, Thing
from .things import THINGS

DRAWN: tuple[Kind, ...] = tuple(THINGS)
MARGIN = 0.02
"""Least distance between a thing's box and the picture's border, as a fraction of a square picture's side."""
OVERLAP = 0.18
"""Largest part of the smaller of two boxes that the other may cover: both things stay recognisable."""
EVALUATION_SEEDS = range(2**40, 2**41)
"""Seeds set aside for evaluation. Training draws smaller ones."""


def sample_scene(
    rng: np.random.Generator,
    *,
    count: int | None = None,
    kinds: tuple[Kind, ...] = DRAWN,
    ground: Ground | None = None,
    style: Style | None = None,
    light: Light | None = None,
) -> Scene:
    """A random scene of `count` (0, 1 or 2) things out of `kinds`; ground, style and light can be fixed."""
    if count is None:
        count = int(rng.choice(3, p=(0.1, 0.5, 0.4)))
    horizon = float(rng.uniform(0.32, 0.46))
    things: list[Thing] = []
    while len(things) < count:
        thing = sample_thing(rng, horizon, kinds, largest=0.58 if count == 1 else 0.46)
        if all(_apart(thing, other) for other in things):
            things.append(thing)
        elif rng.random() < 0.1:
            things.clear()
    return Scene(
        ground=ground or _one_of(rng, GROUNDS),
        style=style or _one_of(rng, STYLES),
        light=light or LIGHTS[rng.choice(3, p=(0.5, 0.25, 0.25))],
        things=tuple(things),
        horizon=horizon,
        texture=int(rng.integers(2**31)),
    )


def sample_thing(rng: np.random.Generator, horizon: float, kinds: tuple[Kind, ...] = DRAWN, largest: float = 0.58) -> Thing:
    """A random thing that stands on the ground below `horizon`, wholly inside the picture."""
    kind = _one_of(rng, kinds)
    size = float(rng.uniform(0.34, largest))
    top = max(size + MARGIN, horizon + 0.14)
    return Thing(
        kind=kind,
        colour=_one_of(rng, COLOURS) if kind in COLOURED else None,
        x=float(rng.uniform(size / 2 + MARGIN, 1 - size / 2 - MARGIN)),
        y=float(rng.uniform(top, 1 - 2 * MARGIN)),
        size=size,
        mirrored=bool(rng.random() < 0.5),
        individual=int(rng.integers(2**31)),
    )


def sample_pair(rng: np.random.Generator, kinds: tuple[Kind, ...] = DRAWN) -> tuple[Scene, Scene]:
    """Two scenes of one thing each that share the individual and the style, for pairs that see each other in self-attention. Place,
    size, side, ground, light and texture are each scene's own."""
    first = sample_scene(rng, count=1, kinds=kinds)
    second = sample_scene(rng, count=1, style=first.style)
    thing = first.things[0]
    return first, second.changed(0, kind=thing.kind, colour=thing.colour, individual=thing.individual)


def _one_of(rng: np.random.Generator, values):
    return values[rng.integers(len(values))]


def _apart(one: Thing, other: Thing) -> bool:
    left, top, right, bottom = one.box
    other_left, other_top, other_right, other_bottom = other.box
    width = min(right, other_right) - max(left, other_left)
    height = min(bottom, other_bottom) - max(top, other_top)
    return max(width, 0) * max(height, 0) <= OVERLAP * min(one.size, other.size) ** 2


@dataclass(frozen=True)
class Variation:
    """What a described scene leaves open."""

    horizon: float
    texture: int
    individuals: tuple[int, int]


def variation(seed: int) -> Variation:
    rng = np.random.default_rng(seed)
    return Variation(float(rng.uniform(0.32, 0.46)), int(rng.integers(2**31)), tuple(rng.integers(2**31, size=2).tolist()))
