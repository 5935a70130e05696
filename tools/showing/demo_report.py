"""What the demo found, as report.json and as a page that can be looked at while it fills."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Picture:
    """A picture in the report: the title of the node that made it, and its path relative to the report."""

    title: str
    file: str


@dataclass(frozen=True)
class WorkflowReport:
    """What became of one workflow. task: what it is for; seconds: wall time; node_seconds, metrics and texts are keyed by node title;
    graph: the path of its drawing, relative to the report."""

    name: str
    status: Literal["passed", "failed", "skipped"]
    description: str = ""
    task: str = ""
    reason: str = ""
    seconds: float = 0.0
    node_seconds: dict[str, float] = field(default_factory=dict)
    pictures: tuple[Picture, ...] = ()
    metrics: dict[str, Any] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    graph: str = ""


@dataclass(frozen=True)
class Report:
    """The demo so far. waiting: how many workflows are still to end; seconds_left: how long that will take, None where nothing says."""

    graft: str
    comfyui: str
    device: str
    workflows: tuple[WorkflowReport, ...]
    waiting: int = 0
    seconds_left: float | None = None

    @property
    def passed(self) -> bool:
        """Whether no workflow failed."""
        return all(workflow.status != "failed" for workflow in self.workflows)


def natural_order(title: str) -> list[tuple[int, str]]:
    """Sort key under which "2 result" comes before "10 difference"."""
    return [(int(part), "") if part.isdigit() else (-1, part.lower()) for part in re.split(r"(\d+)", title)]


def file_stem(title: str) -> str:
    """A title as part of a file name on every system."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "picture"
