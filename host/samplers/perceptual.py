"""Perceptual losses through the host's VAEs: private copies that gradients can go through, and their feature networks."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from comfy.ldm.modules.diffusionmodules.model import Decoder, Encoder
from comfy.taesd.taesd import TAESD
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ...attention.masks import resized
from ...optimization.perceptual import LatentLoss, PictureLoss, Region
from ..engine.requirements import require_vae_of
from ..errors import GraftError
from ..models.vgg import vgg_features

Network = Literal["vae", "lpips", "latent"]
"""What compares pictures: the VAE's own encoder; VGG16 with LPIPS's weights, as in the article; or nothing, latents alone."""

Masks = Sequence[tuple[Tensor, float]]
"""Parts of a picture that shall look as they did: masks (B or 1, H, W), and how much each counts."""

LARGE = 2**22
"""Activations of more elements than this are forgotten: in Stable Diffusion's VAE those of a quarter of the picture's side and finer,
at 512 pixels."""


@dataclass(frozen=True, eq=False)
class PerceptualLoss:
    """A perceptual loss as its node configures it; `vae` (of ComfyUI) is None for "latent"."""

    network: Network
    vae: object | None
    every: int = 1

    def prepare(self, model, latent: Tensor, masks: Masks) -> PictureLoss | LatentLoss:
        """The loss that keeps what `latent` (B, C, h, w), in the VAE's space, shows under `masks`. Raises `GraftError` for VAEs that
        gradients cannot go through."""
        device, source = model.load_device, model.model.process_latent_in(latent.float())
        if self.network == "latent":
            return LatentLoss(source, _regions(masks, latent.shape[-2:], device), self.every)
        require_vae_of(model, self.vae, "vae")
        vae = PrivateVae(self.vae)
        features, weights = (vae.features, None) if self.network == "vae" else vgg_features(vae.device, vae.dtype)
        decode = lambda z: vae.decode(model.model.process_latent_out(z))  # noqa: E731
        size = tuple(side * vae.upscale for side in latent.shape[-2:])
        return PictureLoss(decode, features, source.to(vae.device), _regions(masks, size, vae.device), weights, self.every)


def _regions(masks: Masks, size: tuple[int, int], device) -> list[Region]:
    # Made outside inference mode, as all that a gradient goes through has to be.
    with torch.inference_mode(False):
        return [Region(resized(mask.clone(), size, "area")[:, None].to(device), weight) for mask, weight in masks if weight > 0]


class PrivateVae:
    """A copy of a VAE of the host's that gradients can go through.

    The host's own weights are inference tensors, may be shared, moved or streamed in at any time, and stay as they are.
    Residual blocks forget their activations and compute them again.
    """

    def __init__(self, vae) -> None:
        network = vae.first_stage_model
        if vae.latent_dim != 2 or not isinstance(vae.upscale_ratio, int):
            raise GraftError(
                f"vae: {type(network).__name__} is not a VAE of pictures; connect a checkpoint's VAE or a TAESD, or choose latent as the network"
            )
        self.device, self.dtype, self.upscale = vae.device, vae.vae_dtype, vae.upscale_ratio
        with torch.inference_mode(False):
            self.network = _private(network).to(self.device, self.dtype).requires_grad_(False).eval()
        _forget_activations(self.network)

    def decode(self, latent: Tensor) -> Tensor:
        """(B, C, h, w) in the VAE's space -> (B, 3, H, W), about [-1, 1], not clamped: a clamp has no gradient."""
        return self.network.decode(latent.to(self.device, self.dtype)).to(latent.dtype)

    def features(self, picture: Tensor) -> Iterator[Tensor]:
        """(B, 3, H, W) in [-1, 1] -> what the encoder makes of it before every halving of its grid, and at the end."""
        network = self.network
        if isinstance(network, TAESD):
            return _taesd_features(network.taesd_encoder, picture.to(self.dtype) * 0.5 + 0.5)
        return _encoder_features(network.encoder, picture.to(self.dtype))


def _private(network: nn.Module) -> nn.Module:
    """A copy with weights of its own, without what the host's memory management hung on the modules."""
    if not isinstance(network, TAESD) and not isinstance(getattr(network, "encoder", None), Encoder):
        raise GraftError(
            f"vae: gradients do not go through {type(network).__name__}; connect the VAE of an SD1.x, SD2.x or SDXL checkpoint, or a TAESD, "
            "or choose latent as the network"
        )
    private = copy.deepcopy(network)
    for module in private.modules():
        for name in [name for name in vars(module) if name == "_v" or name.startswith("_v_")]:
            delattr(module, name)
    return private


class Forgetful(nn.Module):
    """A block whose activations are computed again when its gradient is, where they are large."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, *inputs):
        if torch.is_grad_enabled() and inputs[0].numel() > LARGE:
            return checkpoint(self.block, *inputs, use_reentrant=False, preserve_rng_state=False)
        return self.block(*inputs)


def _forget_activations(network: nn.Module) -> None:
    """Has every residual block and every resampling of a private copy's coders be `Forgetful`."""
    coders = [
        module for module in (getattr(network, name, None) for name in ("encoder", "decoder")) if isinstance(module, Encoder | Decoder)
    ]
    for coder in coders:
        for level in getattr(coder, "down", None) or coder.up:
            for number, block in enumerate(level.block):
                level.block[number] = Forgetful(block)
            for name in ("downsample", "upsample"):
                if hasattr(level, name):
                    setattr(level, name, Forgetful(getattr(level, name)))


def _encoder_features(encoder: Encoder, picture: Tensor) -> Iterator[Tensor]:
    hidden = encoder.conv_in(picture)
    for level in encoder.down:
        for number, block in enumerate(level.block):
            hidden = block(hidden, None)
            if len(level.attn):
                hidden = level.attn[number](hidden)
        yield hidden
        if hasattr(level, "downsample"):
            hidden = level.downsample(hidden)


def _taesd_features(encoder: nn.Sequential, picture: Tensor) -> Iterator[Tensor]:
    hidden = picture
    for layer in list(encoder)[:-1]:
        if getattr(layer, "stride", None) == (2, 2):
            yield hidden
        hidden = layer(hidden)
    yield hidden
