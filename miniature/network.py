"""Shapes of the miniature's networks: SD1.x's block layout, small.

Four levels, two residual blocks each, attention on the upper three: the sixteen self-attention blocks of SD1.x with
the numbers they have there. Latents are a quarter of the picture's side, so that 64 pixels give SD's quarter-size
ladder of token grids (256, 64, 16, 4 tokens).

In a large model an object spans far more cells than a convolution reaches, and self-attention learns to carry its look
from cell to cell; a network this small would leave that to its convolutions. So half of its training pictures or more
are pairs that see each other in self-attention, with things that look alike (`tools/training/diffusion.py`).
"""

LATENT_CHANNELS = 8
LATENT_SCALE = 0.5
"""Latents are normalised to unit deviation by the VAE's 1x1 convolutions, then scaled by this: SD's noisiest step would
leak mean brightness on so small a grid otherwise."""
DOWNSCALE = 4

UNET = {
    "image_size": 16,
    "in_channels": LATENT_CHANNELS,
    "out_channels": LATENT_CHANNELS,
    "model_channels": 64,
    "channel_mult": [1, 1, 2, 2],
    "num_res_blocks": [2, 2, 2, 2],
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
    "transformer_depth_middle": 1,
    "num_heads": -1,
    "num_head_channels": 32,
    "use_spatial_transformer": True,
    "use_linear_in_transformer": False,
    "context_dim": 128,
    "adm_in_channels": None,
    "use_temporal_attention": False,
}

TEXT = {
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_attention_heads": 4,
    "num_hidden_layers": 3,
    "hidden_act": "quick_gelu",
    "max_position_embeddings": 77,
    "eos_token_id": 49407,
    "vocab_size": 49408,
}

VAE = {
    "embed_dim": LATENT_CHANNELS,
    "ddconfig": {
        "double_z": True,
        "z_channels": LATENT_CHANNELS,
        "resolution": 64,
        "in_channels": 3,
        "out_ch": 3,
        "ch": 32,
        "ch_mult": [1, 2, 2],
        "num_res_blocks": 1,
        "attn_resolutions": [],
        "dropout": 0.0,
    },
}
