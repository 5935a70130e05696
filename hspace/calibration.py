"""Latent calibration (Jeong et al., InjectFusion, WACV 2024, section 3.3 and Algorithm 2), in sampler space."""

from __future__ import annotations

from torch import Tensor


def regularised(edited: Tensor, denoised: Tensor) -> Tensor:
    """(B, C, h, w): the `edited` prediction with the standard deviation of the plain one, `denoised`; its own mean stays
    (eq. 11). Both are taken per picture over all channels and places, as the released code does."""
    mean = edited.mean(dim=(1, 2, 3), keepdim=True)
    deviation = _deviation(edited)
    # A constant prediction has nothing to scale.
    return (edited - mean) * (_deviation(denoised) / deviation.where(deviation > 0, 1.0)) + mean


def calibrated(x: Tensor, denoised: Tensor, edited: Tensor, target: Tensor, omega: float) -> Tensor:
    """(B, C, h, w): the latent whose plain prediction comes close to `target`, so that a step from it needs no injection.

    Equation 10, sqrt(a) dP + omega sqrt(1 - a) de with the finite difference de = eps~ - eps, reads
    x' = x + (target - P) - omega (P~ - P) here. omega 1 with the unregularised target leaves `x`; the less omega, the more
    content.
    """
    return x + (target - denoised) - omega * (edited - denoised)


def _deviation(values: Tensor) -> Tensor:
    """(B, 1, 1, 1)."""
    return values.std(dim=(1, 2, 3), keepdim=True)
