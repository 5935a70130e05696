"""ComplexCompo (Lu et al., SHINE, 2025): a folder per object, with bg/content.json (boxes and prompts) and fg/NN.jpg, fg/NN.png."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

from ..drawn import BOX, SIZE
from ..problems import Problem
from ..row import Row
from . import Listed

CONTENT, REFERENCE, PLACEHOLDER = "bg/content.json", "03", "<sks>"
"""The published evaluation takes the reference picture 03."""


def fits(path: Path) -> bool:
    return path.is_dir() and any(path.glob(f"*/{CONTENT}"))


class ComplexCompo(Listed):
    """Columns: image, reference, reference_mask, mask (the box in which the object is put), source_prompt, fill_prompt, prompt (with the
    object's name in it), object."""

    def __init__(self, path: Path):
        rows: list[Row | Problem] = []
        for content in sorted(path.glob(f"*/{CONTENT}")):
            for entry in json.loads(content.read_text(encoding="utf-8")):
                rows.append(_row(len(rows) + 1, entry, content.parents[1], path))
        super().__init__(path, rows)


def _row(number: int, entry: dict, folder: Path, root: Path) -> Row | Problem:
    if missing := [name for name in ("resized_img", "bbox", "target_prompt") if name not in entry]:
        return Problem(number, missing[0], f"an entry of {folder.name}/{CONTENT} has no {', '.join(missing)}")
    picture = folder / "bg" / entry["resized_img"]
    if not picture.is_file():
        return Problem(number, "resized_img", f"there is no picture {picture}")
    thing = folder.name.replace("_", " ")
    reference = _reference(folder / "fg")
    if reference is None:
        return Problem(number, "reference", f"{folder / 'fg'} has no picture with a mask (NN.jpg and NN.png)")
    values = {
        "image": picture.relative_to(root).as_posix(),
        "mask": {BOX: list(entry["bbox"]), SIZE: list(_size(picture))},
        "reference": reference.relative_to(root).as_posix(),
        "reference_mask": reference.with_suffix(".png").relative_to(root).as_posix(),
        "source_prompt": entry.get("source_prompt", ""),
        "fill_prompt": entry.get("fill_prompt", ""),
        "prompt": entry["target_prompt"].replace(PLACEHOLDER, thing),
        "object": thing,
    }
    return Row(number, f"{folder.name}-{picture.stem}", values)


def _reference(folder: Path) -> Path | None:
    pairs = [picture for picture in sorted(folder.glob("*.jpg")) if picture.with_suffix(".png").is_file()]
    return next((picture for picture in pairs if picture.stem == REFERENCE), pairs[0] if pairs else None)


def _size(picture: Path) -> tuple[int, int]:
    with Image.open(picture) as opened:
        return opened.size
