"""The four styles: each a `Painter` that turns the same parts into paint of its own kind."""

from __future__ import annotations

from ..scene import Style
from .base import Painter, Sheet
from .flat import Flat
from .ink import Ink
from .solid import Solid
from .watercolour import Watercolour

PAINTERS: dict[Style, type[Painter]] = {
    "3-D render": Solid,
    "flat illustration": Flat,
    "ink drawing": Ink,
    "watercolour": Watercolour,
}

__all__ = ["PAINTERS", "Painter", "Sheet"]
