"""TF-ICON's test benchmark (Lu et al., 2023): a folder per sample, named by its prompt, with bg*, fg*, fg*_mask and mask_bg_fg pictures."""

from __future__ import annotations

import re
from pathlib import Path

from ..problems import Problem
from ..row import Row
from . import Listed, pictures_in

PLACE = "mask_bg_fg"
LEVELS = ("*", "*/*")
"""Samples lie in the folder itself, or in one per domain (same_domain, cross_domain, Real-Painting ...)."""
NUMBER = re.compile(r"^\d+\s+")


def fits(path: Path) -> bool:
    return path.is_dir() and bool(_samples(path))


class TfIcon(Listed):
    """Columns: image (background), reference, reference_mask, mask (where the object goes), prompt. Note: domain."""

    def __init__(self, path: Path):
        samples = _samples(path)
        super().__init__(path, [_row(number, sample, path) for number, sample in enumerate(samples, start=1)])


def _samples(path: Path) -> list[Path]:
    return sorted({found.parent for level in LEVELS for found in path.glob(f"{level}/{PLACE}*") if found.is_file()})


def _row(number: int, sample: Path, root: Path) -> Row | Problem:
    pictures = pictures_in(sample)
    parts = {
        "image": [p for p in pictures if p.stem.startswith("bg")],
        "reference": [p for p in pictures if p.stem.startswith("fg") and not p.stem.endswith("_mask")],
        "reference_mask": [p for p in pictures if p.stem.startswith("fg") and p.stem.endswith("_mask")],
        "mask": [p for p in pictures if p.stem.startswith(PLACE)],
    }
    for column, found in parts.items():
        if len(found) != 1:
            return Problem(number, column, f"{sample} has {len(found)} pictures of this kind, one is needed: {[p.name for p in found]}")
    inside = sample.relative_to(root)
    domain = inside.parent.as_posix() if len(inside.parts) > 1 else ""
    values = {column: found[0].relative_to(root).as_posix() for column, found in parts.items()}
    prompt = NUMBER.sub("", sample.name)
    return Row(number, "-".join(inside.parts), {**values, "prompt": prompt}, {"domain": domain})
