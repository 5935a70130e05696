"""Scenes that experiments ask for."""

from __future__ import annotations

import numpy as np
from graft.miniature.scenes.sampling import sample_scene
from graft.miniature.scenes.scene import COLOURED, KINDS, STYLES, Kind, Scene, Style, Thing

COLOURED_KINDS: tuple[Kind, ...] = tuple(kind for kind in KINDS if kind in COLOURED)
PAINTED: tuple[Style, ...] = tuple(style for style in STYLES if style != "ink drawing")
"""Styles that show colour."""


def shows_colour(scene: Scene, thing: Thing) -> bool:
    """Whether a thing has a colour to be named, and its picture shows it."""
    return thing.kind in COLOURED and scene.style in PAINTED


def coloured_scene(rng: np.random.Generator) -> Scene:
    """A random scene of one thing that shows its colour."""
    style = PAINTED[rng.integers(len(PAINTED))]
    return sample_scene(rng, count=1, kinds=COLOURED_KINDS, style=style)


def another(options: tuple[str, ...], present: str, rng: np.random.Generator) -> str:
    """One of the options that is not there yet."""
    return str(rng.choice([option for option in options if option != present]))
