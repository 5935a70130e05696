"""Small UNets with random weights in the layouts of SD1.x, SD2.x with v-prediction and SDXL, and the real host around them.

What they compute means nothing; where tensors go, in which order and with which bits, is as in a real checkpoint.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass

import comfy.latent_formats
import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.samplers
import comfy.supported_models_base
import torch
from comfy.model_base import ModelType
from comfy.patcher_extension import WrappersMP
from graft.attention.words import Prompt, Word
from graft.host.engine.fingerprints import conditioning_fingerprint, model_fingerprint
from graft.host.engine.plan import RUN_KEY
from graft.host.engine.prompts import PROMPTS_KEY
from graft.inversion.trajectory import Trajectory
from random_weights import fill
from torch import Tensor

# The host collects garbage whenever it loads a model; what importing it left behind is none, and need not be searched each time.
gc.freeze()

KINDS = ("sd1", "sd2v", "sdxl")
CONTEXT = 16
POOLED = 24

FOUR_LEVELS = {
    "channel_mult": [1, 1, 1, 1],
    "num_res_blocks": [2, 2, 2, 2],
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "transformer_depth_output": [1] * 9 + [0] * 3,
    "transformer_depth_middle": 1,
}
THREE_LEVELS = {
    "channel_mult": [1, 1, 1],
    "num_res_blocks": [2, 2, 2],
    "transformer_depth": [0, 0, 1, 1, 2, 2],
    "transformer_depth_output": [0, 0, 0, 1, 1, 1, 2, 2, 2],
    "transformer_depth_middle": 2,
}
FULL_SDXL_DEPTHS = {
    "transformer_depth": [0, 0, 2, 2, 10, 10],
    "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10],
    "transformer_depth_middle": 10,
}
SIX_ADDED_SIZES = 6 * 256

LAYOUTS = {
    "sd1": {**FOUR_LEVELS, "num_heads": 4, "num_head_channels": -1, "use_linear_in_transformer": False, "adm_in_channels": None},
    "sd2v": {**FOUR_LEVELS, "num_heads": -1, "num_head_channels": 16, "use_linear_in_transformer": True, "adm_in_channels": None},
    "sdxl": {
        **THREE_LEVELS,
        "num_heads": -1,
        "num_head_channels": 16,
        "use_linear_in_transformer": True,
        "num_classes": "sequential",
        "adm_in_channels": POOLED + SIX_ADDED_SIZES,
    },
}


class TinyConfig(comfy.supported_models_base.BASE):
    unet_extra_config = {}
    latent_format = comfy.latent_formats.SD15
    memory_usage_factor = 1.0


class TinyXLConfig(TinyConfig):
    latent_format = comfy.latent_formats.SDXL


def unet_config(kind: str, **changes) -> dict:
    """The keyword arguments of ComfyUI's UNetModel."""
    common = {
        "image_size": 16,
        "in_channels": 4,
        "out_channels": 4,
        "model_channels": 32,
        "context_dim": CONTEXT,
        "use_spatial_transformer": True,
        "use_temporal_attention": False,
        "legacy": False,
    }
    return {**common, **LAYOUTS[kind], **changes}


def make_model(kind: str, seed: int = 0, device: str = "cpu", **changes):
    """A ModelPatcher; the same seed makes the same weights."""
    config = (TinyXLConfig if kind == "sdxl" else TinyConfig)(unet_config(kind, **changes))
    config.set_inference_dtype(torch.float32, None)
    base = comfy.model_base.SDXL if kind == "sdxl" else comfy.model_base.BaseModel
    model = base(config, model_type=ModelType.V_PREDICTION if kind == "sd2v" else ModelType.EPS, device=device)
    if device != "meta":
        fill(model.diffusion_model, seed)
    load, offload = comfy.model_management.get_torch_device(), comfy.model_management.unet_offload_device()
    return comfy.model_patcher.CoreModelPatcher(model.eval(), load_device=load, offload_device=offload)


def prompt(seed: int, tokens: int = 77, rows: int = 1) -> list:
    """A CONDITIONING as CLIPTextEncode makes it. SDXL's has text states and pooled output of two encoders side by side."""
    generator = torch.Generator().manual_seed(1000 + seed)
    return [[torch.randn(rows, tokens, CONTEXT, generator=generator), {"pooled_output": torch.randn(rows, POOLED, generator=generator)}]]


def noise(seed: int, batch: int = 1, height: int = 16, width: int = 16) -> Tensor:
    return torch.randn(batch, 4, height, width, generator=torch.Generator().manual_seed(2000 + seed))


def schedule(model, steps: int, name: str = "ddim_uniform") -> Tensor:
    return comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), name, steps)


def make_guider(model, positive: list, negative: list | None = None, cfg: float = 4.0) -> comfy.samplers.CFGGuider:
    guider = comfy.samplers.CFGGuider(model)
    guider.inner_set_conds({"positive": positive} if negative is None else {"positive": positive, "negative": negative})
    guider.set_cfg(cfg)
    return guider


def sample(
    model,
    positive: list,
    negative: list | None = None,
    *,
    cfg: float = 4.0,
    sampler: str | comfy.samplers.Sampler = "euler",
    sigmas: Tensor | None = None,
    steps: int = 5,
    start: Tensor | None = None,
    latent: Tensor | None = None,
    callback: Callable | None = None,
    seed: int = 7,
) -> Tensor:
    """A generation as SamplerCustomAdvanced runs it. `start` is the noise (B, 4, h, w), `latent` what it is added to."""
    sigmas = schedule(model, steps) if sigmas is None else sigmas
    start = noise(0) if start is None else start
    latent = torch.zeros_like(start) if latent is None else latent
    sampler = comfy.samplers.sampler_object(sampler) if isinstance(sampler, str) else sampler
    guider = make_guider(model, positive, negative, cfg)
    return guider.sample(start, latent, sampler, sigmas, callback=callback, disable_pbar=True, seed=seed)


@dataclass
class Call:
    """One call of the network as the host made it. `order` is `cond_or_uncond`; `x` (rows, C, h, w) is in sampler space,
    `denoised` the prediction; `stream` says whether it was the pass that runs the streams."""

    order: list[int]
    sigma: float
    x: Tensor
    context: Tensor
    denoised: Tensor
    stream: bool

    def rows(self, conditioning: int) -> tuple[Tensor, Tensor]:
        """What went in and came out for conditioning 0 (positive) or 1 (negative), all its chunks one after another."""
        chosen = [chunk for chunk, which in enumerate(self.order) if which == conditioning]
        return tuple(torch.cat([tensor.chunk(len(self.order))[chunk] for chunk in chosen]) for tensor in (self.x, self.denoised))


def watched(model) -> tuple[object, list[Call]]:
    """A clone of `model` and the list that every call of its network is written to."""
    clone, calls = model.clone(), []

    def watch(executor, x, sigma, c_concat=None, c_crossattn=None, control=None, transformer_options=None, **kwargs):
        engine = transformer_options.get(RUN_KEY)
        denoised = executor(x, sigma, c_concat, c_crossattn, control, transformer_options, **kwargs)
        stream = engine is not None and bool(engine.writing)
        order = list(transformer_options["cond_or_uncond"])
        calls.append(Call(order, float(sigma[0]), x.clone(), c_crossattn.clone(), denoised.clone(), stream))
        return denoised

    clone.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "test", watch)
    return clone, calls


def snapshot(model) -> object:
    """Everything a run could have left on a ModelPatcher, comparable with `==`; objects count by identity."""

    def frozen(value):
        if isinstance(value, dict):
            return {key: frozen(part) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [frozen(part) for part in value]
        return value if isinstance(value, str | int | float | bool | None) else id(value)

    kept = ("model_options", "patches", "object_patches", "wrappers", "callbacks", "attachments", "injections", "additional_models")
    return {name: frozen(getattr(model, name)) for name in kept}


class GivenNoise:
    """A NOISE of chosen values."""

    seed = 7

    def __init__(self, values: torch.Tensor) -> None:
        self.values = values

    def generate_noise(self, latent: dict) -> torch.Tensor:
        return self.values


def empty_like(latents: torch.Tensor) -> dict:
    """The LATENT that a generation starts from."""
    return {"samples": torch.zeros_like(latents)}


def wording(text: str, chunk: int = 77) -> Prompt:
    """A prompt of a vocabulary in which a piece of text is its own token: words between spaces, `sky|scraper` of two tokens."""
    tokens, kinds, words = ["<start>"], ["start"], []
    for word in text.split():
        span = []
        for piece in word.split("|"):
            if len(tokens) % chunk == chunk - 1:
                tokens, kinds = [*tokens, "<end>", "<start>"], [*kinds, "end", "start"]
            span.append(len(tokens))
            tokens, kinds = [*tokens, piece], [*kinds, "text"]
        words.append(Word(word.replace("|", ""), tuple(span), tuple(span)))
    padding = -(len(tokens) + 1) % chunk
    return Prompt((*tokens, "<end>", *["<pad>"] * padding), (*kinds, "end", *["padding"] * padding), tuple(words))


def worded(seed: int, *texts: str) -> list:
    """A CONDITIONING as Encode Prompt makes it, a row per text, with random states."""
    prompts = tuple(wording(text) for text in texts)
    ((states, options),) = prompt(seed, prompts[0].length, len(texts))
    return [[states, {**options, PROMPTS_KEY: prompts}]]


def random_trajectory(model, conditioning: list, *, seed: int = 0, batch: int = 1, size: tuple[int, int] = (16, 16), steps: int = 5):
    """Latents that no inversion made: what streams are shown does not depend on what they were made of."""
    sigmas = schedule(model, steps)
    latents = torch.stack([noise(100 * seed + level, batch, *size) * (1 + sigma**2).sqrt() for level, sigma in enumerate(sigmas)])
    return Trajectory(latents, sigmas, "ddim", model_fingerprint(model), conditioning_fingerprint(conditioning))


def sample_from(model, start: Tensor, sigmas: Tensor, positive: list, negative: list | None = None, **options) -> Tensor:
    """A generation that starts from noisy latents `start` (B, 4, h, w); all latents in sampler space."""
    latent = model.model.process_latent_out(start)
    sampled = sample(model, positive, negative, sigmas=sigmas, start=torch.zeros_like(latent), latent=latent, **options)
    return model.model.process_latent_in(sampled)


class FlowNetwork(torch.nn.Module):
    """A network that is no UNet, with its self-attention's patch where Flux has it, called as Flux calls it."""

    def __init__(self, device=None, dtype=torch.float32, operations=None, **config) -> None:
        super().__init__()
        self.dtype = dtype
        self.into, self.out = torch.nn.Conv2d(4, 16, 3, padding=1), torch.nn.Conv2d(16, 4, 3, padding=1)
        self.context = torch.nn.Linear(CONTEXT, 16)

    def forward(self, x, timesteps, context=None, control=None, transformer_options=None, **kwargs):
        hidden = self.into(x) + self.context(context.mean(dim=1))[..., None, None] + timesteps.view(-1, 1, 1, 1) / 1000
        for patch in (transformer_options or {}).get("patches", {}).get("attn1_patch", ()):
            patch(hidden, hidden, hidden, pe=None, attn_mask=None, extra_options=transformer_options)
        return self.out(torch.tanh(hidden))


def make_flow_model(seed: int = 0):
    """A ModelPatcher of a model that predicts a flow, x = (1 - sigma) z + sigma n."""
    config = TinyConfig({})
    config.set_inference_dtype(torch.float32, None)
    model = comfy.model_base.BaseModel(config, model_type=ModelType.FLOW, device="cpu", unet_model=FlowNetwork)
    fill(model.diffusion_model, seed)
    load, offload = comfy.model_management.get_torch_device(), comfy.model_management.unet_offload_device()
    return comfy.model_patcher.CoreModelPatcher(model.eval(), load_device=load, offload_device=offload)
