"""What methods are tried on: the miniature with its drawn pictures, and random weights in the shapes of real networks.

Random weights draw nothing, and cost what real ones cost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import comfy.model_management
import comfy.model_patcher
import comfy.samplers
import comfy.supported_models
import torch
from graft.attention.words import Prompt, Word
from graft.host.engine.prompts import PROMPTS_KEY
from torch import Tensor

from .random_checkpoint import KINDS, random_values

SOURCE, TARGET = "a cat on a mat", "a dog on a mat"
WORDS = SOURCE.split()[1], TARGET.split()[1]
POOLED = {"sdxl": 1280, "flux": 768}
CONTEXT = {"sd15": 768, "sd21": 1024, "sdxl": 2048, "flux": 4096}

FLUX = {
    "image_model": "flux",
    "in_channels": 16,
    "out_channels": 16,
    "vec_in_dim": POOLED["flux"],
    "context_in_dim": CONTEXT["flux"],
    "hidden_size": 3072,
    "mlp_ratio": 4.0,
    "num_heads": 24,
    "depth": 19,
    "depth_single_blocks": 38,
    "axes_dim": [16, 56, 56],
    "theta": 10000,
    "patch_size": 2,
    "qkv_bias": True,
    "guidance_embed": False,
    "txt_ids_dims": [],
}

SMALL: dict[str, Mapping[str, Any]] = {
    "sd15": {"model_channels": 32},
    "sd21": {"model_channels": 64},
    "sdxl": {"model_channels": 64, "transformer_depth": [0, 0, 1, 1, 2, 2], "transformer_depth_middle": 2}
    | {"transformer_depth_output": [0, 0, 0, 1, 1, 1, 2, 2, 2]},
    "flux": {"hidden_size": 64, "num_heads": 2, "depth": 1, "depth_single_blocks": 2, "axes_dim": [8, 12, 12], "mlp_ratio": 2.0},
}
"""What a small network of each kind has otherwise: for tests, which have to take every way but no time."""


@dataclass(frozen=True)
class Subject:
    """A model and what is edited with it. Latents (1, C, h, w) are clean, in the VAE's space; prompts are CONDITIONINGs.

    `words` name what the source's prompt and the target's call the thing. `region` and `object` (1, H, W) are where a reference is
    put, and what of it is its object.
    """

    name: str
    model: Any
    picture: Tensor
    reference: Tensor
    source: list
    target: list
    empty: list
    exceptional: list
    words: tuple[str, str]
    steps: int
    rounds: int
    """How often it is measured."""

    def sigmas(self, scheduler: str = "ddim_uniform") -> Tensor:
        """(steps + 1,), descending."""
        return comfy.samplers.calculate_sigmas(self.model.get_model_object("model_sampling"), scheduler, self.steps)[-(self.steps + 1) :]

    @property
    def pixels(self) -> tuple[int, int]:
        return tuple(8 * side for side in self.picture.shape[-2:])

    @property
    def region(self) -> Tensor:
        """The middle quarter of the picture."""
        (height, width), region = self.pixels, torch.zeros(1, *self.pixels)
        region[:, height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] = 1
        return region

    @property
    def object(self) -> Tensor:
        """A disc within it."""
        down, across = (torch.linspace(-1, 1, side) for side in self.pixels)
        return (down.square()[:, None] + across.square() < 0.2).float()[None]


def miniature(steps: int = 10) -> Subject:
    """The pack's own model with two drawn pictures."""
    from evaluation.laboratory import Laboratory, picture
    from graft.host.engine.exceptional_prompt import encode_exceptional_prompt
    from graft.miniature.scenes.scene import Scene, Thing

    laboratory = Laboratory()
    scenes = [Scene("meadow", things=(Thing("owl"),)), Scene("sand", things=(Thing("teapot", "blue"),))]
    latents = laboratory.encode(picture(scenes).pictures).split(1)
    prompts = [
        laboratory.conditioning([text]) for text in ("a 3-D render of an owl on a meadow", "a 3-D render of a teapot on a meadow", "")
    ]
    return Subject(
        "miniature", laboratory.model, *latents, *prompts, encode_exceptional_prompt(laboratory.clip), ("owl", "teapot"), steps, 7
    )


def of_random_weights(kind: str, side: int, steps: int, dtype: torch.dtype, rounds: int = 3, small: bool = False) -> Subject:
    """A network of a `kind` of `CONTEXT` with pictures `side` pixels wide and high."""
    config = _config(kind, small)
    config.set_inference_dtype(dtype, None)
    load, offload = comfy.model_management.get_torch_device(), comfy.model_management.unet_offload_device()
    model = config.get_model({}, device=load)
    generator = torch.Generator().manual_seed(0)
    for name, weight in sorted(model.diffusion_model.named_parameters()):
        weight.copy_(random_values(name, weight.shape, generator))
    patcher = comfy.model_patcher.CoreModelPatcher(model.eval(), load_device=load, offload_device=offload)
    cells = side // 8
    latents = [torch.randn(1, model.latent_format.latent_channels, cells, cells, generator=generator) for _ in range(2)]
    prompts = [_prompt(kind, text, generator) for text in (SOURCE, TARGET, "")]
    # The exceptional prompt's states are all the same.
    exceptional = [[states[:, :1].expand_as(states).contiguous(), options] for states, options in _prompt(kind, "", generator)]
    bits = {torch.float32: "", torch.bfloat16: ", bf16", torch.float16: ", fp16"}[dtype]
    return Subject(f"{'small ' * small}{kind}, {side} px{bits}", patcher, *latents, *prompts, exceptional, WORDS, steps, rounds)


def _config(kind: str, small: bool):
    changes = SMALL[kind] if small else {}
    if kind == "flux":
        return comfy.supported_models.FluxSchnell({**FLUX, **changes})
    return getattr(comfy.supported_models, KINDS[kind].config)({**KINDS[kind].unet, **changes})


def _prompt(kind: str, text: str, generator: torch.Generator, length: int = 77) -> list:
    """A CONDITIONING of random states whose words are known, a token each."""
    words = tuple(Word(word, (number,), (number,)) for number, word in enumerate(text.split(), 1))
    padding = length - len(words) - 2
    tokens = ("<start>", *text.split(), "<end>", *["<pad>"] * padding)
    prompt = Prompt(tokens, ("start", *["text"] * len(words), "end", *["padding"] * padding), words)
    options = {"pooled_output": torch.randn(1, POOLED.get(kind, CONTEXT[kind]), generator=generator), PROMPTS_KEY: (prompt,)}
    return [[torch.randn(1, length, CONTEXT[kind], generator=generator), options]]


def on_processor() -> dict[str, Callable[[], Subject]]:
    """What is measured on a CPU."""
    return {"miniature": miniature, "sd15": lambda: of_random_weights("sd15", 256, 5, torch.float32, rounds=1)}


def on_cuda() -> dict[str, Callable[[], Subject]]:
    """And what on a GPU: every shape in both precisions."""
    shapes = (("sd15", 512), ("sd15", 768), ("sd21", 512), ("sd21", 768), ("sdxl", 1024), ("flux", 1024))
    made = {}
    for dtype, name in ((torch.bfloat16, "bf16"), (torch.float16, "fp16")):
        for kind, side in shapes:
            made[f"{kind} {side} {name}"] = lambda kind=kind, side=side, dtype=dtype: of_random_weights(kind, side, 10, dtype)
    return made


def quick() -> dict[str, Callable[[], Subject]]:
    """Every kind in small: each way through the code, in seconds."""
    return {f"small {kind}": lambda kind=kind: of_random_weights(kind, 128, 5, torch.float32, small=True) for kind in CONTEXT}
