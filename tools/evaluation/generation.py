"""Does the miniature paint what its prompt says?"""

from __future__ import annotations

from itertools import permutations

import numpy as np
import torch
from graft.miniature.judge import Seen, Verdict
from graft.miniature.world import Scene, Thing, prompt_of, sample_scene

from .laboratory import UNSEEN, Laboratory
from .report import Sheet, Table

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
    for style in ("photo", "drawing", None):
        chosen = [index for index, scene in enumerate(scenes) if style in (None, scene.style)]
        rows.append(
            {"prompts": style or "all", "pictures": len(chosen)} | rates([scenes[i] for i in chosen], [verdicts[i] for i in chosen])
        )
    note = (
        f"{STEPS} DDIM steps, guidance {GUIDANCE:g}. Percent of pictures in which the judge names the ground, the style and the number of objects "
        "as the prompt does; shape, colour and pattern in percent of the objects of the pictures with the right number, "
        "two of them paired as they agree best; in order: percent of the pairs that stand from left to right as the prompt names them."
    )
    return [Table("generation", "Painting what the prompt says", note, tuple(rows))], [
        Sheet("generation", {f"{start}": pictures[start : start + 12] for start in range(0, min(count, 72), 12)})
    ]


def rates(scenes, verdicts) -> dict[str, float]:
    """Percent of pictures whose ground, style and number of things are as in their scenes, and of their things the attributes."""

    def percent(hits: list[bool]) -> float:
        return 100 * sum(hits) / max(1, len(hits))

    found = {
        "ground": percent([scene.ground == verdict.ground for scene, verdict in zip(scenes, verdicts, strict=True)]),
        "style": percent([scene.style == verdict.style for scene, verdict in zip(scenes, verdicts, strict=True)]),
        "count": percent([len(scene.things) == len(verdict.things) for scene, verdict in zip(scenes, verdicts, strict=True)]),
    }
    pairs = [_paired(scene, verdict) for scene, verdict in zip(scenes, verdicts, strict=True) if len(scene.things) == len(verdict.things)]
    for field in ("shape", "colour", "pattern"):
        found[field] = percent(
            [getattr(a, field) == getattr(b, field) for things, seen in pairs for a, b in zip(things, seen, strict=True)]
        )
    found["in order"] = percent([list(seen) == sorted(seen, key=_left) for things, seen in pairs if len(things) > 1])
    return found


def _paired(scene: Scene, verdict: Verdict) -> tuple[tuple[Thing, ...], tuple[Seen, ...]]:
    """The scene's things from left to right, and the seen ones in the order that agrees best with them: "a ball and a cube"
    does not say which stands where."""
    things = tuple(sorted(scene.things, key=lambda thing: thing.x))

    def agreement(order: tuple[Seen, ...]) -> int:
        return sum((a.shape == b.shape) + (a.colour == b.colour) + (a.pattern == b.pattern) for a, b in zip(things, order, strict=True))

    return things, max(permutations(verdict.things), key=agreement)


def _left(seen: Seen) -> float:
    return np.nonzero(seen.mask)[1].mean()
