"""Descending a gradient that is given rather than computed by autograd."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Rule = Literal["adam", "sgd"]

RELEASED_FACTOR = 2000.0
RELEASED_CELLS = 64 * 64
"""Delta Denoising Score's released code descends 2000 times its loss, on latents of 64 x 64 cells."""

WINDOW = 20
"""Iterations that a `Plateau` takes together: a single one moves as its noise was drawn."""


@dataclass(frozen=True)
class Descent:
    """How a gradient becomes a step. The article has Adam at 0.05, the released code of Delta Denoising Score SGD at 0.1."""

    rule: Rule = "adam"
    learning_rate: float = 5e-2

    def optimizer(self, latent: Tensor) -> torch.optim.Optimizer:
        """For a latent (B, C, h, w). A loss per cell has a smaller gradient the more cells there are; Adam does not mind, and SGD
        takes per cell the steps that the released code takes at 64 x 64."""
        if self.rule == "adam":
            return torch.optim.Adam([latent], lr=self.learning_rate)
        cells = latent.shape[-2] * latent.shape[-1]
        return torch.optim.SGD([latent], lr=self.learning_rate * RELEASED_FACTOR * cells / RELEASED_CELLS)


ADAM = Descent()


class Plateau:
    """Tells when a latent has settled: when its mean over a window of iterations has moved by less than `tolerance` of its way so
    far since the window before. A tolerance of 0 never tells so."""

    def __init__(self, start: Tensor, tolerance: float, window: int = WINDOW) -> None:
        self.start, self.tolerance, self.window = start, tolerance, window
        self.sum, self.count = torch.zeros_like(start), 0
        self.before: Tensor | None = None

    def reached(self, latent: Tensor) -> bool:
        """Whether it has, with the latent of one more iteration."""
        if self.tolerance == 0:
            return False
        self.sum, self.count = self.sum + latent, self.count + 1
        if self.count < self.window:
            return False
        mean, before = self.sum / self.count, self.before
        self.sum, self.count, self.before = torch.zeros_like(mean), 0, mean
        return before is not None and bool((mean - before).norm() < self.tolerance * (mean - self.start).norm())


def descend(
    start: Tensor, descent: Descent, iterations: int, gradient: Callable[[Tensor, int], Tensor], report: Callable[[Tensor, int], None],
    plateau: float = 0.0,
) -> Tensor:  # fmt: skip
    """(B, C, h, w): where `gradient` (of a latent, at an iteration) leads from `start`.

    `report` is shown the latent after every iteration. A `plateau` above 0 ends the descent early, as `Plateau` says.
    """
    latent, settled = start.clone(), Plateau(start, plateau)
    optimizer = descent.optimizer(latent)
    for iteration in range(iterations):
        latent.grad = gradient(latent, iteration)
        optimizer.step()
        report(latent, iteration)
        if settled.reached(latent):
            break
    return latent
