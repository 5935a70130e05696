"""What works and what does not, against what: the first lines of the evaluation, their numbers out of its tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Tables = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Cell:
    """A number of a table: its row by the values of its first columns, and the column."""

    table: str
    row: tuple[str, ...]
    column: str

    def text(self, tables: Tables) -> str:
        """The number in three digits. KeyError where the table, the row or the column is not there."""
        for row in tables[self.table]["rows"]:
            if tuple(row.values())[: len(self.row)] == self.row:
                return f"{float(row[self.column]):.3g}"
        raise KeyError(self.row)


@dataclass(frozen=True)
class Line:
    """A verdict, what it is about, and the sentence; {0}, {1} ... stand for its cells."""

    verdict: str
    about: str
    sentence: str
    cells: tuple[Cell, ...]

    def text(self, tables: Tables) -> str:
        return f"| **{self.verdict}** | {self.about} | {self.sentence.format(*(cell.text(tables) for cell in self.cells))} |"


def _cells(table: str, *places: tuple[str | tuple[str, ...], str]) -> tuple[Cell, ...]:
    return tuple(Cell(table, (row,) if isinstance(row, str) else row, column) for row, column in places)


EDITED, REDRAWN = "Free-Prompt-Editing, window to 0.8", "image to image, strength 0.7"
RESHAPED = "Free-Prompt-Editing, window to 0.5"
PASTED = "paste + img2img 0.3, guidance 5"
LINES = (
    Line(
        "works",
        "another colour by prompt",
        "{0} % change, at {1} dB from the truth; image-to-image at 0.7: {2} %, {3} dB",
        _cells("free_prompt_editing_colour", (EDITED, "success"), (EDITED, "PSNR (dB)"), (REDRAWN, "success"), (REDRAWN, "PSNR (dB)")),
    ),
    Line(
        "works",
        "another ground by prompt",
        "{0} % change, and the object keeps its shape (IoU {1}); image-to-image at 0.7: {2} %, IoU {3}",
        _cells("free_prompt_editing_ground", (EDITED, "success"), (EDITED, "object IoU"), (REDRAWN, "success"), (REDRAWN, "object IoU")),
    ),
    Line(
        "works",
        "another thing by prompt",
        "{0} % change, and the rest keeps {1} dB; image-to-image at 0.7: {2} %, {3} dB",
        _cells("free_prompt_editing_thing", (RESHAPED, "success"), (RESHAPED, "PSNR (dB)"), (REDRAWN, "success"), (REDRAWN, "PSNR (dB)")),
    ),
    Line(
        "works",
        "swap a word",
        "{0} % take the colour, the rest keeps {1} dB; the new prompt on the same noise alone: {2} %, {3} dB",
        _cells(
            "prompt_to_prompt",
            ("both, local blend", "colour"),
            ("both, local blend", "background PSNR (dB)"),
            ("same inverted noise, no edit", "colour"),
            ("same inverted noise, no edit", "background PSNR (dB)"),
        ),
    ),
    Line(
        "works",
        "remove an object",
        "{0} % are gone, with {1} dB where the object was; the article's own settings on this model: {2} %, {3} dB",
        _cells(
            "removal",
            ("full", "gone"),
            ("full", "object PSNR (dB)"),
            ("full, the article's settings", "gone"),
            ("full, the article's settings", "object PSNR (dB)"),
        ),
    ),
    Line(
        "works",
        "the look of a reference",
        "{0} % become the asked thing in its colour, the rest keeps {1} dB; without the reference {2} %",
        _cells(
            "specref",
            ("both masks", "colour and thing"),
            ("both masks", "background PSNR (dB)"),
            ("no reference", "colour and thing"),
        ),
    ),
    Line(
        "works",
        "find what does not belong",
        "pasted things are told from things drawn there with an AUC of {0}; with all that the paper counts {1}",
        _cells("unnaturalness", (("unexpected", "pasted"), "told apart (AUC)"), (("all (paper)", "pasted"), "told apart (AUC)")),
    ),
    Line(
        "even",
        "an object into another style",
        "TF-ICON gets {0} % right and keeps the background at {1} dB; pasting and image-to-image at 0.3, guidance 5: {2} %, {3} dB",
        _cells("tf_icon", ("TF-ICON", "mean"), ("TF-ICON", "background PSNR (dB)"), (PASTED, "mean"), (PASTED, "background PSNR (dB)")),
    ),
    Line(
        "works",
        "an object into another light",
        "TF-ICON gets {0} % right; pasting and image-to-image at 0.3, guidance 5, its best setting here: {1} %",
        _cells("tf_icon_light", ("TF-ICON", "mean"), (PASTED, "mean")),
    ),
    Line(
        "in part",
        "make a pasted object belong",
        "{0} % take the picture's style (just pasted: {1} %); of the shadow {2} % comes, and the object is further from the truth: {3} dB, pasted {4}",
        _cells(
            "harmonisation",
            ("full", "style"),
            ("paste", "style"),
            ("full", "shadow"),
            ("full", "object PSNR (dB)"),
            ("paste", "object PSNR (dB)"),
        ),
    ),
    Line(
        "does not",
        "content and look, on latent models",
        "{0} % show the content's thing and {1} % its colour",
        _cells("injectfusion_scenes", ("thing", "follows the content (%)"), ("colour", "follows the content (%)")),
    ),
)


def summary(tables: Tables) -> list[str]:
    """The table of verdicts; lines whose experiment was not run are left out."""
    shown = [line.text(tables) for line in LINES if all(cell.table in tables for cell in line.cells)]
    return ["| | to do | measured on unseen scenes, against what |", "|---|---|---|", *shown, ""] if shown else []
