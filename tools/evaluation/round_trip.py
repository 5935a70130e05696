"""How close does inversion and sampling back come to the picture, under which prompt, with which solver, in how many steps?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import comfy.samplers
import numpy as np
import torch
from graft.host.engine.exceptional_prompt import encode_exceptional_prompt
from graft.host.engine.pictures import psnr
from graft.host.engine.requirements import mixing_of
from graft.host.samplers.sampling import GraftSampler, Inverter
from graft.host.samplers.schedules import uniform_time_sigmas
from graft.inversion.solvers import Solver
from graft.miniature.scenes.prompts import prompt_of
from graft.miniature.scenes.sampling import sample_scene
from torch import Tensor

from .laboratory import UNSEEN, Laboratory, picture
from .report import Sheet, Table

BATCH = 16
GUIDANCE = 2.5
SHOWN_STEPS = 20


@dataclass(frozen=True)
class Method:
    """DDIM runs on the host's ddim_uniform, DPM-Solver++ on TF-ICON's schedule. `iterations` are model calls per inverted step."""

    name: str
    solver: Solver
    iterations: int = 1

    def sigmas(self, laboratory: Laboratory, steps: int) -> Tensor:
        return laboratory.sigmas(steps) if self.solver == "ddim" else uniform_time_sigmas(laboratory.model, steps)


@dataclass(frozen=True)
class Case:
    """One row: both directions with one method under one prompt. The picture's own prompt is guided, the others are not."""

    method: Method
    prompt: Literal["empty", "exceptional", "its own, guided"]
    steps: int


DDIM, FIXED_POINT, DPM_SOLVER = Method("DDIM", "ddim"), Method("DDIM, fixed point", "ddim", 3), Method("DPM-Solver++ 2M", "dpmpp_2m")
METHODS = {"empty": (DDIM, FIXED_POINT, DPM_SOLVER), "exceptional": (DDIM, DPM_SOLVER), "its own, guided": (DDIM, DPM_SOLVER)}
CASES = tuple(Case(method, prompt, steps) for steps in (50, 20, 10) for prompt, methods in METHODS.items() for method in methods)


def run(laboratory: Laboratory, count: int = 64, cases: Sequence[Case] = CASES) -> tuple[list[Table], list[Sheet]]:
    """Inverts `count` unseen pictures and samples them back, once per case."""
    rng = np.random.default_rng(UNSEEN + 1)
    pictured = picture(sample_scene(rng) for _ in range(count))
    pictures, own_prompts = pictured.pictures, [prompt_of(scene) for scene in pictured.scenes]
    latents = _batched(laboratory.encode, pictures)
    decoded = _batched(laboratory.decode, latents)
    vae_alone = psnr(decoded, pictures)
    rows, sheet = [], {"picture": pictures, "VAE alone": decoded}
    for case in cases:
        starts = range(0, count, BATCH)
        parts = [_there_and_back(laboratory, case, latents[i : i + BATCH], own_prompts[i : i + BATCH]) for i in starts]
        returned = _batched(laboratory.decode, torch.cat(parts))
        against_clean, against_picture = psnr(returned, decoded), psnr(returned, pictures)
        rows.append(
            {
                "prompt": case.prompt,
                "inversion": case.method.name,
                "steps": case.steps,
                "calls per step": case.method.iterations,
                "against the decoded latent (dB)": against_clean.mean().item(),
                "worst tenth (dB)": against_clean.quantile(0.1).item(),
                "against the picture (dB)": against_picture.mean().item(),
                "VAE alone (dB)": vae_alone.mean().item(),
            }
        )
        if case.steps == SHOWN_STEPS:
            sheet[f"{case.method.name}, {case.prompt}"] = returned
    note = (
        f"{count} pictures, PSNR of the decoded reconstruction, mean over pictures; worst tenth: a tenth of the pictures is below. The same "
        f"prompt both ways: empty and exceptional without guidance, each picture's own with guidance {GUIDANCE:g} against the empty one. DDIM on "
        f"ddim_uniform, DPM-Solver++ on the schedule of even times that TF-ICON uses. Pictures: {SHOWN_STEPS} steps."
    )
    return [Table("round_trip", "Inversion and back", note, tuple(rows))], [Sheet("round_trip", sheet)]


def _batched(convert, tensor: Tensor) -> Tensor:
    return torch.cat([convert(part) for part in tensor.split(BATCH)])


def _there_and_back(laboratory: Laboratory, case: Case, latents: Tensor, own_prompts: list[str]) -> Tensor:
    """(B, C, h, w) in the VAE's space, inverted and sampled back by one guider: guidance, where there is any, acts in both directions."""
    guider = comfy.samplers.CFGGuider(laboratory.model)
    empty = laboratory.conditioning([""])
    match case.prompt:
        case "empty":
            positive, guidance = empty, 1.0
        case "exceptional":
            positive, guidance = encode_exceptional_prompt(laboratory.clip), 1.0
        case "its own, guided":
            positive, guidance = laboratory.conditioning(own_prompts), GUIDANCE
    guider.set_conds(positive, empty)
    guider.set_cfg(guidance)
    sigmas = case.method.sigmas(laboratory, case.steps)
    inverter, sampler = Inverter(case.method.solver, case.method.iterations, mixing_of(laboratory.model)), GraftSampler(case.method.solver)
    for way, levels in ((inverter, sigmas.flip(0)), (sampler, sigmas)):
        latents = guider.sample(torch.zeros_like(latents), latents, way, levels, disable_pbar=True, seed=0)
    return latents
