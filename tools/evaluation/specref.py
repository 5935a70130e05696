"""SpecRef: one thing becomes the reference's, with the paper's ablation of its masks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from graft.host.edits.local_blend import LocalBlend
from graft.host.edits.reference_attention import ReferenceAttention
from graft.host.engine.plan import Edit
from graft.host.engine.windows import Window
from graft.host.families.layers import all_layers, layers_at, require_unet
from graft.miniature.scenes.prompts import Wording
from graft.miniature.scenes.sampling import sample_scene
from graft.miniature.scenes.scene import COLOURS, GROUNDS, Scene
from scipy import ndimage
from torch import Tensor

from .laboratory import UNSEEN, Laboratory, Pictured, picture
from .prompt_to_prompt import MAP_LEVEL, blend, control
from .report import Sheet, Table
from .scenes import COLOURED_KINDS, another, coloured_scene
from .swaps import SEAM, STEPS, Group, background_psnr, edited, groups_of, share

WORDING = Wording(colour=False)
"""Prompts leave out what the reference shows: where the prompt says it all, Prompt-to-Prompt needs no reference."""

GUIDANCE, START, THRESHOLD, BLEND_THRESHOLD = 3.0, 0.08, 0.5, 0.8

ABLATION: dict[str, tuple[bool, bool] | None] = {
    "no reference": None,
    "no masks": (False, False),
    "mask_s only": (True, False),
    "mask_t only": (False, True),
    "both masks": (True, True),
}
"""Whether the reference's mask and the target's are used."""


def run(laboratory: Laboratory, count: int = 64, methods: tuple[str, ...] | None = None) -> tuple[list[Table], list[Sheet]]:
    """`count` unseen pictures of one thing, and as many references with another thing at its place.

    `methods` names rows of the table, by default all.
    """
    rng = np.random.default_rng(UNSEEN + 4)
    cases = [sample_case(rng) for _ in range(count)]
    sources, references, targets = (picture(case[part] for case in cases) for part in range(3))
    groups = groups_of(laboratory, sources, targets, WORDING, references)
    rows, shown = [], {"source": sources.pictures, "reference": references.pictures, "truth": targets.pictures}
    for label in methods or ABLATION:

        def edits(group: Group, masks=ABLATION[label]) -> list[Edit]:
            mask_s, mask_t = masks or (False, False)
            seen = object_masks(references, group.indices) if mask_s else None
            reference = [] if masks is None else [attention(laboratory, group, seen, mask_t)]
            return [*control(laboratory, group), *reference, keep(laboratory, group)]

        pictures = edited(laboratory, groups, edits, sources.pictures.shape, GUIDANCE)
        rows.append({"method": label} | measure(laboratory, sources, targets, pictures))
        shown[label] = pictures
    note = (
        f"{count} pictures of one thing; the prompts name what it is before and after, and no colour; the reference shows such a thing in another colour at the same place, on another ground. "
        f"{STEPS} DDIM steps, guidance {GUIDANCE:g}; Prompt-to-Prompt as above, reference attention in all layers from {START:g}, threshold {THRESHOLD:g}, "
        f"local blend with the source's trajectory, threshold {BLEND_THRESHOLD:g}; mask_s is the reference's thing with a margin of {SEAM} pixels. "
        "Colour, thing: percent of pictures in which the judge sees the reference's. Background: outside object and shadow, against the source picture."
    )
    return [Table("specref", "SpecRef: the look of a reference", note, tuple(rows))], [Sheet("specref", shown)]


def sample_case(rng: np.random.Generator) -> tuple[Scene, Scene, Scene]:
    """A source, a reference and the truth: the source with the reference's thing."""
    source = coloured_scene(rng)
    (thing,) = source.things
    other = replace(
        thing,
        kind=another(COLOURED_KINDS, thing.kind, rng),
        colour=another(COLOURS, thing.colour, rng),
        individual=int(rng.integers(2**31)),
    )
    elsewhere = sample_scene(rng, count=0, ground=another(GROUNDS, source.ground, rng), style=source.style, light=source.light)
    return source, elsewhere.with_thing(other), source.without(0).with_thing(other)


def attention(laboratory: Laboratory, group: Group, reference_mask: Tensor | None, by_words: bool) -> ReferenceAttention:
    """Reference attention with the reference's object mask (mask_s), and where the new word is looked at (mask_t)."""
    model, network = laboratory.model, require_unet(laboratory.model)
    return ReferenceAttention(
        stream=group.reference,
        window=Window.of_percent(model, START, 1.0),
        layers=all_layers(network),
        target_words=group.target_word if by_words else "",
        map_layers=layers_at(network, MAP_LEVEL),
        threshold=THRESHOLD,
        interpolation="area",
        reference_mask=reference_mask,
    )


def keep(laboratory: Laboratory, group: Group) -> LocalBlend:
    """Outside the words' place the source's trajectory."""
    return blend(laboratory, group, "the source's trajectory", BLEND_THRESHOLD)


def object_masks(pictured: Pictured, indices: list[int]) -> Tensor:
    """(B, H, W): the things of the chosen pictures, painted over with a margin of `SEAM` pixels, as by hand."""
    seen = [ndimage.binary_dilation(pictured.objects[index].sum(0) > 0.5, iterations=SEAM) for index in indices]
    return torch.from_numpy(np.stack(seen)).float()


def measure(laboratory: Laboratory, sources: Pictured, targets: Pictured, pictures: Tensor) -> dict[str, float]:
    verdicts = laboratory.verdicts(pictures)
    asked = {"colour and thing": ("colour", "kind"), "colour": ("colour",), "thing": ("kind",)}
    return {name: share(targets.scenes, verdicts, *attributes) for name, attributes in asked.items()} | {
        "background PSNR (dB)": background_psnr(sources, targets, pictures)
    }
