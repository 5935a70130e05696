"""What the showcase does on which pictures: a case for each task, read from a file beside the pictures."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from graph import Graph
from hosting.quickstart_error import QuickstartError
from workflow_descriptions.easy import TASKS, Easy

CASES = "showcase.json"
"""The file in a folder of pictures that says what is done with them; the one for photographs is in docs/examples."""
TARGETS = ("what_it_should_show", "without_the_object", "what_it_shows")
"""What the finished picture shows: the first of these words that a task has."""


@dataclass(frozen=True)
class Case:
    """A task, by the title of its blueprint, the pictures in the order in which it asks for them, and its words and settings."""

    task: str
    pictures: tuple[Path, ...]
    words: dict[str, str | float] = field(default_factory=dict)

    @property
    def easy(self) -> Easy:
        """How the task's node is fed."""
        return known_tasks()[self.task]

    @property
    def target(self) -> str:
        """The prompt for whoever takes but one; empty for tasks without, and for those that only look."""
        if "mask" in self.easy.blueprint().exits:
            return ""
        return str(next((self.words[name] for name in TARGETS if name in self.words), ""))


def known_tasks() -> dict[str, Easy]:
    """The tasks by the titles of their blueprints, in the order of the templates."""
    return {task.blueprint().title: task for task in TASKS}


def read(file: Path, folder: Path) -> list[Case]:
    """The cases of a file, their pictures in `folder`. QuickstartError names what is wrong with it."""
    try:
        entries = [(entry["task"], entry["pictures"], entry.get("words", {})) for entry in json.loads(file.read_text(encoding="utf-8"))]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise QuickstartError(f"{file} is not a list of cases like docs/examples/{CASES} ({type(error).__name__}: {error}).") from error
    cases = [Case(task, tuple(folder / name for name in pictures), words) for task, pictures, words in entries]
    for case in cases:
        if case.task not in known_tasks():
            raise QuickstartError(f"{file}: there is no task {case.task!r}. There are: {', '.join(known_tasks())}.")
        if missing := [path.name for path in case.pictures if not path.is_file()]:
            raise QuickstartError(f"{file}: {case.task} wants {', '.join(missing)}, which {folder} does not have.")
        if unknown := case.words.keys() - case.easy.blueprint().kinds.keys():
            raise QuickstartError(f"{file}: {case.task} takes no {', '.join(sorted(unknown))}.")
    return cases


def loaders(task: Easy) -> list[str]:
    """The pictures that a task's template opens with, in the order in which it asks for them."""
    graph = Graph("Pictures")
    task.connect(graph)
    return [str(node.inputs["image"]) for node in graph.nodes if node.kind == "LoadImage"]


def of_templates(pictures: Path) -> list[Case]:
    """The cases of the templates themselves: the pack's own pictures."""
    return [Case(title, tuple(pictures / name for name in loaders(task)), dict(task.words)) for title, task in known_tasks().items()]
