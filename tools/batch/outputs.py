"""A row's files, under names that stay: ID/title.png."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .job import File

PART = ".part"


def keep(folder: Path, row_id: str, files: Sequence[File]) -> tuple[dict[str, Any], ...]:
    """Write the files of a row and say which there are: path below the folder, bytes, digest (BLAKE2b, 16 bytes), whether it was saved.

    Each appears whole or not at all, and takes the place of an earlier one; what an earlier run made besides is removed.
    OSError where they cannot be written: then nothing half-written stays.
    """
    home = folder / row_id
    home.mkdir(parents=True, exist_ok=True)
    for file in files:
        write_whole(home / file.name, [file.content])
    names = {file.name for file in files}
    for other in home.iterdir():
        if other.name not in names and other.is_file():
            other.unlink()
    return tuple(
        {"path": f"{row_id}/{file.name}", "bytes": len(file.content), "digest": _digest(file.content), "saved": file.saved}
        for file in files
    )


def write_whole(path: Path, content: Iterable[bytes]) -> None:
    """A file that is there with all its bytes or is as it was before."""
    part = path.with_name(f".{path.name}{PART}")
    try:
        with part.open("wb") as file:
            file.writelines(content)
        os.replace(part, path)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink()
        raise


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
