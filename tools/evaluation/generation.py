"""Does the miniature paint what its prompt says?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import permutations

import numpy as np
import torch
from graft.miniature.judge import Seen, Verdict
from graft.miniature.scenes.prompts import prompt_of
from graft.miniature.scenes.sampling import sample_scene
from graft.miniature.scenes.scene import STYLES, Scene, Thing

from .laboratory import UNSEEN, Laboratory
from .report import Sheet, Table
from .scenes import shows_colour

STEPS, GUIDANCE, BATCH = 30, 3.0, 25


def run(laboratory: Laboratory, count: int = 200) -> tuple[list[Table], list[Sheet]]:
    """`count` pictures from full prompts of unseen scenes; a fact counts as right when the judge names it as the prompt does."""
    rng = np.random.default_rng(UNSEEN)
    scenes = [sample_scene(rng) for _ in range(count)]
    prompts = [prompt_of(scene) for scene in scenes]
    sigmas = laboratory.sigmas(STEPS)
    pictures = []
    for start in range(0, count, BATCH):
        part = prompts[start : start + BATCH]
        noise = laboratory.noise(len(part), UNSEEN + start)
        pictures.append(laboratory.decode(laboratory.sample(laboratory.model, part, noise, torch.zeros_like(noise), sigmas, GUIDANCE)))
    pictures = torch.cat(pictures)
    verdicts = laboratory.verdicts(pictures)
    rows = []
    for style in (*STYLES, None):
        chosen = [index for index, scene in enumerate(scenes) if style in (None, scene.style)]
        rows.append(
            {"prompts": style or "all", "pictures": len(chosen)} | rates([scenes[i] for i in chosen], [verdicts[i] for i in chosen])
        )
    note = (
        f"{STEPS} DDIM steps, guidance {GUIDANCE:g}. Percent of pictures in which the judge names the ground, the style, the light and the number "
        "of objects as the prompt does; thing and colour in percent of the objects of the pictures with the right number, two of them paired as they "
        "agree best, and colour where the prompt names one; in order: percent of the pairs that stand from left to right as the prompt names them."
    )
    shown = {style: pictures[[index for index, scene in enumerate(scenes) if scene.style == style]] for style in STYLES}
    return [Table("generation", "Painting what the prompt says", note, tuple(rows))], [Sheet("generation", shown)]


def rates(scenes: Sequence[Scene], verdicts: Sequence[Verdict]) -> dict[str, float | None]:
    """Percent of pictures whose ground, style, light and number of things are as in their scenes, and of their things the attributes.
    Without a picture or a thing that it is about, a share is None."""

    def percent(hits: Iterable[bool]) -> float | None:
        return 100 * float(np.mean(found)) if (found := list(hits)) else None

    judged = list(zip(scenes, verdicts, strict=True))
    counted = [(scene, *_paired(scene, verdict)) for scene, verdict in judged if len(scene.things) == len(verdict.things)]
    objects = [(scene, thing, seen) for scene, things, found in counted for thing, seen in zip(things, found, strict=True)]
    shares = {fact: percent(getattr(scene, fact) == getattr(seen, fact) for scene, seen in judged) for fact in ("ground", "style", "light")}
    return shares | {
        "count": percent(len(scene.things) == len(seen.things) for scene, seen in judged),
        "thing": percent(thing.kind == seen.kind for _, thing, seen in objects),
        "colour": percent(thing.colour == seen.colour for scene, thing, seen in objects if shows_colour(scene, thing)),
        "in order": percent(list(found) == sorted(found, key=_left) for _, things, found in counted if len(things) > 1),
    }


def _paired(scene: Scene, verdict: Verdict) -> tuple[tuple[Thing, ...], tuple[Seen, ...]]:
    """The scene's things from left to right, and the seen ones in the order that agrees best with them: "a car and a house" does not say
    which stands where."""
    things = tuple(sorted(scene.things, key=lambda thing: thing.x))

    def agreement(order: tuple[Seen, ...]) -> int:
        return sum((a.kind == b.kind) + (shows_colour(scene, a) and a.colour == b.colour) for a, b in zip(things, order, strict=True))

    return things, max(permutations(verdict.things), key=agreement)


def _left(seen: Seen) -> float:
    return np.nonzero(seen.mask)[1].mean()
