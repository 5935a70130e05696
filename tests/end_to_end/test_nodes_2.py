"""The editor's newer nodes, which draw widgets as elements of the page ("Nodes 2.0" in its settings)."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from building import build_workflows
from graph import to_prompt, without_titles

FILES = [path for path in build_workflows.files() if path.stem.endswith("(miniature)")]


@pytest.fixture(scope="module")
def newer(editor) -> Iterator:
    with editor.in_tab({"Comfy.VueNodes.Enabled": True}) as tab:
        yield tab


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_workflow_opens_and_asks_for_the_same(path, newer, object_info):
    """The same as its file says, as the older nodes do in test_browser."""
    workflow = json.loads(path.read_text(encoding="utf-8"))
    opened = newer.open(workflow)
    assert newer.page.locator("[data-node-id]").count() == len(workflow["nodes"])
    assert (opened.missing_types, opened.errors) == ((), ())
    assert without_titles(opened.prompt) == without_titles(to_prompt(workflow, object_info))


def test_workflow_runs_by_its_button(newer):
    newer.open(json.loads(build_workflows.named("Try 1 Remove Object (miniature)").read_text(encoding="utf-8")))
    newer.set_widgets("Remove Object", "iterations", 5)  # of a hundred and more
    assert newer.run()["status"]["status_str"] == "success"
