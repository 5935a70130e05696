"""Between pictures and latents."""

from __future__ import annotations

import torch
from torch import Tensor


def encode(vae, image: Tensor) -> Tensor:
    """(B, H, W, 3 or 4) in [0, 1] -> latents in the VAE's space, (B, C, h, w), or (B, C, 1, h, w) of a VAE for films, which would
    take a batch of pictures for one film; an alpha channel is dropped."""
    pictures = image[..., :3]
    if getattr(vae, "latent_dim", 2) == 3:
        return torch.cat([vae.encode(picture[None]) for picture in pictures])
    return vae.encode(pictures)


def decode(vae, latent: Tensor) -> Tensor:
    """Latents (B, C, h, w) or (B, C, 1, h, w) in the VAE's space -> (B, H, W, 3) in [0, 1]."""
    image = vae.decode(latent)
    return image.reshape(-1, *image.shape[-3:]).clamp(0, 1)


def for_vae(model, latent: Tensor) -> Tensor:
    """Latents (B, C, h, w) from sampler space to the VAE's, which differ by the model's scale."""
    return model.model.process_latent_out(latent)


def psnr(image: Tensor, reference: Tensor) -> Tensor:
    """Per picture, in dB, for values in [0, 1]; 99 where they are equal to the last bit that counts. (B, H, W, C) -> (B,)."""
    error = (image.double() - reference.double()).square().mean(dim=(1, 2, 3))
    return torch.clamp(-10 * error.clamp(min=1e-12).log10(), max=99.0)
