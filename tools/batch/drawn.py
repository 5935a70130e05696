"""Masks that a manifest describes instead of naming a file: runs of pixels, or a box."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

RUNS, BOX, SIZE = "mask_runs", "mask_box", "size"


def is_drawn(value: Any) -> bool:
    """Whether a value describes a mask."""
    return isinstance(value, Mapping) and SIZE in value and (RUNS in value) != (BOX in value)


def fault(value: Mapping[str, Any]) -> str | None:
    """What is wrong with a described mask, None if nothing is."""
    size = value[SIZE]
    if not (_whole(size) and len(size) == 2 and min(size) > 0):
        return f"size: {size!r} is not [width, height] in pixels"
    if RUNS in value:
        runs = value[RUNS]
        if not _whole(runs) or len(runs) % 2:
            return "mask_runs: it is a list of whole numbers, first pixel and length of each run"
        if any(start < 0 or length < 0 or start >= size[0] * size[1] for start, length in _pairs(runs)):
            return f"mask_runs: a run begins outside {size[0]} x {size[1]} pixels"
        return None
    box = value[BOX]
    if not (_whole(box) and len(box) == 4 and box[0] < box[2] and box[1] < box[3]):
        return f"mask_box: {box!r} is not [left, top, right, bottom] in pixels"
    return None


def mask_of(value: Mapping[str, Any]) -> np.ndarray:
    """(height, width) of bool, True where the mask is.

    Runs count pixels from 0 along the lines, each as its first pixel and its length; what reaches past the end is cut. A box takes the
    pixels left <= x < right, top <= y < bottom.
    """
    width, height = value[SIZE]
    mask = np.zeros(width * height, bool)
    if RUNS in value:
        for start, length in _pairs(value[RUNS]):
            mask[start : start + length] = True
        return mask.reshape(height, width)
    left, top, right, bottom = value[BOX]
    mask = mask.reshape(height, width)
    mask[max(0, top) : bottom, max(0, left) : right] = True
    return mask


def picture_of(value: Mapping[str, Any]) -> bytes:
    """The mask as a PNG, white where it is: for Load Image (as Mask), channel red."""
    content = io.BytesIO()
    Image.fromarray(mask_of(value)).convert("RGB").save(content, "PNG")
    return content.getvalue()


def _whole(values: Any) -> bool:
    return isinstance(values, (list, tuple)) and all(type(value) is int for value in values)


def _pairs(runs):
    return zip(runs[::2], runs[1::2], strict=True)
