"""Tables, their page and their contact sheets."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from evaluation.summary import summary


@dataclass(frozen=True)
class Table:
    """One experiment's result. `rows` are dictionaries with the same keys; `note` says how to read them."""

    name: str
    title: str
    note: str
    rows: tuple[dict, ...]


@dataclass(frozen=True)
class Sheet:
    """Pictures to look at: one labelled row of (B, H, W, 3) per key."""

    name: str
    rows: dict[str, Tensor]


def write(folder: Path, tables: list[Table], sheets: list[Sheet], command: str) -> None:
    """Updates evaluation.json, evaluation.md and one PNG per sheet; tables of experiments not run now stay as they were."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "evaluation.json"
    known = json.loads(kept.read_text()) if kept.exists() else {}
    known |= {table.name: asdict(table) for table in tables}
    kept.write_text(json.dumps(known, indent=1) + "\n")
    for sheet in sheets:
        contact_sheet(sheet).save(folder / f"{sheet.name}.png", optimize=True)
    (folder / "evaluation.md").write_text(_page(known, folder, command))


def _page(tables: dict[str, dict], folder: Path, command: str) -> str:
    parts = [
        "# Evaluation on the miniature\n",
        *summary(tables),
        "Scenes the model was not trained on, judged by the judge (`miniature/judge.py`). What the tables show is the methods at work on a",
        f"small drawn world; they claim nothing about photographs. All numbers are made again by `{command}`.\n",
    ]
    for table in tables.values():
        columns = list(table["rows"][0])
        parts += [f"## {table['title']}\n", table["note"] + "\n", "| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
        parts += ["| " + " | ".join(_cell(row[column]) for column in columns) + " |" for row in table["rows"]]
        parts.append("")
        if (folder / (picture := f"{table['name']}.png")).exists():
            parts.append(f"![{table['name']}]({picture})\n")
    return "\n".join(parts)


def _cell(value) -> str:
    return f"{value:.3g}" if isinstance(value, float) and abs(value) < 1 else f"{value:.1f}" if isinstance(value, float) else str(value)


def contact_sheet(sheet: Sheet, scale: int = 2, columns: int = 12) -> Image.Image:
    """Row by row, labels to the left."""
    rows = [(label, pictures[:columns]) for label, pictures in sheet.rows.items()]
    side = rows[0][1].shape[1] * scale
    gutter = 8 + max(7 * len(label) for label, _ in rows)
    page = Image.new("RGB", (gutter + (side + 2) * max(len(p) for _, p in rows), (side + 2) * len(rows)), "white")
    draw = ImageDraw.Draw(page)
    for y, (label, pictures) in enumerate(rows):
        draw.text((4, y * (side + 2) + side // 2 - 6), label, fill="black")
        for x, picture in enumerate(pictures):
            array = (picture.clamp(0, 1).numpy() * 255).round().astype(np.uint8)
            page.paste(Image.fromarray(array).resize((side, side), Image.Resampling.NEAREST), (gutter + x * (side + 2), y * (side + 2)))
    return page
