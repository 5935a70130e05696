"""The models that know the world of `scenes`, as ordinary MODEL, CLIP and VAE: a UNet in SD1.x's layout and a flow transformer of Flux's kind,
which share text encoder and VAE."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import comfy.latent_formats
import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.sd
import comfy.sd1_clip
import comfy.supported_models
import comfy.supported_models_base
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ...miniature import network
from ...miniature.network import SHAPES, WEIGHTS, Shapes
from ..errors import GraftError


class MiniatureLatent(comfy.latent_formats.Flux):
    """Flux's shift and scale, with this VAE's channels and preview."""

    latent_channels = network.LATENT_CHANNELS

    def __init__(self, factors: list | None = None, bias: list | None = None) -> None:
        super().__init__()
        self.scale_factor, self.shift_factor = network.LATENT_SCALE, network.LATENT_SHIFT
        self.latent_rgb_factors, self.latent_rgb_factors_bias = factors, bias
        self.taesd_decoder_name = None


class MiniatureUNetLatent(MiniatureLatent):
    def __init__(self, *preview: list) -> None:
        super().__init__(*preview)
        self.scale_factor *= network.UNET_SCALE


class MiniatureUNet(comfy.supported_models_base.BASE):
    """SD2.x's kind: v-prediction on Stable Diffusion's schedule."""

    unet_extra_config = {}
    latent_format = MiniatureUNetLatent
    memory_usage_factor = 1.0

    def inpaint_model(self) -> bool:
        return False


class MiniatureTransformer(comfy.supported_models.Flux):
    """Flux's kind: rectified flow on its shifted schedule."""

    sampling_settings = {"shift": network.FLOW_SHIFT}
    latent_format = MiniatureLatent
    memory_usage_factor = 1.0


class MiniatureTokens(comfy.sd1_clip.SDTokenizer):
    """The stock CLIP vocabulary in shorter chunks, for a text encoder of another width."""

    def __init__(self, embedding_directory=None, tokenizer_data=None, text: Mapping[str, Any] = SHAPES.text) -> None:
        super().__init__(
            max_length=text["max_position_embeddings"],
            embedding_directory=embedding_directory,
            embedding_size=text["hidden_size"],
            tokenizer_data=tokenizer_data or {},
        )


class MiniatureTokenizer(comfy.sd1_clip.SD1Tokenizer):
    def __init__(self, embedding_directory=None, tokenizer_data=None, text: Mapping[str, Any] = SHAPES.text) -> None:
        super().__init__(embedding_directory, tokenizer_data or {}, tokenizer=partial(MiniatureTokens, text=text))


class MiniatureTextEncoder(comfy.sd1_clip.SDClipModel):
    def __init__(self, device="cpu", dtype=None, model_options=None, text: Mapping[str, Any] = SHAPES.text, **_) -> None:
        super().__init__(
            device=device,
            dtype=dtype,
            max_length=text["max_position_embeddings"],
            textmodel_json_config=dict(text),
            model_options=model_options or {},
        )


class MiniatureClip(comfy.sd1_clip.SD1ClipModel):
    def __init__(self, device="cpu", dtype=None, model_options=None, text: Mapping[str, Any] = SHAPES.text) -> None:
        super().__init__(device=device, dtype=dtype, model_options=model_options or {}, clip_model=partial(MiniatureTextEncoder, text=text))


def tokenizer(shapes: Shapes = SHAPES) -> comfy.sd1_clip.SDTokenizer:
    return MiniatureTokens(text=shapes.text)


def with_groups_of(channels: int, network: nn.Module) -> nn.Module:
    """A VAE whose norms take `channels` channels together, instead of however many make 32 groups."""
    for norm in network.modules():
        if isinstance(norm, nn.GroupNorm):
            norm.num_groups = max(1, norm.num_channels // channels)
    return network


@lru_cache(maxsize=8)
def weights(folder: Path, part: str) -> dict[str, Tensor]:
    """One of `network.PARTS`, read once, in float32."""
    try:
        tensors = load_file(folder / f"{part}.safetensors")
    except (OSError, SafetensorError) as problem:
        raise GraftError(f"the miniature's {part.replace('_', ' ')} cannot be read ({problem}); install Graft again") from problem
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def load_unet(folder: Path = WEIGHTS, shapes: Shapes = SHAPES, disable_dynamic: bool = False):
    """A ModelPatcher. The last keyword is what the host passes when it makes the model anew."""
    config = MiniatureUNet(dict(shapes.unet))
    kind = partial(comfy.model_base.BaseModel, model_type=comfy.model_base.ModelType.V_PREDICTION)
    return _loaded(load_unet, "unet", config, kind, folder, shapes, disable_dynamic)


def load_transformer(folder: Path = WEIGHTS, shapes: Shapes = SHAPES, disable_dynamic: bool = False):
    """A ModelPatcher, as `load_unet` gives one."""
    config = MiniatureTransformer(dict(shapes.transformer))
    return _loaded(load_transformer, "transformer", config, comfy.model_base.Flux, folder, shapes, disable_dynamic)


def _loaded(loader, part: str, config, kind: Callable, folder: Path, shapes: Shapes, disable_dynamic: bool):
    config.set_inference_dtype(torch.float32, None)
    preview = _preview(folder)
    config.latent_format = type(config.latent_format)(preview["factors"].tolist(), preview["bias"].tolist())
    offload = comfy.model_management.unet_offload_device()
    model = kind(config, device=offload)
    model.diffusion_model.load_state_dict(weights(folder, part))
    patcher = comfy.model_patcher.ModelPatcher if disable_dynamic else comfy.model_patcher.CoreModelPatcher
    loaded = patcher(model.eval(), load_device=comfy.model_management.get_torch_device(), offload_device=offload)
    loaded.cached_patcher_init = (loader, (folder, shapes))
    return loaded


def _preview(folder: Path) -> dict[str, Tensor]:
    return {name.removeprefix("preview."): tensor for name, tensor in weights(folder, "autoencoder").items() if name.startswith("preview.")}


def load_clip(folder: Path = WEIGHTS, shapes: Shapes = SHAPES) -> comfy.sd.CLIP:
    state = dict(weights(folder, "text_encoder"))
    known, rows = state.pop("known").long(), state.pop("text_model.embeddings.token_embedding.weight")
    # Only the world's words were trained; every other token means what an average word means.
    table = rows.mean(dim=0).repeat(shapes.text["vocab_size"], 1)
    table[known] = rows
    state["text_model.embeddings.token_embedding.weight"] = table
    state["text_projection.weight"] = torch.eye(shapes.text["hidden_size"])
    target = comfy.supported_models_base.ClipTarget(partial(MiniatureTokenizer, text=shapes.text), partial(MiniatureClip, text=shapes.text))
    clip = comfy.sd.CLIP(target, model_options={"dtype": torch.float32})
    missing, _ = clip.load_sd(state)
    if set(missing) - {"logit_scale"}:
        raise GraftError(f"the miniature's text encoder lacks {sorted(missing)}; install Graft again")
    return clip


def load_vae(folder: Path = WEIGHTS, shapes: Shapes = SHAPES) -> comfy.sd.VAE:
    state = {name: tensor for name, tensor in weights(folder, "autoencoder").items() if not name.startswith("preview.")}
    vae = comfy.sd.VAE(sd=state, config={"params": dict(shapes.vae)}, dtype=torch.float32)
    with_groups_of(shapes.channels_per_group, vae.first_stage_model)
    vae.latent_channels = network.LATENT_CHANNELS
    return vae
