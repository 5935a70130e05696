"""FlowEdit's data (Kulikov et al., 2024): a YAML list of pictures, each with a source prompt and several target prompts."""

from __future__ import annotations

from pathlib import Path

import yaml
from hosting.quickstart_error import QuickstartError

from ..problems import Problem
from ..row import Row
from . import Listed

PICTURE = ("init_img", "input_img")


def fits(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in (".yaml", ".yml")


class FlowEdit(Listed):
    """A row per target prompt. Columns: image, source_prompt, prompt. The id is the picture's name with the target's code or number."""

    def __init__(self, path: Path):
        try:
            entries = yaml.safe_load(path.read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            raise QuickstartError(f"{path} is not YAML: {error}") from None
        if not isinstance(entries, list):
            raise QuickstartError(f"{path}: FlowEdit's file is a list of pictures, each with source_prompt and target_prompts.")
        super().__init__(path.parent, [row for number, entry in enumerate(entries, start=1) for row in _rows(number, entry, path.parent)])


def _rows(number: int, entry: dict, folder: Path) -> list[Row | Problem]:
    picture = next((entry[name] for name in PICTURE if name in entry), None)
    targets = entry.get("target_prompts")
    if picture is None or not isinstance(targets, list):
        return [Problem(number, PICTURE[0] if picture is None else "target_prompts", "the entry names no picture, or no target prompts")]
    codes = entry.get("target_codes") or []
    return [
        Row(
            number,
            f"{Path(picture).stem}-{codes[place] if place < len(codes) else place + 1}",
            {"image": _found(picture, folder), "source_prompt": entry.get("source_prompt", ""), "prompt": target},
        )
        for place, target in enumerate(targets)
    ]


def _found(picture: str, folder: Path) -> str:
    """The published file names folders that the published archive does not have: then the picture lies beside it, or in Images."""
    beside = (picture, Path(picture).name, f"Images/{Path(picture).name}")
    return next((name for name in beside if (folder / name).is_file()), picture)
