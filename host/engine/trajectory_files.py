"""Where trajectories are kept: in ComfyUI's output/trajectories, and found there and in the input folder."""

from __future__ import annotations

from pathlib import Path

import folder_paths

from ...inversion.trajectory import Trajectory
from ..errors import GraftError
from .fingerprints import model_fingerprint

SUFFIX = ".trajectory.safetensors"


def _folders() -> list[Path]:
    """Where trajectories are looked for: nowhere else, since output folders of years are slow to walk."""
    return [Path(folder_paths.get_output_directory()) / "trajectories", Path(folder_paths.get_input_directory())]


def names() -> list[str]:
    """File names relative to their folder, sorted."""
    saved, given = _folders()
    found = [(saved, saved.rglob(f"*{SUFFIX}")), (given, given.glob(f"*{SUFFIX}"))]
    return sorted({path.relative_to(folder).as_posix() for folder, paths in found for path in paths})


def find(name: str) -> Path | None:
    """The file of that name; None if there is none or the name leads out of the two folders."""
    for folder in _folders():
        path = (folder / name).resolve()
        if path.is_file() and path.is_relative_to(folder.resolve()):
            return path
    return None


def state(name: str) -> str:
    """Changes when the file does."""
    path = find(name)
    return f"{path.stat().st_mtime_ns} {path.stat().st_size}" if path else "missing"


def save(trajectory: Trajectory, prefix: str) -> str:
    """Writes output/trajectories/`<prefix>_<number>.trajectory.safetensors`; returns the name that `find` knows."""
    saved, _ = _folders()
    saved.mkdir(parents=True, exist_ok=True)
    height, width = trajectory.latents.shape[-2:]
    folder, name, _, _, _ = folder_paths.get_save_image_path(prefix, str(saved), width, height)
    taken = [path.name.removesuffix(SUFFIX).rpartition("_")[2] for path in Path(folder).glob(f"{name}_*{SUFFIX}")]
    number = max((int(digits) for digits in taken if digits.isdigit()), default=0) + 1
    path = Path(folder) / f"{name}_{number:05}{SUFFIX}"
    trajectory.save(path)
    return path.relative_to(saved).as_posix()


def load(model, name: str) -> Trajectory:
    """Raises `GraftError` if there is no such file, and `TrajectoryError` if it is not a trajectory of this model."""
    path = find(name)
    if path is None:
        raise GraftError(f"file: {name!r} is in neither output/trajectories nor the input folder")
    return Trajectory.load(path, model_fingerprint(model))
