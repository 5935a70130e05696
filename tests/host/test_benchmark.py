"""The benchmark on small networks of every shape: the papers' procedures, written out, give the pictures that the pack gives."""

import json

import pytest
import torch
from benchmark import bench, networks, profiling, results
from benchmark.comparing import compare
from benchmark.methods import METHODS

ROWS = {
    "free_prompt_editing": (5 + 2 * 5 + 4, 0, 2 * 5 + 4 * 5),
    "specref": (2 * 5 + 2 * 5 + 5 + 4 + 5, 0, 2 * 5 + 4 * 5),
    "tf_icon": (2 * 5 + 2 * 5 + 2 * 2, 0, 2 * 2 * 5 + 2 * 5 + 4 * 5 + 2 * 2 + 2 * 5),
    "freecompose": (4 * 5, 0, 4 * 5),
    "injectfusion": (2 * 5 + 2 * 5, 3, 2 * 5 + 4 * 5),
}
"""Of five steps or iterations: the rows as shipped, decoders alone, and the rows of the papers' procedures."""


@pytest.fixture(scope="module")
def subjects():
    return {}


def subject_of(subjects: dict, kind: str) -> networks.Subject:
    if kind not in subjects:
        with torch.inference_mode():
            subjects[kind] = networks.quick()[f"small {kind}"]()
    return subjects[kind]


def cases():
    for kind in networks.CONTEXT:
        for name, method in METHODS.items():
            if kind != "flux" or method.transformers:
                quick = kind == "sd15" or (kind == "flux" and name == "free_prompt_editing")
                yield pytest.param(kind, name, id=f"{kind} {name}", marks=() if quick else pytest.mark.full)


@pytest.mark.parametrize("kind, name", list(cases()))
def test_the_papers_procedure_gives_the_same_picture_in_the_rows_that_its_code_computes(subjects, kind, name):
    observed = compare(subject_of(subjects, kind), METHODS[name], rounds=1).observed
    assert observed.difference < 2e-3
    assert (observed.rows, observed.decoders, observed.naive_rows) == ROWS[name]
    assert all(mebibytes > 0 for mebibytes in observed.memory.values())


def test_the_rows_alone_are_part_of_what_the_method_takes(subjects):
    result = compare(subject_of(subjects, "flux"), METHODS["free_prompt_editing"], rounds=2)
    assert all(len(part.rounds) == 2 and part.median > 0 for part in (result.shipped, result.rows_alone, result.naive))
    assert result.overhead.median > 0.7


def test_a_profile_says_what_either_side_spends_its_time_on(subjects):
    subject, method = subject_of(subjects, "sd15"), METHODS["free_prompt_editing"]
    assert profiling.operators(lambda: method.procedure(subject))["_softmax"] > 0, "the procedure builds its maps"
    head, _, *rows, total = [line.strip("| ").split(" | ") for line in profiling.table(subject, method).splitlines()]
    assert head == ["Free-Prompt-Editing, small sd15, 128 px", "shipped, s", "naive, s"] and len(rows) == profiling.SHOWN
    assert all(sum(float(row[side]) for row in rows) <= float(total[side]) + 0.05 for side in (1, 2)) and float(total[1]) > 0


def test_an_edit_of_other_settings_is_told_from_the_papers(subjects, monkeypatch):
    """The oracle's tolerance is far below what an edit changes."""
    subject, method = subject_of(subjects, "sd15"), METHODS["free_prompt_editing"]
    theirs = method.procedure(subject)
    monkeypatch.setattr("benchmark.settings.LAYOUT", 0.6)
    ours = method.prepare(subject).run().to(theirs)
    assert float((ours - theirs).abs().max()) > 0.02 * float(theirs.abs().max())


def times(*rounds: float) -> results.Times:
    return results.Times(rounds)


def result(name: str = "A", network: str = "B") -> results.Result:
    memory = {"shipped": 30.0, "rows alone": 20.0, "naive": 90.0}
    return results.Result(
        name, network, times(1.0, 2.0, 3.0), times(1.0, 1.6, 2.0), times(3.0, 3.0, 6.0), results.Observed(10, 2, 20, memory, 1e-5)
    )


def test_ratios_are_taken_round_by_round():
    assert result().faster.rounds == (3.0, 1.5, 2.0) and result().faster.median == 2.0
    assert result().faster.spread == pytest.approx(37.5)
    assert result().extra_memory == (10.0, 70.0)


def test_a_document_is_written_between_its_marks_and_keeps_the_rest(tmp_path, monkeypatch):
    document = tmp_path / "benchmark.md"
    document.write_text("Before.\n\n<!-- cpu -->\nold\n<!-- end of cpu -->\n\nAfter.\n")
    monkeypatch.setattr("benchmark.document.DOCUMENT", document)
    found = [result(), result("<C>")]
    bench.write(results.as_json(found), results.table(found), results.plot(found), "cpu")
    text = document.read_text()
    assert text.startswith("Before.") and text.endswith("After.\n") and "old" not in text and "| A | B | 2.00 x (± 38 %) | 1.25" in text
    assert json.loads((tmp_path / "benchmark_cpu.json").read_text())["results"][0]["faster"] == 2.0
    assert "&lt;C&gt;" in (tmp_path / "benchmark_cpu.svg").read_text()


def test_cuda_has_every_shape_in_both_precisions():
    assert len(networks.on_cuda()) == 12
