"""Self-attention that cannot see what a mask covers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...attention.masks import Interpolation, resized
from ..engine.masks import Grid
from ..engine.plan import Place, RunningEdit
from ..engine.sampling_run import Run
from ..engine.windows import Window
from ..families.attention import Hook
from ..families.layer import Layers


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
    changes = frozenset({"mask"})

    def __init__(self, edit: MaskKeysAndValues, run: Run) -> None:
        self.edit, self.run, self.windows = edit, run, (edit.window,)

    def works_at(self, place: Place) -> bool:
        return place.layer in self.edit.layers

    def seen(self, place: Place, rows: int, device: torch.device) -> Tensor:
        shown = ~self.edit.covered(self.edit.mask.to(device), place.grid).flatten(1).expand(rows, -1)
        if not shown.any(dim=1).all():
            self.run.note("mask covers all of a layer's grid; with no key left to see, that layer keeps its own self-attention")
        return shown
