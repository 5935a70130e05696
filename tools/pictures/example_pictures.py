"""Draw the pictures that the templates open with, with what is painted on them: scenes of the miniature's world, in pictures/.

    python tools example_pictures --comfyui PATH

A PNG's transparent part is what Load Image takes for painted.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from hosting import pack
from PIL import Image
from scipy import ndimage

FOLDER = pack.ROOT / "pictures"
WIDTH, HEIGHT, TOP = 768, 512, 216
"""A square scene, WIDTH pixels wide, of which the rows from TOP on are shown."""
HORIZON = (TOP + 0.35 * HEIGHT) / WIDTH
"""Part of the square at which the horizon is as high in what is shown as in the pictures that the miniature knows."""
MARGIN = 6
"""Pixels around an object that are painted with it where it is to change."""


def pictures() -> dict[str, Callable[[], tuple[np.ndarray, np.ndarray | None]]]:
    """Colours (WIDTH, WIDTH, 3) and what is painted (WIDTH, WIDTH), by name of the file. The pack must be loaded."""
    from graft.miniature.world import Scene, Thing

    def scene(ground: str, style: str = "photo", things: tuple[Thing, ...] = (), texture: int = 0) -> Scene:
        return Scene(ground, style, things, HORIZON, texture)

    cube, ball = Thing("cube", "blue", x=0.4, y=0.78, size=0.115), Thing("ball", "red", x=0.35, y=0.8, size=0.11)
    cone, other = Thing("cone", "blue", x=0.45, y=0.8, size=0.11), Thing("cube", "yellow", x=0.72, y=0.76, size=0.1)
    place = Thing("ball", "red", x=0.3, y=0.8, size=0.115)
    return {
        "graft_cube_on_sand": lambda: with_shadow(scene("sand", things=(cube,), texture=3)),
        "graft_cube_on_grass": lambda: with_object(scene("grass", things=(Thing("cube", "yellow", x=0.5, y=0.78, size=0.115),), texture=1)),
        "graft_ball_on_snow": lambda: with_object(scene("snow", things=(ball, other))),
        "graft_drawing": lambda: box_of(scene("grass", "drawing", (other, place)), scene("grass", "drawing", (other,))),
        "graft_red_ball": lambda: with_object(scene("sand", things=(Thing("ball", "red", x=0.5, y=0.8, size=0.14),)), MARGIN // 6),
        "graft_meadow": lambda: box_of(scene("grass", things=(cone,), texture=1), scene("grass", texture=1)),
        "graft_drawn_cone": lambda: with_object(scene("grass", "drawing", (Thing("cone", "blue", x=0.5, y=0.8, size=0.14),)), MARGIN // 6),
        "graft_green_ball": lambda: with_object(scene("snow", things=(Thing("ball", "green", x=0.4, y=0.78, size=0.115),))),
        "graft_red_cube": lambda: with_object(scene("night", things=(Thing("cube", "red", x=0.4, y=0.78, size=0.115),)), MARGIN // 6),
        "graft_pasted_ball": lambda: pasted(scene("grass", "drawing", (place,)), scene("grass")),
    }


def with_object(scene, margin: int = MARGIN) -> tuple[np.ndarray, np.ndarray]:
    """A scene, painted over its first thing."""
    drawn = _render(scene)
    return drawn.picture, _grown(drawn.objects[0], margin)


def with_shadow(scene) -> tuple[np.ndarray, np.ndarray]:
    """A scene, painted over its first thing and the thing's shadow."""
    drawn = _render(scene)
    return drawn.picture, _grown(np.maximum(drawn.objects[0], drawn.shadows[0]), MARGIN)


def box_of(full, empty) -> tuple[np.ndarray, np.ndarray]:
    """An `empty` scene, painted where the last thing of the `full` one would stand."""
    mask = _render(full).objects[-1] > 0.5
    rows, columns = np.where(mask.any(1))[0], np.where(mask.any(0))[0]
    painted = np.zeros_like(mask)
    painted[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    return _render(empty).picture, painted


def pasted(foreign, scene) -> tuple[np.ndarray, None]:
    """A scene with the first thing of a `foreign` one in it, nothing painted."""
    other = _render(foreign)
    part = other.objects[0][..., None]
    return (1 - part) * _render(scene).picture + part * other.picture, None


def _render(scene):
    from graft.miniature.drawing import render

    return render(scene, WIDTH, supersampling=2)


def _grown(mask: np.ndarray, margin: int) -> np.ndarray:
    return ndimage.maximum_filter(mask > 0.5, 2 * margin + 1)


def as_png(colours: np.ndarray, painted: np.ndarray | None) -> Image.Image:
    """The rows of a scene that are shown, transparent where it is painted."""
    rows = slice(TOP, TOP + HEIGHT)
    layers = [np.uint8(255 * colours[rows] + 0.5)]
    if painted is not None:
        layers.append(np.uint8(255 * ~painted[rows, :, None]))
    return Image.fromarray(np.concatenate(layers, axis=-1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = os.environ.get("COMFYUI_PATH")
    parser.add_argument("--comfyui", default=known, required=not known, help="ComfyUI's folder (default: COMFYUI_PATH)")
    parser.add_argument("--output", type=Path, default=FOLDER)
    options = parser.parse_args()
    pack.load_host(options.comfyui, cpu=True)
    pack.load_pack()
    options.output.mkdir(exist_ok=True)
    for name, draw in pictures().items():
        path = options.output / f"{name}.png"
        as_png(*draw()).save(path, optimize=True)
        print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
