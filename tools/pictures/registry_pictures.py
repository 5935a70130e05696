"""Draw the pack's icon and banner for the Comfy registry: docs/icon.png and docs/banner.png.

    python tools registry_pictures

One scene of the drawn world, grafted together out of its styles.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hosting import pack
from PIL import Image

FOLDER = pack.ROOT / "docs"
SLANT = 0.25
"""How far a seam leans, as a share of the picture's height."""
FINER = 2
"""Times as large as the picture is drawn."""


def icon() -> Image.Image:
    """A tree on a meadow, 400 pixels square, its right half in another style."""
    from graft.miniature.scenes.scene import Scene, Thing

    tree = Thing("tree", x=0.5, y=0.93, size=0.86, individual=3)
    return grafted(Scene("meadow", things=(tree,), texture=2), 400, 400, ("watercolour", "3-D render"))


def banner() -> Image.Image:
    """A shore with things of all kinds, 1260 x 540, in all four styles from left to right."""
    from graft.miniature.scenes.scene import STYLES, Scene, Thing

    things = (
        Thing("sailboat", "red", x=0.14, y=0.66, size=0.46, individual=2),
        Thing("tree", x=0.37, y=0.78, size=0.66, individual=3),
        Thing("house", "yellow", x=0.62, y=0.8, size=0.6, individual=1),
        Thing("penguin", x=0.25, y=0.94, size=0.36, individual=4),
        Thing("teapot", "blue", x=0.5, y=0.95, size=0.26, individual=5),
        Thing("balloon", "purple", x=0.8, y=0.62, size=0.5, individual=1),
        Thing("rabbit", x=0.9, y=0.95, size=0.4, mirrored=True, individual=6),
    )
    return grafted(Scene("meadow", things=things, texture=5), 1260, 540, (STYLES[3], STYLES[1], STYLES[2], STYLES[0]))


def grafted(scene, width: int, height: int, styles: tuple[str, ...]) -> Image.Image:
    """A scene whose styles follow one another from left to right, with leaning seams between them."""
    from graft.miniature.scenes.rendering import render

    y, x = np.mgrid[0 : FINER * height, 0 : FINER * width] / FINER
    place = (x + SLANT * (y - height / 2)) / width * len(styles)
    which = np.clip(place.astype(int), 0, len(styles) - 1)[..., None]
    drawn = np.zeros((FINER * height, FINER * width, 3))
    for number, style in enumerate(styles):
        drawn = np.where(which == number, render(scene.restyled(style), FINER * width, FINER * height).picture, drawn)
    return Image.fromarray(np.uint8(np.clip(drawn, 0, 1) * 255 + 0.5)).resize((width, height), Image.Resampling.LANCZOS)


def main(folder: Path = FOLDER) -> None:
    pack.load_pack()
    for name, draw in (("icon", icon), ("banner", banner)):
        draw().quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=1).save(folder / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
