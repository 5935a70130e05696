"""Scenes in words, with parts left out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .scene import Ground, Light, Scene, Thing

PLACE: dict[Ground, str] = {
    "meadow": "on a meadow",
    "sand": "on sand",
    "snow": "in snow",
    "shore": "on a shore",
    "street": "on a street",
}
EMPTY: dict[Ground, str] = {
    "meadow": "an empty meadow",
    "sand": "empty sand",
    "snow": "empty snow",
    "shore": "an empty shore",
    "street": "an empty street",
}
TIME: dict[Light, str] = {"day": "by day", "evening": "in the evening", "night": "at night"}


@dataclass(frozen=True)
class Wording:
    """Which facts a prompt mentions. Prompts that leave facts out make room for a reference picture to add them."""

    style: bool = True
    colour: bool = True
    ground: bool = True
    light: bool = True


def prompt_of(scene: Scene, wording: Wording = Wording()) -> str:
    """The scene in words, its things from left to right: "a watercolour of a blue car and a rabbit on a street at night". Ink has no
    colour, so its prompts name none."""
    coloured = wording.colour and scene.style != "ink drawing"
    things = sorted(scene.things, key=lambda thing: thing.x)
    if things:
        words = [" and ".join(_name(thing, coloured) for thing in things)]
        words += [PLACE[scene.ground]] if wording.ground else []
    else:
        words = [EMPTY[scene.ground] if wording.ground else "an empty place"]
    words += [TIME[scene.light]] if wording.light else []
    opening = [_with_article(scene.style), "of"] if wording.style else []
    return " ".join(opening + words)


def _name(thing: Thing, coloured: bool) -> str:
    return _with_article(f"{thing.colour} {thing.kind}" if coloured and thing.colour else thing.kind)


def _with_article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def sample_wording(rng: np.random.Generator) -> Wording:
    style, colour, ground, light = rng.random(4)
    return Wording(style=style < 0.8, colour=colour < 0.85, ground=ground < 0.85, light=light < 0.75)
