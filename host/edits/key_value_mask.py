"""Self-attention that cannot see what a mask covers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from ...attention.masks import Interpolation, resized
from ...attention.self_attention import Attend, Plain, Region
from ..engine.masks import Grid
from ..engine.plan import Hook, Place, RunningEdit
from ..engine.windows import Window
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
        run.require_mask("mask", self.mask, self.layers, self.covered)
        return RunningMaskKeysAndValues(self, run)

    def covered(self, mask: Tensor, grid: Grid) -> Tensor:
        """(rows, *grid), bool: the tokens that are not to be seen."""
        return resized(mask, grid, self.interpolation) > self.threshold


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
            shown = ~self.edit.covered(self.edit.mask.to(query.device), place.grid).flatten(1).expand(len(query), -1)
            if not shown.any(dim=1).all():
                self.run.note("mask covers all of a layer's grid; with no key left to see, that layer keeps its own self-attention")
            self._regions[asked] = Region.of(torch.ones_like(shown), shown)
        return self._regions[asked]
