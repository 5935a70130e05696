"""Prompt-to-Prompt with and without local blend."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from graft.host.edits.cross_attention import CrossAttentionControl
from graft.host.edits.local_blend import Background, BlendWords, LocalBlend
from graft.host.edits.self_attention import ReplaceSelfAttention
from graft.host.engine.plan import Edit
from graft.host.engine.windows import Window
from graft.host.families.layers import all_layers, layers_at, require_unet
from graft.miniature.scenes.prompts import Wording
from graft.miniature.scenes.scene import COLOURS

from .laboratory import UNSEEN, Laboratory, picture
from .report import Sheet, Table
from .scenes import another, coloured_scene
from .swaps import GUIDANCE, STEPS, Group, background_psnr, edited, groups_of, share

MAP_LEVEL = 1
"""Words are looked for on the grid of half the latent's side (8 x 8): the papers' quarter, 4 x 4 here, has a cell per object."""


def run(laboratory: Laboratory, count: int = 64, methods: tuple[str, ...] | None = None) -> tuple[list[Table], list[Sheet]]:
    """`count` unseen pictures of one thing, each inverted under its prompt and given another colour by one word.

    `methods` names rows of the table, by default all.
    """
    rng = np.random.default_rng(UNSEEN + 3)
    sources = picture(coloured_scene(rng) for _ in range(count))
    targets = picture(scene.recoloured(0, another(COLOURS, scene.things[0].colour, rng)) for scene in sources.scenes)
    groups = groups_of(laboratory, sources, targets, Wording())
    rows, shown = [], {"source": sources.pictures, "truth": targets.pictures}
    for label in methods or METHODS:
        pictures = edited(laboratory, groups, partial(METHODS[label], laboratory), sources.pictures.shape)
        verdicts = laboratory.verdicts(pictures)
        shares = {"colour": share(targets.scenes, verdicts, "colour"), "thing": share(targets.scenes, verdicts, "kind")}
        rows.append({"method": label} | shares | {"background PSNR (dB)": background_psnr(sources, targets, pictures)})
        shown[label] = pictures
    note = (
        f"{count} pictures, inverted under their prompts; one colour word is replaced. {STEPS} DDIM steps, guidance {GUIDANCE:g}, mode replace, cross-attention to 0.8, "
        "self-attention to 0.4 in all layers, local blend from 0.2 by the word of the thing. Colour, thing: percent of pictures in which the judge sees the "
        "asked one. Background: outside object and shadow, against the source picture."
    )
    return [Table("prompt_to_prompt", "Prompt-to-Prompt: another colour", note, tuple(rows))], [Sheet("prompt_to_prompt", shown)]


def control(laboratory: Laboratory, group: Group, cross: float = 0.8, own: float = 0.4) -> list[Edit]:
    """Prompt-to-Prompt's two controls, of cross- and of self-attention, each from the start to a part of the steps."""
    model = laboratory.model
    maps = ReplaceSelfAttention(group.source, Window.of_percent(model, 0.0, own), all_layers(require_unet(model)))
    return [CrossAttentionControl(group.source, "replace", (0.0, cross)), maps]


def blend(laboratory: Laboratory, group: Group, background: Background = "the source's own step", threshold: float = 0.3) -> LocalBlend:
    """Local blend by the words of the group, from the paper's start."""
    layers = layers_at(require_unet(laboratory.model), MAP_LEVEL)
    words = BlendWords(group.source_word, group.target_word, "", "", threshold, threshold, layers)
    return LocalBlend(group.source, Window.of_percent(laboratory.model, 0.2, 1.0), words, None, background)


METHODS: dict[str, Callable[[Laboratory, Group], list[Edit]]] = {
    "same inverted noise, no edit": lambda laboratory, group: [],
    "cross-attention": lambda laboratory, group: control(laboratory, group)[:1],
    "cross- and self-attention": control,
    "both, local blend": lambda laboratory, group: [*control(laboratory, group), blend(laboratory, group)],
    "both, local blend with the trajectory": lambda laboratory, group: [
        *control(laboratory, group),
        blend(laboratory, group, "the source's trajectory"),
    ],
}
