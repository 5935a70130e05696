"""Where a diffusion model would have a picture changed.

FreeCompose's observation: what the prior wants to change most is what was pasted. Taken plainly it also wants to change whatever is
hard to see through noise, such as any object. A best prediction is orthogonal to its own error, so what it should change by
chance is known from how the change follows the noise; what is left over is what the prior does not believe.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import avg_pool2d

NEIGHBOURHOOD = 3
"""Cells across which are averaged: a single cell's excess depends on the few noises that were drawn."""


def wanted_change(latent: Tensor, denoised: Tensor) -> Tensor:
    """(B, h, w): |r|^2, r = denoised - z, summed over channels. All are (B, C, h, w)."""
    return (denoised - latent).square().sum(dim=1)


def unexpected_change(latent: Tensor, denoised: Tensor, noise: Tensor, ratio: float) -> Tensor:
    """(B, h, w): r . (r - ratio * n), whose mean over draws of `noise` is the change wanted beyond what is expected.

    With x = alpha z + beta n and `ratio` beta / alpha, r = ratio * (n - eps), so this is ratio^2 eps . (eps - n). Where z is as
    the prior has it, eps = E[n | x], and its mean is 0; one draw's may well be negative.
    """
    change = denoised - latent
    return (change * (change - ratio * noise)).sum(dim=1)


def strength(change: Tensor) -> Tensor:
    """(B, h, w), at least 0, in the latent's units: the root of a mean change, averaged over neighbouring cells."""
    blurred = avg_pool2d(change[:, None], NEIGHBOURHOOD, stride=1, padding=NEIGHBOURHOOD // 2, count_include_pad=False)[:, 0]
    return blurred.clamp(min=0).sqrt()


def heat(strength: Tensor, latent: Tensor) -> Tensor:
    """(B, h, w) in [0, 1]: 1 where the wanted change is as large as the cells of the latent (B, C, h, w) differ among themselves."""
    spread = latent.var(dim=(2, 3), correction=0).sum(dim=1).sqrt().clamp(min=1e-6)
    return (strength / spread[:, None, None]).clamp(max=1)
