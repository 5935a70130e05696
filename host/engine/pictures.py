"""Between pictures and latents."""

from __future__ import annotations

import comfy.model_management
import torch
from torch import Tensor

from ..errors import GraftError
from .requirements import require_finite


def encode(vae, image: Tensor) -> Tensor:
    """(B, H, W, 3) in [0, 1] -> latents in the VAE's space, (B, C, h, w), or (B, C, 1, h, w) of a VAE for films, which would
    take a batch of pictures for one film. Raises `GraftError` for pictures smaller than a cell."""
    cell = getattr(vae, "downscale_ratio", 1)
    if isinstance(cell, int) and min(image.shape[1:3]) < cell:
        raise GraftError(f"image: it is {image.shape[2]} x {image.shape[1]} pixels, less than a latent cell of {cell}; enlarge it")
    film = getattr(vae, "latent_dim", 2) == 3
    made = torch.cat([vae.encode(picture[None]) for picture in image]) if film else vae.encode(image)
    return require_finite("vae", made, "what it encodes")


def decode(vae, latent: Tensor) -> Tensor:
    """Latents (B, C, h, w) or (B, C, 1, h, w) in the VAE's space -> (B, H, W, 3) in [0, 1]."""
    image = require_finite("vae", vae.decode(latent), "what it decodes")
    return image.reshape(-1, *image.shape[-3:]).clamp(0, 1)


def between_nodes(values: Tensor) -> Tensor:
    """Pictures or masks where the host keeps them between nodes: on the CPU, unless it was told that all stays on the device."""
    return values.to(comfy.model_management.intermediate_device())


def for_vae(model, latent: Tensor) -> Tensor:
    """Latents (B, C, h, w) from sampler space to the VAE's, which differ by the model's scale."""
    return model.model.process_latent_out(latent)


def psnr(image: Tensor, reference: Tensor) -> Tensor:
    """Per picture, in dB, for values in [0, 1]; 99 where they are equal to the last bit that counts. (B, H, W, C) -> (B,)."""
    error = (image.double() - reference.double()).square().mean(dim=(1, 2, 3))
    return torch.clamp(-10 * error.clamp(min=1e-12).log10(), max=99.0)
