"""Schedules that the host does not have."""

from __future__ import annotations

import torch
from torch import Tensor


def uniform_time_sigmas(model, steps: int) -> Tensor:
    """(steps + 1,), descending: noise levels evenly spaced in the model's own time, from its highest to its lowest.

    TF-ICON's grid (Lu et al. 2023): t from 1 to 1/1000, fractional in the 1000 training steps, where sigma is interpolated
    log-linearly. It ends at the lowest trained level, 0.029 for Stable Diffusion, and not at 0: that close to the picture
    the two are taken for one.
    """
    sampling = model.get_model_object("model_sampling")
    first, last = (float(sampling.timestep(sigma)) for sigma in (sampling.sigma_max, sampling.sigma_min))
    return sampling.sigma(torch.linspace(first, last, steps + 1)).float().cpu()
