"""Tables, their page and their contact sheets."""

from __future__ import annotations

import json
import textwrap
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from graft.miniature.network import SIDE
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from evaluation.summary import summary

LABEL, GAP, QUALITY = 20, 3, 88
"""Of a sheet: letters in a line of a label, pixels between pictures, JPEG's quality."""


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
    """Updates evaluation.json, evaluation.md and one JPEG per sheet; tables of experiments not run now stay as they were."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "evaluation.json"
    known = json.loads(kept.read_text()) if kept.exists() else {}
    known |= {table.name: asdict(table) for table in tables}
    kept.write_text(json.dumps(known, indent=1) + "\n")
    for sheet in sheets:
        contact_sheet(sheet).save(folder / f"{sheet.name}.jpg", quality=QUALITY, optimize=True)
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
        if (folder / (picture := f"{table['name']}.jpg")).exists():
            parts.append(f"![{table['name']}]({picture})\n")
    return "\n".join(parts)


def _cell(value) -> str:
    match value:
        case None:
            return "–"
        case float():
            return f"{value:.3g}" if abs(value) < 1 else f"{value:.1f}"
    return str(value)


def contact_sheet(sheet: Sheet, side: int = SIDE, columns: int = 12) -> Image.Image:
    """Row by row, labels to the left, every picture `side` pixels wide and high."""
    rows = [(textwrap.wrap(label, LABEL), pictures[:columns]) for label, pictures in sheet.rows.items()]
    font = ImageFont.load_default(15)
    gutter = 12 + max(round(font.getlength(line)) for lines, _ in rows for line in lines)
    page = Image.new("RGB", (gutter + (side + GAP) * max(len(p) for _, p in rows), (side + GAP) * len(rows)), "white")
    draw = ImageDraw.Draw(page)
    for y, (lines, pictures) in enumerate(rows):
        draw.multiline_text((4, y * (side + GAP) + side // 2), "\n".join(lines), fill="black", font=font, anchor="lm")
        for x, picture in enumerate(pictures):
            shown = Image.fromarray((picture.clamp(0, 1).numpy() * 255).round().astype(np.uint8))
            page.paste(shown.resize((side, side), Image.Resampling.LANCZOS), (gutter + x * (side + GAP), y * (side + GAP)))
    return page
