"""A custom node for the tests' server: small random models of the families that flow templates load, as the host's loaders give them.

The networks are those of tests/host; text encoders and VAEs are the host's own classes at small sizes, with their own tokenizers. The host's
loaders know no other size of the encoders than gigabytes.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import comfy.sd
import comfy.text_encoders.flux
import comfy.text_encoders.llama
import comfy.text_encoders.qwen_image
import comfy.text_encoders.qwen_vl
import comfy.text_encoders.z_image
import torch
from comfy.ldm.models.autoencoder import AutoencoderKL
from comfy.ldm.wan.vae import WanVAE
from comfy_api.latest import ComfyExtension, io

sys.path.append(str(Path(__file__).resolve().parents[2] / "host"))

WIDTH = 32
TAPPED = 28
"""Layers of a text encoder: Flux.2's prompts are made of what its 9th, 18th and 27th show."""
KL = {
    "double_z": True,
    "resolution": 256,
    "in_channels": 3,
    "out_ch": 3,
    "ch_mult": [1, 2, 4, 4],
    "num_res_blocks": 2,
    "attn_resolutions": [],
}
KL |= {"dropout": 0.0}
WAN = {"z_dim": 16, "dim_mult": [1, 2, 4, 4], "num_res_blocks": 2, "attn_scales": [], "temperal_downsample": [False, True, True]}
WAN |= {"dropout": 0.0, "image_channels": 3, "conv_out_channels": 3}


@dataclasses.dataclass(frozen=True)
class Family:
    """The tests' network with its changed arguments, and what makes the text encoder and the VAE."""

    network: str
    config: str
    encoder: Callable[[], type]
    tokenizer: type
    vae: Callable[[], torch.nn.Module]
    changes: dict = dataclasses.field(default_factory=dict)


def kl(channels: int, batch_norm: bool) -> torch.nn.Module:
    parts = {"z_channels": channels, "batch_norm_latent": batch_norm} if batch_norm else {"z_channels": channels}
    # The host takes the decoder's width from the file, the encoder's to be 128.
    return AutoencoderKL(ddconfig={**KL, **parts, "ch": 128}, decoder_ddconfig={**KL, **parts, "ch": 32}, embed_dim=channels)


QWEN = Family(
    "qwen image",
    "Qwen25_7BVLI_Config",
    comfy.text_encoders.qwen_image.te,
    comfy.text_encoders.qwen_image.QwenImageTokenizer,
    lambda: WanVAE(dim=32, **WAN),
)
FAMILIES = {
    "qwen_image": QWEN,
    "qwen_image_edit": dataclasses.replace(QWEN, network="qwen image edit"),
    "z_image": Family(
        "z image",
        "Qwen3_4BConfig",
        comfy.text_encoders.z_image.te,
        comfy.text_encoders.z_image.ZImageTokenizer,
        partial(kl, 16, batch_norm=False),
    ),
    "flux2": Family(
        "flux2",
        "Qwen3_4BConfig",
        comfy.text_encoders.flux.klein_te,
        comfy.text_encoders.flux.KleinTokenizer,
        partial(kl, 32, batch_norm=True),
        {"context_in_dim": 3 * WIDTH},
    ),
}


class TinyFamily(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TinyFamily",
            inputs=[io.Combo.Input("family", options=list(FAMILIES))],
            outputs=[io.Model.Output(), io.Clip.Output(), io.Vae.Output()],
        )

    @classmethod
    def execute(cls, family: str) -> io.NodeOutput:
        from random_weights import fill
        from tiny_transformers import make_transformer

        chosen = FAMILIES[family]
        model = make_transformer(chosen.network, **chosen.changes)
        autoencoder = chosen.vae()
        fill(autoencoder, 1)
        return io.NodeOutput(model, clip_of(chosen, fill), comfy.sd.VAE(sd=autoencoder.state_dict()))


def clip_of(family: Family, fill: Callable) -> comfy.sd.CLIP:
    """A CLIP of the host's own classes, a few numbers wide."""
    config = partial(
        getattr(comfy.text_encoders.llama, family.config),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=TAPPED,
        num_attention_heads=1,
        num_key_value_heads=1,
    )
    target = SimpleNamespace(clip=family.encoder(), tokenizer=family.tokenizer, params={})
    vision = partial(comfy.text_encoders.qwen_vl.Qwen2VLVisionTransformer, num_layers=1)
    with (
        mock.patch.object(comfy.text_encoders.llama, family.config, config),
        mock.patch.object(comfy.text_encoders.qwen_vl, "Qwen2VLVisionTransformer", vision),
    ):
        clip = comfy.sd.CLIP(target)
    fill(clip.cond_stage_model, 2)
    return clip


class TinyFamilies(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [TinyFamily]


async def comfy_entrypoint() -> TinyFamilies:
    return TinyFamilies()
