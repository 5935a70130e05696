"""The first lines of the evaluation say what its tables say."""

from __future__ import annotations

import json

import pytest
from evaluation.summary import LINES, Cell, summary
from hosting.host_server import PACK

TABLES = json.loads((PACK / "docs" / "evaluation.json").read_text(encoding="utf-8"))


def test_the_page_begins_with_the_verdicts_out_of_its_tables():
    """And with no others: of experiments that were not run on this world there is nothing to say yet."""
    page = (PACK / "docs" / "evaluation.md").read_text(encoding="utf-8").splitlines()
    written = summary(TABLES)
    assert TABLES and page[2 : 2 + len(written)] == written
    measured = [line for line in LINES if {cell.table for cell in line.cells} <= TABLES.keys()]
    assert len([line for line in written if line.startswith("| **")]) == len(measured) > 0
    assert len(LINES) == 11
    assert {line.verdict for line in LINES} == {"works", "even", "in part", "does not"}


def test_a_number_is_that_of_its_row_and_column_and_a_row_that_is_gone_is_noticed():
    tables = {"t": {"rows": [{"method": "a", "of": "x", "n": 1.23456}, {"method": "a", "of": "y", "n": 2}]}}
    assert Cell("t", ("a",), "n").text(tables) == "1.23"
    assert Cell("t", ("a", "y"), "n").text(tables) == "2"
    with pytest.raises(KeyError):
        Cell("t", ("b",), "n").text(tables)


def test_experiments_that_were_not_run_are_left_out():
    rows = [{"method": label, "gone": 100.0, "object PSNR (dB)": 30.0} for label in ("full", "full, the article's settings")]
    assert summary({}) == []
    heading, _, removal, end = summary({"removal": {"rows": rows}})
    assert heading.startswith("| |") and removal.startswith("| **works** | remove an object | 100 % are gone") and end == ""
