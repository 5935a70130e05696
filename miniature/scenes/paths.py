"""Outlines: closed paths as (points, 2) arrays of unit coordinates, u to the right and v upwards from the ground."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Path = np.ndarray
Point = tuple[float, float]
STEPS = 10
"""Points per piece of a smooth path: no corner shows at 500 pixels."""

_LEFTWARDS = np.array((-1.0, 1.0))
_HALF_TURN = np.exp(-1j * np.pi * np.linspace(0, 1, 7)[1:-1])
_T = np.linspace(0, 1, STEPS, endpoint=False)[:, None]
_HERMITE = np.stack([2 * _T**3 - 3 * _T**2 + 1, _T**3 - 2 * _T**2 + _T, -2 * _T**3 + 3 * _T**2, _T**3 - _T**2])
_CIRCLE = np.exp(2j * np.pi * np.arange(48) / 48).view(float).reshape(-1, 2)
_QUARTER = np.exp(0.5j * np.pi * np.linspace(0, 1, 9))


def following(path: Path) -> Path:
    """For each point of a ring the next one."""
    return np.concatenate([path[1:], path[:1]])


def ellipse(u: float, v: float, across: float, up: float, tilt: float = 0.0) -> Path:
    """Half-axes `across` and `up`, turned by `tilt` degrees to the left."""
    ring = _CIRCLE * (across, up)
    return (turned(ring, tilt) if tilt else ring) + (u, v)


def smooth(points: Sequence[Point], corners: Sequence[int] = (), tension: float = 0.5) -> Path:
    """A closed curve through `points` (cubic Hermite, Catmull-Rom tangents); it has sharp corners at the numbers in `corners`."""
    p = np.asarray(points, float)
    after = following(p)
    tangents = tension * (after - np.concatenate([p[-1:], p[:-1]]))
    tangents[list(corners)] = 0
    return _hermite(p, after, tangents, following(tangents))


def open_curve(points: Sequence[Point], tension: float = 0.5) -> Path:
    """A smooth curve through `points` from the first to the last."""
    p = np.asarray(points, float)
    padded = np.concatenate([p[:1], p, p[-1:]])
    tangents = tension * (padded[2:] - padded[:-2])
    return np.concatenate([_hermite(p[:-1], p[1:], tangents[:-1], tangents[1:]), p[-1:]])


def _hermite(start: Path, end: Path, leaving: Path, arriving: Path) -> Path:
    a, b, c, d = _HERMITE
    pieces = a * start[:, None] + b * leaving[:, None] + c * end[:, None] + d * arriving[:, None]
    return pieces.reshape(-1, 2)


def ribbon(points: Sequence[Point], widths: Sequence[float] | float) -> Path:
    """A stroke along a smooth curve; `widths` at each of `points`, or one for all. A width of 0 at an end makes it pointed."""
    line = open_curve(points)
    widths = np.full(len(points), widths) if np.isscalar(widths) else np.asarray(widths, float)
    half = 0.5 * np.interp(np.arange(len(line)) / STEPS, np.arange(len(points)), widths)[:, None]
    steps = line[1:] - line[:-1]
    along = np.concatenate([steps[:1], steps[1:] + steps[:-1], steps[-1:]])
    aside = along[:, ::-1] * (half / np.maximum(np.hypot(along[:, :1], along[:, 1:]), 1e-9)) * _LEFTWARDS
    return np.concatenate([_cap(line[0], -aside[0]), line + aside, _cap(line[-1], aside[-1]), (line - aside)[::-1]])


def _cap(middle: np.ndarray, aside: np.ndarray) -> Path:
    """Half a circle that turns from `aside` to its opposite, clockwise about the end of a stroke."""
    turn = _HALF_TURN * complex(aside[0], aside[1])
    return middle + turn.view(float).reshape(-1, 2)


def polygon(points: Sequence[Point], rounding: float = 0.0) -> Path:
    """Straight edges, corners rounded over the length `rounding` of both edges."""
    p = np.asarray(points, float)
    if not rounding:
        return p
    before, after = np.concatenate([p[-1:], p[:-1]]) - p, following(p) - p
    reach = lambda edge: edge * np.minimum(0.5, rounding / np.maximum(np.hypot(edge[:, :1], edge[:, 1:]), 1e-9))  # noqa: E731
    start, end = p + reach(before), p + reach(after)
    t = np.linspace(0, 1, 8)[None, :, None]
    return ((1 - t) ** 2 * start[:, None] + 2 * t * (1 - t) * p[:, None] + t**2 * end[:, None]).reshape(-1, 2)


def box(left: float, bottom: float, right: float, top: float, rounding: float = 0.0) -> Path:
    """An upright rectangle; `rounding` is the radius of its corners."""
    r = min(rounding, (right - left) / 2, (top - bottom) / 2)
    if r <= 0:
        return np.array([(left, bottom), (right, bottom), (right, top), (left, top)], float)
    centres = ((right - r, top - r), (left + r, top - r), (left + r, bottom + r), (right - r, bottom + r))
    arcs = [
        np.array(c) + r * np.stack([q.real, q.imag], axis=1) for c, q in zip(centres, (_QUARTER * 1j**k for k in range(4)), strict=True)
    ]
    return np.concatenate(arcs)


def star(u: float, v: float, radius: float, notch: float, points: int = 5, tilt: float = 0.0, rounding: float = 0.0) -> Path:
    """A star whose first tip points up; `notch` is the inner radius as a part of the outer one."""
    turns = np.pi / 2 + np.pi * np.arange(2 * points) / points
    lengths = radius * np.where(np.arange(2 * points) % 2, notch, 1.0)
    tips = np.stack([lengths * np.cos(turns), lengths * np.sin(turns)], axis=1)
    return moved(turned(polygon(tips, rounding), tilt), u, v)


def moved(path: Path, u: float, v: float) -> Path:
    return path + np.array((u, v))


def turned(path: Path, degrees: float, about: Point = (0.0, 0.0)) -> Path:
    """Turned to the left."""
    angle, about = np.deg2rad(degrees), np.asarray(about)
    cosine, sine = np.cos(angle), np.sin(angle)
    return (path - about) @ np.array(((cosine, sine), (-sine, cosine))) + about


def scaled(path: Path, across: float, up: float | None = None, about: Point = (0.0, 0.0)) -> Path:
    return (path - about) * np.array((across, across if up is None else up)) + about


def mirrored(path: Path, u: float = 0.0) -> Path:
    """Left and right exchanged about the vertical through `u`."""
    return path * np.array((-1.0, 1.0)) + np.array((2 * u, 0.0))


def both(path: Path, u: float = 0.0) -> tuple[Path, Path]:
    """The path and its mirror image."""
    return path, mirrored(path, u)
