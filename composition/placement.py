"""Where a reference picture lies in the main picture, and what that looks like.

TF-ICON (Lu et al., "TF-ICON: Diffusion-Based Training-Free Cross-Domain Image Composition", ICCV 2023, released code). That
code lays the reference in the middle of its canvas and moves it on every token grid, each with its own rounding. Here it lies
on its canvas where it will be in the main picture, so the same token is the same place on every grid.
"""

from __future__ import annotations

import math
from collections.abc import Sequence, Sized
from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate, pad

from ..errors import GraftError

Fit = Literal["object", "whole picture"]
"""What gets the asked place: the reference's object, with a margin around it, or the whole reference with its background."""

Surround = Literal["black", "average colour"]
"""What the canvas shows around the placed reference: black, as in the released code, or the reference's own average colour
around its object, which is less unlike a picture."""

SHOWN = 0.5
"""The value from which a pixel belongs to a mask."""
MARGIN = 0.1
"""What is kept of the reference on each side of its object, as a part of the object's longer side."""


class PlacementError(GraftError):
    """A reference that cannot be placed as asked. The message names the input."""


@dataclass(frozen=True)
class Box:
    """Whole pixels from `top` to `bottom` and from `left` to `right`, the last ones excluded."""

    top: int
    left: int
    bottom: int
    right: int

    @staticmethod
    def around(mask: Tensor, name: str) -> Box:
        """What a mask (H, W), which came through the input `name`, holds. Raises `PlacementError` if that is nothing."""
        rows, columns = ((mask >= SHOWN).any(dim=dim).nonzero() for dim in (1, 0))
        if not len(rows):
            raise PlacementError(
                f"{name}: it is empty: its highest value is {float(mask.max()):.3g}, and what counts begins at {SHOWN}; paint over the place"
            )
        return Box(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def long_side(self) -> int:
        return max(self.height, self.width)

    @property
    def middle(self) -> tuple[float, float]:
        """(x, y)."""
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    def grown(self, margin: int, within: Box) -> Box:
        """`margin` pixels larger on each side, but not beyond `within`."""
        return Box(
            max(self.top - margin, within.top),
            max(self.left - margin, within.left),
            min(self.bottom + margin, within.bottom),
            min(self.right + margin, within.right),
        )


@dataclass(frozen=True)
class Place:
    """The middle (`x`, `y`) and the `long_side` of what is placed, in pixels of the main picture; `rotation` in degrees, clockwise."""

    x: float
    y: float
    long_side: float
    rotation: float = 0.0

    @staticmethod
    def of_fractions(size: tuple[int, int], x: float, y: float, part: float, rotation: float = 0.0) -> Place:
        """In a picture of `size` (H, W): the middle in parts of its width and height, the long side in parts of its shorter side."""
        height, width = size
        return Place(x * width, y * height, part * min(size), rotation)

    @staticmethod
    def of_mask(mask: Tensor, rotation: float = 0.0) -> Place:
        """The middle and the long side of the box around a mask (H, W), as in the released code: of the mask's shape and aspect
        nothing else is used. Raises `PlacementError` if it is empty."""
        box = Box.around(mask, "place")
        return Place(*box.middle, box.long_side, rotation)


@dataclass(frozen=True)
class PlacedReference:
    """A reference where it will be in B main pictures of H x W pixels. R is 1 if one reference, mask and place serve all, else B.

    `canvas` (R, H, W, 3) is the reference alone, in one colour outside the `region` (R, H, W), the rectangle of what was placed of it;
    `object` (R, H, W), nowhere above the region, is its object; `pasted` (B, H, W, 3) the main picture with the object in it.
    Both masks are in [0, 1], soft where an edge crosses pixels.
    """

    canvas: Tensor
    object: Tensor
    region: Tensor
    pasted: Tensor


def place_reference(
    image: Tensor, reference: Tensor, mask: Tensor, places: Sequence[Place], fit: Fit, surround: Surround = "black"
) -> PlacedReference:
    """Lays `reference` (1 or B, h, w, C), whose object is `mask` (1 or B, h, w), over `image` (B, H, W, C) at 1 or B places.

    Colours are in [0, 1]; channels after the third are dropped. The reference keeps its aspect; what falls outside the image
    is cut off. Raises `PlacementError` where batches or sizes disagree or nothing of the object is left.
    """
    image, reference = image[..., :3].float(), reference[..., :3].to(image)
    mask = mask.to(image).clamp(0, 1)
    require_size("reference_mask", mask, "reference", reference)
    for name, given in (("reference", reference), ("reference_mask", mask), ("place", places)):
        require_batch(name, given, len(image))
    rows = max(len(reference), len(mask), len(places))
    laid = [
        _laid(reference[row % len(reference)], mask[row % len(mask)], places[row % len(places)], fit, image.shape[1:3])
        for row in range(rows)
    ]
    colours, object, region = rearrange(torch.stack(laid), "r c h w -> r h w c").split((3, 1, 1), dim=-1)
    # lerp returns either end bit for bit where the mask is 0 or 1.
    pasted = torch.lerp(image, colours.expand_as(image), object)
    around = colours.new_zeros(3) if surround == "black" else _average(colours, region, object)
    return PlacedReference(torch.lerp(around.expand_as(colours), colours, region), object[..., 0], region[..., 0], pasted)


def _average(colours: Tensor, region: Tensor, object: Tensor) -> Tensor:
    """(R, 1, 1, 3): the mean of `colours` (R, H, W, 3) in the `region` around the `object` (R, H, W, 1); in all of it where
    the object leaves nothing."""
    gap = (region - object).clamp(min=0)
    weights = torch.where(gap.sum((1, 2), keepdim=True) > 0, gap, region)
    return (weights * colours).sum((1, 2), keepdim=True) / weights.sum((1, 2), keepdim=True)


def require_size(name: str, given: Tensor, other_name: str, other: Tensor) -> None:
    """Raises `PlacementError` unless two pictures or masks (B, H, W, ...), from the inputs so named, have one size."""
    (height, width), (other_height, other_width) = given.shape[1:3], other.shape[1:3]
    if (height, width) != (other_height, other_width):
        raise PlacementError(
            f"{name}: it is {width} x {height} pixels, the {other_name} {other_width} x {other_height}; "
            f"paint the mask on the {other_name} itself, or scale it to that size"
        )


def require_batch(name: str, given: Sized, pictures: int) -> None:
    """Raises `PlacementError` unless what came through the input so named is one for all pictures, or one for each."""
    if len(given) not in (1, pictures):
        raise PlacementError(f"{name}: it holds {len(given)}, the image {pictures} pictures; they must agree, or {name} hold one")


def _laid(reference: Tensor, mask: Tensor, place: Place, fit: Fit, size: tuple[int, int]) -> Tensor:
    """One `reference` (h, w, 3) with its `mask` (h, w) over a picture of `size` (H, W): (5, H, W), of which three channels are the
    colours, then come the object and the region."""
    whole, object = Box(0, 0, *mask.shape), Box.around(mask, "reference_mask")
    surrounded = object.grown(math.ceil(MARGIN * object.long_side), whole)
    anchor, cut = (object, surrounded) if fit == "object" else (whole, whole)
    scale = place.long_side / anchor.long_side
    height, width = cut.height * scale, cut.width * scale
    if min(height, width) < 1:
        raise PlacementError(
            f"place: the reference would be {width:.3g} x {height:.3g} pixels there, less than one; make the size or the mask's box larger"
        )
    picture = rearrange(torch.cat([reference, mask[..., None]], dim=-1)[cut.top : cut.bottom, cut.left : cut.right], "h w c -> c h w")
    tile = _resized(picture, (round(height), round(width)))
    cover = torch.ones_like(tile[:1])
    if place.rotation % 360:
        # Colours go on beyond the tile's border, so that its slanted edge, where it covers half a pixel, is not darkened.
        tile, cover = _turned(tile, place.rotation, "border"), _turned(cover, place.rotation, "zeros")
    x, y = _middle(place, (cut.middle[0] - anchor.middle[0]) * scale, (cut.middle[1] - anchor.middle[1]) * scale)
    laid = _on_canvas(torch.cat([tile[:3], tile[3:] * cover, cover]), x, y, size)
    if (highest := float(laid[3].max())) < SHOWN:
        raise PlacementError(
            f"place: nothing of the object is left in the picture: its mask is nowhere above {highest:.3g} there, and what counts "
            f"begins at {SHOWN}; move it inwards or make it larger"
        )
    return laid


def _resized(tile: Tensor, size: tuple[int, int]) -> Tensor:
    """(C, h, w) -> (C, *size), in [0, 1]: bicubic, with the filter widened where the picture shrinks, as Pillow does."""
    return interpolate(tile[None], size, mode="bicubic", antialias=True)[0].clamp(0, 1)


def _turned(tile: Tensor, degrees: float, beyond: Literal["border", "zeros"]) -> Tensor:
    """(C, h, w) -> (C, h', w'), in [0, 1]: turned clockwise about its middle, in the smallest box that holds it. `beyond` says what
    the corners of the box show."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    channels, height, width = tile.shape
    # A quarter turn's cosine is not quite 0, and must not cost a pixel.
    turned_height = math.ceil(height * abs(cosine) + width * abs(sine) - 1e-6)
    turned_width = math.ceil(width * abs(cosine) + height * abs(sine) - 1e-6)
    # Where each pixel comes from: turned back, in units of half the tile's sides.
    back = [
        [cosine * turned_width / width, sine * turned_height / width, 0],
        [-sine * turned_width / height, cosine * turned_height / height, 0],
    ]
    grid = affine_grid(tile.new_tensor([back]), [1, channels, turned_height, turned_width], align_corners=False)
    return grid_sample(tile[None], grid, mode="bicubic", padding_mode=beyond, align_corners=False)[0].clamp(0, 1)


def _middle(place: Place, right: float, down: float) -> tuple[float, float]:
    """(x, y): the point that lies `right` and `down` of the place's middle before it is turned."""
    cosine, sine = math.cos(math.radians(place.rotation)), math.sin(math.radians(place.rotation))
    return place.x + cosine * right - sine * down, place.y + sine * right + cosine * down


def _on_canvas(tile: Tensor, x: float, y: float, size: tuple[int, int]) -> Tensor:
    """(C, h, w) -> (C, *size): the tile's middle at (x, y), to the nearest whole pixel; zero around it, cut off at the border."""
    (height, width), (canvas_height, canvas_width) = tile.shape[1:], size
    top, left = math.floor(y - height / 2 + 0.5), math.floor(x - width / 2 + 0.5)
    below, beside = canvas_height - top - height, canvas_width - left - width
    if min(top, below) <= -height or min(left, beside) <= -width:
        raise PlacementError(
            f"place: the reference would lie from x = {left} to {left + width} and y = {top} to {top + height}, "
            f"outside the picture of {canvas_width} x {canvas_height} pixels; move it inwards"
        )
    return pad(tile, (left, beside, top, below))
