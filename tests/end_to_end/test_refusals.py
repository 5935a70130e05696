"""Prompts that are bound to fail are refused when they are queued: nothing of them runs, and the message says where the hand is."""

from __future__ import annotations

import io
import json
import time

import pytest
from building import build_workflows
from graph import Graph, to_prompt, to_workflow
from hosting.host_client import PromptFailed
from hosting.host_server import PACK_NAME
from PIL import Image
from workflow_descriptions import TASK, blueprints, easy, load_miniature

SECONDS, ATTEMPTS = 2.0, 3
"""Within so many seconds it is said; a busy machine is asked again."""
NOT_THERE = "zebra"
EMPTY = "it is empty, nothing is painted on its 64 x 64 pixels"
EASY = {graph.title: graph for graph in build_workflows.descriptions() if TASK.match(graph.title)}
MASKS = ("mask", "where", "object", "reference_mask")
WORDS = ("old_words", "new_words")


@pytest.fixture(scope="module")
def unpainted(server) -> str:
    """A picture on which nothing is painted: Load Image gives it a mask of 64 x 64."""
    content = io.BytesIO()
    Image.new("RGB", (96, 64), "gray").save(content, "PNG")
    return server.client.upload_image(content.getvalue(), "unpainted.png").filename


@pytest.fixture(scope="module")
def refusal(server, object_info):
    """What the host says of a workflow that it does not even take up."""

    def ask(workflow: dict) -> str:
        seconds = []
        while not seconds or (min(seconds) > SECONDS and len(seconds) < ATTEMPTS):
            begun = time.monotonic()
            with pytest.raises(PromptFailed, match="The server refused the prompt") as caught:
                server.client.queue(to_prompt(workflow, object_info), workflow)
            seconds.append(time.monotonic() - begun)
        assert min(seconds) <= SECONDS
        return str(caught.value)

    return ask


def with_values(workflow: dict, kind: str, **values) -> dict:
    """The workflow with other values in the widgets of its nodes of this class or title."""
    for node in workflow["nodes"]:
        if kind in (node["type"], node.get("title")):
            names = [entry["widget"]["name"] for entry in node["inputs"] if "widget" in entry]
            for name, value in values.items():
                node["widgets_values"][names.index(name)] = value
    return workflow


def of_a_blueprint(task, picture: str, object_info, masked: bool) -> dict:
    """The blueprint on the miniature, with its own words, one picture wherever it takes one, and if `masked` its mask wherever it takes one."""
    graph = Graph("Refused")
    model = load_miniature(graph)
    loaded = easy.load(graph, "Your picture", picture)
    pictures = {name: loaded["IMAGE"] for name in ("picture", "reference", "look", "content") if name in task.kinds}
    masks = {name: loaded["MASK"] for name in MASKS if masked and name in task.kinds}
    result = easy.place(graph, task, model, **pictures, **masks)
    graph.add("PreviewImage", images=result[next(iter(task.exits))])
    return to_workflow(graph, object_info)


def taking(*names: str):
    tasks = [task for task in blueprints.blueprints() if set(names) & task.kinds.keys()]
    return pytest.mark.parametrize("task", tasks, ids=[task.title for task in tasks])


@taking(*MASKS)
def test_a_blueprint_refuses_a_picture_on_which_nothing_is_painted(task, unpainted, refusal, object_info):
    said = refusal(of_a_blueprint(task, unpainted, object_info, masked=True))
    assert any(f"{task.title}, {name} (" in said for name in MASKS if name in task.kinds)
    assert EMPTY in said


@taking(*WORDS)
@pytest.mark.parametrize("name", WORDS)
def test_a_blueprint_refuses_a_word_that_its_prompt_has_not(task, name, unpainted, refusal, object_info):
    workflow = of_a_blueprint(task, unpainted, object_info, masked=False)
    said = refusal(with_values(workflow, task.title, **{name: NOT_THERE}))
    assert f"{task.title}, {name} (" in said and f"the prompt has no '{NOT_THERE}'" in said


MASKED = [title for title in EASY if any(f" {word} " in title for word in ("Remove", "Place", "Harmonise", "Reference"))]


@pytest.mark.parametrize("title", MASKED)
def test_a_task_refuses_a_picture_on_which_nothing_is_painted(title, unpainted, refusal, object_info):
    said = refusal(with_values(to_workflow(EASY[title], object_info), "LoadImage", image=unpainted))
    named = next(node.title for node in EASY[title].nodes if node.subgraph is not None)
    assert f"{named}, " in said or "Paste Object, " in said
    assert EMPTY in said


@pytest.mark.parametrize("title", [title for title in EASY if "Swap a Word" in title or "Reference" in title])
def test_a_task_refuses_a_word_that_its_prompt_has_not(title, refusal, object_info):
    named = next(node.title for node in EASY[title].nodes if node.subgraph is not None)
    said = refusal(with_values(to_workflow(EASY[title], object_info), named, old_words=NOT_THERE))
    assert f"{named}, old_words (Local Blend, source_words): the prompt has no '{NOT_THERE}'" in said


@pytest.mark.parametrize(
    ("title", "own", "named"),
    [
        ("Prompt-to-Prompt replace", "GraftSampler", "Local Blend works between steps"),
        ("TF-ICON cross-domain", "GraftSampler", "Background Preservation works between steps"),
        ("InjectFusion", "GraftAsymmetricSampler", "Mix h-Space needs two predictions per step"),
    ],
)
def test_a_sampler_that_does_not_do_what_an_edit_needs_is_refused(title, own, named, server, object_info):
    (graph,) = (graph for graph in build_workflows.descriptions() if graph.title == title)
    prompt = to_prompt(to_workflow(graph, object_info), object_info)
    for node in prompt.values():
        if node["class_type"] == own:
            node |= {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler"}}
    with pytest.raises(PromptFailed, match=f"SamplerCustomAdvanced, sampler: {named}"):
        server.client.queue(prompt)


def masks_in_a_circle(prompt: dict) -> dict:
    """What is painted is grown from what was grown of it."""
    circle = {"class_type": "GrowMask", "inputs": {"mask": ["circle", 0], "expand": 1, "tapered_corners": True}}
    links = [(node["inputs"], name, link) for node in prompt.values() for name, link in node["inputs"].items() if isinstance(link, list)]
    for inputs, name, (number, output) in links:
        if prompt[number]["class_type"] == "LoadImage" and output == 1:
            inputs[name] = ["circle", 0]
    return {**prompt, "circle": circle}


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        (masks_in_a_circle, "cycle"),
        (lambda prompt: {**prompt, "odd": {"inputs": {}}}, "no class_type"),
        (lambda prompt: {number: {**node, "inputs": {**node["inputs"], "odd": [{}, 0]}} for number, node in prompt.items()}, "not in list"),
    ],
    ids=["a circle", "no class", "an odd link"],
)
def test_a_prompt_that_is_none_is_left_to_the_host(spoilt, said, server, object_info):
    (graph,) = (graph for graph in build_workflows.descriptions() if graph.title == "1 Remove Object (erase, inpaint)")
    prompt = to_prompt(to_workflow(graph, object_info), object_info)
    with pytest.raises(PromptFailed, match=f"(?i){said}"):
        server.client.queue(spoilt(prompt))
    assert "on_prompt_handler" not in server.log.read_text(encoding="utf-8", errors="replace")


FOR_A_CHECKPOINT = [path for path in build_workflows.files() if not path.stem.endswith("(miniature)")]


@pytest.mark.parametrize("path", FOR_A_CHECKPOINT, ids=[path.stem for path in FOR_A_CHECKPOINT])
def test_of_a_shipped_workflow_only_what_is_not_there_is_refused(path, server, object_info):
    """Those of the miniature are run by other tests."""
    workflow = json.loads(path.read_text(encoding="utf-8"))
    with pytest.raises(PromptFailed) as caught:
        server.client.queue(to_prompt(workflow, object_info), workflow)
    assert "Value not in list" in str(caught.value)
    assert "during validation" not in str(caught.value) and "when validating" not in str(caught.value)


def test_the_editor_shows_the_sentence_at_once(editor):
    editor.open_template(PACK_NAME, "Try 3 Swap a Word (miniature)")
    editor.set_widget("Swap a Word", "old_words", NOT_THERE)
    editor.press_run()
    editor.page.get_by_text(f"Swap a Word, old_words (Local Blend, source_words): the prompt has no '{NOT_THERE}'").first.wait_for()
    marked = editor.page.evaluate("() => app.graph._nodes.filter(node => node.has_errors).map(node => node.title)")
    assert marked == ["Swap a Word"]
