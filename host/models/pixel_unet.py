"""diffusers' UNet2DModel as the host calls its networks."""

from __future__ import annotations

import torch
from comfy.patcher_extension import WrapperExecutor, WrappersMP, get_all_wrappers
from torch import Tensor

from ..errors import GraftError


class PixelUNet(torch.nn.Module):
    """An unconditional UNet of pixels in two halves, with the host's wrappers around it and its patches after the middle block.

    `network` is a `diffusers.UNet2DModel`. Of the channels it predicts those of its variance are dropped.
    """

    def __init__(self, network) -> None:
        super().__init__()
        self.network = network

    @property
    def dtype(self) -> torch.dtype:
        return self.network.dtype

    def forward(self, x: Tensor, timesteps=None, context=None, y=None, control=None, transformer_options=None, **others) -> Tensor:
        """(B, 3, H, W) in [-1, 1] plus noise, as DDPM scales it, and timesteps (B,) -> the prediction (B, 3, H, W). Prompts and
        ControlNets mean nothing to it."""
        options = transformer_options or {}
        wrappers = get_all_wrappers(WrappersMP.DIFFUSION_MODEL, options)
        executor = WrapperExecutor.new_class_executor(self._forward, self, wrappers)
        return executor.execute(x, timesteps, context, y, control, options, **others)

    def _forward(self, x: Tensor, timesteps, context=None, y=None, control=None, transformer_options=None, **others) -> Tensor:
        options = transformer_options or {}
        h, skips, embedding = self.encode(x, timesteps)
        data = {
            "x": x,
            "emb": embedding,
            "context": context,
            "y": y,
            "timesteps": timesteps,
            "transformer_options": options,
            "skips": skips,
        }
        for patch in options.get("patches", {}).get("middle_block_after_patch", ()):
            h = patch({"h": h, **data})["h"]
        return self.decode(h, skips, embedding)

    def encode(self, x: Tensor, timesteps: Tensor) -> tuple[Tensor, tuple[Tensor, ...], Tensor]:
        """The bottleneck h (B, C, h, w), the skips in the order they are made, and the timesteps' embedding (B, D)."""
        network, cell = self.network, 2 ** (len(self.network.down_blocks) - 1)
        if x.shape[-2] % cell or x.shape[-1] % cell:
            raise GraftError(f"latent_image: {x.shape[-1]} x {x.shape[-2]} pixels; this model needs sides that are multiples of {cell}")
        embedding = network.time_embedding(network.time_proj(timesteps).to(self.dtype))
        h = network.conv_in(2 * x - 1 if network.config.center_input_sample else x)
        skips = (h,)
        for block in network.down_blocks:
            h, made = block(hidden_states=h, temb=embedding)
            skips += tuple(made)
        return network.mid_block(h, embedding), skips, embedding

    def decode(self, h: Tensor, skips: tuple[Tensor, ...], embedding: Tensor) -> Tensor:
        """The prediction (B, 3, H, W) from what `encode` gives."""
        network = self.network
        for block in network.up_blocks:
            last = len(block.resnets)
            h, skips = block(h, skips[-last:], embedding), skips[:-last]
        return network.conv_out(network.conv_act(network.conv_norm_out(h)))[:, : network.config.in_channels]
