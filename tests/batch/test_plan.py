"""Which rows of a manifest a record leaves to be run, and what is looked at to know it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from batch import filling as filling_module
from batch import values
from batch.addresses import Input
from batch.filling import Filled, Filling
from batch.manifest import open_manifest
from batch.plan import Plan, plan
from batch.problems import Problem
from batch.record import Record, Result
from batch.row import Row
from batch.workflow import Workflow
from PIL import Image

FLOW = Workflow(
    "a" * 32,
    {"1": {"class_type": "LoadImage", "inputs": {"image": ""}}, "2": {"class_type": "Sampler", "inputs": {"seed": 0, "text": ""}}},
    {
        "Load.image": [Input((("1", "image"),), "COMBO", (), file=True)],
        "Sampler.seed": [Input((("2", "seed"),), "INT", least=0, most=100)],
        "Both.text": [Input((("2", "text"), ("1", "text")), "STRING")],
        "2.inputs.text": [Input((("2", "text"),), "STRING")],
    },
    {"prompt": "Both.text"},
)


class Batch:
    """A manifest of three rows and its record, as a run of all of them leaves it."""

    def __init__(self, folder: Path):
        self.folder, self.path, self.flow = folder, folder / "m.jsonl", FLOW
        for name, grey in (("a.bmp", 1), ("b.bmp", 2)):
            Image.new("L", (4, 4), grey).save(folder / name)
            os.utime(folder / name, ns=(10**18, 10**18))  # equal in size and time, as out of an archive
        self.rows = [
            {"id": "x", "Load.image": "a.bmp", "Sampler.seed": 1, "prompt": "red"},
            {"id": "y", "Load.image": "b.bmp", "Sampler.seed": 2, "notes": {"set": 1}},
            {"id": "z", "Load.image": "a.bmp", "mask": {"mask_box": [0, 0, 2, 2], "size": [4, 4]}},
        ]
        self.write()

    def write(self) -> None:
        self.path.write_text("".join(json.dumps(row) + "\n" for row in self.rows), encoding="utf-8")

    def end(self, *statuses: str) -> None:
        """Write the record's lines as the run does: with the digests of filled rows."""
        manifest = open_manifest(self.path)
        record, filling = Record(self.folder / "out"), Filling.of(self.flow, manifest)
        for (_, row), status in zip(manifest.rows(), statuses, strict=True):
            record.append(Result(row.id, status, self.flow.digest, filling.fill(row).digest))
        record.close()

    def planned(self, retry_failed: bool = False) -> tuple[Plan | None, list[Problem]]:
        record, manifest = Record(self.folder / "out"), open_manifest(self.path)
        try:
            return plan(manifest, Filling.of(self.flow, manifest), record.states(), retry_failed)
        finally:
            record.close()

    def to_run(self, retry_failed: bool = False) -> list[str]:
        planned, problems = self.planned(retry_failed)
        assert planned is not None, problems
        return [open_manifest(self.path).row(place).id for place in planned.places]


@pytest.fixture
def batch(tmp_path) -> Batch:
    made = Batch(tmp_path)
    made.end("done", "done", "done")
    return made


def test_finished_rows_are_not_filled_and_each_picture_is_asked_for_once(batch, monkeypatch):
    filled, asked = [], []
    fill, state = Filling.fill, filling_module.file_state
    monkeypatch.setattr(Filling, "fill", lambda self, row: filled.append(row.id) or fill(self, row))
    monkeypatch.setattr(filling_module, "file_state", lambda path: asked.append(Path(path).name) or state(path))
    for module in (values, filling_module):
        monkeypatch.setattr(module, "picture", lambda value, folder: pytest.fail("a finished row's picture was checked again"))
    planned, _ = batch.planned()
    assert (planned.total, planned.done, len(planned.places)) == (3, 3, 0)
    assert (filled, asked) == ([], ["a.bmp", "b.bmp", "a.bmp"])
    monkeypatch.undo()
    monkeypatch.setattr(Filling, "fill", lambda self, row: filled.append(row.id) or fill(self, row))
    batch.rows[1]["Sampler.seed"] = 3
    batch.write()
    assert batch.to_run() == filled == ["y"]


@pytest.mark.parametrize(
    ("place", "change"),
    [
        (0, {"Sampler.seed": 2}),
        (0, {"prompt": "blue"}),
        (0, {"Load.image": "b.bmp"}),  # another picture, though of the same size and time
        (1, {"2.inputs.text": "red"}),
        (2, {"mask": {"mask_box": [0, 0, 2, 3], "size": [4, 4]}}),
        (2, {"mask": "b.bmp"}),
        (2, {"truth": "b.bmp"}),
        (2, {"id": "new"}),
    ],
)
def test_a_changed_row_runs_again(batch, place, change):
    batch.rows[place] |= change
    batch.write()
    assert batch.to_run() == [batch.rows[place]["id"]]


def test_what_a_row_does_not_ask_for_may_change(batch):
    batch.rows = [dict(reversed(row.items())) for row in reversed(batch.rows)]
    batch.rows[1]["notes"] = {"set": 2}
    batch.write()
    assert batch.to_run() == []


def test_rows_of_a_changed_picture_run_again(batch):
    os.utime(batch.folder / "a.bmp", ns=(10**18, 10**18 + 1000))
    assert batch.to_run() == ["x", "z"]


def test_another_workflow_or_another_goal_of_a_column_runs_again(batch):
    batch.flow = Workflow("b" * 32, FLOW.prompt, FLOW.inputs, FLOW.names)
    assert batch.to_run() == ["x", "y", "z"]
    batch.flow = Workflow(FLOW.digest, FLOW.prompt, FLOW.inputs, {"prompt": "2.inputs.text"})
    assert batch.to_run() == ["x"]


def test_failed_rows_wait_for_a_change_or_to_be_asked_for(tmp_path):
    batch = Batch(tmp_path)
    batch.end("done", "failed", "failed")
    planned, _ = batch.planned()
    assert (planned.done, planned.failed, len(planned.places)) == (1, 2, 0)
    assert batch.to_run(retry_failed=True) == ["y", "z"]
    batch.rows[1]["Sampler.seed"] = 3
    batch.write()
    assert batch.to_run() == ["y"]


@pytest.mark.parametrize(
    ("change", "column", "text"),
    [
        ({"Load.image": "gone.bmp"}, "Load.image", "there is no file"),
        ({"Load.image": "."}, "Load.image", "there is no file"),
        ({"Sampler.seed": 101}, "Sampler.seed", "outside"),
        ({"2.inputs.text": "red"}, "2.inputs.text", "another column sets 2.text too"),
        ({"sed": 1}, "sed", "no input"),
        ({"id": "Y"}, "id", "is the id of row"),
    ],
)
def test_what_is_wrong_with_a_row_that_was_done_is_told(batch, change, column, text):
    batch.rows[0] |= change
    batch.write()
    planned, problems = batch.planned()
    assert planned is None
    assert any(problem.column == column and text in problem.text for problem in problems), problems


def test_a_picture_that_goes_while_its_row_is_filled_is_a_problem(batch, monkeypatch):
    def gone(path):
        raise FileNotFoundError(f"no {path}")

    monkeypatch.setattr(filling_module, "file_state", gone)
    filling = Filling.of(FLOW, open_manifest(batch.path))
    assert isinstance(filling.fill(Row(1, "n", {"Sampler.seed": 1})), Filled)
    (problem,) = filling.fill(Row(7, "x", {"Load.image": "a.bmp"}))
    assert problem.row == 7 and "a.bmp" in problem.text
