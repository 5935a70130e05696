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
from graft.miniature.scenes.prompts import prompt_of
from graft.miniature.scenes.sampling import sample_scene
from graft.miniature.scenes.scene import COLOURS, GROUNDS, KINDS, Scene
from scipy import ndimage
from torch import Tensor

from .laboratory import UNSEEN, Laboratory, Pictured, picture
from .report import Sheet, Table
from .scenes import another, coloured_scene
from .swaps import SEAM, background, object_iou

STEPS, GUIDANCE, BATCH = 25, 2.5, 16
WINDOW_ENDS = (0.5, 0.8)
IMG2IMG_STRENGTHS = (0.7, 0.8, 0.9)
ABLATED = 0.8
"""The window's end of the ablations, which are made of the first task."""


@dataclass(frozen=True)
class Task:
    """An edit: the scenes it is made of, what it makes of one, and whether a verdict shows that it was made."""

    name: str
    scene: Callable[[np.random.Generator], Scene]
    change: Callable[[Scene, np.random.Generator], Scene]
    succeeded: Callable[[Scene, Verdict], bool]
    fixed: Callable[[Pictured, Pictured, int], np.ndarray]
    """(H, W), bool: the pixels of picture `index` that the edit should leave alone, by the scenes before and after."""
    where: str
    """Which these are, in words."""


def _one_thing(rng: np.random.Generator) -> Scene:
    return sample_scene(rng, count=1)


def _inside_object(before: Pictured, after: Pictured, index: int) -> np.ndarray:
    return ndimage.binary_erosion(before.objects[index].sum(0) > 0.95, iterations=SEAM // 2)


TASKS = (
    Task(
        "colour",
        coloured_scene,
        lambda scene, rng: scene.recoloured(0, another(COLOURS, scene.things[0].colour, rng)),
        lambda target, verdict: len(verdict.things) == 1 and verdict.things[0].colour == target.things[0].colour,
        background,
        "of the background outside object and shadow",
    ),
    Task(
        "ground",
        _one_thing,
        lambda scene, rng: scene.regrounded(another(GROUNDS, scene.ground, rng)),
        lambda target, verdict: verdict.ground == target.ground,
        _inside_object,
        "inside the object",
    ),
    Task(
        "thing",
        _one_thing,
        lambda scene, rng: scene.exchanged(0, another(KINDS, scene.things[0].kind, rng)),
        lambda target, verdict: [thing.kind for thing in verdict.things] == [target.things[0].kind],
        background,
        "of the background outside both objects and their shadows",
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
    tables, sheets = [], []
    for task in tasks:
        rng = np.random.default_rng(UNSEEN + 2)
        sources = picture(task.scene(rng) for _ in range(count))
        trajectories = inverted(laboratory, sources.pictures, iterations=1)
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
            f"PSNR: {task.where}, against the source picture."
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
        overlaps.append(object_iou(verdict, sources.objects[index]))
        region = torch.from_numpy(task.fixed(sources, targets, index))
        fidelity.append(psnr(pictures[index][region][None, None], sources.pictures[index][region][None, None]).item())
    return {"success": 100 * sum(success) / len(success), "object IoU": float(np.mean(overlaps)), "PSNR (dB)": float(np.mean(fidelity))}
