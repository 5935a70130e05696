"""What masks painted on pictures have to be, wherever they are looked at: of the picture's aspect, and there on a layer's grid."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Generic, TypeVar

import torch
from torch import Tensor

from ..errors import GraftError

Grid = tuple[int, int]
"""Height and width, in cells of a latent or tokens of a layer."""
Found = TypeVar("Found")


class PerGrid(Generic[Found]):
    """What is made of masks on a layer's grid: once for all layers that have it and all steps, until the masks are of another `version`.
    Making it may wait for the device; looking it up does not."""

    def __init__(self) -> None:
        self._found: dict[Hashable, Found] = {}
        self._version: Hashable = None

    def of(self, asked: Hashable, make: Callable[[], Found], version: Hashable = None) -> Found:
        """What `make` gives for `asked`: the grid, and what else it depends on."""
        if version != self._version:
            self._found, self._version = {}, version
        if asked not in self._found:
            self._found[asked] = make()
        return self._found[asked]


def require_aspect(name: str, mask: Tensor, shape: torch.Size) -> None:
    """Raises `GraftError` unless a mask (rows, H, W), from the input so named, has the aspect of the pictures whose latents have
    `shape` (B, C, h, w), to the cell that encoding may have cut off."""
    (height, width), (cells_down, cells_across) = mask.shape[1:], shape[-2:]
    if abs(width * cells_down / height - cells_across) > 1 and abs(height * cells_across / width - cells_down) > 1:
        raise GraftError(
            f"{name}: it is {width} x {height} pixels, the latent {cells_across} x {cells_down} cells, which is another aspect; "
            "paint the mask on the picture itself, or scale it to the picture's size"
        )


def require_of(name: str, mask: Tensor | None, latent: Tensor, latent_name: str) -> None:
    """Raises `GraftError` unless a mask (rows, H, W), from the input `name`, is one for all pictures of a `latent` (B, C, h, w), or one for
    each, and of their aspect."""
    if mask is None:
        return
    if len(mask) not in (1, len(latent)):
        raise GraftError(f"{name}: it holds {len(mask)}, the {latent_name} {len(latent)} pictures; they must agree, or {name} hold one")
    require_aspect(name, mask, latent.shape)


def require_held(name: str, held: Mapping[Grid, Tensor]) -> list[Grid]:
    """The grids on which one of the masks that came through the input `name` is too small to be there, of those on which it is
    looked at: `held` (rows, N) says which of a grid's cells are a mask's, bool. Raises `GraftError` if one is on none of them."""
    lost = {grid: ~cells.flatten(1).any(dim=1) for grid, cells in held.items()}
    if lost and bool(torch.stack(list(lost.values())).all(dim=0).any()):
        height, width = max(lost)
        raise GraftError(
            f"{name}: what it shows is too small for the {width} x {height} cells on which it is looked at, the finest there are; "
            "make it larger, or lower the threshold if there is one"
        )
    return [grid for grid, rows in lost.items() if bool(rows.any())]
