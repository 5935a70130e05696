"""All stages' weights in one file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from graft.miniature.network import LATENT_SCALE
from safetensors.torch import save_file
from torch import nn

from .diffusion import Tokens
from .pictures import as_input, load_pictures


def export(work: Path) -> None:
    """Gathers the averaged weights of every stage in miniature/weights.safetensors, float16."""

    def averages(stage: str) -> dict[str, torch.Tensor]:
        return torch.load(work / f"{stage}.pt", weights_only=True)["averages"]

    tensors = {_text_name(name): value for name, value in averages("diffusion").items()} | {"text.known": Tokens().known}
    autoencoder = torch.load(work / "vae_normalised.pt", weights_only=True)
    if (work / "decoder.pt").exists():
        autoencoder |= averages("decoder")
    tensors |= {f"vae.{name}": value for name, value in autoencoder.items()}
    if (work / "judge.pt").exists():
        tensors |= averages("judge")
    tensors |= preview_factors(work)
    halves = {name: value.half() if value.is_floating_point() else value.to(torch.int32) for name, value in tensors.items()}
    target = Path(__file__).resolve().parents[2] / "miniature" / "weights.safetensors"
    save_file({name: value.contiguous() for name, value in halves.items()}, target.with_suffix(".partial"))
    target.with_suffix(".partial").replace(target)
    print(f"{target.name}: {target.stat().st_size / 2**20:.1f} MiB")


def _text_name(name: str) -> str:
    """The name that ComfyUI's CLIP model has for a parameter of `TextEncoder`; other names as they are."""
    if not name.startswith("text."):
        return name
    inner = name.removeprefix("text.").removesuffix(".weight") if "embedding" in name else name.removeprefix("text.")
    return f"text.text_model.{f'embeddings.{inner}.weight' if 'embedding' in name else inner}"


def preview_factors(work: Path) -> dict[str, torch.Tensor]:
    """The linear map from scaled latents to colours in [-1, 1] that fits best: ComfyUI's latent preview."""
    encoded = torch.from_numpy(np.load(work / "latents.npy", mmap_mode="r")[:512].copy()).float() * LATENT_SCALE
    colours = nn.functional.avg_pool2d(as_input(load_pictures(work)[:512]), 4)
    inputs = encoded.permute(0, 2, 3, 1).flatten(0, 2)
    inputs = torch.cat([inputs, torch.ones(len(inputs), 1)], dim=1)
    factors = torch.linalg.lstsq(inputs, colours.permute(0, 2, 3, 1).flatten(0, 2)).solution
    return {"preview.factors": factors[:-1], "preview.bias": factors[-1]}
