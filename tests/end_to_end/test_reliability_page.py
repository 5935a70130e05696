"""docs/reliability.md: it is what its record says, names every node and edit there is, and no case gave what none may give."""

from __future__ import annotations

import pytest
from checking import report
from checking.case_record import Case
from checking.core_nodes import UNTRIED
from checking.mutants import EXCHANGED, mutants

CALL_NOTHING = {"Compose Noise", "Keep Features", "Load Trajectory", "Start From Trajectory", "Uniform Time Scheduler"}
"""What takes a model to read something off it, and neither runs it nor is an edit of a run."""


def rows(table: str) -> set[str]:
    return {row for name, row, *_ in report.read()["cases"] if name == table}


def columns(table: str) -> set[str]:
    return {column for name, _, column, *_ in report.read()["cases"] if name == table}


def ours(object_info: dict) -> dict[str, dict]:
    """The pack's nodes by the names that artists see; what a refusal becomes has none."""
    return {
        about["display_name"]: about for name, about in object_info.items() if name.startswith("Graft") and about["display_name"] != name
    }


def test_the_page_is_made_of_its_record():
    assert report.PAGE.read_text(encoding="utf-8") == report.page(report.read())


def test_every_table_has_cases_and_every_outcome_may_be():
    cases = report.read()["cases"]
    assert {case[0] for case in cases} == report.TABLES.keys()
    assert {case[3] for case in cases} <= report.OUTCOMES.keys()


@pytest.mark.parametrize("table", ["Bad inputs", "Faults", "Equal requests"])
def test_every_node_of_the_pack_is_tried(object_info, table):
    nodes = ours(object_info)
    assert {name for name, about in nodes.items() if takes(about, table)} <= rows(table) <= nodes.keys()


def takes(about: dict, table: str) -> bool:
    """Whether a node surely has something that this table tries: an input, or something that it calls and that can fail."""
    kinds = {spec[0] for part in ("required", "optional") for spec in about["input"].get(part, {}).values() if isinstance(spec[0], str)}
    if table == "Equal requests":
        return True
    if table == "Faults":
        return bool(kinds & {"MODEL", "GUIDER", "VAE", "CLIP"}) and about["display_name"] not in CALL_NOTHING
    return bool(about["input"].get("required"))


def test_every_core_node_that_changes_a_model_is_paired_or_said_not_to_be(object_info):
    """Of the ComfyUI at hand: a newer one's new nodes have to be tried or left out for a reason."""
    core = {
        name
        for name, about in object_info.items()
        if not about["python_module"].startswith("custom_nodes")
        and "MODEL" in about["output"]
        and any(spec[0] == "MODEL" for part in ("required", "optional") for spec in about["input"].get(part, {}).values())
    }
    paired = rows("Beside nodes of ComfyUI")
    assert core <= paired | UNTRIED.keys() and not paired & UNTRIED.keys()


def test_every_pair_of_edits_is_tried_in_both_orders():
    names = rows("Pairs of edits")
    assert names == columns("Pairs of edits") and len(names) >= 15
    pairs = {(row, column) for table, row, column, *_ in report.read()["cases"] if table == "Pairs of edits"}
    assert pairs == {(one, other) for one in names for other in names if one != other}


@pytest.mark.parametrize("outcome", ["silently without effect: FreeU", "stack trace: KeyError: 3", "left behind", "hang"])
def test_an_outcome_that_may_not_be_stops_the_page(outcome):
    good = Case("Faults", "Mix h-Space", "interrupt, network", "1", "as before")
    assert report.counted([good, good]) == [["Faults", "Mix h-Space", "interrupt, network", "as before", 2]]
    with pytest.raises(report.Broken, match=outcome):
        report.counted([good, Case("Faults", "Mix h-Space", "interrupt, network", "2", outcome)])


def test_a_mutant_is_the_file_with_one_thing_changed():
    found = list(mutants("optimization/dds.py"))
    assert len({mutant.name for mutant in found}) == len(found) > 5
    changed = next(mutant for mutant in found if "alpha / sigma -> alpha * sigma" in mutant.text)
    names = {}
    exec(changed.code, names)
    assert names["score_difference"](3.0, 1.0, 2.0, 1.0, 4.0, 2.0) == 8.0  # 4 * 2 where 4 / 2 is written, of (3 - 1) - (2 - 1)
    assert all(kind is not other for kind, other in EXCHANGED.items())
