"""What is in a picture: typed scenes, their counterfactuals.

A `Scene` says everything about a picture; `rendering.render` is a pure function of it. Positions are fractions of the
picture's width and height, x to the right and y downwards; sizes are fractions of its shorter side.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

Style = Literal["3-D render", "flat illustration", "ink drawing", "watercolour"]
Ground = Literal["meadow", "sand", "snow", "shore", "street"]
Light = Literal["day", "evening", "night"]
Colour = Literal["red", "orange", "yellow", "green", "blue", "purple"]
Kind = Literal[
    "rabbit", "owl", "penguin", "turtle", "fish", "butterfly", "car", "sailboat",
    "rocket", "house", "cactus", "mushroom", "tree", "snowman", "apple", "teapot",
    "burger", "guitar", "umbrella", "chair", "lamp", "robot", "balloon", "star",
]  # fmt: skip

STYLES: tuple[Style, ...] = get_args(Style)
GROUNDS: tuple[Ground, ...] = get_args(Ground)
LIGHTS: tuple[Light, ...] = get_args(Light)
COLOURS: tuple[Colour, ...] = get_args(Colour)
KINDS: tuple[Kind, ...] = get_args(Kind)

COLOURED: frozenset[Kind] = frozenset((
    "fish", "butterfly", "car", "sailboat", "rocket", "house", "mushroom", "apple",
    "teapot", "guitar", "umbrella", "chair", "lamp", "robot", "balloon", "star",
))  # fmt: skip
"""The kinds that one colour dominates. The others have colours of their own."""


@dataclass(frozen=True)
class Thing:
    """One thing. (`x`, `y`) is where the middle of its box touches the ground; `size` is the side of that square box, which the
    thing fills either in width or in height. `colour` is None for kinds outside `COLOURED`; `individual` seeds the proportions,
    markings and small parts that no two of a kind share."""

    kind: Kind
    colour: Colour | None = None
    x: float = 0.5
    y: float = 0.85
    size: float = 0.45
    mirrored: bool = False
    individual: int = 0

    def __post_init__(self) -> None:
        if (self.colour is not None) != (self.kind in COLOURED):
            raise ValueError(
                f"a {self.kind} {'needs a colour' if self.kind in COLOURED else 'has colours of its own'}, got {self.colour!r}"
            )

    @property
    def box(self) -> tuple[float, float, float, float]:
        """(left, top, right, bottom) in a square picture."""
        return self.x - self.size / 2, self.y - self.size, self.x + self.size / 2, self.y


@dataclass(frozen=True)
class Scene:
    """A picture of at most two things on a ground. `texture` seeds clouds, tufts, waves, grain: all that is neither named nor a
    thing."""

    ground: Ground
    style: Style = "3-D render"
    light: Light = "day"
    things: tuple[Thing, ...] = ()
    horizon: float = 0.4
    texture: int = 0

    def without(self, index: int) -> Scene:
        return replace(self, things=self.things[:index] + self.things[index + 1 :])

    def with_thing(self, thing: Thing) -> Scene:
        return replace(self, things=(*self.things, thing))

    def changed(self, index: int, **changes) -> Scene:
        """The same scene with fields of one thing replaced: recoloured, moved, turned round, another individual."""
        things = list(self.things)
        things[index] = replace(things[index], **changes)
        return replace(self, things=tuple(things))

    def recoloured(self, index: int, colour: Colour) -> Scene:
        return self.changed(index, colour=colour)

    def moved(self, index: int, x: float, y: float) -> Scene:
        return self.changed(index, x=x, y=y)

    def mirrored(self, index: int) -> Scene:
        return self.changed(index, mirrored=not self.things[index].mirrored)

    def exchanged(self, index: int, kind: Kind, colour: Colour | None = None) -> Scene:
        """Another thing in the same place. It keeps the colour of the old one where both kinds have one and none is given."""
        kept = (colour or self.things[index].colour or "red") if kind in COLOURED else None
        return self.changed(index, kind=kind, colour=kept)

    def restyled(self, style: Style) -> Scene:
        return replace(self, style=style)

    def relit(self, light: Light) -> Scene:
        return replace(self, light=light)

    def regrounded(self, ground: Ground) -> Scene:
        return replace(self, ground=ground)
