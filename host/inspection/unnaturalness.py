"""The unnaturalness map: asking a model, at several noise levels, how it would change a picture."""

from __future__ import annotations

from typing import Literal

import comfy.samplers
import torch
from torch import Tensor
from torch.nn.functional import interpolate
from tqdm.auto import tqdm

from ...optimization.unnaturalness import heat, strength, unexpected_change, wanted_change
from ..engine.noise_levels import level_at, noise_parts, require_picture_latent, require_timesteps
from ..engine.plan import require_unedited
from ..engine.requirements import require_one_prompt
from ..samplers.guided import sample, unguided
from .captions import Scale, captioned, counted, noise_levels
from .heat_maps import laid_over, over_grey

Measure = Literal["unexpected", "all"]
"""What counts: change beyond what the noise explains, or, as in the article, all of it."""
LEGENDS: dict[Measure, tuple[str, str, str]] = {
    "unexpected": ("unnaturalness", "0: fits", "1: does not fit"),
    "all": ("all change wanted", "0: stays", "1: changes"),
}
"""A measure's title, and what no heat and full heat mean."""


class Prober(comfy.samplers.Sampler):
    """A SAMPLER that leaves the latent as it is and adds up what the model would change about it at each noise level."""

    def __init__(self, seed: int, measure: Measure) -> None:
        self.seed, self.measure = seed, measure
        self.heat: Tensor | None = None

    def sample(self, model_wrap, sigmas, extra_args, callback, noise, latent_image=None, denoise_mask=None, disable_pbar=False) -> Tensor:
        sampling, generator = model_wrap.inner_model.model_sampling, torch.Generator().manual_seed(self.seed)
        levels, total = sigmas[:-1].tolist(), latent_image.new_zeros(latent_image[:, 0].shape)
        with tqdm(levels, disable=disable_pbar) as bar:
            for index, level in enumerate(bar):
                alpha, beta = noise_parts(sampling, level)
                drawn = torch.randn(latent_image.shape, generator=generator).to(latent_image)
                sigma = latent_image.new_full((len(latent_image),), level)
                denoised = model_wrap(sampling.noise_scaling(sigma[:1], drawn, latent_image), sigma, **extra_args)
                if self.measure == "all":
                    total += wanted_change(latent_image, denoised)
                else:
                    total += unexpected_change(latent_image, denoised, drawn, beta / alpha)
                if callback is not None:
                    callback(index, denoised, latent_image, len(levels))
        self.heat = heat(strength(total / len(levels)), latent_image)
        return latent_image


def unnaturalness_map(
    model, conditioning: list, latent: Tensor, timesteps: tuple[int, int], draws: int, seed: int, measure: Measure = "unexpected"
) -> Tensor:
    """(B, h, w) in [0, 1]: how little the model believes each cell of a clean `latent` (B, C, h, w), in the VAE's space.

    Asks it `draws` times, each time at another timestep between the two (of 1000) and under other noise, without guidance.
    """
    require_unedited(model)
    require_one_prompt(conditioning, "conditioning", "the map")
    require_picture_latent(model, latent, "image")
    require_timesteps("timestep", timesteps)
    sampling = model.get_model_object("model_sampling")
    sigmas = torch.cat([_asked(sampling, timesteps, draws), torch.zeros(1)])
    prober = Prober(seed, measure)
    sample(unguided(model, conditioning), torch.zeros_like(latent), latent, prober, sigmas, seed)
    return prober.heat.cpu()


def _asked(sampling, timesteps: tuple[int, int], draws: int) -> Tensor:
    """(draws,): the noise levels at which a model is asked, the highest first."""
    return level_at(sampling, torch.linspace(timesteps[1] - 2, timesteps[0], draws).round().long())


def explained(heated: Tensor, model, timesteps: tuple[int, int], draws: int, measure: Measure) -> Tensor:
    """Pictures under their heat (B, H, W, 3), as `shown` makes them, with what was measured and what the colours mean below."""
    sampling, (title, low, high) = model.get_model_object("model_sampling"), LEGENDS[measure]
    text = f"{title}\n{counted(draws, 'draw')}, {noise_levels(sampling, _asked(sampling, timesteps, draws).tolist())}"
    return captioned(heated, [text] * len(heated), [Scale(low, high, over_grey())] * len(heated))


def shown(heat: Tensor, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """The heat (B, h, w) over `pictures` (B, H, W, 3), and alone as a mask (B, H, W)."""
    mask = interpolate(heat[:, None], pictures.shape[1:3], mode="bilinear", align_corners=False)[:, 0]
    return torch.stack([laid_over(picture, own) for picture, own in zip(pictures.cpu(), mask, strict=True)]), mask
