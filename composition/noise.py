"""The noise that a composition is sampled from: TF-ICON's, of the main picture, the reference and plain noise."""

from __future__ import annotations

import torch
from torch import Tensor


def compose_noise(main: Tensor, reference: Tensor | None, noise: Tensor, object: Tensor, region: Tensor, sigma: float) -> Tensor:
    """(B, C, h, w), in sampler space at noise level `sigma` as `main` (B, C, h, w) and `reference` (B or 1, C, h, w) are.

    Outside the `region` (B or 1, h, w) it is the main picture's inverted noise; inside, where the `object` (B or 1, h, w) is,
    the reference's (across domains), or the main picture's if there is no reference (in one domain, where the object is pasted
    into the main picture before it is inverted); in the rest of the region `noise` (B, C, h, w) of unit variance. Both masks
    are bool; of the object only what lies in the region counts.

    The released code composes in the variance-preserving scale, where all parts are of unit variance. Sampler space is
    sqrt(1 + sigma^2) times that.
    """
    object, region = object[:, None], region[:, None]
    inside = torch.where(object, main if reference is None else reference, noise * (1 + sigma**2) ** 0.5)
    return torch.where(region, inside, main)
