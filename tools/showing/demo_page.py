"""The demo's page: what came out, by task, on a wide screen and on a phone."""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from showing.demo_report import Picture, Report, WorkflowReport
from showing.tasks import OTHER, TASKS

SECONDS_BETWEEN_LOOKS = 4
"""How often a page that is not complete looks for more."""

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
$refresh<title>Graft: what it does</title>
<style>
  * { box-sizing: border-box }
  body { font: 16px/1.45 system-ui, sans-serif; max-width: 76rem; margin: 0 auto; padding: 1rem; color: #222; background: #fafafa; overflow-wrap: anywhere }
  h1 { font-size: 1.5rem; margin: 0 } h2 { font-size: 1.15rem; margin: 1.2rem 0 0.4rem } h3 { font-size: 0.95rem; margin: 0 }
  p { margin: 0.3rem 0 } nav a { display: inline-block; margin-right: 1rem } .about, figcaption, footer { color: #555; font-size: 0.85rem }
  .cards, main { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 22rem), 1fr)); gap: 0.8rem; align-items: start }
  main { gap: 0.4rem 0.8rem } .several { grid-column: 1 / -1 }
  article { background: #fff; border: 1px solid #ddd; border-radius: 6px; padding: 0.6rem }
  .pictures { display: flex; flex-wrap: wrap; gap: 0.4rem; align-items: flex-start; margin-top: 0.4rem }
  figure { margin: 0; width: 5.5rem } figcaption { line-height: 1.2 } .compare { width: 9rem } .wide { width: 100% }
  img { display: block; width: 100%; image-rendering: pixelated; border-radius: 4px; background: #ddd } input[type=range] { width: 100%; margin: 0 }
  .compare { --cut: 50% } .compare div { position: relative; overflow: hidden }
  .compare .after { position: absolute; inset: 0; clip-path: inset(0 0 0 var(--cut)) }
  details { margin-top: 0.4rem; font-size: 0.85rem } details img { image-rendering: auto; background: #222 } summary { color: #555; cursor: pointer }
  table { border-collapse: collapse } td { border: 1px solid #ccc; padding: 0.1rem 0.5rem } .failed { color: #b00020; white-space: pre-wrap }
</style>
<h1>Graft: what it does</h1>
<p>All pictures are the <em>miniature</em>'s, a model that comes with Graft and knows a drawn world and nothing else: it is so small that every
method runs on any machine within a minute or so, and so are its pictures. How photographs come out is up to your checkpoint.</p>
$progress<nav>$contents</nav>
<main>
$sections
</main>
$skipped<footer>$summary</footer>
</html>
"""

BEFORE, AFTER = ("input", "pasted", "naive paste", "Paste Object", "Your picture", "The look"), ("result", "map")
"""How the titles end of pictures that are compared with each other: the first of these that a workflow has."""

WIDE = ("grid", "gamma", "omega", "point", "plain")
"""How the titles end of pictures that consist of many, and need the room of a whole card."""

PLAIN = {
    "ground truth": "how it would truly look",
    "input": "before",
    "pasted": "just pasted",
    "naive paste": "just pasted",
    "Paste Object": "just pasted",
    "Place Reference": "where it goes",
    "Fit Picture": "as the model sees it",
    "Your picture": "before",
    "Your reference": "the reference",
    "result": "after",
    "map": "the more it glows, the less natural",
}
"""Titles in other words."""


def page(report: Report) -> str:
    """The page as HTML."""
    shown = [workflow for workflow in report.workflows if workflow.status != "skipped"]
    skipped = [workflow for workflow in report.workflows if workflow.status == "skipped"]
    groups = {title: [one for one in shown if (one.task or OTHER) == title] for title in (*(task.title for task in TASKS), OTHER)}
    filled = {title: workflows for title, workflows in groups.items() if workflows}
    summary = f"Graft {report.graft} in ComfyUI {report.comfyui} on {report.device}. All numbers are in report.json."
    parts = {
        "$refresh": f'<meta http-equiv="refresh" content="{SECONDS_BETWEEN_LOOKS}">\n' if report.waiting else "",
        "$progress": _progress(report),
        "$contents": "".join(f'<a href="#{_anchor(title)}">{html.escape(title)}</a>' for title in filled),
        "$sections": "\n".join(_section(title, workflows) for title, workflows in filled.items()),
        "$skipped": _not_run(skipped) if skipped else "",
        "$summary": html.escape(summary),
    }
    text = PAGE
    for name, content in parts.items():
        text = text.replace(name, content)
    return text


def _progress(report: Report) -> str:
    if not report.waiting:
        return ""
    left = "" if report.seconds_left is None else f", about {report.seconds_left:.0f} s are left"
    return f'<p role="status"><b>{report.waiting} more to come{left}.</b> This page fills as they are done.</p>\n'


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _section(title: str, workflows: Sequence[WorkflowReport]) -> str:
    cards = "\n".join(_card(workflow) for workflow in workflows)
    several = ' class="several"' if len(workflows) > 1 else ""
    return f'<section id="{_anchor(title)}"{several}><h2>{html.escape(title)}</h2><div class="cards">\n{cards}\n</div></section>'


def _card(workflow: WorkflowReport) -> str:
    about = f'<p class="about">{html.escape(workflow.description.replace("*", ""))}</p>' if workflow.description else ""
    failure = f'<p class="failed">{html.escape(workflow.reason)}</p>' if workflow.status == "failed" else ""
    before, after = (_first(workflow.pictures, endings) for endings in (BEFORE, AFTER))
    compared = (before, after) if before and after else ()
    pictures = "".join(_figure(one) for one in workflow.pictures if one not in compared)
    slider = _comparison(*compared) if compared else ""
    more = {"seconds": round(workflow.seconds, 2), **workflow.metrics, **workflow.texts}
    drawing = f'<img src="{html.escape(workflow.graph)}" alt="The graph" loading="lazy">' if workflow.graph else ""
    folded = f"<details><summary>{workflow.seconds:.1f} s: numbers and graph</summary>{_table(more)}{drawing}</details>"
    return (
        f"<article><h3>{html.escape(_name(workflow.name))}</h3>{about}{failure}"
        f'<div class="pictures">{slider}{pictures}</div>{folded if workflow.status == "passed" else ""}</article>'
    )


def _name(name: str) -> str:
    """A workflow's name without what all on this page have in common."""
    return re.sub(r"^Try \d+ | \(miniature\)$", "", name.replace("_", " "))


def _first(pictures: Sequence[Picture], endings: tuple[str, ...]) -> Picture | None:
    """The picture whose title ends like the first of these that there is."""
    return next((one for ending in endings for one in pictures if one.title.endswith(ending)), None)


def _caption(title: str) -> str:
    """A picture's title without the number that orders it, in plain words."""
    words, comma, more = title.lstrip("0123456789 ").partition(",")
    return PLAIN.get(words, words.lower()) + comma + more


def _figure(picture: Picture) -> str:
    kind = ' class="wide"' if picture.title.endswith(WIDE) else ""
    caption, file = html.escape(_caption(picture.title)), html.escape(picture.file)
    return f'<figure{kind}><a href="{file}"><img src="{file}" alt="{caption}"></a><figcaption>{caption}</figcaption></figure>'


def _comparison(before: Picture, after: Picture) -> str:
    """What went in and what came out under a slider."""
    label = html.escape(f"{_caption(before.title)} | {_caption(after.title)}")
    return (
        f'<figure class="compare"><div><img src="{html.escape(before.file)}" alt=""><img class="after" src="{html.escape(after.file)}" alt=""></div>'
        f"""<input type="range" value="50" aria-label="{label}" oninput="this.parentNode.style.setProperty('--cut', this.value + '%')">"""
        f"<figcaption>{label}</figcaption></figure>"
    )


def _not_run(workflows: Sequence[WorkflowReport]) -> str:
    lines = "".join(f"<li>{html.escape(_name(workflow.name))}: {html.escape(workflow.reason)}</li>" for workflow in workflows)
    return f"<details><summary>{len(workflows)} workflows were not run, most for want of a checkpoint</summary><ul>{lines}</ul></details>\n"


def _table(values: dict[str, Any]) -> str:
    rows = "".join(f"<tr><td>{html.escape(name)}</td><td>{html.escape(value)}</td></tr>" for name, value in _flat(values))
    return f"<table>{rows}</table>"


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested dictionaries as one row per number, named by the path to it."""
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{name} / ")
        else:
            rows.append((prefix + name, f"{value:.4g}" if isinstance(value, float) else str(value)))
    return rows


def write(report: Report, folder: Path) -> None:
    """Write report.json and index.html into a folder whose subfolders hold the pictures; who reads them meanwhile finds them whole."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"passed": report.passed, **asdict(report)}
    _replace(folder / "report.json", json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    _replace(folder / "index.html", page(report))


def _replace(path: Path, text: str) -> None:
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, path)
