"""Trajectories: the latents of one picture at every noise level at which the model was evaluated."""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

FORMAT = "graft.trajectory"
VERSION = 1
SAME_LEVEL = 1e-4
"""Noise levels closer than this, relative to the level, are one."""


class TrajectoryError(ValueError):
    """A trajectory that cannot be used: of another model, another shape, or unreadable."""


@dataclass(frozen=True)
class Trajectory:
    """`latents` (S + 1, B, C, h, w) in sampler space, `latents[i]` at noise level `sigmas[i]`; `sigmas` (S + 1) descend.

    `model` and `conditioning` are fingerprints of what the trajectory was made with; `solver` names what inverted it, or says
    "recorded" of a generation. `bottlenecks` (S, B, c, h, w), where they were kept: the output of the network's middle block
    at each level but the last.
    """

    latents: Tensor
    sigmas: Tensor
    solver: str
    model: str
    conditioning: str
    bottlenecks: Tensor | None = None

    def __post_init__(self) -> None:
        if self.latents.dim() not in (5, 6) or len(self.latents) != len(self.sigmas) or len(self.sigmas) < 2:
            raise TrajectoryError(
                f"a trajectory needs latents (levels, batch, channels, height, width) and as many noise levels, at least two; "
                f"got latents {tuple(self.latents.shape)} and {len(self.sigmas)} levels"
            )
        if not bool((self.sigmas.diff() < 0).all()):
            raise TrajectoryError(f"a trajectory's noise levels must descend; got {self.sigmas.tolist()}")

    def __repr__(self) -> str:
        levels = f"{self.steps} steps from {float(self.sigmas[0]):.4g} to {float(self.sigmas[-1]):.4g}"
        return f"Trajectory({self.solver}, {levels}, latents {tuple(self.latents.shape[1:])}, model {self.model})"

    @property
    def steps(self) -> int:
        return len(self.sigmas) - 1

    @property
    def batch(self) -> int:
        return self.latents.shape[1]

    @property
    def clean(self) -> Tensor:
        """(B, C, h, w): the latents at the lowest noise level."""
        return self.latents[-1]

    def after(self, skip: float) -> int:
        """The number of the level after a part `skip` of the steps."""
        return int(self.steps * skip + 1e-6)  # 0.58 of 50 steps is 29, whatever floats make of it

    def scaled_to_picture(self, index: int) -> Tensor:
        """(B, C, h, w): a stage in the variance-preserving scale, x / sqrt(1 + sigma^2), in which noise has a picture's range."""
        return self.latents[index] / (1 + self.sigmas[index] ** 2).sqrt()

    def nearest(self, sigma: float) -> int | None:
        """The index of the stored level that equals `sigma`, or None."""
        index = int((self.sigmas - sigma).abs().argmin())
        return index if abs(float(self.sigmas[index]) - sigma) <= SAME_LEVEL * max(sigma, 1e-2) else None

    def at(self, sigma: float) -> Tensor:
        """(B, C, h, w): the latents at noise level `sigma`.

        A stored level is returned as it is. Between two levels latents are interpolated linearly in sigma, which is
        exact for DDIM's straight steps; outside, the nearest step is extended.
        """
        index = self.nearest(sigma)
        if index is not None:
            return self.latents[index]
        above = int((self.sigmas > sigma).sum().clamp(1, self.steps)) - 1
        high, low = float(self.sigmas[above]), float(self.sigmas[above + 1])
        return torch.lerp(self.latents[above + 1], self.latents[above], (sigma - low) / (high - low))

    def bottleneck_at(self, sigma: float) -> Tensor | None:
        """(B, c, h, w): what the middle block gave at the stored level `sigma`; None if that was not kept."""
        index = self.nearest(sigma)
        if self.bottlenecks is None or index is None or index == self.steps:
            return None
        return self.bottlenecks[index]

    def shown_at(self, sigma: float) -> Tensor:
        """(B, C, h, w): the latents that plain DDIM inversion showed the model at noise level `sigma` when it made this
        trajectory: those of the next lower stored level, rescaled to `sigma` ("latent of c, label of t")."""
        below = self.sigmas < sigma * (1 - SAME_LEVEL)
        index = int(below.float().argmax()) if bool(below.any()) else self.steps
        return self._relabelled(index, sigma)

    def released_level(self, sigma: float) -> float:
        """TF-ICON's released code gives its first evaluation the attention of the second: the highest level is never shown."""
        return min(sigma, float(self.sigmas[1]))

    def left_behind_at(self, sigma: float) -> Tensor:
        """(B, C, h, w): TF-ICON's released code advances the reference after its cross pass, which so sees, at noise level
        `sigma`, the latents of the stored level above; at the first `released_level` those of the level itself."""
        above = int((self.sigmas > sigma * (1 + SAME_LEVEL)).sum()) - 1
        return self.at(sigma) if above < 1 else self._relabelled(above, sigma)

    def _relabelled(self, index: int, sigma: float) -> Tensor:
        """(B, C, h, w): a stage rescaled to noise level `sigma`."""
        return self.scaled_to_picture(index) * (1 + sigma**2) ** 0.5

    def save(self, path: Path) -> None:
        """Writes a safetensors file; the file appears whole or not at all."""
        metadata = {"format": FORMAT, "version": VERSION, "solver": self.solver, "model": self.model, "conditioning": self.conditioning}
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
        try:
            tensors = {"latents": self.latents, "sigmas": self.sigmas, "bottlenecks": self.bottlenecks}
            tensors = {name: tensor.contiguous() for name, tensor in tensors.items() if tensor is not None}
            save_file(tensors, partial, metadata={FORMAT: json.dumps(metadata)})
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)

    @staticmethod
    def load(path: Path, model: str | None = None) -> Trajectory:
        """Reads a file written by `save`. Raises `TrajectoryError` if it is truncated, no trajectory, of a newer version,
        or, where the fingerprint `model` is given, made with another model."""
        try:
            with safe_open(path, framework="pt") as file:
                metadata = json.loads((file.metadata() or {}).get(FORMAT, "null"))
                if not metadata:
                    raise TrajectoryError(f"{path.name}: not a trajectory saved by Graft")
                if int(metadata["version"]) > VERSION:
                    raise TrajectoryError(f"{path.name}: written by a newer Graft (format {metadata['version']}); update the pack")
                names = metadata["solver"], metadata["model"], metadata["conditioning"]
                bottlenecks = file.get_tensor("bottlenecks") if "bottlenecks" in file.keys() else None  # noqa: SIM118
                trajectory = Trajectory(file.get_tensor("latents"), file.get_tensor("sigmas"), *names, bottlenecks)
        except (SafetensorError, OSError, json.JSONDecodeError, KeyError, TypeError) as problem:
            raise TrajectoryError(f"{path.name}: cannot be read as a trajectory ({problem}); save it again") from problem
        if model is not None and trajectory.model != model:
            raise TrajectoryError(
                f"{path.name}: made with another model or other LoRAs (fingerprint {trajectory.model}, this model's is {model}); "
                "connect the model it was made with, or invert the picture again"
            )
        return trajectory
