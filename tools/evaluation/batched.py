"""What a batch made of an experiment's cases, measured as the experiment measures what it made itself."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import torch
from batch.record import DONE, NAME, latest
from graft.miniature.network import SIDE
from hosting.quickstart_error import QuickstartError
from PIL import Image
from torch import Tensor

from . import removal
from .drawn_cases import Case, cases
from .free_prompt_editing import TASKS
from .free_prompt_editing import measure as measure_edit
from .laboratory import Laboratory, picture

EDITS = dict(zip(("recolour", "change ground", "replace"), TASKS, strict=True))


def measured(laboratory: Laboratory, change: str, folder: Path) -> dict[str, float]:
    """How many cases of the batch are done, and the experiment's numbers for them."""
    done, pictures = results(change, folder)
    sources, targets = (picture(scenes) for scenes in zip(*((case.scene, case.asked) for case in done), strict=True))
    if change in EDITS:
        numbers = measure_edit(laboratory, EDITS[change], sources, targets, pictures)
    else:
        numbers = removal.measure(laboratory, sources, targets, pictures)
    return {"pictures": len(done), **numbers}


def results(change: str, folder: Path) -> tuple[list[Case], Tensor]:
    """The cases that are done, and the pictures that were saved for them, (B, H, W, 3), as large as the model made them.

    Workflows of the miniature show pictures enlarged by whole numbers. QuickstartError where no case is done.
    """
    entries = latest(folder / NAME)
    numbers = [int(name.rpartition(" ")[2]) for name in entries if name.startswith(f"{change} ")]
    known = islice(cases(change), 1 + max(numbers, default=-1))
    done = [case for case in known if entries.get(case.id, {}).get("status") == DONE]
    if not done:
        raise QuickstartError(f"{folder} has no results of the cases of {change}.")
    pictures = [_saved(folder, entries[case.id]) for case in done]
    return done, torch.from_numpy(np.stack(pictures))


def _saved(folder: Path, entry: dict) -> np.ndarray:
    """(SIDE, SIDE, 3), values 0 to 1."""
    path = next(file["path"] for file in entry["files"] if file["saved"])
    with Image.open(folder / path) as shown:
        small = shown.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(small, np.float32) / 255
