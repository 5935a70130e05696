"""Draw the pictures that the templates open with, with what is painted on them: scenes of the miniature's world, in pictures/.

    python tools example_pictures

A PNG's transparent part is what Load Image takes for painted.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from hosting import pack
from PIL import Image
from scipy import ndimage

FOLDER = pack.ROOT / "pictures"
WIDTH, HEIGHT = 768, 512
MARGIN, CLOSE = 6, 1
"""Pixels around an object that are painted with it where it is to change, and where it is to be taken elsewhere."""

Example = tuple[np.ndarray, np.ndarray | None]
"""Colours (HEIGHT, WIDTH, 3) and what is painted (HEIGHT, WIDTH)."""


def pictures() -> dict[str, Callable[[], Example]]:
    """By name of the file. The pack must be loaded."""
    from graft.miniature.scenes.scene import Scene, Thing

    car, house = Thing("car", "red", x=0.42, y=0.86, size=0.5, individual=1), Thing("house", "yellow", y=0.86, size=0.56, individual=2)
    mushroom, rabbit = (
        Thing("mushroom", "red", x=0.3, y=0.86, size=0.5, individual=3),
        Thing("rabbit", x=0.7, y=0.9, size=0.44, individual=3),
    )
    snowman, owl = Thing("snowman", x=0.27, y=0.86, size=0.55, individual=2), Thing("owl", x=0.68, y=0.88, size=0.5, individual=2)
    teapot = Thing("teapot", "yellow", x=0.44, y=0.86, size=0.46, individual=4)
    green, red = (Thing("apple", colour, y=0.86, size=0.52) for colour in ("green", "red"))
    robot = Thing("robot", "green", x=0.62, y=0.88, size=0.52, individual=1)
    return {
        "graft_car_on_beach": lambda: with_shadow(Scene("shore", things=(car,), texture=3)),
        "graft_house": lambda: with_object(Scene("meadow", things=(house,), texture=8)),
        "graft_mushroom": lambda: with_object(Scene("meadow", things=(mushroom, rabbit), texture=1)),
        "graft_ink_meadow": lambda: box_of(Scene("meadow", "ink drawing", things=(snowman,), texture=5), owl),
        "graft_owl": lambda: with_object(Scene("meadow", things=(owl,), texture=2), CLOSE),
        "graft_night": lambda: box_of(Scene("meadow", light="night", texture=7), teapot),
        "graft_teapot": lambda: with_object(Scene("sand", things=(teapot,), texture=2), CLOSE),
        "graft_green_apple": lambda: with_object(Scene("snow", things=(green,), texture=4)),
        "graft_red_apple": lambda: with_object(Scene("meadow", things=(red,), texture=6), CLOSE),
        "graft_pasted_robot": lambda: pasted(Scene("snow", "ink drawing", things=(robot,)), Scene("meadow", texture=6)),
    }


def with_object(scene, margin: int = MARGIN) -> Example:
    """A scene, painted over its first thing."""
    drawn = _render(scene)
    return drawn.picture, _grown(drawn.objects[0], margin)


def with_shadow(scene) -> Example:
    """A scene, painted over its first thing and the thing's shadow."""
    drawn = _render(scene)
    return drawn.picture, _grown(np.maximum(drawn.objects[0], drawn.shadows[0]), MARGIN)


def box_of(scene, thing) -> Example:
    """A scene, painted where another thing would stand."""
    mask = _render(scene.with_thing(thing)).objects[-1] > 0.5
    rows, columns = np.where(mask.any(1))[0], np.where(mask.any(0))[0]
    painted = np.zeros_like(mask)
    painted[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    return _render(scene).picture, painted


def pasted(foreign, scene) -> Example:
    """A scene with the first thing of a `foreign` one in it, nothing painted."""
    other = _render(foreign)
    part = other.objects[0][..., None]
    return (1 - part) * _render(scene).picture + part * other.picture, None


def _render(scene):
    from graft.miniature.scenes.rendering import render

    return render(scene, WIDTH, HEIGHT)


def _grown(mask: np.ndarray, margin: int) -> np.ndarray:
    return ndimage.maximum_filter(mask > 0.5, 2 * margin + 1)


def as_png(colours: np.ndarray, painted: np.ndarray | None) -> Image.Image:
    """A picture, transparent where it is painted."""
    layers = [np.uint8(255 * colours + 0.5)]
    if painted is not None:
        layers.append(np.uint8(255 * ~painted[..., None]))
    return Image.fromarray(np.concatenate(layers, axis=-1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=FOLDER)
    options = parser.parse_args()
    pack.load_pack()
    options.output.mkdir(exist_ok=True)
    for name, draw in pictures().items():
        path = options.output / f"{name}.png"
        as_png(*draw()).save(path, optimize=True)
        print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
