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

from ..errors import GraftError
from .mixing import MIXINGS, Mixing, size

FORMAT = "graft.trajectory"
VERSION = 1
SAME_LEVEL = 1e-4
"""Noise levels closer than this, relative to the level, are one."""


class TrajectoryError(GraftError):
    """A trajectory that cannot be used: of another model, another shape, or unreadable."""


@dataclass(frozen=True)
class Trajectory:
    """`latents` (S + 1, B, C, h, w) in sampler space, `latents[i]` at noise level `sigmas[i]`; `sigmas` (S + 1) descend. Of
    families that take a picture for a film of one frame they are (S + 1, B, C, 1, h, w).

    `model` and `conditioning` are fingerprints of what the trajectory was made with; `solver` names what inverted it, or says
    "recorded" of a generation. `bottlenecks` (S, B, c, h, w), where they were kept: the output of the network's middle block
    at each level but the last. `mixing` says how its noisy latents are made of picture and noise.
    """

    latents: Tensor
    sigmas: Tensor
    solver: str
    model: str
    conditioning: str
    bottlenecks: Tensor | None = None
    mixing: Mixing = "added"

    def __post_init__(self) -> None:
        latents, sigmas, bottlenecks = self.latents, self.sigmas, self.bottlenecks
        if latents.dim() not in (5, 6) or sigmas.dim() != 1 or len(latents) != len(sigmas) or len(sigmas) < 2:
            raise TrajectoryError(
                f"a trajectory needs latents (levels, batch, channels, height, width) and as many noise levels, at least two; "
                f"got latents {tuple(latents.shape)} and noise levels {tuple(sigmas.shape)}"
            )
        if not latents.numel():
            raise TrajectoryError(f"a trajectory needs at least one picture; got latents {tuple(latents.shape)}")
        if not bool((sigmas.diff() < 0).all()):
            raise TrajectoryError(f"a trajectory's noise levels must descend; got {_listed(sigmas)}")
        if bottlenecks is not None and (bottlenecks.dim() != 5 or bottlenecks.shape[:2] != (self.steps, self.batch)):
            raise TrajectoryError(
                f"a trajectory's bottlenecks are (steps, batch, channels, height, width), here ({self.steps}, {self.batch}, ...); "
                f"got {tuple(bottlenecks.shape)}"
            )
        for name, values in (("latents", latents), ("noise levels", sigmas), ("bottlenecks", bottlenecks)):
            if values is not None and not (values.is_floating_point() and bool(values.isfinite().all())):
                raise TrajectoryError(f"a trajectory's {name} must be finite numbers; among these ({values.dtype}) some are not")
        if float(sigmas[-1]) < 0:
            raise TrajectoryError(f"a trajectory's noise levels must not be negative; got {_listed(sigmas)}")

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
        """(B, C, h, w): a stage in the scale in which noise has a picture's range."""
        return self.latents[index] / size(self.mixing, self.sigmas[index])

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
        return self.scaled_to_picture(index) * float(size(self.mixing, torch.tensor(sigma, dtype=torch.float64)))

    def save(self, path: Path) -> None:
        """Writes a safetensors file. It appears whole or not at all, and never in the place of another: raises `FileExistsError`."""
        names = {"solver": self.solver, "model": self.model, "conditioning": self.conditioning, "mixing": self.mixing}
        metadata = {"format": FORMAT, "version": VERSION, **names}
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{uuid.uuid4().hex}.partial")
        try:
            tensors = {"latents": self.latents, "sigmas": self.sigmas, "bottlenecks": self.bottlenecks}
            tensors = {name: tensor.contiguous() for name, tensor in tensors.items() if tensor is not None}
            save_file(tensors, partial, metadata={FORMAT: json.dumps(metadata)})
            _place(partial, path)
        finally:
            partial.unlink(missing_ok=True)

    @staticmethod
    def load(path: Path, model: str | None = None) -> Trajectory:
        """Reads a file written by `save`. Raises `TrajectoryError` if it is truncated, no trajectory, of a newer version,
        or, where the fingerprint `model` is given, made with another model."""
        try:
            with safe_open(path, framework="pt") as file:
                *names, mixing = _names((file.metadata() or {}).get(FORMAT, "null"))
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            trajectory = Trajectory(tensors["latents"], tensors["sigmas"], *names, tensors.get("bottlenecks"), mixing)
        except TrajectoryError as problem:
            raise TrajectoryError(f"{path.name}: {problem}") from problem
        except (SafetensorError, OSError, ValueError, KeyError, RecursionError) as problem:
            raise TrajectoryError(f"{path.name}: cannot be read as a trajectory ({problem}); save it again") from problem
        if model is not None and trajectory.model != model:
            raise TrajectoryError(
                f"{path.name}: made with another model or other LoRAs (fingerprint {trajectory.model}, this model's is {model}); "
                "connect the model it was made with, or invert the picture again"
            )
        return trajectory


def _names(written: str) -> tuple[str, str, str, Mixing]:
    """Solver, fingerprints and mixing of a file, from what is `written` about it in JSON. Files of before flows say no mixing."""
    metadata = json.loads(written)
    if not metadata:
        raise TrajectoryError("not a trajectory saved by Graft")
    version = metadata.get("version") if isinstance(metadata, dict) else None
    numbered = type(version) is int
    if numbered and version > VERSION:
        raise TrajectoryError(f"written by a newer Graft (format {version}); update the pack")
    names = tuple(metadata[name] for name in ("solver", "model", "conditioning")) if numbered and version == VERSION else ()
    mixing = metadata.get("mixing", "added") if names else None
    if not isinstance(mixing, str) or mixing not in MIXINGS or not all(isinstance(name, str) for name in names):
        raise ValueError("what is written about it is not what Graft writes")
    return *names, mixing


def _listed(sigmas: Tensor) -> str:
    """Noise levels for a message, not more of them than can be read."""
    shown = [f"{sigma:.4g}" for sigma in sigmas[:8].tolist()]
    return ", ".join(shown) + (f", ... {float(sigmas[-1]):.4g}" if len(sigmas) > len(shown) else "")


def _place(partial: Path, path: Path) -> None:
    """Gives a finished file its name, if no file has it: raises `FileExistsError`."""
    try:
        os.link(partial, path)
    except FileExistsError:
        raise
    except OSError:  # FAT and some network drives have no hard links: the name is taken first
        path.open("xb").close()
        os.replace(partial, path)
