"""Numbers for the demo's report: how close results come to the truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

OF_THE_SAME = ("input", "pasted", "naive paste", "result", "without the edit")
"""How the titles end of pictures that show what the truth shows."""


def against_truth(pictures: dict[str, Path]) -> dict[str, float]:
    """PSNR in dB of the pictures of a workflow against its "ground truth", by title; empty where there is none. Heat maps and
    references show something else."""
    truth = next((path for title, path in pictures.items() if "ground truth" in title), None)
    if truth is None:
        return {}
    reference = _values(truth)
    others = {title: _values(path) for title, path in pictures.items() if title.endswith(OF_THE_SAME)}
    return {title: round(_psnr(values, reference), 2) for title, values in others.items() if values.shape == reference.shape}


def _values(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"), dtype=np.float64) / 255


def _psnr(values: np.ndarray, reference: np.ndarray) -> float:
    return float(min(99.0, -10 * np.log10(max(np.square(values - reference).mean(), 1e-12))))
