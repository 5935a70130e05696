"""Does the judge itself judge rightly?"""

from __future__ import annotations

import numpy as np
import torch
from graft.miniature.scenes.sampling import sample_scene

from .generation import rates
from .laboratory import UNSEEN, Laboratory, picture
from .report import Sheet, Table
from .swaps import object_iou

BATCH = 50


def run(laboratory: Laboratory, count: int = 1000) -> tuple[list[Table], list[Sheet]]:
    """`count` rendered scenes it was not trained on, as they are and after a round trip through the VAE."""
    rng = np.random.default_rng(UNSEEN + 3)
    pictured = picture(sample_scene(rng) for _ in range(count))
    decoded = torch.cat([laboratory.decode(laboratory.encode(part)) for part in pictured.pictures.split(BATCH)])
    rows = []
    for label, pictures in (("rendered", pictured.pictures), ("through the VAE", decoded)):
        verdicts = [verdict for part in pictures.split(BATCH) for verdict in laboratory.verdicts(part)]
        overlaps = [object_iou(verdict, objects) for objects, verdict in zip(pictured.objects, verdicts, strict=True) if len(objects)]
        rows.append({"pictures": label} | rates(pictured.scenes, verdicts) | {"object IoU": float(np.mean(overlaps))})
    note = f"{count} unseen scenes; percent right, objects counted as in the table on painting."
    return [Table("judge", "The judge", note, tuple(rows))], []
