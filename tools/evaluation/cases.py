"""Cases of the evaluation as a manifest, so that a batch runs them: on this machine, on servers or on a cluster.

    python tools cases CHANGE [--count N] > cases.jsonl
    python quickstart.py batch WORKFLOW --manifest cases.jsonl --output FOLDER --ray

Scenes of one thing that the miniature was not trained on, as inputs of the node Miniature Scene of WORKFLOW (a miniature one). Where it shows the ground
truth, every case is measured against it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator

import numpy as np
from hosting.pack import load_pack

NODE = "Miniature Scene"
SEEDS = 91_000
"""Of the scenes; the training set was drawn from other seed sequences."""


def changes() -> dict[str, Callable]:
    """What each change sets on the node, from a scene and a random generator."""
    from graft.miniature.world import COLOURS

    def recolour(scene, rng: np.random.Generator) -> dict:
        others = [colour for colour in COLOURS if colour != scene.things[0].colour]
        return {"change": "recolour", "change.new_colour": str(rng.choice(others))}

    return {"recolour": recolour, "remove": lambda scene, rng: {"change": "remove"}}


def rows(change: str, count: int) -> Iterator[dict]:
    """Rows of a manifest; the same for the same change and place, whatever the count."""
    load_pack()
    from graft.miniature.world import sample_scene

    for number in range(count):
        rng = np.random.default_rng((SEEDS, number))
        scene = sample_scene(rng, count=1)
        thing = scene.things[0]
        first = {name: getattr(thing, name) for name in ("shape", "colour", "pattern", "x", "y", "size")}
        inputs = {"ground": scene.ground, "style": scene.style, "seed": number, **{f"first_{name}": value for name, value in first.items()}}
        told = {f"{NODE}.{name}": value for name, value in {**inputs, **changes()[change](scene, rng)}.items()}
        yield {"id": f"{change} {number:04}", **told, "notes": {"change": change, "ground": scene.ground, "style": scene.style}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("change", choices=("recolour", "remove"))
    parser.add_argument("--count", type=int, default=200)
    options = parser.parse_args()
    for row in rows(options.change, options.count):
        print(json.dumps(row))


if __name__ == "__main__":
    main()
