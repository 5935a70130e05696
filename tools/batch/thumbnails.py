"""Small pictures for the page, before and after, kept apart from the rows' own files."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from .drawn import picture_of
from .filling import Filled, Picture
from .job import File, result_of
from .outputs import write_whole

NAME, SIDE = "thumbnails", 192
SHOWN_BEFORE = ("input", "pasted", "naive paste")
"""How the titles end of what workflows show of the picture that they change."""


def keep(folder: Path, filled: Filled, files: Sequence[File]) -> None:
    """Write thumbnails of the picture that was edited and of the result. A row without either has none of it."""
    for when, content in (("before", _before(filled, files)), ("after", getattr(result_of(files), "content", None))):
        small = None if content is None else _small(content)
        if small is not None:
            path = folder / path_of(filled.id, when)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, [small])


def path_of(row_id: str, when: str) -> str:
    """Where a row's thumbnail lies below their folder; 256 folders share a million rows."""
    return f"{hashlib.blake2b(row_id.encode(), digest_size=1).hexdigest()}/{row_id}.{when}.jpg"


def _before(filled: Filled, files: Sequence[File]) -> bytes | None:
    shown = next((file.content for file in files if file.name.rpartition(".")[0].replace("-", " ").endswith(SHOWN_BEFORE)), None)
    return shown if shown is not None else _content(filled.edited())


def _content(picture: Picture | None) -> bytes | None:
    if picture is None:
        return None
    return picture.read_bytes() if isinstance(picture, Path) else picture_of(picture)


def _small(content: bytes) -> bytes | None:
    """A JPEG of at most SIDE pixels, None for what is no picture. Smaller pictures keep their size."""
    try:
        with Image.open(io.BytesIO(content)) as picture:
            picture.draft("RGB", (SIDE, SIDE))
            picture.thumbnail((SIDE, SIDE))
            small = io.BytesIO()
            picture.convert("RGB").save(small, "JPEG", quality=85)
            return small.getvalue()
    except (OSError, ValueError):
        return None
