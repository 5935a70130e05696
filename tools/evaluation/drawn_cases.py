"""Cases of experiments that a miniature workflow can be given from outside: scenes of one thing, as inputs of the node Miniature Scene."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
from graft.miniature.world import COLOURS, GROUNDS, Scene, sample_scene, variation

NODE = "Miniature Scene"
SEEDS = 91_000
"""Of the scenes; the training set was drawn from other seed sequences."""
VALUES = {"recolour": "new_colour", "change ground": "new_ground"}
"""The node's name for what a change takes a value of."""


@dataclass(frozen=True)
class Case:
    """A scene of one thing and the change that is asked for, with `value` the new colour or ground."""

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
                return self.scene.changed(0, colour=self.value)
            case "change ground":
                return self.scene.regrounded(self.value)
        return self.scene.without(0)

    def row(self) -> dict:
        """The case as a row of a manifest."""
        scene, thing = self.scene, self.scene.things[0]
        first = {f"first_{name}": getattr(thing, name) for name in ("shape", "colour", "pattern", "x", "y", "size")}
        inputs = {"ground": scene.ground, "style": scene.style, "seed": self.number, **first, "change": self.change}
        if self.value:
            inputs[f"change.{VALUES[self.change]}"] = self.value
        told = {f"{NODE}.{name}": value for name, value in inputs.items()}
        return {"id": self.id, **told, "notes": {"change": self.change, "ground": scene.ground, "style": scene.style}}


def cases(change: str) -> Iterator[Case]:
    """Without end; the same for the same change and place."""
    for number in count():
        rng = np.random.default_rng((SEEDS, number))
        scene = _as_drawn(sample_scene(rng, count=1), number)
        options = {"recolour": (COLOURS, scene.things[0].colour), "change ground": (GROUNDS, scene.ground)}
        names, present = options.get(change, ((), ""))
        others = [name for name in names if name != present]
        yield Case(change, number, scene, str(rng.choice(others)) if others else "")


def _as_drawn(scene: Scene, seed: int) -> Scene:
    """The scene as the node draws it, whose seed decides what its inputs leave open."""
    varied = variation(seed)
    things = tuple(replace(thing, shade=varied.shade, tone=varied.tone) for thing in scene.things)
    return replace(scene, things=things, horizon=varied.horizon, texture=varied.texture)
