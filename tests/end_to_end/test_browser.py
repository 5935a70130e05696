"""The shipped workflows in the real editor in a real browser."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Iterator, Mapping

import build_workflows
import pytest
from demo_workflows import Workflow, files_needed
from graph import Choice, Graph, to_prompt, to_workflow
from PIL import Image
from screenshot import Editor, NoBrowser, Opened, running_editor

FILES = sorted(build_workflows.FOLDER.glob("*.json"))


@pytest.fixture(scope="module")
def object_info(server) -> dict:
    return server.client.object_info()


@pytest.fixture(scope="module")
def editor(server, object_info) -> Iterator[Editor]:
    provide_pictures(server, object_info)
    with contextlib.ExitStack() as cleanup:
        try:
            running = cleanup.enter_context(running_editor(server.address))
        except NoBrowser as problem:
            if "CI" in os.environ:
                raise
            pytest.skip(str(problem))
        yield running


@pytest.fixture(scope="module", params=FILES, ids=[path.stem for path in FILES])
def opened(request, editor) -> tuple[dict, Opened, dict]:
    """A shipped workflow, what the editor says about it, and the workflow as the editor would save it."""
    workflow = json.loads(request.param.read_text(encoding="utf-8"))
    return workflow, editor.open(workflow), editor.saved()


def provide_pictures(server, object_info) -> None:
    """Put a picture where a workflow names one of the user's: the editor wants to show it."""
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), "gray").save(picture, "PNG")
    for path in FILES:
        for node in to_prompt(json.loads(path.read_text(encoding="utf-8")), object_info).values():
            if node["class_type"] == "LoadImage":
                server.client.upload_image(picture.getvalue(), node["inputs"]["image"])


def without_titles(prompt: Mapping) -> dict:
    """Class and inputs by node: a title that was not chosen follows the reader's language."""
    return {node: (entry["class_type"], entry["inputs"]) for node, entry in prompt.items()}


def shape(workflow: Mapping) -> dict:
    """What of a file must survive being opened and saved: order of inputs and outputs, links, places and sizes."""
    nodes = {
        node["id"]: (
            [entry["name"] for entry in node.get("inputs", [])],
            [entry["name"] for entry in node.get("outputs", [])],
            [round(number) for number in (*node["pos"], *node["size"])],
            node.get("widgets_values") or [],
        )
        for node in workflow["nodes"]
    }
    return {"nodes": nodes, "links": [list(link) for link in workflow["links"]]}


def test_workflow_opens_without_a_missing_node(opened):
    assert opened[1].missing_types == ()


def test_workflow_opens_without_a_new_error(opened):
    assert opened[1].errors == ()


def test_the_editor_would_run_the_same_prompt(opened, object_info):
    workflow, report, _ = opened
    assert without_titles(report.prompt) == without_titles(to_prompt(workflow, object_info))


def test_the_editor_would_save_the_same_graph(opened):
    workflow, _, saved = opened
    assert shape(saved) == shape(workflow)


def test_growing_and_choice_inputs_are_built_as_the_editor_builds_them(editor, object_info):
    graph = Graph("Inputs that come and go")
    first, second = graph.add("EmptyImage", width=64, height=64), graph.add("EmptyImage", width=64, height=64, color=255)
    batch = graph.add("BatchImagesNode", images=[first[0], second[0]])
    width = graph.add("PrimitiveInt", value=32)
    resized = graph.add("ResizeImageMaskNode", input=batch[0], resize_type=Choice("scale dimensions", width=width[0], crop="disabled"))
    graph.add("PreviewImage", images=resized[0])
    workflow = to_workflow(graph, object_info)
    report = editor.open(workflow)
    assert without_titles(report.prompt) == without_titles(to_prompt(workflow, object_info))
    assert shape(editor.saved()) == shape(workflow)
    assert editor.run()["status"]["status_str"] == "success"


def test_a_missing_node_is_reported(editor):
    node = {"id": 1, "type": "NoSuchNode", "pos": [0, 0], "size": [200, 100], "inputs": [], "outputs": []}
    assert editor.open({"nodes": [node], "links": [], "groups": [], "version": 0.4}).missing_types == ("NoSuchNode",)


def test_a_workflow_of_the_embedded_model_runs_when_run_is_pressed(editor, object_info):
    workflows = [Workflow(path.stem, json.loads(path.read_text(encoding="utf-8"))) for path in FILES]
    workflow = next(workflow for workflow in workflows if not files_needed(workflow, object_info))
    editor.open(workflow.graph)
    end = editor.run()
    assert end["status"]["status_str"] == "success"
    assert any(output.get("images") for output in end["outputs"].values())


def test_a_picture_shows_the_whole_graph(editor, tmp_path):
    graph = Graph("Two notes")
    graph.note("one")
    graph.note("two")
    workflow = to_workflow(graph, {})
    editor.open(workflow)
    editor.take_picture(tmp_path / "graph.png")
    right = max(node["pos"][0] + node["size"][0] for node in workflow["nodes"])
    with Image.open(tmp_path / "graph.png") as picture:
        assert picture.width >= right
        note = picture.convert("RGB").getpixel((picture.width // 4, picture.height // 2))
        assert note == (0x66, 0x55, 0x33)  # the colour of notes
