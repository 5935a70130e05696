"""Edits that swap a word: pictures of one thing, their prompts, and how close a result comes to the asked thing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import comfy.samplers
import numpy as np
import torch
from graft.host.engine.pictures import psnr
from graft.host.engine.plan import Edit, Plan
from graft.host.engine.run import carry_out
from graft.host.engine.stream import Stream
from graft.host.samplers.sampling import GraftSampler, invert
from graft.inversion.trajectory import Trajectory
from graft.miniature.judge import Seen, Verdict
from graft.miniature.network import DOWNSCALE
from graft.miniature.scenes.prompts import Wording, prompt_of
from graft.miniature.scenes.scene import Scene
from scipy import ndimage
from torch import Tensor

from .laboratory import Laboratory, Pictured

STEPS, GUIDANCE = 25, 2.5
SEAM = DOWNSCALE // 2
"""Pixels around a thing that count for neither side: half a cell of the latent."""


@dataclass(frozen=True)
class Group:
    """Pictures of an experiment whose prompts name the thing before and after the edit by the same two words.

    `negative` is the empty prompt; `source` is replayed under its own prompt, `reference`, if any, under the empty one.
    """

    indices: list[int]
    source_word: str
    target_word: str
    source: Stream
    target: list
    negative: list
    reference: Stream | None


def groups_of(
    laboratory: Laboratory, sources: Pictured, targets: Pictured, wording: Wording, references: Pictured | None = None
) -> list[Group]:
    """The pictures inverted, by the kinds before and after, which are the words that edits name."""
    negative = laboratory.conditioning([""])
    by_words: dict[tuple[str, str], list[int]] = {}
    for index, (before, after) in enumerate(zip(sources.scenes, targets.scenes, strict=True)):
        by_words.setdefault((before.things[0].kind, after.things[0].kind), []).append(index)
    groups = []
    for words, indices in by_words.items():
        prompts = [laboratory.conditioning([prompt_of(scenes[i], wording) for i in indices]) for scenes in (sources.scenes, targets.scenes)]
        source = Stream(_inverted(laboratory, prompts[0], sources.pictures[indices]), prompts[0])
        reference = None
        if references is not None:
            trajectory = _inverted(laboratory, negative, references.pictures[indices])
            reference = Stream(trajectory, negative, "as inverted", "reference")
        groups.append(Group(indices, *words, source, prompts[1], negative, reference))
    return groups


def _inverted(laboratory: Laboratory, conditioning: list, pictures: Tensor) -> Trajectory:
    return invert(laboratory.model, conditioning, laboratory.encode(pictures), laboratory.sigmas(STEPS), "ddim", 1)


def sample(model, group: Group, guidance: float) -> Tensor:
    """Latents (B, C, h, w) sampled by `model` from the inverted noise of the sources under the target's prompts."""
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(group.target, group.negative)
    guider.set_cfg(guidance)
    trajectory = group.source.trajectory
    noisiest = model.model.process_latent_out(trajectory.latents[0])
    return guider.sample(torch.zeros_like(noisiest), noisiest, GraftSampler("ddim"), trajectory.sigmas, disable_pbar=True, seed=0)


def edited(
    laboratory: Laboratory, groups: Iterable[Group], edits: Callable[[Group], list[Edit]], shape: torch.Size, guidance: float = GUIDANCE
) -> Tensor:
    """The pictures (`shape`: B, H, W, 3) with the edits of each group."""
    pictures = torch.zeros(shape)
    for group in groups:
        plan = Plan(tuple(edits(group)))
        model = carry_out(laboratory.model, plan) if plan.edits else laboratory.model
        pictures[group.indices] = laboratory.decode(sample(model, group, guidance))
    return pictures


def background(before: Pictured, after: Pictured, index: int) -> np.ndarray:
    """(H, W), bool: what neither the thing nor its shadow touches, before or after."""
    masks = [mask[index] for pictured in (before, after) for mask in (pictured.objects, pictured.shadows)]
    return ~ndimage.binary_dilation(sum(mask.sum(0) for mask in masks) > 0.05, iterations=SEAM)


def background_psnr(sources: Pictured, targets: Pictured, pictures: Tensor) -> float:
    """Mean over pictures, in dB, against the source pictures."""
    values = []
    for index, picture in enumerate(pictures):
        region = torch.from_numpy(background(sources, targets, index))
        values.append(psnr(picture[region][None, None], sources.pictures[index][region][None, None]).item())
    return float(np.mean(values))


def object_iou(verdict: Verdict, objects: np.ndarray) -> float:
    """Of what the judge sees as things, with the true masks (things, H, W)."""
    true = objects.sum(0) > 0.5
    seen = np.logical_or.reduce([np.zeros_like(true), *(thing.mask for thing in verdict.things)])
    return float((seen & true).sum() / (seen | true).sum())


def largest(verdict: Verdict) -> Seen | None:
    """The thing that the judge sees most of."""
    return max(verdict.things, key=lambda thing: thing.mask.sum(), default=None)


def share(targets: tuple[Scene, ...], verdicts: list[Verdict], *attributes: str) -> float:
    """Percent of pictures whose largest thing has all of the asked thing's attributes."""
    hits = []
    for scene, verdict in zip(targets, verdicts, strict=True):
        seen, asked = largest(verdict), scene.things[0]
        hits.append(seen is not None and all(getattr(seen, name) == getattr(asked, name) for name in attributes))
    return 100 * float(np.mean(hits))
