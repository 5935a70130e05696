"""The drawn world: typed scenes, their prompts, their counterfactuals and how to sample them.

A `Scene` says everything about a picture; `drawing.render` is a pure function of it. Lengths are fractions of
the picture's side, x to the right and y downwards.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

Ground = Literal["grass", "sand", "snow", "night"]
Style = Literal["photo", "drawing"]
Shape = Literal["ball", "cube", "cone", "star"]
Colour = Literal["red", "orange", "yellow", "green", "blue", "purple"]
Pattern = Literal["plain", "striped"]

GROUNDS: tuple[Ground, ...] = get_args(Ground)
STYLES: tuple[Style, ...] = get_args(Style)
SHAPES: tuple[Shape, ...] = get_args(Shape)
COLOURS: tuple[Colour, ...] = get_args(Colour)
PATTERNS: tuple[Pattern, ...] = get_args(Pattern)
DAYLIT: tuple[Ground, ...] = tuple(ground for ground in GROUNDS if ground != "night")
"""The grounds by day light their things almost alike: only night and day tell things apart."""

PLACE = {"grass": "on grass", "sand": "on sand", "snow": "on snow", "night": "at night"}
MARGIN = 0.02
"""Least distance between an object and the picture's border, and between two objects."""


@dataclass(frozen=True)
class Thing:
    """One object. (`x`, `y`) is where it touches the ground; `size` is half its width; `shade` in [-1, 1] varies
    the named colour's hue and `tone` in [-1, 1] its brightness."""

    shape: Shape
    colour: Colour
    pattern: Pattern = "plain"
    x: float = 0.5
    y: float = 0.75
    size: float = 0.16
    shade: float = 0.0
    tone: float = 0.0

    @property
    def box(self) -> tuple[float, float, float, float]:
        """(left, top, right, bottom) of the silhouette."""
        return self.x - self.size, self.y - 2 * self.size, self.x + self.size, self.y


@dataclass(frozen=True)
class Scene:
    """A picture of at most two things on a ground. `texture` seeds the ground's mottling."""

    ground: Ground
    style: Style = "photo"
    things: tuple[Thing, ...] = ()
    horizon: float = 0.35
    texture: int = 0

    def without(self, index: int) -> Scene:
        return replace(self, things=self.things[:index] + self.things[index + 1 :])

    def with_thing(self, thing: Thing) -> Scene:
        return replace(self, things=(*self.things, thing))

    def changed(self, index: int, **changes) -> Scene:
        """The same scene with fields of one thing replaced: recoloured, reshaped, moved."""
        things = list(self.things)
        things[index] = replace(things[index], **changes)
        return replace(self, things=tuple(things))

    def restyled(self, style: Style) -> Scene:
        return replace(self, style=style)

    def regrounded(self, ground: Ground) -> Scene:
        return replace(self, ground=ground)


@dataclass(frozen=True)
class Wording:
    """Which facts a prompt mentions. Prompts that leave facts out make room for a reference picture to add them."""

    style: bool = True
    colour: bool = True
    pattern: bool = True


def prompt_of(scene: Scene, wording: Wording = Wording()) -> str:
    """The scene in words, its things from left to right: "a photo of a red striped ball and a blue cube on sand"."""
    things = sorted(scene.things, key=lambda thing: thing.x)
    names = " and ".join(_name(thing, wording) for thing in things) or "nothing"
    opening = f"a {scene.style} of " if wording.style else ""
    return f"{opening}{names} {PLACE[scene.ground]}"


def _name(thing: Thing, wording: Wording) -> str:
    words = [thing.colour] if wording.colour else []
    if wording.pattern and thing.pattern == "striped":
        words.append("striped")
    words.append(thing.shape)
    article = "an" if words[0][0] in "aeiou" else "a"
    return " ".join([article, *words])


def sample_wording(rng: np.random.Generator) -> Wording:
    style, colour, pattern = rng.random(3)
    return Wording(style=style < 0.75, colour=colour < 0.85, pattern=pattern < 0.75)


def sample_scene(
    rng: np.random.Generator,
    *,
    count: int | None = None,
    ground: Ground | None = None,
    style: Style | None = None,
) -> Scene:
    """A random scene; `count` (0, 1 or 2 things), `ground` and `style` can be fixed."""
    if count is None:
        count = int(rng.choice(3, p=(0.12, 0.5, 0.38)))
    horizon = float(rng.uniform(0.28, 0.42))
    things: list[Thing] = []
    while len(things) < count:
        thing = sample_thing(rng, horizon, largest=0.2 if count == 1 else 0.17)
        if all(_apart(thing, other) for other in things):
            things.append(thing)
        elif rng.random() < 0.1:
            things.clear()
    return Scene(
        ground=ground or GROUNDS[rng.integers(len(GROUNDS))],
        style=style or STYLES[int(rng.random() < 0.4)],
        things=tuple(things),
        horizon=horizon,
        texture=int(rng.integers(2**31)),
    )


def sample_thing(rng: np.random.Generator, horizon: float, largest: float = 0.2) -> Thing:
    """A random thing that stands on the ground below `horizon`, wholly inside the picture."""
    size = float(rng.uniform(0.13, largest))
    top = max(2 * size + MARGIN, horizon + 0.12)
    return Thing(
        shape=SHAPES[rng.integers(len(SHAPES))],
        colour=COLOURS[rng.integers(len(COLOURS))],
        pattern=PATTERNS[int(rng.random() < 0.3)],
        x=float(rng.uniform(size + MARGIN, 1 - size - MARGIN)),
        y=float(rng.uniform(top, 1 - MARGIN)),
        size=size,
        shade=float(rng.uniform(-1, 1)),
        tone=float(rng.uniform(-1, 1)),
    )


def sample_pair(rng: np.random.Generator) -> tuple[Scene, Scene]:
    """Two scenes of one thing each, which look alike: same colour, shade, tone, pattern and style. Shape, place, size and
    ground are each scene's own."""
    first = sample_scene(rng, count=1)
    second = sample_scene(rng, count=1, style=first.style)
    look = {name: getattr(first.things[0], name) for name in ("colour", "shade", "tone", "pattern")}
    return first, second.changed(0, **look)


def _apart(one: Thing, other: Thing) -> bool:
    left, top, right, bottom = one.box
    other_left, other_top, other_right, other_bottom = other.box
    gap = 2 * MARGIN
    return left > other_right + gap or other_left > right + gap or top > other_bottom + gap or other_top > bottom + gap


@dataclass(frozen=True)
class Variation:
    """What a described scene leaves open."""

    shade: float
    tone: float
    horizon: float
    texture: int


def variation(seed: int) -> Variation:
    rng = np.random.default_rng(seed)
    shade, tone = rng.uniform(-1, 1, 2)
    return Variation(float(shade), float(tone), float(rng.uniform(0.28, 0.42)), int(rng.integers(2**31)))
