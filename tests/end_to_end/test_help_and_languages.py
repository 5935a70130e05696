"""Help panels and translated labels in the real editor in a real browser, for every page and every language there is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from building import build_workflows
from graph import Graph, to_workflow
from hosting.host_server import PACK
from workflow_descriptions import blueprint_texts

PAGES = sorted((PACK / "web" / "docs").glob("*.md"))
TRANSLATED = sorted((PACK / "web" / "docs").glob("*/*.md"))
LANGUAGES = sorted(path.parent.name for path in (PACK / "locales").glob("*/nodeDefs.json") if path.parent.name != "en")


def heading(page: Path) -> str:
    return next(line.removeprefix("# ").strip() for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("# "))


def all_nodes(object_info) -> dict:
    """A node of each class of the pack."""
    graph = Graph("All nodes")
    for kind, schema in object_info.items():
        if schema["python_module"].startswith("custom_nodes.graft"):
            graph.add(kind)
    return to_workflow(graph, object_info)


@pytest.fixture(scope="module")
def with_all_nodes(editor, object_info):
    editor.open(all_nodes(object_info))
    return editor


@pytest.fixture(scope="module", params=LANGUAGES)
def translated(request, editor, object_info) -> Iterator:
    """A language, and an editor in it with all nodes."""
    with editor.in_tab({"Comfy.Locale": request.param}) as other:
        other.open(all_nodes(object_info))
        yield request.param, other


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_the_help_panel_shows_the_page_of_the_node(page, with_all_nodes):
    assert with_all_nodes.show_help(page.stem).startswith(heading(page))


def test_help_panels_show_pages_in_the_language_of_the_editor(translated):
    language, editor = translated
    pages = [page for page in TRANSLATED if page.stem == language]
    assert pages
    for page in pages:
        assert editor.show_help(page.parent.name).startswith(heading(page))


def test_nodes_and_their_inputs_are_labelled_in_the_language_of_the_editor(translated):
    language, editor = translated
    labels = json.loads((PACK / "locales" / language / "nodeDefs.json").read_text(encoding="utf-8"))
    shown = editor.page.evaluate(
        """() => app.graph._nodes.map(node =>
            [node.type, node.title, Object.fromEntries(node.inputs.map(input => [input.name, input.localized_name ?? input.label]))])"""
    )
    assert shown
    for kind, title, inputs in shown:
        assert title == labels[kind]["display_name"]
        plain = {name: label for name, label in inputs.items() if "." not in name and name in labels[kind].get("inputs", {})}
        assert plain == {name: labels[kind]["inputs"][name]["name"] for name in plain}


TEMPLATE, BLUEPRINT = "Try 4 Place Object Into Picture (miniature)", "Place Object Into Picture"


def said_of_sockets(editor) -> list[str]:
    editor.open(json.loads(build_workflows.named(TEMPLATE).read_text(encoding="utf-8")))
    return [*(editor.tooltip_of(BLUEPRINT, name) for name in ("where", "object")), editor.tooltip_of(BLUEPRINT, "picture", "Output")]


def expected(language: str) -> list[str]:
    column = blueprint_texts.LANGUAGES.index(language)
    texts = (blueprint_texts.TOOLTIPS["where"], blueprint_texts.TOOLTIPS["object"], blueprint_texts.RESULTS["picture"])
    return [text[column] for text in texts]


def test_sockets_of_a_blueprint_are_explained(editor):
    assert said_of_sockets(editor) == expected("en")


def test_sockets_of_a_blueprint_are_explained_in_the_language_of_the_editor(translated):
    language, editor = translated
    assert said_of_sockets(editor) == expected(language)
