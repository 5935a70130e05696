"""Shapes of the models that know the world of `scenes`: one VAE and text encoder, a UNet and a flow transformer.

All are ComfyUI's own classes, small. 128 pixels are 16 x 16 cells of 32 channels for both: latents have mean 0 and deviation 1 after
Flux's shift and scale.

In a large model an object spans far more cells than a convolution reaches, and self-attention learns to carry its look
from cell to cell; a network this small would leave that to its convolutions. So most of its training pictures are
pairs that see each other in self-attention, with the same thing in both (`tools/training/batches.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SIDE = 128
"""Pixels of the pictures that the models were trained on."""
DOWNSCALE = 8
LATENT_CHANNELS = 32
"""A sixth of the picture's numbers. The best linear map from squares of 8 x 8 pixels to 16 numbers and back leaves 24.8 dB of this world (ink
21.2), that to 32 leaves 28.0 (ink 25.5): hatching and paper are fine, and 31 dB want 32 channels."""
LATENT_SCALE, LATENT_SHIFT = 0.3611, 0.1159
"""Flux's: the model sees (latent - shift) * scale."""
UNET_SCALE = 0.5
"""What the UNet's latents are scaled by besides: Stable Diffusion's noisiest step would leak mean brightness on so small a grid otherwise."""
FLOW_SHIFT = 0.5
"""Flux's shift of the schedule (mu) for its smallest pictures, 256 tokens."""
TEXT_TOKENS = 32
"""Tokens of a chunk of a prompt, 77 in CLIP. The world's longest prompts have 25; the transformer's cost is that of all."""
CHANNELS_PER_GROUP = 16
"""The VAE's group norms. ComfyUI's layout has 32 groups at any width: at 32 channels each of them is a group of its own, so that
normalising takes away how bright and how coloured a plane of sky is; networks then carry it past the norm in one extreme cell,
which is seen as a stain (Karras et al. 2020, section 2). Sixteen channels keep it in their ratios."""

VAE = {
    "embed_dim": LATENT_CHANNELS,
    "ddconfig": {
        "double_z": True,
        "z_channels": LATENT_CHANNELS,
        "resolution": SIDE,
        "in_channels": 3,
        "out_ch": 3,
        "ch": 32,
        "ch_mult": [1, 1, 2, 4],
        "num_res_blocks": 1,
        "attn_resolutions": [],
        "dropout": 0.0,
    },
}

TEXT = {
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_attention_heads": 4,
    "num_hidden_layers": 3,
    "hidden_act": "quick_gelu",
    "max_position_embeddings": TEXT_TOKENS,
    "eos_token_id": 49407,
    "vocab_size": 49408,
}

UNET = {
    "image_size": SIDE // DOWNSCALE,
    "in_channels": LATENT_CHANNELS,
    "out_channels": LATENT_CHANNELS,
    "model_channels": 96,
    "channel_mult": [1, 1, 1, 1],
    "num_res_blocks": [2, 2, 2, 2],
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
    "transformer_depth_middle": 1,
    "num_heads": -1,
    "num_head_channels": 32,
    "use_spatial_transformer": True,
    "use_linear_in_transformer": False,
    "context_dim": TEXT["hidden_size"],
    "adm_in_channels": None,
    "use_temporal_attention": False,
}
"""SD1.x's block layout: its sixteen self-attention blocks, with the numbers they have there; 256, 64 and 16 tokens. As wide at the top as
below: a cell's 32 numbers are more than four, and the noise among them has to come out again (`docs/training.md`)."""

TRANSFORMER = {
    "image_model": "flux",
    "in_channels": LATENT_CHANNELS,
    "out_channels": LATENT_CHANNELS,
    "vec_in_dim": TEXT["hidden_size"],
    "context_in_dim": TEXT["hidden_size"],
    "hidden_size": 256,
    "mlp_ratio": 4.0,
    "num_heads": 8,
    "depth": 2,
    "depth_single_blocks": 5,
    "axes_dim": [4, 14, 14],
    "theta": 10_000,
    "patch_size": 2,
    "qkv_bias": True,
    "guidance_embed": False,
    "txt_ids_dims": [],
}
"""Flux.1's layout: double-stream blocks, then single-stream ones, patches of 2 x 2 cells (64 tokens), text without positions
of its own, rotary positions for patches. No embedded guidance: it was trained with dropped prompts, for CFG."""


@dataclass(frozen=True)
class Shapes:
    """The sizes of a set of models that belong together."""

    vae: Mapping[str, Any] = field(default_factory=lambda: VAE)
    text: Mapping[str, Any] = field(default_factory=lambda: TEXT)
    unet: Mapping[str, Any] = field(default_factory=lambda: UNET)
    transformer: Mapping[str, Any] = field(default_factory=lambda: TRANSFORMER)
    channels_per_group: int = CHANNELS_PER_GROUP


SHAPES = Shapes()
WEIGHTS = Path(__file__).resolve().parent / "model"
"""Where the trained weights are: `<part>.safetensors` for each of `PARTS` that there is."""
PARTS = ("autoencoder", "text_encoder", "unet", "transformer", "judge")
