"""Cases of experiments that a miniature workflow can be given from outside: scenes of one thing, as inputs of the node Miniature Scene."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
from graft.miniature.scenes.sampling import sample_scene, variation
from graft.miniature.scenes.scene import COLOURS, GROUNDS, KINDS, Scene

from .scenes import another, coloured_scene

NODE = "Miniature Scene"
SEEDS = 91_000
"""Of the scenes; the training set was drawn from other seed sequences."""
VALUES = {"recolour": "new_colour", "change ground": "new_ground", "replace": "new_kind"}
"""The node's name for what a change takes a value of."""


@dataclass(frozen=True)
class Case:
    """A scene of one thing and the change that is asked for, with `value` the new colour, ground or kind."""

    change: str
    number: int
    scene: Scene
    value: str = ""

    @property
    def id(self) -> str:
        return f"{self.change} {self.number:04}"

    @property
    def asked(self) -> Scene:
        """The scene after the change."""
        match self.change:
            case "recolour":
                return self.scene.recoloured(0, self.value)
            case "change ground":
                return self.scene.regrounded(self.value)
            case "replace":
                return self.scene.exchanged(0, self.value)
        return self.scene.without(0)

    def row(self) -> dict:
        """The case as a row of a manifest."""
        scene, thing = self.scene, self.scene.things[0]
        first = {f"first_{name}": getattr(thing, name) for name in ("kind", "colour", "x", "y", "size", "mirrored")}
        if thing.colour is None:
            del first["first_colour"]
        inputs = {"ground": scene.ground, "light": scene.light, "style": scene.style, "seed": self.number, **first}
        inputs |= {"second_kind": "none", "object": "first", "change": self.change}
        if self.value:
            inputs[f"change.{VALUES[self.change]}"] = self.value
        told = {f"{NODE}.{name}": value for name, value in inputs.items()}
        notes = {"change": self.change, "ground": scene.ground, "light": scene.light, "style": scene.style}
        return {"id": self.id, **told, "notes": notes}


def cases(change: str) -> Iterator[Case]:
    """Without end; the same for the same change and place."""
    for number in count():
        rng = np.random.default_rng((SEEDS, number))
        scene = _as_drawn(coloured_scene(rng) if change == "recolour" else sample_scene(rng, count=1), number)
        thing = scene.things[0]
        options = {"recolour": (COLOURS, thing.colour), "change ground": (GROUNDS, scene.ground), "replace": (KINDS, thing.kind)}
        yield Case(change, number, scene, another(*options[change], rng) if change in options else "")


def _as_drawn(scene: Scene, seed: int) -> Scene:
    """The scene as the node draws it, whose seed decides what its inputs leave open."""
    varied = variation(seed)
    told = scene.changed(0, individual=varied.individuals[0])
    return replace(told, horizon=varied.horizon, texture=varied.texture)
