"""TF-ICON: a thing from one picture into another, across styles, across styles and light, and within one style."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import comfy.samplers
import numpy as np
import torch
from graft.composition.placement import Place, PlacedReference, place_reference
from graft.host.edits.background_preservation import BackgroundPreservation
from graft.host.edits.composite_attention import CompositeAttention, Mode
from graft.host.edits.composition import composed_start
from graft.host.engine.exceptional_prompt import encode_exceptional_prompt
from graft.host.engine.pictures import psnr
from graft.host.engine.plan import Edit, Plan
from graft.host.engine.run import carry_out
from graft.host.engine.stream import Stream
from graft.host.engine.windows import Window
from graft.host.families.layers import all_layers, require_unet
from graft.host.samplers.sampling import GraftSampler, invert
from graft.host.samplers.schedules import uniform_time_sigmas
from graft.miniature.judge import Seen, Verdict
from graft.miniature.scenes.prompts import prompt_of
from graft.miniature.scenes.sampling import sample_scene
from graft.miniature.scenes.scene import GROUNDS, STYLES, Light, Scene, Style
from torch import Tensor

from .laboratory import UNSEEN, Laboratory, Pictured, picture
from .report import Sheet, Table
from .scenes import PAINTED, another, shows_colour

STEPS, SOLVER, BATCH = 20, "dpmpp_2m", 16
GUIDANCE, TAU_A, TAU_B = 2.5, 0.4, 0.8
STRONG = 5.0
"""The paper's guidance across styles."""
STRONGEST = 8.0
STRENGTHS = (0.2, 0.3, 0.4, 0.5, 0.6)
"""Of paste + img2img."""
LUMA = torch.tensor((0.2126, 0.7152, 0.0722))
"""Rec. 709."""


@dataclass(frozen=True)
class Method:
    """`prompt` is that of both inversions and of the streams, `mode` None leaves out composite attention, `kept` is how much of the
    run keeps the background. `pasted` starts across styles as within one: from the pasted picture's noise. `skip` leaves out a part of the
    steps; tau_A and tau_B are then parts of the rest."""

    prompt: Literal["exceptional", "empty", "own"] = "exceptional"
    mode: Mode | None = "intended"
    kept: float = TAU_B
    guidance: float = GUIDANCE
    pasted: bool = False
    skip: float = 0.0

    def of_the_rest(self, part: float) -> float:
        """As a part of the schedule."""
        return self.skip + (1 - self.skip) * part


METHODS = {
    "TF-ICON": Method(),
    "no composite attention": Method(mode=None),
    "no background preservation": Method(kept=0.0),
    "empty prompt": Method("empty"),
    "ordinary prompts": Method("own"),
    "light": Method(mode="light"),
    "released code's order": Method(mode="released"),
    "guidance 5 (paper)": Method(guidance=STRONG),
    "guidance 5, from the pasted picture, skip 0.4": Method(guidance=STRONG, pasted=True, skip=0.4),
}
RELIT = ("TF-ICON", "no composite attention", "guidance 5 (paper)", "guidance 5, from the pasted picture, skip 0.4")
SAME_STYLE = ("TF-ICON", "no composite attention")


@dataclass(frozen=True)
class Cases:
    """Main pictures of one thing, references of one thing on another ground, and the truth: the main picture with the
    reference's thing painted as the main picture is. `placed` lays each reference where the truth has it. `unrelit`, where light
    counts, is the truth with all in the reference's light."""

    main: Pictured
    reference: Pictured
    truth: Pictured
    placed: PlacedReference
    unrelit: Pictured | None = None

    def batches(self) -> Iterator[slice]:
        return (slice(start, start + BATCH) for start in range(0, len(self.main.pictures), BATCH))


def run(laboratory: Laboratory, count: int = 64) -> tuple[list[Table], list[Sheet]]:
    """`count` unseen pairs of pictures of two styles, as many of two styles by day and by night, and as many of one style."""
    parts = [_across(laboratory, count), _across_light(laboratory, count), _within(laboratory, count)]
    return [table for table, _ in parts], [sheet for _, sheet in parts]


def _across(laboratory: Laboratory, count: int) -> tuple[Table, Sheet]:
    cases = cases_of(np.random.default_rng(UNSEEN + 5), count, across=True)
    results = _baselines(laboratory, cases) | _compositions(laboratory, cases, METHODS)
    note = (
        f"{count} pairs: a thing from a picture of one of the four styles into one of another, on another ground in the same light. {STEPS} steps of DPM-Solver++ 2M, guidance {GUIDANCE:g}, "
        f"tau_A {TAU_A:g}, tau_B {TAU_B:g}; the prompt names all that is to be seen, the reference lies on a canvas of its own average colour, inversions and streams run "
        "under the exceptional prompt, but where the row says otherwise. "
        "Percent of pictures in which the judge sees, in the thing at the asked place, what it is and its colour (where it has a colour of its own choice, and not in ink), and the main picture's style; "
        "their mean; IoU of that thing with the truth's. Background: outside the region, against the main picture."
    )
    return Table("tf_icon", "TF-ICON: across styles", note, measure(laboratory, cases, results)), _sheet("tf_icon", cases, results, METHODS)


def _across_light(laboratory: Laboratory, count: int) -> tuple[Table, Sheet]:
    cases = relit_cases_of(np.random.default_rng(UNSEEN + 13), count)
    results = _baselines(laboratory, cases) | _compositions(laboratory, cases, RELIT)
    note = (
        f"The same with {count} other pairs, of which one picture is by day and the other by night, and none in ink, which shows things alike in any light. The light is right if the thing, where it is seen and should be, "
        "is nearer in brightness (luma) to the truth than to the truth in the reference's light; the mean is that of thing and colour, and of style and light at once."
    )
    table = Table("tf_icon_light", "TF-ICON: across styles and light", note, measure(laboratory, cases, results))
    return table, _sheet(table.name, cases, results, RELIT)


def _within(laboratory: Laboratory, count: int) -> tuple[Table, Sheet]:
    cases = cases_of(np.random.default_rng(UNSEEN + 6), count, across=False)
    results = {"naive paste": cases.placed.pasted} | _compositions(laboratory, cases, SAME_STYLE, across=False)
    note = f"The same with {count} pairs of one style: the pasted picture is inverted, and the thing starts from its noise."
    table = Table("tf_icon_same", "TF-ICON: within a style", note, measure(laboratory, cases, results))
    return table, _sheet(table.name, cases, results, SAME_STYLE)


def _baselines(laboratory: Laboratory, cases: Cases) -> dict[str, Tensor]:
    results = {"truth, through the VAE": laboratory.decode(laboratory.encode(cases.truth.pictures)), "naive paste": cases.placed.pasted}
    results |= {f"paste + img2img {strength:g}": redrawn(laboratory, cases, strength) for strength in STRENGTHS}
    for guidance in (STRONG, STRONGEST):
        results |= {f"paste + img2img {s:g}, guidance {guidance:g}": redrawn(laboratory, cases, s, guidance) for s in STRENGTHS[:3]}
    return results


def _compositions(laboratory: Laboratory, cases: Cases, labels: Iterable[str], across: bool = True) -> dict[str, Tensor]:
    return {label: composed(laboratory, cases, METHODS[label], across) for label in labels}


def cases_of(rng: np.random.Generator, count: int, across: bool) -> Cases:
    return _placed([_case(rng, across) for _ in range(count)])


def relit_cases_of(rng: np.random.Generator, count: int) -> Cases:
    """Across styles and light: in turn from day into night and from night into day. Without ink, in which things look alike in any light."""
    scenes = [_case(rng, True, *(("day", "night") if index % 2 else ("night", "day")), styles=PAINTED) for index in range(count)]
    unrelit = picture(truth.relit(reference.light) for _, reference, truth in scenes)
    return replace(_placed(scenes), unrelit=unrelit)


def _placed(scenes: list[tuple[Scene, Scene, Scene]]) -> Cases:
    main, reference, truth = (picture(part) for part in zip(*scenes, strict=True))
    places = [Place.of_mask(torch.from_numpy(objects[-1])) for objects in truth.objects]
    masks = torch.stack([torch.from_numpy(objects[0]).float() for objects in reference.objects])
    return Cases(main, reference, truth, place_reference(main.pictures, reference.pictures, masks, places, "object", "average colour"))


def _case(
    rng: np.random.Generator,
    across: bool,
    light: Light | None = None,
    reference_light: Light | None = None,
    styles: tuple[Style, ...] = STYLES,
) -> tuple[Scene, Scene, Scene]:
    """Main scene, reference and truth. The two grounds differ, and the styles if `across`; the light is the same unless given."""
    truth = sample_scene(rng, count=2, light=light, style=str(rng.choice(styles)))
    thing = truth.things[1]
    style = another(styles, truth.style, rng) if across else truth.style
    ground = another(GROUNDS, truth.ground, rng)
    reference = sample_scene(rng, count=1, ground=ground, style=style, light=reference_light or truth.light)
    look = {name: getattr(thing, name) for name in ("kind", "colour", "individual", "mirrored")}
    return truth.without(1), reference.changed(0, **look), truth


def redrawn(laboratory: Laboratory, cases: Cases, strength: float, guidance: float = GUIDANCE) -> Tensor:
    """The naive paste, noised to a part of the schedule and sampled again under the truth's prompt."""
    sigmas = uniform_time_sigmas(laboratory.model, round(STEPS / strength))[-(STEPS + 1) :]
    pictures = []
    for batch in cases.batches():
        latent = laboratory.encode(cases.placed.pasted[batch])
        prompts = [prompt_of(scene) for scene in cases.truth.scenes[batch]]
        noise = laboratory.noise(len(latent), UNSEEN + batch.start)
        pictures.append(laboratory.decode(laboratory.sample(laboratory.model, prompts, noise, latent, sigmas, guidance, SOLVER)))
    return torch.cat(pictures)


def composed(laboratory: Laboratory, cases: Cases, method: Method, across: bool) -> Tensor:
    """The pictures that TF-ICON's pipeline makes."""
    pictures = []
    for batch in cases.batches():
        edits, sample = composition(laboratory, cases, batch, method, across)
        model = carry_out(laboratory.model, Plan(tuple(edits))) if edits else laboratory.model
        pictures.append(laboratory.decode(sample(model)))
    return torch.cat(pictures)


def composition(
    laboratory: Laboratory, cases: Cases, batch: slice, method: Method, across: bool
) -> tuple[list[Edit], Callable[[Any], Tensor]]:
    """TF-ICON's edits for a batch, and what samples its latents (B, C, h, w) with a model that carries them."""
    model, sigmas, across = laboratory.model, uniform_time_sigmas(laboratory.model, STEPS), across and not method.pasted
    canvas, object_mask, region = (part[batch] for part in (cases.placed.canvas, cases.placed.object, cases.placed.region))
    shown = cases.main.pictures if across else cases.placed.pasted
    scenes = cases.main.scenes if across else cases.truth.scenes
    main = _stream(laboratory, method, shown[batch], scenes[batch], sigmas, "main")
    reference = _stream(laboratory, method, canvas, cases.reference.scenes[batch], sigmas, "reference")
    edits: list[Edit] = []
    if method.mode is not None:
        end, layers = method.of_the_rest(TAU_A), all_layers(require_unet(model))
        edits.append(CompositeAttention(main, reference, object_mask, region, end, layers, method.mode))
    if method.kept:
        edits.append(BackgroundPreservation(main.trajectory, Window.of_percent(model, 0.0, method.of_the_rest(method.kept)), region))
    from_reference = reference.trajectory if across else None
    first = main.trajectory.after(method.skip)
    start = composed_start(model, main.trajectory, from_reference, object_mask, region, UNSEEN + batch.start, first)
    prompts = laboratory.conditioning([prompt_of(scene) for scene in cases.truth.scenes[batch]])

    def sample(edited) -> Tensor:
        guider = comfy.samplers.CFGGuider(edited)
        guider.set_conds(prompts, laboratory.conditioning([""]))
        guider.set_cfg(method.guidance)
        return guider.sample(torch.zeros_like(start), start, GraftSampler(SOLVER), sigmas[first:], disable_pbar=True, seed=0)

    return edits, sample


def _stream(laboratory: Laboratory, method: Method, pictures: Tensor, scenes: tuple[Scene, ...], sigmas: Tensor, name: str) -> Stream:
    match method.prompt:
        case "exceptional":
            conditioning = encode_exceptional_prompt(laboratory.clip)
        case "empty":
            conditioning = laboratory.conditioning([""])
        case "own":
            conditioning = laboratory.conditioning([prompt_of(scene) for scene in scenes])
    trajectory = invert(laboratory.model, conditioning, laboratory.encode(pictures), sigmas, SOLVER, 1)
    return Stream(trajectory, conditioning, name=name)


def measure(laboratory: Laboratory, cases: Cases, results: dict[str, Tensor]) -> tuple[dict, ...]:
    """A table's rows, one for each of `results`."""
    rows = []
    for label, pictures in results.items():
        verdicts = laboratory.verdicts(pictures)
        seen = [thing_at(verdict, objects[-1]) for verdict, objects in zip(verdicts, cases.truth.objects, strict=True)]
        identity = _percent([recognised(s, scene) for s, scene in zip(seen, cases.truth.scenes, strict=True)])
        in_style = [s is not None and s.style == scene.style for s, scene in zip(seen, cases.truth.scenes, strict=True)]
        look, light = in_style, {}
        if cases.unrelit is not None:
            in_light = relit(pictures, seen, cases)
            look = [style and lit for style, lit in zip(in_style, in_light, strict=True)]
            light = {"light": _percent(in_light), "style and light": _percent(look)}
        outside = [
            psnr(one[mask < 0.5][None, None], other[mask < 0.5][None, None]).item()
            for one, other, mask in zip(pictures, cases.main.pictures, cases.placed.region, strict=True)
        ]
        overlap = [
            0.0 if thing is None else float((thing.mask & true).sum() / (thing.mask | true).sum())
            for thing, objects in zip(seen, cases.truth.objects, strict=True)
            for true in [objects[-1] > 0.5]
        ]
        rows.append(
            {"method": label, "thing and colour": identity, "style": _percent(in_style)}
            | light
            | {
                "mean": (identity + _percent(look)) / 2,
                "object IoU": float(np.mean(overlap)),
                "background PSNR (dB)": float(np.mean(outside)),
            }
        )
    return tuple(rows)


def relit(pictures: Tensor, seen: list[Seen | None], cases: Cases) -> list[bool]:
    """For each of `pictures` (B, H, W, 3): whether the thing, where it is seen and should be, is nearer in mean luma to the
    truth than to the truth in the reference's light. A thing that is not seen there is not."""
    verdicts = []
    for thing, objects, *shown in zip(seen, cases.truth.objects, pictures, cases.truth.pictures, cases.unrelit.pictures, strict=True):
        where = (objects[-1] > 0.5) & (False if thing is None else thing.mask)
        luma, right, wrong = ((one @ LUMA)[where].mean() for one in shown)
        verdicts.append(bool((luma - right).abs() < (luma - wrong).abs()))
    return verdicts


def thing_at(verdict: Verdict, mask: np.ndarray) -> Seen | None:
    """The thing that covers most of `mask` (H, W); None if none covers any."""
    covering = [(float((thing.mask * mask).sum()), thing) for thing in verdict.things]
    area, thing = max(covering, key=lambda pair: pair[0], default=(0.0, None))
    return thing if area > 0 else None


def recognised(seen: Seen | None, scene: Scene) -> bool:
    """Whether what is seen is the scene's last thing, in its colour where it shows one."""
    asked = scene.things[-1]
    return seen is not None and seen.kind == asked.kind and (seen.colour == asked.colour or not shows_colour(scene, asked))


def _percent(hits: list[bool]) -> float:
    return 100 * float(np.mean(hits))


def _sheet(name: str, cases: Cases, results: dict[str, Tensor], methods: Collection[str]) -> Sheet:
    shown = {label: pictures for label, pictures in results.items() if label in methods or label in ("naive paste", "paste + img2img 0.3")}
    return Sheet(name, {"main": cases.main.pictures, "reference": cases.reference.pictures, "truth": cases.truth.pictures} | shown)
