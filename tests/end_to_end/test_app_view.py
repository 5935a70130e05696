"""The editor's view of apps: a form instead of a graph, for the workflows that do a task with one node."""

from __future__ import annotations

import json

import pytest
from building import build_workflows
from graph import App, Choice, Graph, to_workflow
from hosting.host_server import PACK_NAME
from workflow_descriptions import TASK

EASY = [path for path in build_workflows.files() if TASK.match(path.stem)]


def test_a_form_has_the_open_widgets_of_its_nodes_under_the_titles_of_pictures(object_info):
    graph = Graph("A form")
    picture = graph.add("LoadImage", title="Your picture", image="graft_car_on_beach.png")
    scale = graph.add("PrimitiveFloat", value=0.5)
    resized = graph.add("ResizeImageMaskNode", input=picture[0], resize_type=Choice("scale by multiplier", multiplier=scale[0]))
    shown = graph.add("PreviewImage", images=resized[0])
    graph.app = App(form=(picture, resized), results=(shown,))
    workflow = to_workflow(graph, object_info)
    form = workflow["extra"]["linearData"]
    assert form == {"inputs": [[picture.id, "image"], [resized.id, "resize_type"], [resized.id, "scale_method"]], "outputs": [shown.id]}
    labels = {entry["name"]: entry.get("label") for node in workflow["nodes"] for entry in node["inputs"]}
    assert labels["image"] == "Your picture" and labels["scale_method"] is None and labels["upload"] is None


@pytest.mark.parametrize("path", EASY, ids=lambda path: path.stem)
def test_every_task_has_a_form_of_its_pictures_and_of_what_its_node_can_be_told(path):
    workflow = json.loads(path.read_text(encoding="utf-8"))
    nodes = {node["id"]: node for node in workflow["nodes"]}
    form = workflow["extra"]["linearData"]
    shown = [(nodes[number]["type"], name) for number, name in form["inputs"]]
    subgraph = workflow["definitions"]["subgraphs"][-1]["id"]
    pictures = sum(node["type"] == "LoadImage" for node in nodes.values())
    assert pictures >= 1 and shown.count(("LoadImage", "image")) == pictures
    assert {name for kind, name in shown if kind == subgraph} >= {"size"}
    assert [nodes[number]["type"] for number in form["outputs"]] == ["SaveImage"]
    assert "linearMode" not in workflow["extra"], "it would open as a form"


def test_a_task_can_be_done_in_the_form_without_seeing_the_graph(editor):
    editor.open_template(PACK_NAME, "Try 4 Place Object Into Picture (miniature)")
    page = editor.page
    editor.show_form()
    try:
        form = page.get_by_test_id("linear-widgets")
        form.wait_for()
        words = form.inner_text().split("\n")
        pictures = ["Your picture: paint where it goes", "Your reference: paint the object"]
        assert [word for word in words if word in (*pictures, "what_it_should_show", "keep_object", "seed", "upload")] == [
            *pictures,
            "what_it_should_show",
            "keep_object",
            "seed",
        ]
        editor.set_widget("Place Object Into Picture", "steps", 2)
        assert editor.run()["status"]["status_str"] == "success"
        page.get_by_test_id("linear-center-panel").locator("img[src*='type=output']").first.wait_for()
    finally:
        editor.show_form()
