"""Batches on the real server: manifests into workflows, the record, resuming, and what goes wrong."""

from __future__ import annotations

import json
import math
from itertools import islice
from pathlib import Path

import pytest
from batch.job import WorkerLost
from batch.problems import ManifestError
from batch.record import NAME, latest, read
from batch.run import Choices, run
from batch.servers import Servers
from graph import Graph, to_workflow
from hosting.quickstart_error import QuickstartError
from PIL import Image

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"


@pytest.fixture
def backend(server):
    """Makes back ends on the session's server, and counts how often one was asked for."""

    class Counted:
        asked = 0

        def __call__(self) -> Servers:
            self.asked += 1
            return Servers([server.address])

    return Counted()


@pytest.fixture
def inverting(tmp_path, object_info) -> Path:
    """A workflow that inverts a picture: Load Image, Image Invert, Save Image, and a picture of its own in another size."""
    graph = Graph("Inverting")
    graph.note("## Read me\n\nBatch:\n- `photo`: `Your picture.image`\n- `tint`: `Plain.color`", title="Read me")
    picture = graph.add("LoadImage", title="Your picture", image="example.png")
    inverted = graph.add("ImageInvert", image=picture["IMAGE"])
    plain = graph.add("EmptyImage", title="Plain", width=16, height=8, batch_size=2, color=255)
    graph.add("PreviewImage", title="1 plain", images=plain["IMAGE"])
    graph.add("SaveImage", title="2 result", images=inverted["IMAGE"], filename_prefix="inverted")
    path = tmp_path / "inverting.json"
    path.write_text(json.dumps(to_workflow(graph, object_info)), encoding="utf-8")
    return path


def pictures(folder: Path, **colours: tuple[int, int, int]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, colour in colours.items():
        Image.new("RGB", (12, 10), colour).save(folder / f"{name}.png")
    return folder


def manifest(path: Path, *rows: dict) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def colour(path: Path) -> tuple[int, int, int]:
    with Image.open(path) as picture:
        return picture.convert("RGB").getpixel((0, 0))


def quiet(text: str) -> None:
    """Says nothing."""


def test_rows_become_pictures_under_stable_names_with_a_record(tmp_path, inverting, backend):
    pictures(tmp_path / "in", red=(255, 0, 0), teal=(0, 255, 255))
    rows = manifest(
        tmp_path / "m.jsonl",
        {"id": "one", "Your picture.image": "in/red.png", "notes": {"set": "a"}},
        {"id": "two", "photo": "in/teal.png", "tint": 0x00FF00},
    )
    assert run(Choices(inverting, rows, tmp_path / "out"), backend, quiet) == 0
    home = tmp_path / "out"
    assert {path.name for path in (home / "one").iterdir()} == {"1-plain-1.png", "1-plain-2.png", "2-result.png"}
    assert (colour(home / "one/2-result.png"), colour(home / "two/2-result.png")) == ((0, 255, 255), (255, 0, 0))
    assert (colour(home / "one/1-plain-1.png"), colour(home / "two/1-plain-2.png")) == ((0, 0, 255), (0, 255, 0))
    entries = latest(home / NAME)
    assert [entries[name]["status"] for name in ("one", "two")] == ["done", "done"]
    assert entries["one"]["notes"] == {"set": "a"} and entries["one"]["source"] == "in/red.png"
    assert entries["one"]["versions"]["host"] and entries["one"]["seconds"] > 0
    assert (home / "index.html").is_file() and (home / "_batch/results.js").is_file()


def test_a_second_call_runs_what_is_new_or_changed_and_asks_for_no_server_when_nothing_is(tmp_path, inverting, backend):
    source = pictures(tmp_path / "in", red=(255, 0, 0), blue=(0, 0, 255))
    rows = [{"id": name, "photo": f"in/{name}.png", "tint": 1} for name in ("red", "blue")]
    choices = Choices(inverting, manifest(tmp_path / "m.jsonl", *rows), tmp_path / "out")
    run(choices, backend, quiet)

    def ran() -> list[str]:
        """What the next call runs."""
        before = len(list(read(tmp_path / "out" / NAME)))
        assert run(choices, backend, quiet) == 0
        return [entry["id"] for entry in list(read(tmp_path / "out" / NAME))[before:]]

    asked = backend.asked
    assert ran() == []
    assert backend.asked == asked
    manifest(choices.manifest, {**rows[0], "tint": 2}, rows[1], {"id": "more", "photo": "in/red.png"})
    assert sorted(ran()) == ["more", "red"]
    Image.new("RGB", (12, 10), "white").save(source / "blue.png")  # the file behind a name
    assert ran() == ["blue"]
    assert colour(tmp_path / "out/blue/2-result.png") == (0, 0, 0)
    saved = json.loads(inverting.read_text(encoding="utf-8"))
    saved["nodes"][2]["pos"] = [7, 7]
    saved["nodes"][0]["widgets_values"] = [saved["nodes"][0]["widgets_values"][0] + "\nMoved a node."]
    inverting.write_text(json.dumps(saved), encoding="utf-8")
    assert ran() == []
    next(node for node in saved["nodes"] if node["type"] == "EmptyImage")["widgets_values"][0] = 32
    inverting.write_text(json.dumps(saved), encoding="utf-8")
    assert sorted(ran()) == ["blue", "more", "red"]


def test_a_poison_row_fails_alone_and_is_run_again_only_when_asked(tmp_path, inverting, backend):
    source = pictures(tmp_path / "in", red=(255, 0, 0), blue=(0, 0, 255))
    (source / "broken.png").write_bytes(b"not a picture")
    rows = [{"id": name, "photo": f"in/{name}.png"} for name in ("red", "broken", "blue")]
    choices = Choices(inverting, manifest(tmp_path / "m.jsonl", *rows), tmp_path / "out")
    assert run(choices, backend, quiet) == 1
    entries = latest(tmp_path / "out" / NAME)
    assert {name: entry["status"] for name, entry in entries.items()} == {"red": "done", "broken": "failed", "blue": "done"}
    assert "Your picture (LoadImage)" in entries["broken"]["error"] and entries["broken"]["attempts"] == 1
    assert run(choices, backend, quiet) == 1
    assert len(list(read(tmp_path / "out" / NAME))) == 3
    retry = Choices(inverting, choices.manifest, tmp_path / "out", retry_failed=True)
    assert run(retry, backend, quiet) == 1
    assert [entry["id"] for entry in read(tmp_path / "out" / NAME)][3:] == ["broken"]


def test_everything_wrong_with_a_manifest_is_one_table_before_anything_runs(tmp_path, inverting, backend):
    pictures(tmp_path / "in", red=(255, 0, 0))
    rows = manifest(
        tmp_path / "m.jsonl",
        {"id": "a", "photo": "in/gone.png"},
        {"id": "b", "photo": "in/red.png", "Your picture.imag": "in/red.png"},
        {"id": "B", "photo": "in/red.png"},
        {"id": "c/d", "photo": "in/red.png"},
        {"id": "e", "photo": "in/red.png", "Plain.width": "wide", "Plain.height": -3},
        {"id": "f", "photo": "in/red.png", "Your picture.image": "in/red.png"},
        {"id": "g", "photo": {"mask_box": [3, 0, 1, 1], "size": [4, 4]}},
    )
    with pytest.raises(ManifestError) as caught:
        run(Choices(inverting, rows, tmp_path / "out"), backend, quiet)
    assert [(problem.row, problem.column) for problem in caught.value.problems] == [
        (1, "photo"),
        (2, "Your picture.imag"),
        (3, "id"),
        (4, "id"),
        (5, "Plain.width"),
        (5, "Plain.height"),
        (6, "Your picture.image"),
        (7, "photo"),
    ]
    text = str(caught.value)
    assert "is it Your picture.image" in text and "is the id of row 2 too" in text and "there is no file" in text
    assert not list(read(tmp_path / "out" / NAME)) and not list((tmp_path / "out").glob("*/*.png"))


def test_a_folder_of_pictures_needs_no_names_where_a_workflow_reads_one(tmp_path, inverting, backend):
    pictures(tmp_path / "shop", red=(255, 0, 0), blue=(0, 0, 255))
    assert run(Choices(inverting, tmp_path / "shop", tmp_path / "out", saved_only=True), backend, quiet) == 0
    assert sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").glob("*/*.png")) == [
        "blue/2-result.png",
        "red/2-result.png",
    ]


def test_described_masks_go_up_as_pictures_and_measure_by_region(tmp_path, inverting, backend):
    pictures(tmp_path / "in", grey=(100, 100, 100), truth=(155, 155, 150))
    mask = {"mask_box": [0, 0, 6, 10], "size": [12, 10]}
    rows = manifest(
        tmp_path / "m.jsonl",
        {"id": "a", "photo": "in/grey.png", "truth": "in/truth.png", "mask": mask},
        {"id": "b", "photo": mask},
    )
    run(Choices(inverting, rows, tmp_path / "out"), backend, quiet)
    metrics = latest(tmp_path / "out" / NAME)["a"]["metrics"]
    seen = colour(tmp_path / "out/a/2-result.png")
    error = sum((a - b) ** 2 for a, b in zip(seen, (155, 155, 150), strict=True)) / 3
    assert metrics["truth_psnr"] == metrics["truth_psnr_inside"] == pytest.approx(10 * math.log10(255**2 / error), abs=1e-3)
    assert metrics["kept_psnr_outside"] == pytest.approx(20 * math.log10(255 / (seen[0] - 100)), abs=1e-3)
    with Image.open(tmp_path / "out/b/2-result.png") as inverted:
        assert (inverted.getpixel((5, 0)), inverted.getpixel((6, 0))) == ((0, 0, 0), (255, 255, 255))


def test_a_prompt_in_api_format_is_addressed_by_number_and_by_title(tmp_path, backend):
    prompt = {
        "4": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": 0}, "_meta": {"title": "Plain"}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["4", 0], "filename_prefix": "x"}},
    }
    (tmp_path / "api.json").write_text(json.dumps(prompt), encoding="utf-8")
    rows = manifest(tmp_path / "m.jsonl", {"id": "a", "4": {"inputs": {"color": 255}}}, {"id": "b", "Plain.color": "65280"})
    assert run(Choices(tmp_path / "api.json", rows, tmp_path / "out"), backend, quiet) == 0
    assert [colour(tmp_path / f"out/{name}/saveimage.png") for name in "ab"] == [(0, 0, 255), (0, 255, 0)]


def test_an_input_of_a_subgraph_is_named_as_it_is_seen_outside(object_info):
    from batch.workflow import compiled

    saved = json.loads((WORKFLOWS / "2 Edit Picture by Prompt (restyle).json").read_text(encoding="utf-8"))
    flow = compiled(saved, object_info, {"p": "Edit Picture by Prompt.what_it_should_show"})
    (node, name), *_ = flow.find("p").places
    (shown,) = (outside for outside in saved["nodes"] if outside.get("title") == "Edit Picture by Prompt")
    text = next(value for value in shown["widgets_values"] if isinstance(value, str))
    assert ":" in node and flow.prompt[node]["inputs"][name] == text
    with pytest.raises(ValueError, match="has no input"):
        flow.find("Edit Picture by Prompt.what_it_shows")


def test_a_choice_of_a_row_brings_its_own_inputs(tmp_path, object_info):
    from batch.filling import Filled, Filling, prompt_with
    from batch.row import Row
    from batch.workflow import compiled

    saved = json.loads((WORKFLOWS / "more" / "Free-Prompt-Editing (miniature).json").read_text(encoding="utf-8"))
    filling = Filling(compiled(saved, object_info, {}), tmp_path, carries=False)
    own = {"Replace Self-Attention.layers": "custom"}
    told = {**own, "Replace Self-Attention.layers.custom_layers": "3, 10-15"}
    for values, layers in ((own, "2-12"), (told, "3, 10-15")):
        filled = filling.fill(Row(1, "a", values))
        assert isinstance(filled, Filled), filled
        (node,) = (node for node in prompt_with(filling.workflow, filled)[0].values() if node["class_type"] == "GraftReplaceSelfAttention")
        assert (node["inputs"]["layers"], node["inputs"]["layers.custom_layers"]) == ("custom", layers)


def test_equal_titles_are_named_by_number(object_info):
    from batch.workflow import compiled

    saved = json.loads((WORKFLOWS / "more" / "Free-Prompt-Editing (miniature).json").read_text(encoding="utf-8"))
    with pytest.raises(ValueError, match=r"3 nodes have an input Enlarge\.scale_by; name one by its number: 4\.inputs\.scale_by"):
        compiled(saved, object_info, {}).find("Enlarge.scale_by")


def test_a_workflow_for_other_nodes_is_refused(tmp_path, backend):
    (tmp_path / "w.json").write_text(json.dumps({"1": {"class_type": "NoSuchNode", "inputs": {}}}), encoding="utf-8")
    with pytest.raises(QuickstartError, match="does not know 'NoSuchNode'"):
        run(Choices(tmp_path / "w.json", manifest(tmp_path / "m.jsonl", {"id": "a"}), tmp_path / "out"), backend, quiet)


def test_a_server_that_does_not_answer_is_named(tmp_path, inverting):
    pictures(tmp_path / "shop", red=(255, 0, 0))
    with pytest.raises(QuickstartError, match=r"127\.0\.0\.1:9 does not answer"):
        run(Choices(inverting, tmp_path / "shop", tmp_path / "out"), lambda: Servers(["127.0.0.1:9"]), quiet)
    with pytest.raises(WorkerLost):
        Servers(["127.0.0.1:9"]).open(0)


def test_a_row_that_takes_too_long_fails_and_the_next_runs(tmp_path, inverting, backend):
    pictures(tmp_path / "shop", red=(255, 0, 0))
    assert run(Choices(inverting, tmp_path / "shop", tmp_path / "out", seconds=0.0), backend, quiet) == 1
    assert "did not finish within 0 s" in latest(tmp_path / "out" / NAME)["red"]["error"]
    assert run(Choices(inverting, tmp_path / "shop", tmp_path / "out", retry_failed=True), backend, quiet) == 0


def test_a_shown_text_is_kept(tmp_path, object_info, backend):
    graph = Graph("Text")
    plain = graph.add("EmptyImage", width=16, height=16, batch_size=1, color=0)
    graph.add("PreviewAny", title="Says", source=plain["IMAGE"])
    graph.add("SaveImage", images=plain["IMAGE"], filename_prefix="x")
    (tmp_path / "w.json").write_text(json.dumps(to_workflow(graph, object_info)), encoding="utf-8")
    rows = manifest(tmp_path / "m.jsonl", {"id": "a", "Empty Image.color": 1})
    assert run(Choices(tmp_path / "w.json", rows, tmp_path / "out"), backend, quiet) == 0
    assert "0." in latest(tmp_path / "out" / NAME)["a"]["texts"]["Says"]


@pytest.mark.parametrize(
    ("change", "workflow"),
    [
        ("recolour", "more/Free-Prompt-Editing (miniature).json"),
        ("change ground", "more/Free-Prompt-Editing (miniature).json"),
        ("replace", "more/Free-Prompt-Editing (miniature).json"),
        ("remove", "more/FreeCompose removal (miniature).json"),
    ],
)
def test_cases_of_the_evaluation_fit_the_workflows_of_the_miniature(tmp_path, object_info, change, workflow):
    from batch.filling import Filling
    from batch.manifest import open_manifest
    from batch.plan import plan
    from batch.workflow import compiled
    from evaluation.drawn_cases import cases

    path = manifest(tmp_path / "cases.jsonl", *(case.row() for case in islice(cases(change), 50)))
    flow = compiled(json.loads((WORKFLOWS / workflow).read_text(encoding="utf-8")), object_info, {})
    planned, problems = plan(listed := open_manifest(path), Filling.of(flow, listed), {}, retry_failed=False)
    assert not problems and len(planned.places) == 50
    assert list(islice(cases(change), 3)) == list(islice(cases(change), 50))[:3]


def test_an_experiment_gives_the_same_numbers_for_cases_that_went_through_a_batch(tmp_path, backend, monkeypatch):
    """The oracle is the experiment itself, here of few steps: its own inversion and edit of the same scenes, in one batch."""
    import torch
    from evaluation import free_prompt_editing
    from evaluation.batched import EDITS, measured, results
    from evaluation.drawn_cases import cases
    from evaluation.free_prompt_editing import edit, inverted, measure
    from evaluation.laboratory import Laboratory, picture

    few = list(islice(cases("recolour"), 3))
    steps = 5
    monkeypatch.setattr(free_prompt_editing, "STEPS", steps)
    rows = manifest(tmp_path / "cases.jsonl", *({**case.row(), "BasicScheduler.steps": steps} for case in few))
    flow, output = WORKFLOWS / "more" / "Free-Prompt-Editing (miniature).json", tmp_path / "out"
    assert run(Choices(flow, rows, output, saved_only=True), backend, quiet) == 0
    sources, targets = picture(case.scene for case in few), picture(case.asked for case in few)
    with torch.inference_mode():
        laboratory = Laboratory()
        through_a_batch = measured(laboratory, "recolour", output)
        pictures = edit(laboratory, inverted(laboratory, sources.pictures, iterations=1), targets.scenes, window_end=0.8)
        at_once = measure(laboratory, EDITS["recolour"], sources, targets, pictures)
    assert (results("recolour", output)[1] - pictures).abs().max() < 1.5 / 255  # half a level of a PNG, and rounding
    assert through_a_batch == {"pictures": 3, **{name: pytest.approx(value, rel=1e-2) for name, value in at_once.items()}}
