"""Where trajectories are kept: in ComfyUI's output/trajectories, and found there and in the input folder."""

from __future__ import annotations

from pathlib import Path

import folder_paths

from ...inversion.trajectory import Trajectory, TrajectoryError
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
    """The file of that name; None if there is none, the name leads out of the two folders or is none at all."""
    for folder in _folders():
        try:
            path = (folder / name).resolve()
            if path.is_file() and path.is_relative_to(folder.resolve()):
                return path
        except (OSError, ValueError, RuntimeError):  # too long, with a NUL, or a link in a circle
            continue
    return None


def state(name: str) -> str:
    """Changes when the file does."""
    path = find(name)
    return f"{path.stat().st_mtime_ns} {path.stat().st_size}" if path else "missing"


def save(trajectory: Trajectory, prefix: str) -> str:
    """Writes output/trajectories/`<prefix>_<number>.trajectory.safetensors`, never over a file that is there; returns the name
    that `find` knows. Raises `GraftError` for a prefix that cannot be written."""
    if not prefix.strip():
        raise GraftError("filename_prefix: it is empty; write the beginning of the file's name")
    saved, _ = _folders()
    height, width = trajectory.latents.shape[-2:]
    try:
        saved.mkdir(parents=True, exist_ok=True)
        folder, name, _, _, _ = folder_paths.get_save_image_path(prefix, str(saved), width, height)
        path = _written(trajectory, Path(folder), name)
    except Exception as problem:  # the host has no narrower one for a path that leads out of its folder
        shown = prefix if len(prefix) <= 80 else f"{prefix[:80]}..."
        reason = (str(problem).strip("* ").splitlines() or [type(problem).__name__])[0]
        raise GraftError(
            f"filename_prefix: nothing can be saved as {shown!r} in {saved} ({reason}); choose another name, or make room and give leave there"
        ) from problem
    return path.relative_to(saved).as_posix()


def _written(trajectory: Trajectory, folder: Path, name: str) -> Path:
    """The file that a trajectory is in now, of the lowest number above those in the folder that no other writer takes first."""
    numbers = [_number(path.name, name) for path in folder.iterdir()]
    number = max(numbers, default=0)
    while True:
        number += 1
        path = folder / f"{name}_{number:05}{SUFFIX}"
        try:
            trajectory.save(path)
            return path
        except FileExistsError:
            continue


def _number(file: str, name: str) -> int:
    """The number of a file called `name`_<number>; 0 of any other."""
    digits = file[len(name) + 1 : -len(SUFFIX)]
    return int(digits) if file == f"{name}_{digits}{SUFFIX}" and digits.isdecimal() and digits.isascii() else 0


def load(model, name: str) -> Trajectory:
    """Raises `GraftError` if there is no such file, and `TrajectoryError` if it is not a trajectory of this model."""
    path = find(name)
    if path is None:
        raise GraftError(f"file: {name!r} is in neither output/trajectories nor the input folder")
    try:
        return Trajectory.load(path, model_fingerprint(model))
    except TrajectoryError as problem:
        raise TrajectoryError(f"file: {problem}") from problem
