"""Where the sampling of a composition starts, and how the released code counts its steps."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...attention.masks import token_mask
from ...composition.noise import compose_noise
from ...inversion.trajectory import SAME_LEVEL, Trajectory
from ..engine.fingerprints import model_fingerprint, require_made_with
from ..engine.masks import require_aspect, require_held
from ..engine.pictures import for_vae
from ..engine.requirements import require_added_noise, require_channels
from ..engine.windows import Window
from ..errors import GraftError

CELL_SHARE = 0.5
"""The part of a cell, of the latent's or of a token grid, that a mask has to cover to hold it."""

ORDER = 2
"""Of the released code's solver, DPM-Solver++ 2M: so many steps it makes before any of its loop, and so many fewer it counts."""


def released_window(trajectory: Trajectory, part: float) -> Window:
    """The steps of a tau, as the released code counts the `part` of a trajectory's. Where that is a whole number in decimals, it is
    one here; the code falls a step short at 0.29 of 100, as floats do."""
    count = max(ORDER, int(part * trajectory.steps + 1e-6) + 1 - ORDER)
    return Window(math.inf, float(trajectory.sigmas[min(count, trajectory.steps)]))


def composed_start(
    model, main: Trajectory, reference: Trajectory | None, object_mask: Tensor, region: Tensor, seed: int, first: int = 0
) -> Tensor:
    """(B, C, h, w), in the VAE's space: the composed noise at the main trajectory's noise level `first`, its highest by default.

    `object_mask` and `region` (B or 1, H, W) are pictures' masks; without a reference the object starts from the main picture's
    own noise. The same seed gives the same noise on every device. Raises `GraftError` for what does not fit together.
    """
    require_added_noise(model, "Compose Noise")
    require_channels(model, main.clean, "main", "use the model it was made with")
    require_made_with(model_fingerprint(model), main, "main")
    if reference is not None:
        require_made_with(model_fingerprint(model), reference, "reference")
        _require_alike(main, reference, first)
    shape = main.clean.shape
    object, region = (_cells(name, mask, shape, main.batch) for name, mask in (("object_mask", object_mask), ("region", region)))
    if bool((object & ~region).any()):
        raise GraftError(
            f"object_mask: {int((object & ~region).sum())} of its {int(object.sum())} latent cells lie outside the region; "
            "connect both masks of one Place Reference, or make the region larger"
        )
    start = main.latents[first]
    noise = torch.randn(start.shape, generator=torch.Generator().manual_seed(seed)).to(start)
    from_reference = None if reference is None else reference.at(float(main.sigmas[first])).to(start)
    masks = object.to(start.device), region.to(start.device)
    return for_vae(model, compose_noise(start, from_reference, _noised(model, main, noise, first), *masks))


def _noised(model, main: Trajectory, noise: Tensor, first: int) -> Tensor:
    """(B, C, h, w): `noise` of unit variance over the main picture. As in the host, nothing is left of it at the model's highest
    noise level, where the released code has noise alone."""
    sampling, sigma = model.get_model_object("model_sampling"), main.sigmas[first : first + 1].to(noise)
    alone = float(sigma) >= (1 - SAME_LEVEL) * float(sampling.sigma_max)
    return sampling.noise_scaling(sigma, noise, torch.zeros_like(noise) if alone else main.clean.to(noise), alone)


def _require_alike(main: Trajectory, reference: Trajectory, first: int) -> None:
    if reference.latents.shape[2:] != main.latents.shape[2:]:
        sizes = [" x ".join(str(length) for length in trajectory.latents.shape[2:]) for trajectory in (reference, main)]
        raise GraftError(f"reference: its latents are {sizes[0]}, the main picture's {sizes[1]}; invert Place Reference's placed_reference")
    if reference.batch not in (1, main.batch):
        raise GraftError(
            f"reference: it holds {reference.batch} pictures, the main trajectory {main.batch}; they must agree, or the reference hold one"
        )
    level = float(main.sigmas[first])
    if reference.nearest(level) is None:
        raise GraftError(
            f"reference: it has no latents at noise level {level:.5g}, from which the main picture starts; invert both with the same sigmas"
        )


def _cells(name: str, mask: Tensor, shape: torch.Size, pictures: int) -> Tensor:
    """A picture's mask (B or 1, H, W) on the latent of `shape` (B, C, h, w): (B or 1, h, w), bool."""
    if len(mask) not in (1, pictures):
        raise GraftError(f"{name}: it holds {len(mask)}, the main trajectory {pictures} pictures; they must agree, or {name} hold one")
    require_aspect(name, mask, shape)
    size = shape[-2:]
    cells = token_mask(mask, size, CELL_SHARE, "area")
    require_held(name, {tuple(size): cells})
    return cells
