"""The VAE: encoder and decoder together, then the latents, then the decoder alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from comfy.ldm.models.autoencoder import AutoencoderKL
from graft.miniature.network import VAE
from torch import nn

from .pictures import as_input, load_pictures
from .trainer import DEVICE, Trainer, batch_indices, for_training, initialise


def build_vae() -> nn.Module:
    return initialise(AutoencoderKL(**VAE))


def vae(work: Path, steps: int = 2700, size: int = 8, rate: float = 1.5e-3) -> None:
    """Encoder and decoder together: squared error with a little L1, latents kept near unit deviation and decoded
    from slightly noisy copies, so that edits of latents decode gracefully."""
    torch.manual_seed(1)
    model = for_training(build_vae())
    trainer = Trainer({"vae": model}, rate=rate, steps=steps, average=0.995, checkpoint=work / "vae.pt")
    pictures = load_pictures(work)
    held_out, pictures = pictures[:256], pictures[256:]
    while trainer.unfinished:
        x = as_input(pictures[batch_indices("vae", trainer.step, len(pictures), size)])
        mean, spread = model.quant_conv(model.encoder(x.bfloat16())).chunk(2, dim=1)
        noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(trainer.step)).to(DEVICE)
        decoded = model.decode((mean.float() + 0.03 * noise).bfloat16()).float()
        drift = mean.float().square().mean() - 1
        loss = (
            (decoded - x).square().mean() * 10 + (decoded - x).abs().mean() + 1e-3 * drift.square() + 1e-4 * spread.float().square().mean()
        )
        trainer.update(loss)
        if trainer.step % 250 == 0:
            trainer.note(psnr=round_trip_psnr(model, held_out))
    with trainer.averaged():
        trainer.note(averaged_psnr=round_trip_psnr(model, held_out))


@torch.no_grad()
def round_trip_psnr(model: nn.Module, pictures: torch.Tensor) -> float:
    """Mean over pictures of the PSNR (dB, peak 1) of encode-decode."""
    dtype = next(model.parameters()).dtype
    values = []
    for part in pictures.split(32):
        x = as_input(part)
        y = model.decode(model.encode(x.to(dtype))).float().clamp(-1, 1)
        values.append(-10 * ((y - x) / 2).square().mean(dim=(1, 2, 3)).log10())
    return torch.cat(values).mean().item()


def latents(work: Path) -> None:
    """Folds the latents' mean and deviation into the VAE's 1x1 convolutions, and encodes every picture."""
    model = build_vae()
    trained = torch.load(work / "vae.pt", weights_only=True)["averages"]
    model.load_state_dict({name: trained[f"vae.{name}"] for name in model.state_dict()})
    pictures = load_pictures(work)
    sample = encode(model, pictures[:4096])
    mean, deviation = sample.mean(dim=(0, 2, 3)), sample.std(dim=(0, 2, 3))
    normalise(model, mean, deviation)
    torch.save(model.state_dict(), work / "vae_normalised.pt")
    for prefix in ("", "pair_"):
        np.save(work / f"{prefix}latents.npy", encode(model.to(torch.bfloat16), load_pictures(work, prefix)).half().numpy())
    print(json.dumps({"mean": mean.tolist(), "deviation": deviation.tolist()}))


@torch.no_grad()
def normalise(model: nn.Module, mean: torch.Tensor, deviation: torch.Tensor) -> None:
    """Afterwards the encoder's posterior mean has zero mean and unit deviation, and decoding undoes that."""
    count = len(mean)
    model.quant_conv.bias[:count] -= mean
    model.quant_conv.bias[:count] /= deviation
    model.quant_conv.weight[:count] /= deviation[:, None, None, None]
    model.post_quant_conv.bias += (model.post_quant_conv.weight[:, :, 0, 0] * mean).sum(dim=1)
    model.post_quant_conv.weight *= deviation[None, :, None, None]


@torch.no_grad()
def encode(model: nn.Module, pictures: torch.Tensor) -> torch.Tensor:
    """(N, 3, H, W) uint8 -> posterior means (N, C, h, w), float32."""
    dtype = next(model.parameters()).dtype
    return torch.cat([model.encode(as_input(part).to(dtype)).float() for part in pictures.split(64)])


def decoder(work: Path, steps: int = 2000, size: int = 8, rate: float = 1e-3) -> None:
    """The decoder alone, a little longer: the latents, and so the diffusion model, stay as they are."""
    torch.manual_seed(4)
    model = build_vae()
    model.load_state_dict(torch.load(work / "vae_normalised.pt", weights_only=True))
    model = for_training(model)
    parts = {"decoder": model.decoder, "post_quant_conv": model.post_quant_conv}
    trainer = Trainer(parts, rate=rate, steps=steps, average=0.995, checkpoint=work / "decoder.pt")
    pictures, encoded = load_pictures(work), torch.from_numpy(np.load(work / "latents.npy"))
    while trainer.unfinished:
        chosen = batch_indices("decoder", trainer.step, len(pictures) - 256, size) + 256
        noise = torch.randn((size, *encoded.shape[1:]), generator=torch.Generator().manual_seed(trainer.step)).to(DEVICE)
        decoded = model.decode((encoded[chosen].to(DEVICE).float() + 0.03 * noise).bfloat16()).float()
        difference = decoded - as_input(pictures[chosen])
        trainer.update(difference.square().mean() * 10 + difference.abs().mean() * 0.5)
        if trainer.step % 250 == 0:
            trainer.note(psnr=round_trip_psnr(model, pictures[:256]))
    with trainer.averaged():
        trainer.note(averaged_psnr=round_trip_psnr(model, pictures[:256]))
