"""The things: each a function from an `Individual`'s choices to its `Drawing`. They face right and stand on v = 0."""

from __future__ import annotations

from collections.abc import Callable

from ..parts import Drawing, Individual
from ..scene import Kind
from . import animals, plants, vehicles

THINGS: dict[Kind, Callable[[Individual], Drawing]] = {
    "rabbit": animals.rabbit,
    "car": vehicles.car,
    "mushroom": plants.mushroom,
}
