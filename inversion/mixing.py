"""How noisy latents are made of picture and noise, which depends on the model's family and on nothing else."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

Mixing = Literal["added", "flow"]
"""added: x = z + sigma n, as in models that predict noise or velocity (variance exploding). flow: x = (1 - sigma) z + sigma n,
sigma in [0, 1], as in rectified flows (Liu et al. 2023; Lipman et al. 2023), whose network predicts the flow v = n - z.

For both, dx / dsigma = (x - denoised) / sigma along the probability-flow ODE: the noise n in the one case, the flow v in the
other. So one set of solvers serves both."""

MIXINGS: tuple[Mixing, ...] = get_args(Mixing)


def size(mixing: Mixing, sigma: Tensor | float) -> Tensor:
    """What noisy latents at `sigma` () are divided by to have the range of pictures: sqrt(1 + sigma^2), the way to the papers'
    variance-preserving terms, where noise was added; 1 for flows, which keep it."""
    sigma = torch.as_tensor(sigma)
    return (1 + sigma**2).sqrt() if mixing == "added" else torch.ones_like(sigma)
