"""Free-Prompt-Editing against the two simple ways to edit by prompt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from graft.host.edits.self_attention import ReplaceSelfAttention
from graft.host.engine.pictures import psnr
from graft.host.engine.plan import Plan
from graft.host.engine.run import carry_out
from graft.host.engine.stream import Stream
from graft.host.engine.windows import Window
from graft.host.families.layers import all_layers, coarse_layers, require_unet
from graft.host.samplers.sampling import invert
from graft.inversion.trajectory import Trajectory
from graft.miniature.judge import Verdict
from graft.miniature.world import COLOURS, GROUNDS, Scene, prompt_of, sample_scene
from scipy import ndimage
from torch import Tensor

from .laboratory import UNSEEN, Laboratory, Pictured, picture
from .report import Sheet, Table

STEPS, GUIDANCE, BATCH = 25, 2.5, 16
WINDOW_ENDS = (0.8, 1.0)
IMG2IMG_STRENGTHS = (0.7, 0.8, 0.9)
ABLATED = 0.8
"""The window's end of the ablations, which are made of the first task."""


@dataclass(frozen=True)
class Task:
    """An edit: what it makes of a scene, and whether a verdict shows that it was made."""

    name: str
    change: Callable[[Scene, np.random.Generator], Scene]
    succeeded: Callable[[Scene, Verdict], bool]
    fixed: Callable[[Pictured, int], np.ndarray]
    """(H, W), bool: the pixels of picture `index` that the edit should leave alone."""


def _other(options: tuple[str, ...], present: str, rng: np.random.Generator) -> str:
    return str(rng.choice([option for option in options if option != present]))


def _background(pictured: Pictured, index: int) -> np.ndarray:
    touched = (pictured.objects[index].sum(0) + pictured.shadows[index].sum(0)) > 0.05
    return ~ndimage.binary_dilation(touched, iterations=2)


def _inside_object(pictured: Pictured, index: int) -> np.ndarray:
    return ndimage.binary_erosion(pictured.objects[index].sum(0) > 0.95, iterations=1)


TASKS = (
    Task(
        "colour",
        lambda scene, rng: scene.changed(0, colour=_other(COLOURS, scene.things[0].colour, rng)),
        lambda target, verdict: len(verdict.things) == 1 and verdict.things[0].colour == target.things[0].colour,
        _background,
    ),
    Task(
        "ground",
        lambda scene, rng: scene.regrounded(_other(GROUNDS, scene.ground, rng)),
        lambda target, verdict: verdict.ground == target.ground,
        _inside_object,
    ),
)


def run(
    laboratory: Laboratory,
    count: int = 64,
    tasks: tuple[Task, ...] = TASKS,
    window_ends: tuple[float, ...] = WINDOW_ENDS,
    strengths: tuple[float, ...] = IMG2IMG_STRENGTHS,
    ablated: float | None = ABLATED,
) -> tuple[list[Table], list[Sheet]]:
    """`count` unseen pictures of one object, each inverted under "" and edited towards the changed scene's prompt."""
    rng = np.random.default_rng(UNSEEN + 2)
    sources = picture(sample_scene(rng, count=1) for _ in range(count))
    trajectories = inverted(laboratory, sources.pictures, iterations=1)
    tables, sheets = [], []
    for task in tasks:
        targets = picture(task.change(scene, rng) for scene in sources.scenes)
        edited = {"same inverted noise, no edit": edit(laboratory, trajectories, targets.scenes, window_end=0.0)}
        edited |= {f"Free-Prompt-Editing, window to {end:g}": edit(laboratory, trajectories, targets.scenes, end) for end in window_ends}
        edited |= {f"image to image, strength {s:g}": image_to_image(laboratory, sources.pictures, targets.scenes, s) for s in strengths}
        if ablated is not None and task is tasks[0]:
            exact = inverted(laboratory, sources.pictures, iterations=3)
            quarter = edit(laboratory, trajectories, targets.scenes, ablated, layers=coarse_layers)
            edited[f"window to {ablated:g}, layers of at most a quarter of the cells"] = quarter
            edited[f"window to {ablated:g}, fixed-point inversion"] = edit(laboratory, exact, targets.scenes, ablated)
        rows = [{"method": label} | measure(laboratory, task, sources, targets, pictures) for label, pictures in edited.items()]
        note = (
            f"{count} pictures, {STEPS} DDIM steps, guidance {GUIDANCE:g}, real variant (inverted under the empty prompt, plain DDIM inversion), all self-attention layers. Success: percent of "
            "pictures in which the judge sees the asked change. Object IoU: the judge's object mask in the result against the true mask of the source. "
            f"PSNR: {'of the background outside object and shadow' if task.name == 'colour' else 'inside the object'}, against the source picture."
        )
        tables.append(Table(f"free_prompt_editing_{task.name}", f"Free-Prompt-Editing: change the {task.name}", note, tuple(rows)))
        shown = {"source": sources.pictures, "truth": targets.pictures}
        sheets.append(Sheet(f"free_prompt_editing_{task.name}", shown | {_short(label): pictures for label, pictures in edited.items()}))
    return tables, sheets


def _short(label: str) -> str:
    return (
        label.replace("Free-Prompt-Editing, window to", "FPE")
        .replace("image to image, strength", "img2img")
        .replace("same inverted noise, no edit", "no edit")
    )


def inverted(laboratory: Laboratory, pictures: Tensor, iterations: int) -> list[Trajectory]:
    empty, sigmas = laboratory.conditioning([""]), laboratory.sigmas(STEPS)
    return [invert(laboratory.model, empty, laboratory.encode(part), sigmas, "ddim", iterations) for part in pictures.split(BATCH)]


def edit(
    laboratory: Laboratory,
    trajectories: list[Trajectory],
    targets: tuple[Scene, ...],
    window_end: float,
    layers=all_layers,
) -> Tensor:
    """Pictures (B, H, W, 3) edited with the window from 0 to `window_end` in the chosen layers;
    a window to 0 samples the inverted noise without an edit."""
    empty, results, start = laboratory.conditioning([""]), [], 0
    for trajectory in trajectories:
        model = laboratory.model
        if window_end:
            replaced = ReplaceSelfAttention(
                Stream(trajectory, empty), Window.of_percent(model, 0.0, window_end), layers(require_unet(model))
            )
            model = carry_out(model, Plan().with_edit(replaced))
        prompts = [prompt_of(scene) for scene in targets[start : start + trajectory.batch]]
        noisiest = laboratory.model.model.process_latent_out(trajectory.latents[0])
        latents = laboratory.sample(model, prompts, torch.zeros_like(noisiest), noisiest, trajectory.sigmas, GUIDANCE)
        results.append(laboratory.decode(latents))
        start += trajectory.batch
    return torch.cat(results)


def image_to_image(laboratory: Laboratory, pictures: Tensor, targets: tuple[Scene, ...], strength: float) -> Tensor:
    """SDEdit (Meng et al. 2022): fresh noise of a middle level on the encoded picture, sampled under the target prompt."""
    sigmas = laboratory.sigmas(STEPS)
    sigmas, results = sigmas[STEPS - round(STEPS * strength) :], []
    for start in range(0, len(pictures), BATCH):
        latent = laboratory.encode(pictures[start : start + BATCH])
        prompts = [prompt_of(scene) for scene in targets[start : start + BATCH]]
        noise = laboratory.noise(len(latent), UNSEEN + start)
        results.append(laboratory.decode(laboratory.sample(laboratory.model, prompts, noise, latent, sigmas, GUIDANCE)))
    return torch.cat(results)


def measure(laboratory: Laboratory, task: Task, sources: Pictured, targets: Pictured, pictures: Tensor) -> dict[str, float]:
    """Success in percent, mean object IoU, mean PSNR in dB where the edit should not reach."""
    verdicts = laboratory.verdicts(pictures)
    success = [task.succeeded(scene, verdict) for scene, verdict in zip(targets.scenes, verdicts, strict=True)]
    overlaps, fidelity = [], []
    for index, verdict in enumerate(verdicts):
        seen = np.logical_or.reduce([thing.mask for thing in verdict.things]) if verdict.things else np.zeros(pictures.shape[1:3], bool)
        true = sources.objects[index].sum(0) > 0.5
        overlaps.append((seen & true).sum() / (seen | true).sum())
        region = torch.from_numpy(task.fixed(sources, index))
        fidelity.append(psnr(pictures[index][region][None, None], sources.pictures[index][region][None, None]).item())
    return {"success": 100 * sum(success) / len(success), "object IoU": float(np.mean(overlaps)), "PSNR (dB)": float(np.mean(fidelity))}
