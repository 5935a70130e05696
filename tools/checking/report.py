"""What docs/reliability.md says: counts of the cases that tests tried, and what was measured, kept in docs/reliability.json."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from hosting.host_server import PACK

from checking.case_record import Case
from checking.core_nodes import UNTRIED

PAGE = PACK / "docs" / "reliability.md"
DATA = PACK / "docs" / "reliability.json"

OUTCOMES = {
    "works": "a finite result that is right; of two nodes or edits, both change the picture",
    "refused by name": "an error before the first step that begins with the name of the node's input, says what was seen and what to do",
    "note": "one comes to nothing beside the other, and a line in the log says so with both names",
    "idle": "the other node changes nothing on the tests' small network even alone, and the edit acts as without it",
    "as before": "the error that was put in came out, the model is as it was, and the next run has the bits that it had",
    "equal bits": "every repetition gave the same bits",
    "the host's": "a node of ComfyUI itself failed on what it was given",
    "ends": "a file or folder that cannot be used ends in an error by its input's name, and nothing half written is left",
}
"""What a case may give. There is no other, so a test that finds another fault has to call it by a name that stops the page."""


@dataclass(frozen=True)
class Table:
    """A table of the page: what it shows, and whether a cell counts its cases or says only what all of them gave."""

    about: str
    counted: bool = False


TABLES = {
    "Bad inputs": Table(
        "Every input of every node, given every bad and every odd value of its type (`tests/host/test_bad_inputs.py`).", True
    ),
    "Faults": Table(
        "An error put in at every call of the network in turn, and at each call of the text encoder, the VAE and the disk that there is "
        "(`tests/host/test_faults.py`); the columns are kinds of errors.",
        True,
    ),
    "Beside nodes of ComfyUI": Table(
        "Every edit beside every core node that patches a UNet's model, before it and after it: *x, then y* where the orders differ "
        "(`tests/host/test_pairings.py`). At the end, core nodes that were not tried, and why."
    ),
    "Pairs of edits": Table("The edit of the row, then that of the column, on one model (`tests/host/test_pairs_of_edits.py`)."),
    "Changed workflows": Table(
        "Workflows with one thing changed, queued on a server (`tests/end_to_end/test_changed_workflows.py`).", True
    ),
    "Equal requests": Table("Every node asked for the same again and again, other nodes between (`tests/host/test_soak.py`).", True),
    "Hosts": Table("The pack on other versions of ComfyUI, and on stand-ins for what newer ones do otherwise."),
}

INTRODUCTION = """# Reliability

What was tried to break Graft, and what each case gave. Made by `python tools reliability` of what the tests found; do not edit.
"""


class Broken(ValueError):
    """A case gave what no case may give."""


def counted(cases: Iterable[Case]) -> list[list]:
    """[table, row, column, outcome, number] of cases, sorted; outcomes of ordered cases are joined in their order."""
    cases = list(cases)
    if wrong := sorted(
        {f"{case.table}: {case.row}, {case.column}, {case.case}: {case.outcome}" for case in cases if case.outcome not in OUTCOMES}
    ):
        raise Broken("\n".join(wrong))
    if unknown := {case.table for case in cases} - TABLES.keys():
        raise Broken(f"no such tables: {', '.join(sorted(unknown))}")
    numbers = Counter((case.table, case.row, case.column, case.outcome) for case in cases)
    return [[*key, number] for key, number in sorted(numbers.items())]


def page(data: dict[str, Any]) -> str:
    """The whole page."""
    words = [f"- *{name}*: {meaning}." for name, meaning in OUTCOMES.items()]
    tables = [_table(name, table, [case for case in data["cases"] if case[0] == name]) for name, table in TABLES.items()]
    return "\n".join([INTRODUCTION, *words, "", *tables, *_measured(data)])


def _table(name: str, table: Table, cases: list[list]) -> str:
    rows, columns = (sorted({case[axis] for case in cases}) for axis in (1, 2))
    total = Counter()
    for *_, outcome, number in cases:
        total[outcome] += number
    lines = [f"## {name}", "", table.about, ""]
    lines += [f"{total.total()} cases: {', '.join(f'{number} {outcome}' for outcome, number in sorted(total.items()))}.", ""]
    lines += [f"| | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for row in rows:
        cells = [[case[3:] for case in cases if case[1:3] == [row, column]] for column in columns]
        lines.append(f"| {row} | {' | '.join(_cell(cell, table.counted) for cell in cells)} |")
    return "\n".join([*lines, ""])


def _cell(outcomes: list[list], numbers: bool) -> str:
    return ", ".join(f"{number} {outcome}" if numbers else outcome for outcome, number in outcomes)


def _measured(data: dict[str, Any]) -> list[str]:
    """What long runs measured, where they were run."""
    lines = []
    if soak := data.get("soak"):
        lines += ["## Soak", "", soak, ""]
    if coverage := data.get("coverage"):
        lines += ["## Coverage", "", "Lines and branches of the torch-only folders that the tests reach (`python tools coverage`).", ""]
        lines += ["| folder | lines | branches |", "|---|---|---|"]
        lines += [f"| {folder} | {' | '.join(shares)} |" for folder, shares in coverage.items()] + [""]
    if mutants := data.get("mutants"):
        lines += [
            "## Mutants",
            "",
            "The code of attention/, inversion/, hspace/ and optimization/ with one operator, comparison, constant or",
        ]
        lines += ["condition changed, and whether a test of tests/math notices (`python tools mutants`).", ""]
        lines += [f"{mutants['tried']} mutants: {mutants['noticed']} noticed, {len(mutants['explained'])} that nothing can tell apart.", ""]
        if mutants["explained"]:
            lines += ["| not to be told apart | because |", "|---|---|"]
            lines += [f"| `{name.replace('|', chr(92) + '|')}` | {reason} |" for name, reason in mutants["explained"].items()] + [""]
    lines += ["## Core nodes that were not tried", "", "| node | because |", "|---|---|"]
    return lines + [f"| {name} | {reason} |" for name, reason in sorted(UNTRIED.items())] + [""]


def read() -> dict[str, Any]:
    """What the page is made of."""
    return json.loads(DATA.read_text(encoding="utf-8")) if DATA.exists() else {"cases": []}


def record(**parts: Any) -> None:
    """Puts new parts in the place of the old, and writes the page anew."""
    data = {**read(), **parts}
    written = page(data)
    DATA.write_text(_compact(data), encoding="utf-8")
    PAGE.write_text(written, encoding="utf-8")


def _compact(data: dict[str, Any]) -> str:
    """JSON with a line for each case."""
    parts = []
    for name, part in sorted(data.items()):
        lines = [json.dumps(case, ensure_ascii=False) for case in part] if name == "cases" else None
        shown = "[\n  " + ",\n  ".join(lines) + "\n ]" if lines else json.dumps(part, ensure_ascii=False, indent=2).replace("\n", "\n ")
        parts.append(f" {json.dumps(name)}: {shown}")
    return "{\n" + ",\n".join(parts) + "\n}\n"
