"""The showcase's page: one fragment of HTML that a README takes as it is, and the same with a head, to be looked at."""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from showing.given_pictures import PAINTED
from showing.showcase_graphs import DENOISE, Settings, guidance_and_steps, told
from showing.showcase_run import Outcome, Shown

WIDTH = 170  # pixels of a picture on the page
FRAGMENT, PAGE = "showcase.md", "index.html"
MEANINGLESS = (
    "<b>These pictures mean nothing.</b> They were made with random weights, which know no picture and no word: they show that every task runs "
    "from end to end on this machine, how long it takes and what it needs. With <code>--checkpoint FILE</code> they show what your model does."
)
OF_A_DRAWN_WORLD = (
    "<b>These pictures mean little.</b> The miniature knows a drawn world and nothing else; of photographs it makes what it knows."
)
HEAD = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Graft: showcase</title>
<style>
  body { font: 16px/1.45 system-ui, sans-serif; max-width: 68rem; margin: 0 auto; padding: 1rem; color: #222; overflow-wrap: anywhere }
  table { display: block; overflow-x: auto; border-collapse: collapse } td { padding: 0 0.5rem 0.5rem 0; vertical-align: top; font-size: 0.85rem }
  img { border-radius: 4px; max-width: none }
</style>
"""


@dataclass(frozen=True)
class Section:
    """What one model did. model: its name; note: what has to be known of it, HTML; memory: whose the peak is, "graphics card" or "process"."""

    model: str
    note: str
    device: str
    memory: str
    settings: Settings
    shown: Sequence[Shown] = ()


def write(sections: Sequence[Section], folder: Path) -> None:
    """Write both files into a folder below which the pictures are."""
    text = fragment(sections, folder)
    (folder / FRAGMENT).write_text(text, encoding="utf-8")
    (folder / PAGE).write_text(HEAD + text, encoding="utf-8")


def fragment(sections: Sequence[Section], folder: Path) -> str:
    """The page without its head; paths count from `folder`."""
    return "\n".join(_section(section, folder) for section in sections) + "\n"


def _section(section: Section, folder: Path) -> str:
    about = (
        f"On {html.escape(section.device)}; the longer side is {section.settings.size} pixels while the model works, seed {section.settings.seed}, the "
        f"same in every column. Seconds without loading the model; most memory of the {section.memory} in use. <i>image-to-image</i> "
        f"takes noise of strength {DENOISE:g} away again under the prompt of the finished picture; <i>inpainting</i> is the host's, for ordinary checkpoints."
    )
    meaning = f"<p>{section.note}</p>\n" if section.note else ""
    return f"<h2>{html.escape(section.model)}</h2>\n{meaning}<p>{about}</p>\n" + "\n".join(
        _task(one, section, folder) for one in section.shown
    )


def _task(shown: Shown, section: Section, folder: Path) -> str:
    titles = {title for title, _ in shown.given}
    given = [_cell(folder, path, html.escape(title)) for title, path in shown.given if title + PAINTED not in titles]
    cells = "\n".join([*given, *(_outcome(outcome, folder) for outcome in shown.outcomes)])
    presets = {name: value for name, value in shown.case.easy.blueprint().entry.inputs.items() if isinstance(value, (int, float))}
    own = "; ".join(f"{name}: {value}" for name, value in {**presets, **told(shown.case, section.settings)}.items())
    guidance, steps = guidance_and_steps(shown.case, section.settings)
    others = f" The other columns: {steps} steps, cfg {guidance:g}, ddim." if len(shown.outcomes) > 1 else ""
    return (
        f"<h3>{html.escape(shown.case.task)}</h3>\n<table><tr>\n{cells}\n</tr></table>\n"
        f"<p><sub>{html.escape(own)}.{html.escape(others)}</sub></p>"
    )


def _outcome(outcome: Outcome, folder: Path) -> str:
    name = f"<b>{html.escape(outcome.way)}</b>"
    if outcome.picture is None:
        return f"<td width={WIDTH}>{name}: failed. {html.escape(outcome.failure)}</td>"
    return _cell(folder, outcome.picture, f"{name}<br>{outcome.seconds:.1f} s, {outcome.peak_mib} MiB")


def _cell(folder: Path, picture: Path, caption: str) -> str:
    file = html.escape(Path(os.path.relpath(picture, folder)).as_posix().replace(" ", "%20"))
    return f'<td><img src="{file}" width={WIDTH} alt=""><br>{caption}</td>'
