"""What the demo found, as report.json and as a page with the pictures side by side."""

from __future__ import annotations

import html
import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Graft: what its workflows do</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fafafa }
  section { margin: 3rem 0 } h2 { margin-bottom: 0 } .about { white-space: pre-line; color: #555; max-width: 50rem }
  .pictures { display: flex; flex-wrap: wrap; gap: 1rem } figure { margin: 0 } figcaption { font-size: 0.85rem; color: #555 }
  img { width: 12rem; image-rendering: pixelated; border-radius: 4px; background: #ddd }
  table { border-collapse: collapse; font-size: 0.85rem; margin-top: 1rem } td { border: 1px solid #ccc; padding: 0.1rem 0.6rem }
  .compare { --cut: 50% } .compare div { position: relative; overflow: hidden } .compare img { width: 24rem; display: block } .compare input { width: 24rem }
  .compare .after { position: absolute; inset: 0; clip-path: inset(0 0 0 var(--cut)) }
  details { margin-top: 1rem } details img { width: 100%; image-rendering: auto; background: #222 }
  .failed { color: #b00020; white-space: pre-wrap } .skipped { color: #777 }
</style>
<h1>Graft: what its workflows do</h1>
<p>$summary</p>
$sections
</html>
"""

BEFORE, AFTER = ("input", "pasted", "naive paste"), ("result", "map")
"""How the titles end of pictures that are compared with each other."""


@dataclass(frozen=True)
class Picture:
    """A picture in the report: the title of the node that made it, and its path relative to the report."""

    title: str
    file: str


@dataclass(frozen=True)
class WorkflowReport:
    """What became of one workflow. seconds: wall time; node_seconds, metrics and texts are keyed by node title; graph: the path of its
    drawing, relative to the report."""

    name: str
    status: Literal["passed", "failed", "skipped"]
    description: str = ""
    reason: str = ""
    seconds: float = 0.0
    node_seconds: dict[str, float] = field(default_factory=dict)
    pictures: tuple[Picture, ...] = ()
    metrics: dict[str, Any] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    graph: str = ""


@dataclass(frozen=True)
class Report:
    """The whole demo. measurements: further numbers about the methods, by name."""

    graft: str
    comfyui: str
    device: str
    workflows: tuple[WorkflowReport, ...]
    measurements: dict[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether no workflow failed."""
        return all(workflow.status != "failed" for workflow in self.workflows)

    def write(self, folder: Path) -> None:
        """Write report.json and index.html into a folder whose subfolders hold the pictures."""
        folder.mkdir(parents=True, exist_ok=True)
        content = {"passed": self.passed, **asdict(self)}
        (folder / "report.json").write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        (folder / "index.html").write_text(self._page(), encoding="utf-8")

    def _page(self) -> str:
        summary = f"Graft {self.graft} in ComfyUI {self.comfyui} on {self.device}. All numbers are in report.json."
        skipped = [workflow for workflow in self.workflows if workflow.status == "skipped"]
        sections = [_section(workflow) for workflow in self.workflows if workflow not in skipped]
        if self.measurements:
            sections.append(f"<section><h2>Measurements</h2>{_table(self.measurements)}</section>")
        if skipped:
            sections.append(_not_run(skipped))
        return PAGE.replace("$summary", html.escape(summary)).replace("$sections", "\n".join(sections))


def natural_order(title: str) -> list[tuple[int, str]]:
    """Sort key under which "2 result" comes before "10 difference"."""
    return [(int(part), "") if part.isdigit() else (-1, part.lower()) for part in re.split(r"(\d+)", title)]


def file_stem(title: str) -> str:
    """A title as part of a file name on every system."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "picture"


def _section(workflow: WorkflowReport) -> str:
    name = html.escape(workflow.name.replace("_", " "))
    about = f'<p class="about">{html.escape(workflow.description)}</p>' if workflow.description else ""
    failure = f'<p class="failed">{html.escape(workflow.reason)}</p>' if workflow.status == "failed" else ""
    pictures = "".join(
        f'<figure><img src="{html.escape(picture.file)}" alt=""><figcaption>{html.escape(picture.title)}</figcaption></figure>'
        for picture in workflow.pictures
    )
    rows = {"seconds": round(workflow.seconds, 2), **workflow.metrics, **workflow.texts}
    content = f'{_comparison(workflow.pictures)}<div class="pictures">{pictures}</div>{_table(rows)}{_drawing(workflow.graph)}'
    return f"<section><h2>{name}</h2>{about}{failure}{content}</section>"


def _not_run(workflows: list[WorkflowReport]) -> str:
    lines = "".join(f"<li>{html.escape(workflow.name)}: {html.escape(workflow.reason)}</li>" for workflow in workflows)
    return f'<section class="skipped"><h2>Not run</h2><ul>{lines}</ul></section>'


def _comparison(pictures: tuple[Picture, ...]) -> str:
    """What went in and what came out under a slider; nothing for a workflow that has not one of each."""
    before, after = (next((p for p in pictures if p.title.endswith(words)), None) for words in (BEFORE, AFTER))
    if before is None or after is None:
        return ""
    label = html.escape(f"{before.title}, {after.title}")
    return (
        f'<figure class="compare"><div><img src="{html.escape(before.file)}" alt=""><img class="after" src="{html.escape(after.file)}" alt=""></div>'
        f"""<input type="range" value="50" aria-label="{label}" oninput="this.parentNode.style.setProperty('--cut', this.value + '%')">"""
        f"<figcaption>{label}</figcaption></figure>"
    )


def _drawing(file: str) -> str:
    return f'<details><summary>Graph</summary><img src="{html.escape(file)}" alt="" loading="lazy"></details>' if file else ""


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
