"""Editing a picture along a flow without inverting it: what two prompts make of the same noise moves the picture.

FlowEdit (Kulikov et al., "FlowEdit: Inversion-Free Text-Based Editing Using Pre-Trained Flow Models", ICCV 2025) and its common
form with Delta Denoising Score (Beaudouin et al., "Delta Velocity Rectified Flow for Text-to-Image Editing", 2025). In what follows
x is the source picture, z the edited one, e the noise drawn, t = sigma the noise level, and x_t = (1 - t) x + t e.
"""

from __future__ import annotations

from torch import Tensor


def shifted(noised: Tensor, latent: Tensor, source: Tensor, sigma: float, shift: float) -> Tensor:
    """What the model is shown of the edited picture, (B, C, h, w): z_t + c (z - x), with c = `shift` t.

    At `shift` 0 that is z under the noise, `noised`, as Delta Denoising Score has it; at 1 it is FlowEdit's z + x_t - x (eq. 11),
    which moves the picture as much as the path of its noise.
    """
    return noised + shift * sigma * (latent - source)


def velocity_difference(
    latent: Tensor, source: Tensor, shown: tuple[Tensor, Tensor], denoised: tuple[Tensor, Tensor], sigma: float, shift: float
) -> Tensor:
    """The direction of the edit, (B, C, h, w): V(target) - V(source) + (1 - shift) (z - x), V = (x_t - denoised) / t.

    `shown` and `denoised` are the model's inputs and guided predictions, of the edited picture and of the source. Along the path
    z_t + shift t (z - x) the velocity to expect is e - z + shift (z - x), and of the source's e - x: the difference is what the
    model says beyond that. At `shift` 1 it is FlowEdit's; at 0, times 1 - t, the difference of two noises that Delta Denoising
    Score descends (`dds.score_difference`).
    """
    velocity, source_velocity = ((x - prediction) / sigma for x, prediction in zip(shown, denoised, strict=True))
    return velocity - source_velocity + (1 - shift) * (latent - source)
