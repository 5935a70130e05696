"""The named colours, and what light does to colours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .parts import MAIN, MAIN_DARK, MAIN_LIGHT, Rgb
from .scene import Colour, Light

NAMED: dict[Colour, Rgb] = {
    "red": (0.84, 0.13, 0.13),
    "orange": (0.98, 0.47, 0.04),
    "yellow": (0.99, 0.88, 0.14),
    "green": (0.20, 0.62, 0.24),
    "blue": (0.14, 0.40, 0.84),
    "purple": (0.52, 0.22, 0.74),
}


def mix(one, other, amount: float) -> np.ndarray:
    return np.asarray(one, np.float32) * np.float32(1 - amount) + np.asarray(other, np.float32) * np.float32(amount)


def brightness(colour) -> float:
    return float(np.dot(colour, (0.299, 0.587, 0.114)))


def named_roles(colour: Colour | None) -> dict[str, Rgb]:
    """The roles that a thing's named colour fills."""
    if colour is None:
        return {}
    main = NAMED[colour]
    return {MAIN: main, MAIN_DARK: tuple(mix(main, (0.05, 0.03, 0.10), 0.38)), MAIN_LIGHT: tuple(mix(main, (1, 1, 0.95), 0.45))}


@dataclass(frozen=True)
class Lighting:
    """`sun` is the unit vector towards the light (right, up, towards the spectator), `key` its colour and `ambient` that of the sky's
    light. One unit of height casts a shadow `shear` to the right and `rise` up the picture; `shadow` is how much of the light is
    missing there; `scenery` the part of the light that ground and background get, so that things stand out at night."""

    sun: tuple[float, float, float]
    key: Rgb
    ambient: Rgb
    shear: float
    rise: float
    shadow: float
    scenery: float = 1.0


LIGHTING: dict[Light, Lighting] = {
    "day": Lighting((-0.46, 0.66, 0.60), (0.80, 0.78, 0.72), (0.40, 0.43, 0.48), 0.50, 0.26, 0.50),
    "evening": Lighting((-0.80, 0.36, 0.48), (0.90, 0.69, 0.50), (0.42, 0.38, 0.46), 0.95, 0.20, 0.48),
    "night": Lighting((0.52, 0.62, 0.59), (0.48, 0.49, 0.58), (0.33, 0.33, 0.42), -0.55, 0.24, 0.42, 0.8),
}
