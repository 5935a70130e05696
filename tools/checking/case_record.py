"""A pytest plugin: tests say what each case gave, and `python tools reliability` makes docs/reliability.md of it.

A test asks for the fixture `gave` and calls `gave(table, row, column, case, outcome)`; the outcomes that there may be are in
`checking/report.py`. What it measured it says with `found(name, text)`. With `--record-cases` the tests that ask for one of the two run and
no others; without, nothing is kept.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

Gave = Callable[[str, str, str, str, str], None]
"""(table, row, column, case, outcome), such as ("Beside nodes of ComfyUI", "FreeU", "Mix h-Space", "before", "works")."""


@dataclass(frozen=True)
class Case:
    """One case that was tried, and its outcome."""

    table: str
    row: str
    column: str
    case: str
    outcome: str


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record-cases", metavar="FOLDER", type=Path, help="write down there what each case gave")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--record-cases"):
        saying = [item for item in items if {"gave", "found"} & set(getattr(item, "fixturenames", ()))]
        config.hook.pytest_deselected(items=[item for item in items if item not in saying])
        items[:] = saying


@pytest.fixture(scope="session")
def gave(pytestconfig: pytest.Config) -> Iterator[Gave]:
    """Writes down what a case gave."""
    folder: Path | None = pytestconfig.getoption("--record-cases")
    cases: list[Case] = []
    yield lambda *said: cases.append(Case(*said))
    if folder is not None and cases:
        folder.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(asdict(case)) for case in cases]
        (folder / f"{os.getpid()}.jsonl").write_text("\n".join(lines), encoding="utf-8")  # a file for every worker


@pytest.fixture(scope="session")
def found(pytestconfig: pytest.Config) -> Iterator[Callable[[str, str], None]]:
    """Writes down what was measured, under the name of a part of the page."""
    folder: Path | None = pytestconfig.getoption("--record-cases")
    measured: dict[str, str] = {}
    yield measured.__setitem__
    if folder is not None and measured:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{os.getpid()}.json").write_text(json.dumps(measured), encoding="utf-8")


def measured(folder: Path) -> dict[str, str]:
    """What was measured, by name."""
    return {name: text for path in folder.glob("*.json") for name, text in json.loads(path.read_text(encoding="utf-8")).items()}


def recorded(folder: Path) -> list[Case]:
    """All cases in a folder, sorted, each once."""
    lines = (line for path in folder.glob("*.jsonl") for line in path.read_text(encoding="utf-8").splitlines())
    cases = {Case(**json.loads(line)) for line in lines}
    return sorted(cases, key=lambda case: (case.table, case.row, case.column, case.case))
