"""Self-attention that cannot see what a mask covers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...attention.masks import Interpolation, resized
from ..engine.plan import Place, RunningEdit
from ..engine.sampling_run import Run
from ..engine.windows import Window
from ..errors import GraftError
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
        run.require_batch("mask", self.mask)
        require_covers_latent("mask", self.mask, run.shape)
        return RunningMaskKeysAndValues(self, run)


class RunningMaskKeysAndValues(RunningEdit):
    changes = frozenset({"mask"})

    def __init__(self, edit: MaskKeysAndValues, run: Run) -> None:
        self.edit, self.run, self.windows = edit, run, (edit.window,)

    def works_at(self, place: Place) -> bool:
        return place.layer in self.edit.layers

    def seen(self, place: Place, rows: int, device: torch.device) -> Tensor:
        shown = resized(self.edit.mask.to(device), place.grid, self.edit.interpolation) <= self.edit.threshold
        shown = shown.flatten(1).expand(rows, -1)
        if not shown.any(dim=1).all():
            self.run.note("mask covers all of a layer's grid; with no key left to see, that layer keeps its own self-attention")
        return shown


def require_covers_latent(name: str, mask: Tensor, shape: torch.Size) -> None:
    """Raises `GraftError` unless a mask (rows, H, W), from the input so named, has the aspect of the pictures whose latents have
    `shape` (B, C, h, w), to the cell that encoding may have cut off."""
    (height, width), (cells_down, cells_across) = mask.shape[1:], shape[-2:]
    if abs(width * cells_down / height - cells_across) > 1 and abs(height * cells_across / width - cells_down) > 1:
        raise GraftError(
            f"{name}: it is {width} x {height} pixels, the latent {cells_across} x {cells_down} cells, which is another aspect; "
            "paint the mask on the picture itself, or scale it to the picture's size"
        )
