"""The second drawn world: faces with known attributes, for models of pixels. numpy only.

A `Face` says everything about a picture; `render` is a pure function of it. Attributes are of two kinds, those of shape
and content and those of colour: InjectFusion takes the first from one picture and the second from another.

Faces are drawn in a plane of their own: u to the right and v downwards, the head about 1.2 wide and 1.5 high around (0, 0).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

Jaw = Literal["round", "square", "pointed", "long"]
Nose = Literal["button", "long", "broad"]
Eyes = Literal["round", "narrow", "closed"]
Expression = Literal["happy", "calm", "surprised", "sad"]
Glasses = Literal["none", "round", "square"]
Skin = Literal["light", "tan", "brown", "deep"]
Hair = Literal["black", "ginger", "blond", "blue"]
Makeup = Literal["none", "red", "violet", "teal"]
Background = Literal["mint", "rose", "sand", "night"]

CONTENT = {
    "jaw": get_args(Jaw),
    "nose": get_args(Nose),
    "eyes": get_args(Eyes),
    "expression": get_args(Expression),
    "glasses": get_args(Glasses),
}
"""Attributes of shape and content, with their values."""
COLOURS = {"skin": get_args(Skin), "hair": get_args(Hair), "makeup": get_args(Makeup), "background": get_args(Background)}
"""Attributes of colour, with their values."""
ATTRIBUTES: dict[str, tuple[str, ...]] = {**CONTENT, **COLOURS}

SKIN_COLOUR = {"light": (0.98, 0.83, 0.73), "tan": (0.90, 0.67, 0.48), "brown": (0.66, 0.43, 0.29), "deep": (0.40, 0.25, 0.18)}
HAIR_COLOUR = {"black": (0.11, 0.10, 0.13), "ginger": (0.74, 0.30, 0.11), "blond": (0.95, 0.79, 0.40), "blue": (0.22, 0.38, 0.78)}
MAKEUP_COLOUR = {"red": (0.86, 0.10, 0.20), "violet": (0.58, 0.18, 0.74), "teal": (0.03, 0.60, 0.60)}
BACKDROP_COLOUR = {"mint": (0.66, 0.88, 0.78), "rose": (0.96, 0.70, 0.72), "sand": (0.94, 0.85, 0.66), "night": (0.25, 0.27, 0.45)}
WHITE, INK, SHIRT = (0.99, 0.98, 0.96), (0.10, 0.08, 0.11), (0.90, 0.91, 0.94)

JAW_SHAPE = {"round": (0.62, 2.0, 0.64), "square": (0.56, 4.6, 0.70), "pointed": (0.60, 1.35, 0.84), "long": (0.46, 2.5, 0.90)}
"""Half the head's width, the exponent of the ellipse below the cheeks, and how far it reaches down."""

EYE_AT, BROW_AT, NOSE_AT, MOUTH_AT = (0.235, -0.03), -0.25, 0.16, 0.42


@dataclass(frozen=True)
class Pose:
    """What no attribute says. (`x`, `y`) is the head's middle and `size` its scale, in parts of the picture's side; `turn` in
    [-1, 1] looks left or right, `tilt` is in degrees, `length` of the hair in [0, 1]; `tones` in [-1, 1] vary skin, hair,
    make-up and background."""

    x: float = 0.5
    y: float = 0.5
    size: float = 0.5
    turn: float = 0.0
    tilt: float = 0.0
    length: float = 0.5
    tones: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Face:
    """A portrait."""

    jaw: Jaw = "round"
    nose: Nose = "button"
    eyes: Eyes = "round"
    expression: Expression = "happy"
    glasses: Glasses = "none"
    skin: Skin = "light"
    hair: Hair = "black"
    makeup: Makeup = "none"
    background: Background = "mint"
    pose: Pose = field(default_factory=Pose)


def sample_pose(rng: np.random.Generator) -> Pose:
    return Pose(
        x=float(rng.uniform(0.47, 0.53)),
        y=float(rng.uniform(0.48, 0.52)),
        size=float(rng.uniform(0.47, 0.52)),
        turn=float(rng.uniform(-1, 1)),
        tilt=float(rng.uniform(-5, 5)),
        length=float(rng.uniform(0, 1)),
        tones=tuple(rng.uniform(-1, 1, 4).tolist()),
    )


def sample_face(rng: np.random.Generator) -> Face:
    """A random face: every value of an attribute as likely as the others."""
    return Face(**{name: values[rng.integers(len(values))] for name, values in ATTRIBUTES.items()}, pose=sample_pose(rng))


def render(face: Face, side: int = 64, supersampling: int = 2) -> np.ndarray:
    """(side, side, 3) in [0, 1], anti-aliased."""
    painter = _Painter(face, side * supersampling)
    for layer in (_backdrop, _behind, _head, _nose, _eyes, _mouth, _fringe, _glasses):
        layer(painter, face)
    fine = painter.canvas.reshape(side, supersampling, side, supersampling, 3)
    return np.clip(fine.mean(axis=(1, 3)), 0, 1).astype(np.float32)


class _Painter:
    """A canvas and its coordinates: `u`, `v` of the head, `fu`, `fv` of the features, which a turn moves across it."""

    def __init__(self, face: Face, side: int) -> None:
        pose = face.pose
        y, x = np.meshgrid(*[(np.arange(side, dtype=np.float32) + 0.5) / side] * 2, indexing="ij")
        self.x, self.y, self.canvas = x, y, np.zeros((side, side, 3), np.float32)
        across, down, angle = (x - pose.x) / pose.size, (y - pose.y) / pose.size, np.deg2rad(pose.tilt)
        self.u = np.cos(angle) * across + np.sin(angle) * down
        self.v = np.cos(angle) * down - np.sin(angle) * across
        self.fu, self.fv = self.u - 0.07 * pose.turn, self.v
        skin, hair, makeup, _ = pose.tones
        self.skin = _toned(SKIN_COLOUR[face.skin], 0.05 * skin)
        self.hair = _toned(HAIR_COLOUR[face.hair], 0.10 * hair)
        self.makeup = None if face.makeup == "none" else _toned(MAKEUP_COLOUR[face.makeup], 0.07 * makeup)

    def fill(self, level: np.ndarray, colour, opacity: float = 1.0, within: np.ndarray | None = None) -> np.ndarray:
        """Paints where `level` is below 0, half a pixel soft at its edge; returns the coverage."""
        slope = np.hypot(*np.gradient(level))
        covered = np.clip(0.5 - level / np.maximum(slope, 1e-6), 0, 1)
        covered = covered if within is None else covered * within
        self.blend(opacity * covered, colour)
        return covered

    def blend(self, amount: np.ndarray, colour) -> None:
        self.canvas += amount[..., None] * (np.asarray(colour, np.float32) - self.canvas)


def _toned(colour, amount: float) -> np.ndarray:
    return np.clip(np.asarray(colour, np.float32) * (1 + amount), 0, 1)


def _mixed(one, other, share: float) -> np.ndarray:
    return np.asarray(one, np.float32) * (1 - share) + np.asarray(other, np.float32) * share


def _ellipse(u, v, at: tuple[float, float], radii: tuple[float, float], exponent: float = 2.0) -> np.ndarray:
    """Below 0 inside of a superellipse; its level grows about evenly with the distance."""
    across, down = np.abs(u - at[0]) / radii[0], np.abs(v - at[1]) / radii[1]
    return (across**exponent + down**exponent) ** (1 / exponent) - 1


def _stroke(u, v, start: float, end: float, curve, width: float) -> np.ndarray:
    """Below 0 along the graph of `curve` over u in [start, end], with round ends; levels are distances, about."""
    inside = np.clip(u, start, end)
    slope = (curve(inside + 1e-3) - curve(inside - 1e-3)) / 2e-3
    return np.hypot(u - inside, (v - curve(inside)) / np.sqrt(1 + slope**2)) - width / 2


def _soft(u, v, at: tuple[float, float], radii: tuple[float, float]) -> np.ndarray:
    return np.exp(-(((u - at[0]) / radii[0]) ** 2) - ((v - at[1]) / radii[1]) ** 2)


def _skull(face: Face, u, v, grown: float = 0.0) -> np.ndarray:
    width, exponent, chin = JAW_SHAPE[face.jaw]
    crown = _ellipse(u, v, (0, 0), (width + grown, 0.72 + grown))
    return np.where(v < 0, crown, _ellipse(u, v, (0, 0), (width + grown, chin + grown), exponent))


def _backdrop(painter: _Painter, face: Face) -> None:
    colour = _toned(BACKDROP_COLOUR[face.background], 0.05 * face.pose.tones[3])
    glow = _soft(painter.x, painter.y, (0.36, 0.28), (0.62, 0.62))[..., None]
    painter.canvas[:] = colour * (0.86 + 0.20 * glow)


def _behind(painter: _Painter, face: Face) -> None:
    """Hair behind the head, shoulders, neck and ears."""
    u, v, width = painter.u, painter.v, JAW_SHAPE[face.jaw][0]
    reach = 0.28 + 0.55 * face.pose.length
    dark = 0.72 * painter.hair
    painter.fill(np.maximum(_ellipse(u, v, (0, 0.02), (width + 0.15, 0.94), 2.3), (v - reach) / 0.9), dark)
    painter.fill(_ellipse(u, v, (0, 1.42), (0.88, 0.60), 2.6), SHIRT)
    painter.fill(_ellipse(u, v, (0, 0.86), (0.22, 0.42), 4), 0.80 * painter.skin)
    painter.fill(_ellipse(u, v, (0, 1.06), (0.27, 0.15), 2), 0.80 * painter.skin)
    for side in (-1, 1):
        painter.fill(_ellipse(u, v, (side * width, 0.04), (0.09, 0.15)), 0.88 * painter.skin)


def _head(painter: _Painter, face: Face) -> None:
    u, v = painter.u, painter.v
    level = _skull(face, u, v)
    head = painter.fill(level, painter.skin)
    painter.blend(0.30 * head * np.clip((u + 0.6 * v) * 0.7, 0, 1), 0.55 * painter.skin)
    painter.blend(0.35 * head * np.clip(1 + level / 0.25, 0, 1) ** 2, 0.62 * painter.skin)
    painter.blend(0.30 * head * _soft(u, v, (-0.18, -0.28), (0.34, 0.30)), WHITE)
    blush, strength = (_mixed(painter.skin, (0.88, 0.30, 0.28), 0.5), 0.35) if painter.makeup is None else (painter.makeup, 0.60)
    for side in (-1, 1):
        painter.blend(strength * head * _soft(painter.fu, painter.fv, (side * 0.36, 0.24), (0.13, 0.10)), blush)


def _nose(painter: _Painter, face: Face) -> None:
    u, v, shade = painter.fu, painter.fv, _mixed(0.66 * painter.skin, (0.70, 0.25, 0.20), 0.12)
    light = _mixed(painter.skin, WHITE, 0.55)
    if face.nose == "button":
        painter.fill(_ellipse(u, v, (0.01, NOSE_AT), (0.075, 0.065)), shade)
        painter.fill(_ellipse(u, v, (-0.01, NOSE_AT - 0.02), (0.055, 0.045)), light, 0.8)
    elif face.nose == "long":
        painter.fill(np.maximum(np.abs(u - 0.025) - 0.035 - 0.12 * (v + 0.14), np.abs(v - 0.06) - 0.20), shade)
        painter.fill(np.maximum(np.abs(u + 0.015) - 0.022 - 0.05 * (v + 0.14), np.abs(v - 0.05) - 0.19), light, 0.8)
    else:
        painter.fill(_ellipse(u, v, (0, NOSE_AT + 0.03), (0.19, 0.075), 2.2), shade)
        painter.fill(_ellipse(u, v, (-0.01, NOSE_AT), (0.10, 0.055)), light, 0.8)
        for side in (-1, 1):
            painter.fill(_ellipse(u, v, (side * 0.085, NOSE_AT + 0.06), (0.042, 0.028)), 0.35 * painter.skin)


def _eyes(painter: _Painter, face: Face) -> None:
    raised = {"happy": 0.0, "calm": 0.02, "surprised": -0.09, "sad": -0.01}[face.expression]
    slant = {"happy": 0.10, "calm": 0.0, "surprised": 0.10, "sad": 0.42}[face.expression]
    for side in (-1, 1):
        u, v, (at_u, at_v) = painter.fu * side, painter.fv, EYE_AT
        if painter.makeup is not None:
            painter.blend(0.80 * _soft(u, v, (at_u, at_v - 0.06), (0.17, 0.11)), painter.makeup)
        if face.eyes == "closed":
            lid = _stroke(u, v, at_u - 0.12, at_u + 0.12, lambda t: at_v + 0.06 - 5.5 * (t - EYE_AT[0]) ** 2, 0.055)  # noqa: B023
            painter.fill(lid, INK)
        else:
            radii = (0.135, 0.145) if face.eyes == "round" else (0.165, 0.062)
            ball = painter.fill(_ellipse(u, v, (at_u, at_v), radii), WHITE)
            look = at_u + side * 0.02 * face.pose.turn
            painter.fill(_ellipse(u, v, (look, at_v), (0.082, 0.088)), (0.20, 0.13, 0.10), within=ball)
            painter.fill(_ellipse(u, v, (look - side * 0.028, at_v - 0.03), (0.030, 0.030)), WHITE, within=ball)
            lid = _stroke(u, v, at_u - radii[0], at_u + radii[0], lambda t: at_v - radii[1] * (1 - ((t - EYE_AT[0]) / 0.18) ** 2), 0.045)  # noqa: B023
            painter.fill(lid, INK)
        brow = _stroke(
            u, v, at_u - 0.14, at_u + 0.14, lambda t: BROW_AT + raised + slant * (t - EYE_AT[0]) + 2.0 * (t - EYE_AT[0]) ** 2, 0.06
        )
        painter.fill(brow, 0.62 * painter.hair)


def _mouth(painter: _Painter, face: Face) -> None:
    u, v = painter.fu, painter.fv - MOUTH_AT
    lips = _mixed(0.80 * painter.skin, (0.72, 0.22, 0.24), 0.55) if painter.makeup is None else painter.makeup
    inside = (0.30, 0.05, 0.08)
    if face.expression == "happy":
        painter.fill(np.maximum(_ellipse(u, v, (0, -0.06), (0.27, 0.24)), -0.06 - v), lips)
        mouth = painter.fill(np.maximum(_ellipse(u, v, (0, -0.05), (0.22, 0.17)), -0.03 - v), inside)
        painter.fill(v - 0.03, WHITE, within=mouth)
    elif face.expression == "calm":
        painter.fill(_ellipse(u, v, (0, 0), (0.18, 0.055)), lips)
        painter.fill(_ellipse(u, v, (0, 0), (0.17, 0.012)), 0.45 * lips)
    elif face.expression == "surprised":
        painter.fill(_ellipse(u, v, (0, 0.02), (0.115, 0.145)), lips)
        painter.fill(_ellipse(u, v, (0, 0.02), (0.065, 0.095)), inside)
    else:
        painter.fill(_stroke(u, v, -0.17, 0.17, lambda t: -0.04 + 4.2 * t**2, 0.085), lips)


def _fringe(painter: _Painter, face: Face) -> None:
    """Hair on top of the head, parted at a side."""
    u, v, width = painter.u, painter.v, JAW_SHAPE[face.jaw][0]
    cap = np.where(v < 0, _ellipse(u, v, (0, 0), (width + 0.09, 0.84)), np.abs(u) / (width + 0.09) - 1)
    parting = 0.16 + 0.05 * face.pose.turn
    hairline = v + 0.62 - 0.95 * (u - parting) ** 2 - 0.10 * (u < parting) * np.clip((parting - u) * 4, 0, 1)
    hair = painter.fill(np.maximum(cap, np.maximum(hairline, (v + 0.02) / 0.9)), painter.hair)
    painter.blend(0.40 * hair * _soft(u, v, (-0.22, -0.66), (0.30, 0.07)), _mixed(painter.hair, WHITE, 0.65))
    painter.blend(0.35 * hair * np.clip((u - 0.1) * 1.5, 0, 1), 0.5 * painter.hair)


def _glasses(painter: _Painter, face: Face) -> None:
    if face.glasses == "none":
        return
    u, v, (at_u, at_v) = painter.fu, painter.fv, EYE_AT
    radii, exponent = ((0.205, 0.205), 2.0) if face.glasses == "round" else ((0.215, 0.165), 7.0)
    frame = 0.040
    for side in (-1, 1):
        lens = _ellipse(u, v, (side * at_u, at_v), radii, exponent)
        painter.fill(lens, WHITE, 0.16)
        painter.fill(np.abs(lens) * radii[1] - frame / 2, INK)
    painter.fill(_stroke(u, v, radii[0] - at_u, at_u - radii[0], lambda t: at_v - 0.05 + 0 * t, frame), INK)
    width = JAW_SHAPE[face.jaw][0]
    for side in (-1, 1):
        painter.fill(_stroke(u * side, v, at_u + radii[0], max(width, at_u + radii[0]), lambda t: at_v - 0.03 + 0 * t, frame), INK)
