"""What FreeCompose's experiments share: its ablation, optimisation in batches, pasted things, regions of a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from graft.composition.placement import SHOWN
from graft.host.engine.pictures import psnr
from graft.host.families.layers import fine_decoder_layers, require_unet
from graft.host.samplers.guided import Prompts
from graft.host.samplers.latent_optimization import MaskedKeys, Optimization, optimize
from graft.host.samplers.perceptual import Masks, PerceptualLoss
from graft.miniature.scenes.prompts import prompt_of
from graft.miniature.scenes.sampling import sample_scene
from graft.miniature.scenes.scene import LIGHTS, STYLES, Scene
from graft.optimization.descent import descend
from scipy import ndimage
from torch import Tensor

from .laboratory import UNSEEN, Laboratory, Pictured, picture
from .scenes import PAINTED, another
from .swaps import SEAM

BATCH = 8
MASK_START, MASK_THRESHOLD = 4, 0.1
"""From which iteration on masked keys are hidden, and how much of a token the mask then covers."""
TOUCHED = 0.05
"""The coverage from which a pixel belongs to an object or a shadow."""


@dataclass(frozen=True)
class Terms:
    """Which of FreeCompose's parts an optimisation has."""

    score: bool = True
    """Delta Denoising Score's gradient."""
    keys: bool = False
    """The mask of keys and values, and the lower weight outside it."""
    inside: bool = False
    """The lower weight outside the mask alone."""
    perceptual: bool = False


@dataclass(frozen=True)
class Method:
    """A row of a table."""

    terms: Terms
    settings: Optimization
    shadow: bool = True
    """Whether the mask of what is removed covers the shadow too."""


@dataclass(frozen=True)
class Task:
    """Pictures (B, H, W, 3), what they show in words and what they shall show, and which parts shall look as they did."""

    pictures: Tensor
    source_prompts: Sequence[str]
    target_prompts: Sequence[str]
    mask: Tensor
    """(B, H, W): the object, or whatever else shall change."""
    background_weight: float = 0.0
    foreground_weight: float = 0.0

    def rows(self, rows: slice) -> Task:
        parts = {name: getattr(self, name)[rows] for name in ("pictures", "source_prompts", "target_prompts", "mask")}
        return replace(self, **parts)

    @property
    def kept(self) -> Masks:
        return [(1 - self.mask, self.background_weight), (self.mask, self.foreground_weight)]


def optimised(laboratory: Laboratory, task: Task, method: Method) -> Tensor:
    """The pictures that FreeCompose makes, in batches with a seed each."""
    terms, settings, pictures = method.terms, method.settings, []
    for start in range(0, len(task.pictures), BATCH):
        part = task.rows(slice(start, start + BATCH))
        latent = laboratory.encode(part.pictures)
        if terms.score:
            latent = with_score(laboratory, laboratory.model, part, latent, terms, settings, UNSEEN + start)
        else:
            latent = _perceptual_alone(laboratory, part, latent, settings)
        pictures.append(laboratory.decode(latent))
    return torch.cat(pictures)


def with_score(laboratory: Laboratory, model, task: Task, latent: Tensor, terms: Terms, settings: Optimization, seed: int) -> Tensor:
    """Latents (B, C, h, w) from `latent`, which shows the task's pictures, by `model`, which may carry edits and wrappers."""
    editors, losses = [], []
    if terms.keys or terms.inside:
        settings = replace(settings, mask=task.mask)
    if terms.keys:
        editors = [MaskedKeys(task.mask, fine_decoder_layers(require_unet(model)), MASK_START, MASK_THRESHOLD, "area")]
    if terms.perceptual:
        losses = [(PerceptualLoss("vae", laboratory.vae), task.kept)]
    prompts = Prompts(*(laboratory.conditioning(list(texts)) for texts in (task.target_prompts, task.source_prompts, [""])))
    return optimize(model, prompts, latent, seed, settings, editors, losses)


def _perceptual_alone(laboratory: Laboratory, task: Task, latent: Tensor, settings: Optimization) -> Tensor:
    model = laboratory.model
    loss = PerceptualLoss("vae", laboratory.vae).prepare(model, latent, task.kept)
    source = model.model.process_latent_in(latent).to(model.load_device)
    if not loss.gradient(source).any():
        return latent  # What the loss compares with is where it starts: nothing moves, in no iteration.
    moved = descend(source, settings.descent, settings.iterations, lambda at, _: loss.gradient(at), lambda *_: None)
    return model.model.process_latent_out(moved).to(latent)


def described(settings: Optimization) -> str:
    rule = "Adam" if settings.descent.rule == "adam" else "SGD"
    return f"{settings.iterations} iterations of {rule} at {settings.descent.learning_rate:g}, guidance {settings.guidance:g}"


@dataclass(frozen=True)
class Pasted:
    """Scenes whose last thing was cut from the same scene in another style or another light, and pasted at its place.

    `truth` has the thing as the scene is drawn, with its shadow, `empty` is without it; `pictures` (B, H, W, 3) are pasted.
    """

    truth: Pictured
    empty: Pictured
    pictures: Tensor

    @property
    def objects(self) -> np.ndarray:
        """(B, H, W) in [0, 1]: the pasted things."""
        return np.stack([objects[-1] for objects in self.truth.objects])

    @property
    def shadows(self) -> np.ndarray:
        """(B, H, W), bool: where the truth has the things' shadows and no thing."""
        things = np.stack([objects.max(axis=0) for objects in self.truth.objects])
        return (np.stack([shadows[-1] for shadows in self.truth.shadows]) > SHOWN) & (things <= TOUCHED)

    @property
    def has_shadow(self) -> Tensor:
        """(B,), bool: where anything of the shadow is seen."""
        return torch.from_numpy(self.shadows.any(axis=(1, 2)))

    @property
    def untouched(self) -> np.ndarray:
        """(B, H, W), bool: where neither the pasted things are nor their shadows would be."""
        return ~grown(self.objects + np.stack([shadows[-1] for shadows in self.truth.shadows]), SEAM)


def pasted_cases(rng: np.random.Generator, count: int, most_things: int = 1) -> Pasted:
    """`count` scenes of one to `most_things` things, in turn with one of another style and of another light, which ink does not show."""
    scenes = [
        sample_scene(rng, count=int(rng.integers(1, most_things + 1)), style=str(rng.choice(PAINTED if index % 2 else STYLES)))
        for index in range(count)
    ]
    truth = picture(scenes)
    foreign = picture(_foreign(rng, scene, restyle=index % 2 == 0) for index, scene in enumerate(truth.scenes))
    empty = picture(scene.without(len(scene.things) - 1) for scene in truth.scenes)
    masks = torch.from_numpy(np.stack([objects[-1] for objects in truth.objects]))[..., None]
    return Pasted(truth, empty, torch.lerp(empty.pictures, foreign.pictures, masks))


def _foreign(rng: np.random.Generator, scene: Scene, restyle: bool) -> Scene:
    if restyle:
        return scene.restyled(another(STYLES, scene.style, rng))
    return scene.relit(another(LIGHTS, scene.light, rng))


def prompts_of(scenes: Sequence[Scene]) -> list[str]:
    return [prompt_of(scene) for scene in scenes]


def grown(masks: np.ndarray, pixels: int) -> np.ndarray:
    """(B, H, W), bool: what masks (B, H, W) touch, and `pixels` around it."""
    return np.stack([ndimage.binary_dilation(mask > TOUCHED, iterations=pixels) if pixels else mask > TOUCHED for mask in masks])


def psnr_in(regions: np.ndarray, pictures: Tensor, others: Tensor) -> float:
    """Mean over pictures, in dB, inside `regions` (B, H, W); pictures whose region is empty do not count."""
    values = [
        psnr(one[region][None, None], other[region][None, None]).item()
        for one, other, region in zip(pictures, others, torch.from_numpy(regions), strict=True)
        if region.any()
    ]
    return float(np.mean(values))
