"""The things: each a function from an `Individual`'s choices to its `Drawing`. They face right and stand on v = 0."""

from __future__ import annotations

from collections.abc import Callable

from ..parts import Drawing, Individual
from ..scene import Kind
from . import animals, birds, figures, furniture, house, kitchen, leisure, plants, vehicles

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
    "house": house.house,
    "cactus": plants.cactus,
    "mushroom": plants.mushroom,
    "tree": plants.tree,
    "snowman": figures.snowman,
    "apple": kitchen.apple,
    "teapot": kitchen.teapot,
    "burger": kitchen.burger,
    "guitar": leisure.guitar,
    "umbrella": furniture.umbrella,
    "chair": furniture.chair,
    "lamp": furniture.lamp,
    "robot": figures.robot,
    "balloon": leisure.balloon,
    "star": figures.star,
}
