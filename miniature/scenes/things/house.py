"""A house."""

from __future__ import annotations

import numpy as np

from ..parts import MAIN, MAIN_DARK, WHITE, Drawing, Individual, Part, Volume, part
from ..paths import box, ellipse, polygon, ribbon

FRONT, SIDE, ROOF = Volume(0.0, facing=(-0.22, 0.05)), Volume(0.0, facing=(0.62, 0.0)), Volume(0.0, facing=(0.18, 0.52))
"""The faces of a house that stands at an angle."""


def house(it: Individual) -> Drawing:
    eave, ridge, corner = it.between(0.42, 0.48), it.between(0.78, 0.86), it.between(0.02, 0.08)
    middle = (corner - 0.44) / 2
    gable = polygon([(-0.44, 0.015), (-0.44, eave), (middle, ridge), (corner, eave), (corner, 0.0)])
    flank = polygon([(corner, 0.0), (corner, eave), (0.45, eave), (0.45, 0.03)])
    roof = polygon([(middle - 0.005, ridge + 0.03), (0.255, ridge + 0.01), (0.495, eave - 0.035), (corner - 0.005, eave - 0.035)])
    edge = polygon(
        [
            (-0.49, eave - 0.035),
            (middle, ridge + 0.035),
            (corner + 0.02, eave - 0.035),
            (corner - 0.03, eave - 0.05),
            (middle, ridge - 0.045),
            (-0.455, eave - 0.065),
        ]
    )
    chimney = it.between(0.10, 0.2)
    door, high = middle + it.one_of(-0.11, 0.0, 0.10), it.between(0.24, 0.29)
    tiles = []
    for k in (1, 2, 3):
        t = k / 4
        left, right, v = middle + t * (corner - middle), 0.255 + t * 0.24, ridge + 0.02 + t * (eave - ridge - 0.05)
        tiles.append(ribbon([(left + 0.01, v), (right - 0.01, v - 0.005)], 0.008))
    boards = tuple(box(-0.5, v, corner, v + 0.005) for v in np.arange(0.11, ridge, 0.062))
    windows: list[Part] = []
    for name, u, v, w, h in (
        ("attic", middle, eave + 0.10, 0.045, 0.052),
        ("near", (middle + 0.13) if door <= middle else (middle - 0.13), 0.255, 0.06, 0.07),
    ):
        windows += _window(name, u, v, w, h, FRONT)
    for number, u in enumerate((corner + 0.125, corner + 0.29)):
        windows += _window(f"side {number}", u, 0.26, 0.048, 0.07, SIDE)
    parts = [
        part("chimney", box(chimney, 0.6, chimney + 0.10, ridge + 0.11), "brick", volume=FRONT, ink=0.1),
        part("chimney's top", box(chimney - 0.015, ridge + 0.10, chimney + 0.115, ridge + 0.14, 0.01), "brick", lift=0.2, ink=0.5),
        part("flank", flank, MAIN, volume=SIDE, gloss=0),
        part("gable", gable, MAIN, volume=FRONT, gloss=0),
        part("boards", boards, MAIN_DARK, on="gable", line=0, ink=0.9),
        part("footing", (polygon([(-0.44, 0.01), (corner, 0.0), (corner, 0.045), (-0.44, 0.055)]), polygon([(corner, 0.0), (0.45, 0.03), (0.45, 0.07), (corner, 0.045)])), "stone", volume=FRONT, lift=0, gloss=0, line=0.5, ink=0.2),
        *windows,
        part("door frame", box(door - 0.075, 0.012, door + 0.075, high + 0.02, 0.02), "white", volume=FRONT, lift=0.1, gloss=0, line=0.6),
        part("door", box(door - 0.058, 0.012, door + 0.058, high, 0.015), "wood", volume=FRONT, lift=0, gloss=0.1, line=0.6, ink=0.42),
        part("knob", ellipse(door + 0.035, 0.13, 0.010, 0.010), "lamp", lift=0, gloss=0.8, line=0, ink=0),
        part("roof", roof, "roof", volume=ROOF, gloss=0, lift=0.45, ink=0.18),
        part("tiles", tuple(tiles), "dark roof", on="roof", line=0, ink=1),
        part("gable's edge", edge, "white", volume=ROOF, gloss=0, lift=0.4, line=0.8, ink=0),
    ]  # fmt: skip
    if it.chance(0.35):
        puffs = tuple(
            ellipse(chimney + 0.05 + du, min(ridge + 0.11 + dv, 0.955), r, r) for du, dv, r in ((0.02, 0.065, 0.025), (0.06, 0.10, 0.033))
        )
        parts.insert(0, part("smoke", puffs, "smoke", gloss=0, lift=0, line=0.6, ink=0))
    roof_colour = it.one_of((0.36, 0.26, 0.24), (0.30, 0.31, 0.36), (0.46, 0.30, 0.22))
    palette = {
        "brick": (0.60, 0.34, 0.27),
        "stone": (0.58, 0.56, 0.54),
        "roof": roof_colour,
        "dark roof": tuple(0.7 * c for c in roof_colour),
        "white": WHITE,
        "wood": it.one_of((0.46, 0.29, 0.17), (0.24, 0.34, 0.36), (0.56, 0.24, 0.18)),
        "glass": (0.32, 0.46, 0.56),
        "sky": (0.76, 0.89, 0.95),
        "lamp": (0.98, 0.86, 0.48),
        "smoke": (0.90, 0.90, 0.92),
    }
    return Drawing(tuple(parts), palette)


def _window(name: str, u: float, v: float, across: float, up: float, face: Volume) -> list[Part]:
    """A framed window with its cross."""
    cross = (box(u - 0.006, v - up, u + 0.006, v + up), box(u - across, v - 0.006, u + across, v + 0.006))
    return [
        part(
            f"{name} frame",
            box(u - across - 0.014, v - up - 0.014, u + across + 0.014, v + up + 0.014),
            "white",
            volume=face,
            lift=0.08,
            gloss=0,
            line=0.6,
        ),
        part(
            f"{name} panes",
            box(u - across, v - up, u + across, v + up),
            "glass",
            fade="sky",
            volume=face,
            lift=0,
            gloss=0.2,
            line=0.3,
            ink=0.9,
        ),
        part(f"{name} cross", cross, "white", volume=face, lift=0, gloss=0, line=0),
    ]
