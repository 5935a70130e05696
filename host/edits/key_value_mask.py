"""Self-attention that cannot see what a mask covers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from ...attention.masks import Interpolation, resized
from ...attention.self_attention import Attend, Plain, Region
from ..engine.plan import Hook, Place, RunningEdit
from ..engine.windows import Window
from ..errors import GraftError
from ..families.layers import Layers

if TYPE_CHECKING:
    from ..engine.run import Run


@dataclass(frozen=True, eq=False)
class MaskKeysAndValues:
    """FreeCompose's removal: tokens that `mask` (B or 1, H, W) covers by more than `threshold` are dropped from the keys and
    values of the target's positive and negative rows, as if their logits were -inf; every token keeps its query.

    What is under the mask is then painted as its surroundings suggest. On a grid where nothing is left the layer stays plain.
    """

    hooks: ClassVar[frozenset[Hook]] = frozenset({"attn1"})

    mask: Tensor
    window: Window
    layers: Layers
    threshold: float = 0.1
    interpolation: Interpolation = "area"

    def begin(self, run: Run) -> RunningEdit:
        run.require_batch("mask", self.mask)
        require_covers_latent("mask", self.mask, run.shape)
        return RunningMaskKeysAndValues(self, run)


class RunningMaskKeysAndValues(RunningEdit):
    def __init__(self, edit: MaskKeysAndValues, run: Run) -> None:
        self.edit, self.run, self.windows = edit, run, (edit.window,)
        self._regions: dict[tuple[tuple[int, int], int], Region] = {}

    def computes(self, place: Place) -> bool:
        return place.layer in self.edit.layers

    def self_attention(self, place: Place, query: Tensor, key: Tensor, value: Tensor, plain: Plain, attend: Attend) -> Tensor:
        return self._region(place, query).attend(plain, query, key, value, attend)

    def _region(self, place: Place, query: Tensor) -> Region:
        """All queries with the keys that are left."""
        asked = place.grid, len(query)
        if asked not in self._regions:
            shown = resized(self.edit.mask.to(query.device), place.grid, self.edit.interpolation) <= self.edit.threshold
            shown = shown.flatten(1).expand(len(query), -1)
            if not shown.any(dim=1).all():
                self.run.note("mask covers all of a layer's grid; with no key left to see, that layer keeps its own self-attention")
            self._regions[asked] = Region.of(torch.ones_like(shown), shown)
        return self._regions[asked]


def require_covers_latent(name: str, mask: Tensor, shape: torch.Size) -> None:
    """Raises `GraftError` unless a mask (rows, H, W), from the input so named, has the aspect of the pictures whose latents have
    `shape` (B, C, h, w), to the cell that encoding may have cut off."""
    (height, width), (cells_down, cells_across) = mask.shape[1:], shape[-2:]
    if abs(width * cells_down / height - cells_across) > 1 and abs(height * cells_across / width - cells_down) > 1:
        raise GraftError(
            f"{name}: it is {width} x {height} pixels, the latent {cells_across} x {cells_down} cells, which is another aspect; "
            "paint the mask on the picture itself, or scale it to the picture's size"
        )
