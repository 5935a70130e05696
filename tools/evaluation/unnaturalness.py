"""The unnaturalness map: whether it finds what was pasted."""

from __future__ import annotations

import numpy as np
import torch
from graft.host.inspection.unnaturalness import Measure, shown, unnaturalness_map
from graft.miniature.network import DOWNSCALE
from scipy.stats import rankdata
from torch import Tensor

from .freecompose import Pasted, grown, pasted_cases
from .laboratory import UNSEEN, Laboratory
from .report import Sheet, Table

DRAWS, TIMESTEPS, BATCH, BORDER = 18, (100, 300), 16, DOWNSCALE
"""`BORDER` is in pixels: a cell."""

MEASURES: dict[str, Measure] = {"unexpected": "unexpected", "all (paper)": "all"}


def run(laboratory: Laboratory, count: int = 64) -> tuple[list[Table], list[Sheet]]:
    """`count` unseen pictures of one or two things of which one is pasted, and the same as they would have been drawn."""
    cases = pasted_cases(np.random.default_rng(UNSEEN + 10), count, most_things=2)
    pictures = {"pasted": cases.pictures, "untouched": cases.truth.pictures}
    rows, sheet = [], {}
    for label, measure in MEASURES.items():
        maps = {name: mapped(laboratory, own, measure) for name, own in pictures.items()}
        rows += [{"counted": label, "pictures": name} | _measure(cases, own) for name, own in maps.items()]
        spots = [own.amax(dim=(1, 2)) for own in maps.values()]
        rows[-2]["told apart (AUC)"] = f"{area_under_curve(torch.cat(spots).numpy(), np.repeat([True, False], count)):.2f}"
        rows[-1]["told apart (AUC)"] = ""
        for name, own in maps.items():
            sheet |= {name: pictures[name], f"{name}: {label}": _laid_over(own, pictures[name])}
    note = (
        f"{count} pictures of one or two things, of which one was cut from the same scene in another style or another light, and the same with the thing as it would have been drawn. "
        f"{DRAWS} draws at timesteps {TIMESTEPS[0]} to {TIMESTEPS[1]}, empty prompt. Mean of the map in the thing with a border of {BORDER} pixels, elsewhere, and, as a part of that, where the thing's shadow is or should be; the ratio of the first two; the hottest pixel; "
        "the area under the ROC curve of pixels, which tells that region from elsewhere, mean over pictures. Told apart: the same of pictures, by their hottest pixel. "
        "Counted: change beyond what the noise explains, or all of it."
    )
    return [Table("unnaturalness", "FreeCompose: unnaturalness map", note, tuple(rows))], [Sheet("unnaturalness", sheet)]


def mapped(laboratory: Laboratory, pictures: Tensor, measure: Measure) -> Tensor:
    """(B, H, W) in [0, 1]."""
    prompt, maps = laboratory.conditioning([""]), []
    for start in range(0, len(pictures), BATCH):
        own = pictures[start : start + BATCH]
        heat = unnaturalness_map(laboratory.model, prompt, laboratory.encode(own), TIMESTEPS, DRAWS, UNSEEN + start, measure)
        maps.append(shown(heat, own)[1])
    return torch.cat(maps)


def _laid_over(maps: Tensor, pictures: Tensor) -> Tensor:
    return shown(maps, pictures)[0]


def _measure(cases: Pasted, maps: Tensor) -> dict[str, float]:
    inside = grown(cases.objects, BORDER)
    values = maps.numpy()
    means = [float(np.mean([own[region].mean() for own, region in zip(values, regions, strict=True)])) for regions in (inside, ~inside)]
    return {
        "thing and border": means[0],
        "elsewhere": means[1],
        "shadow": float(maps[torch.from_numpy(cases.shadows)].mean()),
        "ratio": means[0] / max(means[1], 1e-6),
        "hottest": float(maps.amax(dim=(1, 2)).mean()),
        "AUC": float(np.mean([area_under_curve(own.ravel(), region.ravel()) for own, region in zip(values, inside, strict=True)])),
    }


def area_under_curve(scores: np.ndarray, labels: np.ndarray) -> float:
    """Of the ROC curve: how often one of the labelled scores lies above one of the others, ties half. Both are (n,)."""
    positives, negatives = int(labels.sum()), int((~labels).sum())
    return float((rankdata(scores)[labels].sum() - positives * (positives + 1) / 2) / (positives * negatives))
