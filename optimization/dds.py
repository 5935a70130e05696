"""Delta Denoising Score: the direction in which a latent has to move for its picture to follow another prompt.

Hertz et al., "Delta Denoising Score" (ICCV 2023, released code), as FreeCompose (Chen et al., ECCV 2024) uses it.
"""

from __future__ import annotations

from torch import Tensor


def score_difference(latent: Tensor, source: Tensor, denoised: Tensor, source_denoised: Tensor, alpha: float, sigma: float) -> Tensor:
    """eps_t - eps_s, (B, C, h, w): how the noise that the model sees in the latent differs from what it sees in the source.

    Both clean latents were noised alike, x = alpha z + sigma n, and `denoised` are the model's guided predictions of z. As
    eps = (x - alpha z) / sigma, this holds for models that predict noise, velocity or flow; n drops out.
    """
    return alpha / sigma * ((latent - source) - (denoised - source_denoised))


def dds_gradient(difference: Tensor, weights: Tensor | float, scale: float) -> Tensor:
    """dL/dz of L = scale * sum(z * stopgrad(weights * difference)) / (h w): (B, C, h, w).

    `weights` (B or 1, 1, h, w) are in [0, 1]; FreeCompose's removal multiplies the gradient outside the object's mask by 0.2.
    """
    height, width = difference.shape[-2:]
    return difference * weights * (scale / (height * width))
