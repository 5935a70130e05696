"""FreeCompose's harmonisation: a pasted thing becomes part of the scene, with the article's ablation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import torch
from graft.composition.placement import SHOWN
from graft.host.samplers.latent_optimization import Optimization
from graft.optimization.descent import Descent
from torch import Tensor

from .freecompose import Method, Pasted, Task, Terms, described, grown, optimised, pasted_cases, prompts_of, psnr_in
from .laboratory import UNSEEN, Laboratory
from .report import Sheet, Table
from .tf_icon import recognised, thing_at

PAPER = Optimization(iterations=200)
SETTINGS = replace(PAPER, iterations=80, guidance=3.0, descent=Descent("sgd", 0.1))
AROUND = replace(SETTINGS, iterations=25, outside=0.0)
BACKGROUND_WEIGHT, FOREGROUND_WEIGHT = 0.3, 0.1
REACH = 16
"""Pixels around a thing that are its surroundings."""

Stage = tuple[Callable[[Pasted, Tensor], Task], Method]
"""What is optimised, of pictures (B, H, W, 3) that an earlier stage has made, and how."""


def the_thing(cases: Pasted, pictures: Tensor) -> Task:
    """The article's: from no words to what the scene shows."""
    mask = torch.from_numpy(cases.objects)
    return Task(pictures, [""] * len(mask), prompts_of(cases.truth.scenes), mask, BACKGROUND_WEIGHT, FOREGROUND_WEIGHT)


def its_surroundings(cases: Pasted, pictures: Tensor) -> Task:
    """From the scene without the thing to the scene with it, around the thing alone: its shadow."""
    mask = torch.from_numpy(grown(cases.objects, REACH) * (1 - cases.objects)).float()
    return Task(pictures, prompts_of(cases.empty.scenes), prompts_of(cases.truth.scenes), mask, BACKGROUND_WEIGHT)


def _both(**terms: bool) -> tuple[Stage, ...]:
    return (the_thing, Method(Terms(**terms), SETTINGS)), (its_surroundings, Method(Terms(inside=True, **terms), AROUND))


METHODS: Mapping[str, tuple[Stage, ...]] = {
    "perceptual only": ((the_thing, Method(Terms(score=False, perceptual=True), SETTINGS)),),
    "DDS only": _both(),
    "full": _both(perceptual=True),
    "full, the thing alone": _both(perceptual=True)[:1],
}


def run(laboratory: Laboratory, count: int = 64, methods: Mapping[str, tuple[Stage, ...]] = METHODS) -> tuple[list[Table], list[Sheet]]:
    """`count` unseen pictures with a pasted thing."""
    cases = pasted_cases(np.random.default_rng(UNSEEN + 9), count)
    results = {"paste": cases.pictures, "truth, through the VAE": laboratory.decode(laboratory.encode(cases.truth.pictures))}
    made: dict[tuple[Stage, ...], Tensor] = {}
    results |= {label: harmonised(laboratory, cases, stages, made) for label, stages in methods.items()}
    rows = tuple({"method": label} | measure(laboratory, cases, pictures) for label, pictures in results.items())
    note = (
        f"{count} pictures with a thing cut from the same scene in another style or another light; the truth has it in the picture's own style and light, with its shadow. "
        f"First the thing: {described(SETTINGS)}, from the empty prompt to the truth's; perceptual loss of the VAE's encoder, weight {BACKGROUND_WEIGHT:g} outside the thing and {FOREGROUND_WEIGHT:g} inside. "
        f"Then its surroundings, {REACH} pixels wide, and nothing else: {AROUND.iterations} iterations from the prompt of the scene without the thing to the truth's. "
        f"The article has the first stage alone, and {described(PAPER)}. "
        "Against the truth: PSNR in the thing and in the shadow's region; the distance of the thing's mean colour, of 255; how much of its shadow is there, in percent of its darkness; "
        "percent of pictures in which the judge sees what it is and its colour (where it has one of its own choice, and not in ink), and its style. Background: outside thing and shadow, against the paste."
    )
    shown = {"paste": cases.pictures, "truth": cases.truth.pictures} | {label: results[label] for label in methods}
    return [Table("harmonisation", "FreeCompose: harmonisation", note, rows)], [Sheet("harmonisation", shown)]


def harmonised(laboratory: Laboratory, cases: Pasted, stages: tuple[Stage, ...], made: dict[tuple[Stage, ...], Tensor]) -> Tensor:
    """The pictures after all `stages`; `made` keeps what was made after fewer or as many."""
    if not stages:
        return cases.pictures
    if stages not in made:
        task, method = stages[-1]
        made[stages] = optimised(laboratory, task(cases, harmonised(laboratory, cases, stages[:-1], made)), method)
    return made[stages]


def measure(laboratory: Laboratory, cases: Pasted, pictures: Tensor) -> dict[str, float]:
    truth, objects = cases.truth.pictures, cases.objects > SHOWN
    seen = [thing_at(verdict, mask) for verdict, mask in zip(laboratory.verdicts(pictures), cases.objects, strict=True)]
    return {
        "object PSNR (dB)": psnr_in(objects, pictures, truth),
        "colour distance": 255 * float(_mean_in(objects, pictures - truth).norm(dim=-1).mean()),
        "shadow PSNR (dB)": psnr_in(cases.shadows, pictures, truth),
        "shadow": 100 * float(_shadow(cases, pictures)),
        "thing and colour": _percent([recognised(s, scene) for s, scene in zip(seen, cases.truth.scenes, strict=True)]),
        "style": _percent([s is not None and s.style == scene.style for s, scene in zip(seen, cases.truth.scenes, strict=True)]),
        "background PSNR (dB)": psnr_in(cases.untouched, pictures, cases.pictures),
    }


def _shadow(cases: Pasted, pictures: Tensor) -> Tensor:
    """By how much more the shadows' regions are darkened than the background is, as a part of what the shadows of the truth darken."""
    drawn, due = (
        (_mean_in(cases.shadows, darkening) - _mean_in(cases.untouched, darkening) * cases.has_shadow[:, None]).sum()
        for darkening in (cases.empty.pictures - shown for shown in (pictures, cases.truth.pictures))
    )
    return drawn / due


def _mean_in(regions: np.ndarray, pictures: Tensor) -> Tensor:
    """(B, 3): the mean colour of pictures (B, H, W, 3) inside regions (B, H, W)."""
    weights = torch.from_numpy(regions)[..., None].float()
    return (pictures * weights).sum(dim=(1, 2)) / weights.sum(dim=(1, 2)).clamp(min=1)


def _percent(hits: list[bool]) -> float:
    return 100 * float(np.mean(hits))
