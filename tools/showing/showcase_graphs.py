"""A task done in three ways: by Graft's node, by image-to-image, and by the host's inpainting where something is painted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from graph import Choice, Graph, Output
from workflow_descriptions import Model, fit, keep
from workflow_descriptions.easy import Easy, place

from showing.showcase_cases import Case

DENOISE = 0.6
"""How much image-to-image makes anew."""
STEPS, GUIDANCE = 50, 7.5
"""For tasks whose node has no such setting."""
SOFT_EDGE, GROW = 8, 6
"""Pixels while the model works: inpainting's soft edge, and how far the host grows its mask by default; a case may have its own."""
RESULT = "result"

Loader = Callable[[Graph], Model]


@dataclass(frozen=True)
class Settings:
    """What all ways have in common: pixels of the longer side, the seed, and the number of steps, None for each task's own."""

    size: int
    seed: int = 3407
    steps: int | None = None


def by_graft(case: Case, load_model: Loader, settings: Settings) -> Graph:
    """The task's own node."""
    blueprint, graph = case.easy.blueprint(), Graph("Graft")
    inputs = told(case, settings)
    result = place(graph, blueprint, load_model(graph), **case.easy.connect(graph), **inputs)
    graph.add("SaveImage", title=RESULT, images=result["picture"], filename_prefix="showcase")
    return graph


def told(case: Case, settings: Settings) -> dict[str, str | float]:
    """What the task's node is told: what all have in common, as far as it has such inputs, then the case's own."""
    common = {"size": settings.size, "seed": settings.seed}
    if settings.steps is not None:
        common |= dict.fromkeys(("steps", "iterations", "draws"), settings.steps)
    kinds = case.easy.blueprint().kinds
    return {name: value for name, value in common.items() if name in kinds} | case.words


def by_image_to_image(case: Case, load_model: Loader, settings: Settings) -> Graph | None:
    """Noise is added to the picture, with what is to be placed pasted in, and taken away again under the prompt of the finished picture."""
    graph = Graph("image-to-image")
    model, (picture, _) = load_model(graph), _start(graph, case.easy)
    if not case.target:
        return None
    fitted = fit(graph, picture, size=settings.size)
    latent = graph.add("VAEEncode", pixels=fitted.picture, vae=model.vae)[0]
    edited = _sampled(graph, model, case, settings, latent, DENOISE)
    graph.add("SaveImage", title=RESULT, images=keep(graph, fitted, edited), filename_prefix="showcase")
    return graph


def by_inpainting(case: Case, load_model: Loader, settings: Settings) -> Graph | None:
    """What is painted is made anew under the prompt of the finished picture; None for tasks where nothing is painted."""
    graph = Graph("inpainting")
    model, (picture, mask) = load_model(graph), _start(graph, case.easy)
    if mask is None or not case.target:
        return None
    fitted = fit(graph, picture, mask=mask, size=settings.size)
    grow, soft = (int(case.words.get(name, preset)) for name, preset in (("grow_mask", GROW), ("soft_edge", SOFT_EDGE)))
    latent = graph.add("VAEEncodeForInpaint", pixels=fitted.picture, vae=model.vae, mask=fitted.mask, grow_mask_by=grow)[0]
    edited = _sampled(graph, model, case, settings, latent, 1.0)
    kept = keep(graph, fitted, edited, mask=fitted.mask, feather=soft, grow=grow)
    graph.add("SaveImage", title=RESULT, images=kept, filename_prefix="showcase")
    return graph


WAYS = {"Graft": by_graft, "image-to-image": by_image_to_image, "inpainting": by_inpainting}


def guidance_and_steps(case: Case, settings: Settings) -> tuple[float, int]:
    """What the sampling of the other ways takes: the task's own where its node has them."""
    presets = case.easy.blueprint().entry.inputs
    guidance = case.words.get("cfg", presets.get("cfg") or GUIDANCE)
    return float(guidance), int(settings.steps or presets.get("steps") or STEPS)


def _start(graph: Graph, task: Easy) -> tuple[Output, Output | None]:
    """The picture that is edited, the reference pasted where it goes, and what is painted on it."""
    given = task.connect(graph)
    if "where" in given:
        where = Choice("mask", mask=given["where"])
        pasted = graph.add(
            "GraftPasteObject", image=given["picture"], reference=given["reference"], reference_mask=given["object"], place=where
        )
        return pasted["pasted"], pasted["mask"]
    return given.get("picture", given.get("look")), given.get("mask")


def _sampled(graph: Graph, model: Model, case: Case, settings: Settings, latent: Output, denoise: float) -> Output:
    guidance, steps = guidance_and_steps(case, settings)
    positive, negative = (graph.add("CLIPTextEncode", clip=model.clip, text=text)[0] for text in (case.target, ""))
    sampled = graph.add(
        "KSampler",
        model=model.unet,
        positive=positive,
        negative=negative,
        latent_image=latent,
        seed=settings.seed,
        steps=steps,
        cfg=guidance,
        sampler_name="ddim",
        scheduler="ddim_uniform",
        denoise=denoise,
    )
    return graph.add("VAEDecode", samples=sampled[0], vae=model.vae)[0]
