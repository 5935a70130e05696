"""How good a result is, where its row has a truth or a mask to say so: PSNR, SSIM and LPIPS, by region."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from .drawn import is_drawn, mask_of
from .filling import Filled, Picture
from .job import UNNATURAL, File, result_of
from .row import MASK, TRUTH

SHOWN_TRUTH = "ground-truth.png"
"""How the name of a picture ends that a workflow shows of the truth, where the manifest has none."""
SSIM_SIGMA, SSIM_RADIUS, SSIM_K = 1.5, 5, (0.01, 0.03)
"""Of Wang et al., Image quality assessment, 2004: an 11 x 11 Gaussian window."""


def measured(filled: Filled, files: Sequence[File]) -> dict[str, float]:
    """Numbers of a row by name: `truth_psnr`, and `_inside` and `_outside` its mask; `kept_...` against the edited picture, outside.

    PSNR in dB, 99 for equal pictures; SSIM up to 1; LPIPS from 0 where the package and its network are on this machine. A picture of
    another size than the result's cannot be compared and gives no number. `unnaturalness`: mean of that map, 0 is natural.
    """
    numbers: dict[str, float] = {}
    result = result_of(files)
    mask = filled.measured.get(MASK)
    shown = next((file.content for file in files if file.name.endswith(SHOWN_TRUTH)), None)
    truth = _loaded(filled.measured[TRUTH]) if TRUTH in filled.measured else None if shown is None else _picture(shown)
    if result is not None and (truth is not None or mask is not None):
        picture = _picture(result.content)
        regions = {} if mask is None else _regions(_mask(mask, picture.shape[:2]))
        if truth is not None:
            numbers |= _compared("truth", picture, truth, {"": None, **regions})
        edited = filled.edited()
        if mask is not None and isinstance(edited, Path):
            numbers |= _compared("kept", picture, _loaded(edited), {"_outside": regions["_outside"]})
    for file in files:
        if file.name == UNNATURAL:
            numbers["unnaturalness"] = float(_picture(file.content).mean())
    return {name: round(value, 5) for name, value in numbers.items()}


def psnr(picture: np.ndarray, truth: np.ndarray, region: np.ndarray | None = None) -> float:
    """dB of two pictures (height, width, 3) with values 0 to 1, in a region (height, width) of bool or everywhere; at most 99."""
    squares = np.square(picture - truth)
    error = squares.mean() if region is None else squares[region].mean()
    return float(min(99.0, -10 * np.log10(max(error, 1e-12))))


def ssim_map(picture: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(height, width): SSIM at every pixel, mean of the channels (Wang et al. 2004, equation 13, C1 and C2 for values 0 to 1)."""

    def blurred(values: np.ndarray) -> np.ndarray:
        return gaussian_filter(values, (SSIM_SIGMA, SSIM_SIGMA, 0), radius=(SSIM_RADIUS, SSIM_RADIUS, 0))

    c1, c2 = (k * k for k in SSIM_K)
    mean_x, mean_y = blurred(picture), blurred(truth)
    variance_x = blurred(picture * picture) - mean_x**2
    variance_y = blurred(truth * truth) - mean_y**2
    covariance = blurred(picture * truth) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return (luminance * (2 * covariance + c2) / (variance_x + variance_y + c2)).mean(axis=2)


def _compared(name: str, picture: np.ndarray, truth: np.ndarray, regions: Mapping[str, np.ndarray | None]) -> dict[str, float]:
    if picture.shape != truth.shape:
        return {}
    similarity = ssim_map(picture, truth)
    numbers: dict[str, float] = {}
    for where, region in regions.items():
        if region is not None and not region.any():
            continue
        numbers[f"{name}_psnr{where}"] = psnr(picture, truth, region)
        numbers[f"{name}_ssim{where}"] = float(similarity.mean() if region is None else similarity[region].mean())
        if (distance := _lpips()) is not None:
            shown = np.ones(picture.shape[:2]) if region is None else region
            numbers[f"{name}_lpips{where}"] = distance(picture * shown[..., None], truth * shown[..., None])
    return numbers


@cache
def _lpips():
    """LPIPS of two pictures (Zhang et al. 2018, on AlexNet), None where the package or the network's file is not here: nothing is fetched."""
    if find_spec("lpips") is None:
        return None  # before torch, which takes seconds
    import torch
    from lpips import LPIPS

    if not any((Path(torch.hub.get_dir()) / "checkpoints").glob("alexnet-*.pth")):
        return None
    network = LPIPS(net="alex", verbose=False).eval()

    @torch.inference_mode()
    def distance(picture: np.ndarray, truth: np.ndarray) -> float:
        one, other = (torch.from_numpy(values).float().permute(2, 0, 1)[None] * 2 - 1 for values in (picture, truth))
        return float(network(one, other))

    return distance


def _regions(mask: np.ndarray) -> dict[str, np.ndarray]:
    return {"_inside": mask, "_outside": ~mask}


def _loaded(picture: Picture) -> np.ndarray:
    return _picture(picture.read_bytes()) if isinstance(picture, Path) else np.repeat(mask_of(picture)[..., None], 3, axis=2) * 1.0


def _picture(content: bytes) -> np.ndarray:
    """(height, width, 3), values 0 to 1."""
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), dtype=np.float64) / 255


def _mask(mask: Picture, shape: tuple[int, int]) -> np.ndarray:
    """(height, width) of bool as large as the picture; of a file, its bright pixels."""
    picture = Image.fromarray(mask_of(mask)) if is_drawn(mask) else Image.open(mask).convert("L")
    return np.asarray(picture.convert("L").resize(shape[::-1], Image.Resampling.NEAREST)) > 127
