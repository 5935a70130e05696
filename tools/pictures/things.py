"""Draw the sheet of all things in all styles: docs/images/things.jpg.

    python tools things

Look at it after every change to a drawing or a style.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from hosting import pack
from PIL import Image

SIDE, ACROSS = 128, 3
"""A picture's side in pixels, and how many things stand side by side, each in all four styles."""


def sheet() -> Image.Image:
    """Each thing in every style, things in the order of the world's list, grounds and lights in turn."""
    from graft.miniature.scenes.rendering import render
    from graft.miniature.scenes.scene import COLOURED, COLOURS, GROUNDS, KINDS, STYLES, Scene, Thing

    lights = ("day", "day", "evening", "day", "night")
    rows = -(-len(KINDS) // ACROSS)
    whole = Image.new("RGB", (ACROSS * len(STYLES) * SIDE, rows * SIDE))
    for number, kind in enumerate(KINDS):
        colour = COLOURS[(number * 5) % len(COLOURS)] if kind in COLOURED else None
        thing = Thing(kind, colour, x=0.46, y=0.93, size=0.78, mirrored=number % 2 == 1, individual=number)
        scene = Scene(GROUNDS[(number + number // 5) % len(GROUNDS)], light=lights[number % len(lights)], things=(thing,), texture=number)
        row, column = divmod(number, ACROSS)
        for place, style in enumerate(STYLES):
            picture = render(scene.restyled(style), SIDE).picture
            whole.paste(Image.fromarray(np.rint(picture * 255).astype(np.uint8)), ((column * len(STYLES) + place) * SIDE, row * SIDE))
    return whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=pack.ROOT / "docs" / "images" / "things.jpg")
    out = parser.parse_args().out
    pack.load_pack()
    sheet().save(out, quality=76, optimize=True)


if __name__ == "__main__":
    main()
