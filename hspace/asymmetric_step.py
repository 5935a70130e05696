"""One step of the asymmetric process (Kwon et al., Asyrp, ICLR 2023; Jeong et al., InjectFusion, WACV 2024).

Everything is in sampler space: x = x0 + sigma * noise. `denoised` is the plain prediction of x0, `edited` the one with only
the bottleneck changed; both after guidance, so that eps- and v-prediction are served alike.
"""

from __future__ import annotations

import torch
from torch import Tensor


def asymmetric_step(x: Tensor, denoised: Tensor, edited: Tensor, sigma: Tensor, sigma_next: Tensor, direction: float = 1.0) -> Tensor:
    """DDIM with the edited prediction of x0 and the direction of the plain one (eq. 3), of which the share `direction` is taken
    (the released code's dt_lambda)."""
    return edited + direction * sigma_next * (x - denoised) / sigma


def ancestral_levels(sigma: Tensor, sigma_next: Tensor) -> tuple[Tensor, Tensor]:
    """The noise level that DDIM with eta 1 steps down to, and how much fresh noise brings it back up to `sigma_next` (eq. 1)."""
    up = sigma_next * (1 - (sigma_next / sigma) ** 2).sqrt()
    return (sigma_next**2 - up**2).clamp(min=0).sqrt(), up


def boosted_step(x: Tensor, denoised: Tensor, noise: Tensor, sigma: Tensor, sigma_next: Tensor) -> Tensor:
    """DDIM with eta 1 and the standard normal `noise` (eq. 4): quality boosting."""
    down, up = ancestral_levels(sigma, sigma_next)
    return denoised + down * (x - denoised) / sigma + up * noise


def per_picture_noise(x: Tensor, generators: list[torch.Generator]) -> Tensor:
    """Standard normal noise like `x` (B, C, h, w), each picture's from its own generator: a picture does not depend on the
    batch it is sampled in."""
    return torch.stack([torch.randn(x.shape[1:], generator=generator) for generator in generators]).to(x)
