"""The VAE: encoder and decoder together, then its latents."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from comfy.ldm.models.autoencoder import AutoencoderKL
from evaluation.report import Sheet, contact_sheet
from graft.host.models.miniature import with_groups_of
from graft.miniature.network import DOWNSCALE, LATENT_SCALE, LATENT_SHIFT, SHAPES, Shapes
from torch import Tensor, nn

from .pictures import Shards, all_shards, as_input, held_out
from .trainer import SAVED_EVERY, Machine, Trainer, averages_of, batch_indices, initialise, load_part, save_part, silence

CROP = 64
"""Pixels of the pieces that most steps see; the last part of a training sees whole pictures."""
WHOLE_FROM = 0.85
NOISE = 0.04
"""Deviation of the noise that latents are decoded with, so that edits of latents decode gracefully and what matters most is told loudest."""


def build_vae(shapes: Shapes = SHAPES) -> nn.Module:
    model = initialise(AutoencoderKL(**shapes.vae))
    silence(model, ".conv2", ".proj_out")
    return with_groups_of(shapes.channels_per_group, model)


def train(work: Path, machine: Machine, steps: int = 6000, size: int = 8, rate: float = 1.5e-3, shapes: Shapes = SHAPES) -> None:
    """Squared error with a little L1; latents kept near unit deviation, and decoded from slightly noisy copies."""
    torch.manual_seed(1)
    model = machine.place(build_vae(shapes))
    part = work / "model" / "autoencoder.safetensors"
    trainer = Trainer(model, machine=machine, rate=rate, steps=steps, average=0.995, checkpoint=work / "autoencoder.pt", start=part)
    shards = Shards.of(work)
    while trainer.unfinished:
        if trainer.step % SAVED_EVERY == 0:
            shards = Shards.of(work)
        whole = trainer.step >= WHOLE_FROM * steps
        chosen = batch_indices("vae", trainer.step, len(shards), size // 4 if whole else size)
        rng = torch.Generator().manual_seed(trainer.step)
        x = as_input(shards.pictures(chosen), machine)
        x = x if whole else _pieces(x, rng)
        mean, spread = model.quant_conv(model.encoder(x.to(machine.dtype))).chunk(2, dim=1)
        noise = torch.randn(mean.shape, generator=rng).to(machine.device)
        decoded = model.decode((mean.float() + NOISE * noise).to(machine.dtype)).float()
        drift = mean.float().square().mean() - 1
        loss = (
            (decoded - x).square().mean() * 10 + (decoded - x).abs().mean() + 1e-3 * drift.square() + 1e-4 * spread.float().square().mean()
        )
        trainer.update(loss)
        if trainer.step % 500 == 0 or not trainer.unfinished:
            with trainer.averaged():
                look(work, model, machine, trainer)


def _pieces(pictures: Tensor, rng: torch.Generator) -> Tensor:
    """One square piece of each picture."""
    room = pictures.shape[-1] - CROP
    if room <= 0:
        return pictures
    corners = torch.randint(room + 1, (len(pictures), 2), generator=rng).tolist()
    return torch.stack([picture[:, top : top + CROP, left : left + CROP] for picture, (top, left) in zip(pictures, corners, strict=True)])


@torch.no_grad()
def look(work: Path, model: nn.Module, machine: Machine, trainer: Trainer) -> None:
    """Notes the PSNR of encode-decode on held-out pictures (dB, peak 1), in all and by style, and writes a sheet of some."""
    shard = held_out(work)
    values, decoded = [], []
    for part in torch.from_numpy(shard.pictures[:64].copy()).split(16):
        x = as_input(part, machine)
        y = model.decode(model.encode(x.to(machine.dtype))).float().clamp(-1, 1)
        values.append(-10 * ((y - x) / 2).square().mean(dim=(1, 2, 3)).log10())
        decoded.append(y.cpu())
    dbs, styles = torch.cat(values), [scene.style for scene in shard.scenes[:64]]
    by_style = {style: dbs[torch.tensor([one == style for one in styles])].mean().item() for style in sorted(set(styles))}
    trainer.note(psnr=dbs.mean().item(), **by_style)
    first = (torch.cat(decoded)[:10].permute(0, 2, 3, 1) + 1) / 2
    drawn = torch.from_numpy(shard.pictures[:10].copy()).permute(0, 2, 3, 1) / 255
    contact_sheet(Sheet("autoencoder", {"drawn": drawn, "decoded": first})).save(work / f"autoencoder-{trainer.step}.png")


@torch.no_grad()
def export(work: Path, machine: Machine, shapes: Shapes = SHAPES) -> None:
    """Folds the latents' means and their deviation into the VAE's 1 x 1 convolutions, so that Flux's shift and scale leave mean 0 and
    deviation 1, and finds the linear map to colours that fits best: ComfyUI's latent preview. The deviation is that of all channels together:
    channels that hold fine detail stay small, and noise takes them first."""
    model = machine.place(build_vae(shapes))
    averages, step = averages_of(work / "autoencoder.pt")
    model.load_state_dict(averages)
    model.float()
    pictures = torch.cat([torch.from_numpy(shard.pictures[:32].copy()) for shard in all_shards(work)[:32]])
    latents = encode(model, pictures, machine)
    normalise(model, latents.mean(dim=(0, 2, 3)), latents.std(dim=(0, 2, 3)).square().mean().sqrt())
    seen = (encode(model, pictures[:256], machine) - LATENT_SHIFT) * LATENT_SCALE
    save_part(work / "model" / "autoencoder.safetensors", model.state_dict() | preview_factors(seen, pictures[:256]), step)


@torch.no_grad()
def normalise(model: nn.Module, mean: Tensor, deviation: Tensor) -> None:
    """Changes the encoder's posterior mean m to (m - mean) / deviation / LATENT_SCALE + LATENT_SHIFT, and decoding undoes that. Means (C,) are
    the channels' own, the deviation is one number."""
    count, gain = len(mean), 1 / (deviation * LATENT_SCALE)
    offset = LATENT_SHIFT - mean * gain
    model.quant_conv.weight[:count] *= gain
    model.quant_conv.bias[:count] *= gain
    model.quant_conv.bias[:count] += offset
    weight = model.post_quant_conv.weight
    model.post_quant_conv.bias -= (weight[:, :, 0, 0] * (offset / gain)).sum(dim=1)
    weight /= gain


def preview_factors(seen: Tensor, pictures: Tensor) -> dict[str, Tensor]:
    """Latents as Flux's model sees them (N, C, h, w), pictures (N, 3, H, W) uint8 -> factors (C, 3) and bias (3) to colours in [-1, 1]."""
    colours = nn.functional.avg_pool2d(pictures.float() / 127.5 - 1, DOWNSCALE)
    inputs = seen.cpu().permute(0, 2, 3, 1).flatten(0, 2)
    inputs = torch.cat([inputs, torch.ones(len(inputs), 1)], dim=1)
    factors = torch.linalg.lstsq(inputs, colours.permute(0, 2, 3, 1).flatten(0, 2)).solution
    return {"preview.factors": factors[:-1], "preview.bias": factors[-1]}


@torch.no_grad()
def encode(model: nn.Module, pictures: Tensor, machine: Machine) -> Tensor:
    """(N, 3, H, W) uint8 -> posterior means (N, C, h, w), float32."""
    dtype = next(model.parameters()).dtype
    return torch.cat([model.encode(as_input(part, machine).to(dtype)).float() for part in pictures.split(32)])


def load_vae(work: Path, machine: Machine, shapes: Shapes = SHAPES) -> tuple[nn.Module, str]:
    """The exported VAE, and the key that its latents are kept under: another VAE's are not taken for this one's."""
    path = work / "model" / "autoencoder.safetensors"
    tensors = {name: value for name, value in load_part(path)[0].items() if not name.startswith("preview.")}
    model = machine.place(build_vae(shapes))
    model.load_state_dict(tensors)
    return model.eval(), hashlib.sha256(path.read_bytes()).hexdigest()[:8]


def latents(work: Path, machine: Machine, shapes: Shapes = SHAPES) -> None:
    """Encodes the shards that the exported VAE has not encoded."""
    model, key = load_vae(work, machine, shapes)
    for shard in all_shards(work):
        target = shard.latents_at(key)
        if not target.exists():
            encoded = encode(model, torch.from_numpy(shard.pictures.copy()), machine)
            with target.with_suffix(".partial").open("wb") as file:
                np.save(file, encoded.half().cpu().numpy())
            target.with_suffix(".partial").replace(target)
            print(f"latents of {shard.folder.name}", flush=True)
