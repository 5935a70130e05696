"""Random weights for small networks of the tests."""

from __future__ import annotations

import torch


def fill(network: torch.nn.Module, seed: int) -> None:
    """Random weights whose layers keep the size of what passes, so that attention maps are neither flat nor one-hot."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in sorted(network.named_parameters()):
        values = torch.randn(weight.shape, generator=generator)
        if weight.dim() > 1:
            weight.copy_(values * weight[0].numel() ** -0.5)
        else:
            weight.copy_(values * 0.1 + (1.0 if name.endswith("weight") else 0.0))
