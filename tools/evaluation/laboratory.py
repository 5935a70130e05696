"""What experiments share: the miniature in the real host, batches of prompts and pictures, the judge."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import comfy.samplers
import comfy.utils
import numpy as np
import torch
from graft.host.engine.pictures import decode, encode
from graft.host.engine.prompts import PROMPTS_KEY, encode_prompt
from graft.host.models import miniature
from graft.host.samplers.sampling import GraftSampler
from graft.miniature.judge import Judge, Verdict, load_judge
from graft.miniature.network import DOWNSCALE, LATENT_CHANNELS, SIDE, WEIGHTS
from graft.miniature.scenes.rendering import render
from graft.miniature.scenes.sampling import EVALUATION_SEEDS
from graft.miniature.scenes.scene import Scene
from torch import Tensor

UNSEEN = EVALUATION_SEEDS.start
"""Seeds of evaluation scenes start here."""


@dataclass(frozen=True)
class Pictured:
    """Scenes with their pictures (B, H, W, 3) and, for each, the masks of its things (things, H, W)."""

    scenes: tuple[Scene, ...]
    pictures: Tensor
    objects: tuple[np.ndarray, ...]
    shadows: tuple[np.ndarray, ...]


def picture(scenes: Iterable[Scene]) -> Pictured:
    scenes = tuple(scenes)
    drawn = [render(scene) for scene in scenes]
    pictures = torch.from_numpy(np.stack([rendering.picture for rendering in drawn]))
    return Pictured(scenes, pictures, tuple(d.objects for d in drawn), tuple(d.shadows for d in drawn))


class Laboratory:
    """The miniature, loaded once."""

    def __init__(self) -> None:
        comfy.utils.set_progress_bar_enabled(False)
        self.model, self.clip, self.vae = miniature.load_unet(), miniature.load_clip(), miniature.load_vae()

    @cached_property
    def judge(self) -> Judge:
        return load_judge(miniature.weights(WEIGHTS, "judge"))

    def verdicts(self, pictures: Tensor) -> list[Verdict]:
        return self.judge.verdicts(pictures)

    def conditioning(self, prompts: list[str]) -> list:
        """One CONDITIONING whose rows are the prompts with their words, for a batch of as many latents; a single prompt
        serves any batch."""
        encoded = [encode_prompt(self.clip, prompt)[0] for prompt in prompts]
        options = [options for _, options in encoded]
        words = tuple(prompt for own in options for prompt in own[PROMPTS_KEY])
        pooled = torch.cat([own["pooled_output"] for own in options])
        return [[torch.cat([states for states, _ in encoded]), {"pooled_output": pooled, PROMPTS_KEY: words}]]

    def encode(self, pictures: Tensor) -> Tensor:
        return encode(self.vae, pictures)

    def decode(self, latents: Tensor) -> Tensor:
        return decode(self.vae, latents)

    def sigmas(self, steps: int, scheduler: str = "ddim_uniform") -> Tensor:
        """(steps + 1,), as BasicScheduler gives them: ddim_uniform's own grid has a step more where `steps` does not divide 1000."""
        sigmas = comfy.samplers.calculate_sigmas(self.model.get_model_object("model_sampling"), scheduler, steps)
        return sigmas[-(steps + 1) :]

    def noise(self, count: int, seed: int, side: int = SIDE // DOWNSCALE) -> Tensor:
        return torch.randn((count, LATENT_CHANNELS, side, side), generator=torch.Generator().manual_seed(seed))

    def sample(self, model, prompts: list[str], noise: Tensor, latent: Tensor, sigmas: Tensor, guidance: float, solver="ddim") -> Tensor:
        """Latents (B, C, h, w) sampled with the Graft Sampler from `noise` added to `latent` under `prompts`, "" as the negative."""
        guider = comfy.samplers.CFGGuider(model)
        guider.set_conds(self.conditioning(prompts), self.conditioning([""]))
        guider.set_cfg(guidance)
        return guider.sample(noise, latent, GraftSampler(solver), sigmas, disable_pbar=True, seed=0)
