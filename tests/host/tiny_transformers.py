"""Small flow transformers with random weights: the host's own classes of models and networks, with their sampling object, latent
format and conditions, a few layers deep.

What they compute means nothing; which tokens stand where, in which order layers call attention and with which bits, is as in a
real checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from unittest import mock

import comfy.ldm.anima.model
import comfy.model_management
import comfy.model_patcher
import comfy.supported_models as supported
import torch
from random_weights import fill
from torch import Tensor

POOLED = 24


@dataclass(frozen=True)
class Family:
    """What a tiny network of a family is built from: the host's class of model, and the arguments of its network."""

    model: type
    config: dict
    width: int = 32
    """Channels of a prompt's states."""
    references: bool = False
    """Whether it takes reference pictures, and they become tokens of their own."""
    adapter: dict = field(default_factory=dict)
    """Arguments of the small network that some families read prompts with, which the host builds at full size."""

    @property
    def frames(self) -> bool:
        """Whether its latents are (B, C, 1, h, w): a picture is a film of one frame."""
        return self.model.latent_format().latent_dimensions == 3

    @property
    def channels(self) -> int:
        return self.model.latent_format().latent_channels


_FLUX = {
    "image_model": "flux",
    "in_channels": 16,
    "out_channels": 16,
    "vec_in_dim": POOLED,
    "context_in_dim": 32,
    "hidden_size": 32,
    "mlp_ratio": 2.0,
    "num_heads": 2,
    "depth": 2,
    "depth_single_blocks": 3,
    "axes_dim": [4, 6, 6],
    "theta": 10000,
    "patch_size": 2,
    "qkv_bias": True,
    "guidance_embed": True,
    "txt_ids_dims": [],
}
_FLUX2 = {
    "image_model": "flux2",
    "in_channels": 128,
    "out_channels": 128,
    "vec_in_dim": None,
    "mlp_ratio": 3.0,
    "axes_dim": [4, 4, 4, 4],
    "theta": 2000,
    "patch_size": 1,
    "qkv_bias": False,
    "guidance_embed": False,
    "txt_ids_dims": [3],
    "global_modulation": True,
    "mlp_silu_act": True,
    "ops_bias": False,
    "default_ref_method": "index",
    "ref_index_scale": 10.0,
}
_CHROMA = {
    "image_model": "chroma",
    "in_channels": 64,
    "out_channels": 64,
    "in_dim": 64,
    "out_dim": 32,
    "hidden_dim": 32,
    "n_layers": 2,
    "vec_in_dim": None,
}
_QWEN = {
    "image_model": "qwen_image",
    "in_channels": 64,
    "num_layers": 3,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": 32,
    "axes_dims_rope": (4, 6, 6),
}
_LUMINA = {
    "image_model": "lumina2",
    "patch_size": 2,
    "in_channels": 16,
    "dim": 48,
    "cap_feat_dim": 32,
    "n_layers": 3,
    "n_refiner_layers": 2,
    "multiple_of": 16,
    "qk_norm": True,
    "n_heads": 4,
    "n_kv_heads": 2,
    "axes_dims": [4, 4, 4],
    "axes_lens": [300, 512, 512],
    "rope_theta": 10000.0,
    "ffn_dim_multiplier": 1.0,
}
_ZIMAGE = {
    **_LUMINA,
    "dim": 256,  # The least that its time embedding goes into.
    "n_heads": 8,
    "n_kv_heads": 8,
    "axes_dims": [8, 12, 12],
    "rope_theta": 256.0,
    "z_image_modulation": True,
    "time_scale": 1000.0,
    "pad_tokens_multiple": 32,
}
_COSMOS = {
    "image_model": "cosmos_predict2",
    "max_img_h": 240,
    "max_img_w": 240,
    "max_frames": 128,
    "in_channels": 16,
    "out_channels": 16,
    "patch_spatial": 2,
    "patch_temporal": 1,
    "concat_padding_mask": True,
    "model_channels": 48,
    "num_blocks": 3,
    "num_heads": 2,
    "mlp_ratio": 2.0,
    "crossattn_emb_channels": 32,
    "pos_emb_cls": "rope3d",
    "pos_emb_learnable": True,
    "pos_emb_interpolation": "crop",
    "min_fps": 1,
    "max_fps": 30,
    "use_adaln_lora": True,
    "adaln_lora_dim": 16,
    "extra_per_block_abs_pos_emb": False,
    "rope_h_extrapolation_ratio": 4.0,
    "rope_w_extrapolation_ratio": 4.0,
    "rope_t_extrapolation_ratio": 1.0,
    "rope_enable_fps_modulation": False,
}
_KREA2 = {
    "image_model": "krea2",
    "features": 64,
    "tdim": 32,
    "txtdim": 16,
    "txtlayers": 2,
    "heads": 4,
    "kvheads": 2,
    "multiplier": 2,
    "layers": 3,
    "patch": 2,
    "channels": 16,
    "txtheads": 2,
    "txtkvheads": 2,
}
_SD35 = {
    "input_size": None,
    "in_channels": 16,
    "out_channels": 16,
    "patch_size": 2,
    "depth": 1,
    "num_blocks": 3,
    "mlp_ratio": 2.0,
    "adm_in_channels": POOLED,
    "context_embedder_config": {"target": "torch.nn.Linear", "params": {"in_features": 32, "out_features": 64}},
    "num_patches": 576,
    "pos_embed_max_size": 24,
    "pos_embed_scaling_factor": None,
    "qk_norm": "rms",
    "x_block_self_attn_layers": [0],
}

FAMILIES = {
    "flux": Family(supported.Flux, _FLUX, references=True),
    "flux schnell": Family(supported.FluxSchnell, {**_FLUX, "guidance_embed": False}),
    "flux2": Family(supported.Flux2, {**_FLUX, **_FLUX2}, references=True),
    "chroma": Family(supported.Chroma, {key: value for key, value in {**_FLUX, **_CHROMA}.items() if key != "guidance_embed"}),
    "qwen image": Family(supported.QwenImage, _QWEN),
    "qwen image edit": Family(supported.QwenImage, {**_QWEN, "default_ref_method": "index_timestep_zero"}, references=True),
    "z image": Family(supported.ZImage, _ZIMAGE),
    "lumina 2": Family(supported.Lumina2, _LUMINA),
    "krea 2": Family(supported.Krea2, _KREA2),
    "krea 2 edit": Family(supported.Krea2, {**_KREA2, "default_ref_method": "index_timestep_zero"}, references=True),
    "anima": Family(
        supported.Anima,
        {**_COSMOS, "image_model": "anima"},
        adapter={"source_dim": 32, "target_dim": 32, "model_dim": 32, "num_layers": 1, "num_heads": 2},
    ),
    "cosmos predict 2": Family(supported.CosmosT2IPredict2, _COSMOS),
    "sd3.5": Family(supported.SD3, _SD35),
}
"""Families of flow transformers by name. Those with reference pictures are the ones people edit by instruction."""


def make_transformer(name: str, seed: int = 0, device: str = "cpu", **changes):
    """A ModelPatcher of a family, as the host's loaders make it; the same seed makes the same weights."""
    family = FAMILIES[name]
    config = family.model({**family.config, **changes})
    config.set_inference_dtype(torch.float32, None)
    adapter = partial(comfy.ldm.anima.model.LLMAdapter, **family.adapter)
    with mock.patch.object(comfy.ldm.anima.model, "LLMAdapter", adapter):
        model = config.get_model({}, device=device)
    if device != "meta":
        fill(model.diffusion_model, seed)
        _fill_buffers(model.diffusion_model, seed)
    load, offload = comfy.model_management.get_torch_device(), comfy.model_management.unet_offload_device()
    return comfy.model_patcher.CoreModelPatcher(model.eval(), load_device=load, offload_device=offload)


def _fill_buffers(network: torch.nn.Module, seed: int) -> None:
    """SD3's positions are a buffer that comes from the checkpoint."""
    if getattr(network, "pos_embed", None) is not None:
        network.pos_embed.copy_(0.1 * torch.randn(network.pos_embed.shape, generator=torch.Generator().manual_seed(4000 + seed)))


def prompt(name: str, seed: int, tokens: int = 12, rows: int = 1, **options) -> list:
    """A CONDITIONING as the family's text encoder makes it."""
    generator = torch.Generator().manual_seed(1000 + seed)
    states = torch.randn(rows, tokens, FAMILIES[name].width, generator=generator)
    return [[states, {"pooled_output": torch.randn(rows, POOLED, generator=generator), **options}]]


def latent(name: str, seed: int, batch: int = 1, height: int = 12, width: int = 8) -> Tensor:
    """Random numbers in the shape of the family's latents, (B, C, h, w) or (B, C, 1, h, w)."""
    family = FAMILIES[name]
    shape = (batch, family.channels, *([1] if family.frames else []), height, width)
    return torch.randn(shape, generator=torch.Generator().manual_seed(2000 + seed))


def with_references(conditioning: list, references: list[Tensor]) -> list:
    """The CONDITIONING with reference pictures as the host's Reference Latent node appends them; latents in the VAE's space."""
    return [[states, {**options, "reference_latents": references}] for states, options in conditioning]
