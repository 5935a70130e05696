"""The miniature as ordinary MODEL, CLIP and VAE."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import comfy.latent_formats
import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.sd
import comfy.sd1_clip
import comfy.supported_models_base
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ...miniature import network
from ..errors import GraftError

WEIGHTS = Path(__file__).resolve().parents[2] / "miniature" / "weights.safetensors"


class MiniatureLatent(comfy.latent_formats.LatentFormat):
    latent_channels = network.LATENT_CHANNELS
    spacial_downscale_ratio = network.DOWNSCALE
    scale_factor = network.LATENT_SCALE


class MiniatureConfig(comfy.supported_models_base.BASE):
    """SD1.x's kind: eps-prediction on Stable Diffusion's schedule."""

    unet_extra_config = {}
    latent_format = MiniatureLatent
    memory_usage_factor = 1.0

    def inpaint_model(self) -> bool:
        return False


class MiniatureTextEncoder(comfy.sd1_clip.SDClipModel):
    def __init__(self, device="cpu", dtype=None, model_options=None, **_):
        super().__init__(device=device, dtype=dtype, textmodel_json_config=dict(network.TEXT), model_options=model_options or {})


class MiniatureClip(comfy.sd1_clip.SD1ClipModel):
    def __init__(self, device="cpu", dtype=None, model_options=None):
        super().__init__(device=device, dtype=dtype, model_options=model_options or {}, clip_model=MiniatureTextEncoder)


class MiniatureTokenizer(comfy.sd1_clip.SD1Tokenizer):
    """The stock CLIP vocabulary, for a text encoder of another width."""

    def __init__(self, embedding_directory=None, tokenizer_data=None):
        super().__init__(embedding_directory=embedding_directory, tokenizer_data=tokenizer_data or {})
        self.clip_l.embedding_size = network.TEXT["hidden_size"]


@cache
def weights() -> dict[str, Tensor]:
    """The weights file, read once, in float32."""
    try:
        return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in load_file(WEIGHTS).items()}
    except (OSError, SafetensorError) as problem:
        raise GraftError(f"the miniature's weights cannot be read ({problem}); install Graft again") from problem


def _part(name: str) -> dict[str, Tensor]:
    return {key.removeprefix(f"{name}."): tensor for key, tensor in weights().items() if key.startswith(f"{name}.")}


def load_model(disable_dynamic: bool = False):
    """A ModelPatcher. The keyword is what the host passes when it makes the model anew."""
    config = MiniatureConfig(network.UNET)
    config.set_inference_dtype(torch.float32, None)
    preview = _part("preview")
    config.latent_format.latent_rgb_factors = preview["factors"].tolist()
    config.latent_format.latent_rgb_factors_bias = preview["bias"].tolist()
    offload = comfy.model_management.unet_offload_device()
    model = comfy.model_base.BaseModel(config, device=offload)
    model.diffusion_model.load_state_dict(_part("unet"))
    kind = comfy.model_patcher.ModelPatcher if disable_dynamic else comfy.model_patcher.CoreModelPatcher
    patcher = kind(model.eval(), load_device=comfy.model_management.get_torch_device(), offload_device=offload)
    patcher.cached_patcher_init = (load_model, ())
    return patcher


def load_clip() -> comfy.sd.CLIP:
    state = _part("text")
    known, rows = state.pop("known").long(), state.pop("text_model.embeddings.token_embedding.weight")
    # Only the world's words were trained; every other token means what an average word means.
    table = rows.mean(dim=0).repeat(network.TEXT["vocab_size"], 1)
    table[known] = rows
    state["text_model.embeddings.token_embedding.weight"] = table
    state["text_projection.weight"] = torch.eye(network.TEXT["hidden_size"])
    target = comfy.supported_models_base.ClipTarget(MiniatureTokenizer, MiniatureClip)
    clip = comfy.sd.CLIP(target, model_options={"dtype": torch.float32})
    missing, _ = clip.load_sd(state)
    if set(missing) - {"logit_scale"}:
        raise GraftError(f"the miniature's weights lack {sorted(missing)}; install Graft again")
    return clip


def load_vae() -> comfy.sd.VAE:
    vae = comfy.sd.VAE(sd=_part("vae"), config={"params": network.VAE}, dtype=torch.float32)
    vae.downscale_ratio = vae.upscale_ratio = network.DOWNSCALE
    vae.latent_channels = network.LATENT_CHANNELS
    return vae
