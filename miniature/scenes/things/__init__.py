"""The things: each a function from an `Individual`'s choices to its `Drawing`. They face right and stand on v = 0."""

from __future__ import annotations

from collections.abc import Callable

from ..parts import Drawing, Individual
from ..scene import Kind
from . import animals, birds, plants, vehicles

THINGS: dict[Kind, Callable[[Individual], Drawing]] = {
    "rabbit": animals.rabbit,
    "owl": birds.owl,
    "penguin": birds.penguin,
    "turtle": animals.turtle,
    "fish": animals.fish,
    "butterfly": animals.butterfly,
    "car": vehicles.car,
    "sailboat": vehicles.sailboat,
    "rocket": vehicles.rocket,
    "cactus": plants.cactus,
    "mushroom": plants.mushroom,
    "tree": plants.tree,
    "apple": plants.apple,
}
