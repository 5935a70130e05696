"""PIE-Bench (Ju et al., Direct Inversion, 2023): mapping_file.json beside the folder annotation_images."""

from __future__ import annotations

import json
from pathlib import Path

from ..drawn import RUNS, SIZE
from ..problems import Problem
from ..row import Row
from . import Listed

FILE, PICTURES, SIDE = "mapping_file.json", "annotation_images", 512


def fits(path: Path) -> bool:
    return path.name == FILE or (path / FILE).is_file()


class PieBench(Listed):
    """Columns: image, source_prompt and prompt (without the brackets that mark what differs), instruction, blend_words, mask (1 where the
    picture is edited). Notes: category, and the prompts with their brackets.

    The mask is kept as annotated. The official evaluation also takes the outermost pixels for edited; they are not here.
    """

    def __init__(self, path: Path):
        path = path if path.is_file() else path / FILE
        entries = json.loads(path.read_text(encoding="utf-8"))
        super().__init__(path.parent, [_row(number, key, entry) for number, (key, entry) in enumerate(entries.items(), start=1)])


def _row(number: int, key: str, entry: dict) -> Row | Problem:
    if missing := [name for name in ("image_path", "original_prompt", "editing_prompt") if name not in entry]:
        return Problem(number, missing[0], f"the entry {key!r} has no {', '.join(missing)}")
    values = {
        "image": f"{PICTURES}/{entry['image_path']}",
        "source_prompt": _plain(entry["original_prompt"]),
        "prompt": _plain(entry["editing_prompt"]),
        "instruction": entry.get("editing_instruction", ""),
        "blend_words": entry.get("blended_word", ""),
    }
    if "mask" in entry:
        values["mask"] = {RUNS: entry["mask"], SIZE: [SIDE, SIDE]}
    marked = {"original_prompt": entry["original_prompt"], "editing_prompt": entry["editing_prompt"]}
    return Row(number, key, values, {"category": entry.get("editing_type_id", ""), **marked})


def _plain(prompt: str) -> str:
    return prompt.replace("[", "").replace("]", "")
