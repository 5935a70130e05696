"""How the shipped workflows lie when they open, from their files alone: what overlaps, what is seen, which wires can be followed."""

from __future__ import annotations

import json

import pytest
from building import build_workflows
from graph.layout import CAPTION, ROW_WIDTH, TITLE, VIEW_LEFT, VIEW_SCALE, VIEW_TOP
from graph.wires import hidden_wires
from workflow_descriptions import TASK, is_listed

WINDOW = (1600, 1000)
FILES = build_workflows.files()
BLUEPRINTS = sorted(build_workflows.BLUEPRINTS.glob("*.json"))
LISTED = [path for path in FILES if path.parent == build_workflows.FOLDER]
TASKS = [path for path in LISTED if TASK.match(path.stem)]
MOST_TEMPLATES = 30


def read(path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def named(paths):
    return pytest.mark.parametrize("path", paths, ids=[path.stem for path in paths])


def body(node: dict) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a node with its title bar."""
    (x, y), (width, height) = node["pos"], node["size"]
    return x, y - TITLE, x + width, y + height


def in_window(workflow: dict, box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    """A box of the graph in pixels of the window in which the workflow has just opened."""
    view = workflow["extra"]["ds"]
    return tuple((side + view["offset"][axis % 2]) * view["scale"] for axis, side in enumerate(box))


def graphs(path) -> list[dict]:
    """What can be seen of a file: the workflow, and the insides of its subgraphs."""
    workflow = read(path)
    return [workflow, *(workflow.get("definitions") or {}).get("subgraphs", [])]


def test_there_are_not_more_templates_than_a_reader_looks_through():
    assert 0 < len(LISTED) <= MOST_TEMPLATES
    assert {path.stem for path in LISTED} == {graph.title for graph in build_workflows.descriptions() if is_listed(graph.title)}


def test_every_task_has_its_twin_on_the_miniature():
    numbered = {path.stem[:1] for path in TASKS if not path.stem.startswith("Try")}
    assert numbered == {path.stem[4] for path in TASKS if path.stem.startswith("Try")} == set("12345678")


@named([*FILES, *BLUEPRINTS])
def test_no_node_lies_on_another(path):
    for graph in graphs(path):
        boxes = [body(node) for node in graph["nodes"]]
        for index, one in enumerate(boxes):
            for other in boxes[:index]:
                assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


@named(FILES)
def test_a_workflow_opens_with_its_note_and_its_first_group_in_view(path):
    workflow = read(path)
    assert workflow["extra"]["ds"]["scale"] == VIEW_SCALE
    (note,) = (node for node in workflow["nodes"] if node["type"] == "MarkdownNote")
    left, top, right, _ = in_window(workflow, body(note))
    assert left >= VIEW_LEFT and top >= VIEW_TOP and right <= WINDOW[0]
    first = min(workflow["groups"], key=lambda group: (group["bounding"][1], group["bounding"][0]))
    x, y, width, _ = first["bounding"]
    left, top, right, _ = in_window(workflow, (x, y, x + min(width, ROW_WIDTH / 2), y + CAPTION))
    assert left >= VIEW_LEFT and top >= VIEW_TOP and right <= WINDOW[0]


@named(TASKS)
def test_a_task_opens_with_its_result_in_view(path):
    workflow = read(path)
    (result,) = (node for node in workflow["nodes"] if node["type"] == "SaveImage")
    left, top, right, bottom = in_window(workflow, body(result))
    assert left >= 0 and right <= WINDOW[0] and top >= VIEW_TOP and bottom <= WINDOW[1]


@named([*FILES, *BLUEPRINTS])
def test_no_wire_runs_under_a_node(path):
    assert [hidden for graph in graphs(path) for hidden in hidden_wires(graph)] == []
