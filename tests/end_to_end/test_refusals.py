"""Prompts that are bound to fail are refused when they are queued: nothing of them runs, and the message says where the hand is."""

from __future__ import annotations

import io
import time

import pytest
from building import build_workflows
from graph import Graph, to_prompt, to_workflow
from hosting.host_events import EventStream
from PIL import Image
from workflow_descriptions import TASK, blueprints, easy, load_miniature

CHEAP = frozenset({"LoadImage", "PrimitiveString", "GrowMask", "GraftFitPicture", "GraftPasteObject", "GraftPlaceReference", "GraftRefusal"})
"""What may run before an error that could have been seen: neither a model, nor a VAE, nor a sampler."""
SECONDS = 2.0
NOT_THERE = "zebra"
EASY = {graph.title: graph for graph in build_workflows.descriptions() if TASK.match(graph.title)}
MASKED = {name: name for name in ("mask", "where", "object", "reference_mask")}
WORDS = ("old_words", "new_words")


@pytest.fixture(scope="module")
def opaque(server) -> str:
    """A picture on which nothing is painted: Load Image gives it a mask of 64 x 64."""
    content = io.BytesIO()
    Image.new("RGB", (96, 64), "gray").save(content, "PNG")
    return server.client.upload_image(content.getvalue(), "unpainted.png").filename


@pytest.fixture(scope="module")
def refusal(server, object_info):
    """What the host says of a workflow, which nodes it ran before, and after how many seconds of the server's time."""
    with EventStream(server.address, server.client.client_id) as events:

        def run(workflow: dict) -> str:
            prompt = to_prompt(workflow, object_info)
            begun = time.monotonic()
            number = server.client.queue(prompt, workflow)
            ran = []
            while True:
                event = events.next(60)
                assert event is not None
                data = event["data"]
                if data.get("prompt_id") != number:
                    continue
                if event["type"] == "executing" and data["node"] is not None:
                    ran.append(prompt[data["node"]]["class_type"])
                assert event["type"] != "execution_success", f"nothing was refused; {ran} ran"
                if event["type"] == "execution_error":
                    assert set(ran[:-1]) <= CHEAP, f"{ran} ran"
                    assert time.monotonic() - begun < SECONDS
                    return data["exception_message"].strip()

        yield run


def of_a_blueprint(task, picture: str, **words: str) -> Graph:
    """The blueprint on the miniature, with one picture wherever it takes one and its mask wherever it takes one."""
    graph = Graph("Refused")
    model = load_miniature(graph)
    loaded = easy.load(graph, "Your picture", picture)
    pictures = {name: loaded["IMAGE"] for name in ("picture", "reference", "look", "content") if name in task.kinds}
    masks = {name: loaded["MASK"] for name in MASKED if name in task.kinds and not words}
    result = easy.place(graph, task, model, **pictures, **masks, **words)
    graph.add("PreviewImage", images=result[next(iter(task.exits))])
    return graph


def with_values(workflow: dict, kind: str, **values) -> dict:
    """The workflow with other values in the widgets of its nodes of this class or title."""
    for node in workflow["nodes"]:
        if kind in (node["type"], node.get("title")):
            names = [entry["widget"]["name"] for entry in node["inputs"] if "widget" in entry]
            for name, value in values.items():
                node["widgets_values"][names.index(name)] = value
    return workflow


def by_name(tasks):
    return pytest.mark.parametrize("task", tasks, ids=lambda task: task.title)


@by_name([task for task in blueprints.blueprints() if MASKED.keys() & task.kinds.keys()])
def test_a_blueprint_refuses_a_picture_on_which_nothing_is_painted(task, opaque, refusal, object_info):
    said = refusal(to_workflow(of_a_blueprint(task, opaque), object_info))
    named = next(name for name in MASKED if f"{task.title}, {name} (" in said)
    assert named in task.kinds
    assert "it is empty, nothing is painted on its 64 x 64 pixels" in said


@by_name([task for task in blueprints.blueprints() if "old_words" in task.kinds])
@pytest.mark.parametrize("name", WORDS)
def test_a_blueprint_refuses_a_word_that_its_prompt_has_not(task, name, opaque, refusal, object_info):
    workflow = with_values(to_workflow(of_a_blueprint(task, opaque, old_words="cat"), object_info), task.title, **{name: NOT_THERE})
    assert refusal(workflow).startswith(f"{task.title}, {name} (")


@pytest.mark.parametrize("title", [title for title in EASY if set(EASY[title].nodes[-2].inputs) & MASKED.keys()])
def test_a_task_refuses_a_picture_on_which_nothing_is_painted(title, opaque, refusal, object_info):
    workflow = with_values(to_workflow(EASY[title], object_info), "LoadImage", image=opaque)
    said = refusal(workflow)
    assert ", mask" in said.partition(":")[0] or ", where" in said or ", reference_mask" in said
    assert "it is empty, nothing is painted on its 64 x 64 pixels" in said
