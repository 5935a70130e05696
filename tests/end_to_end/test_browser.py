"""The shipped workflows in the real editor in a real browser."""

from __future__ import annotations

import itertools
import json
import operator
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from building import build_workflows
from graph import Choice, Graph, Subgraph, to_prompt, to_workflow, without_titles
from graph.drawing import bounds
from graph.layout import VIEW_LEFT, VIEW_TOP
from graph.wires import drawn, last_reroutes, wires
from hosting.host_server import PACK_NAME
from pictures.screenshot import Opened
from PIL import Image
from workflow_descriptions import is_listed

FILES = build_workflows.files()
LEGIBLE = 9
"""Pixels: the least size of letters on the screen."""
MODEL_LOADERS = ("CheckpointLoaderSimple", "ControlNetLoader", "LoraLoader", "UNETLoader", "CLIPLoader", "VAELoader")
FOUND = {
    "erase": "Optimize Latent",
    "inpaint": "Keep Outside Mask",
    "remove": "Remove Object",
    "prompt-to-prompt": "Cross-Attention Control",
    "style transfer": "Mix h-Space",
    "harmonize": "Harmonise Pasted Object",
    "swap": "Swap a Word",
}
"""Words, and a node that the editor's search shows for them."""


@pytest.fixture(scope="module", params=FILES, ids=[path.stem for path in FILES])
def opened(request, editor) -> tuple[dict, Opened, dict]:
    """A shipped workflow, what the editor says about it once it was clicked in the template browser, or its file opened, and how the editor would
    save it."""
    workflow = json.loads(request.param.read_text(encoding="utf-8"))
    if is_listed(request.param.stem):
        return workflow, editor.open_template(PACK_NAME, request.param.stem), editor.saved()
    return workflow, editor.open(workflow), editor.saved()


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
    # The last thing of a link is its type, which the editor settles for itself where a node takes several.
    links = [(list(link.values()) if isinstance(link, dict) else list(link))[:5] for link in workflow["links"]]
    subgraphs = (workflow.get("definitions") or {}).get("subgraphs", [])
    return {
        "nodes": nodes,
        "links": links,
        "reroutes": [[reroute[key] for key in ("id", "pos", "linkIds")] + [reroute.get("parentId")] for reroute in _reroutes(workflow)],
        "ends": [[slot["name"] for slot in workflow.get(end, [])] for end in ("inputs", "outputs")],
        "subgraphs": {subgraph["name"]: shape(subgraph) for subgraph in subgraphs},
    }


def _reroutes(workflow: Mapping) -> list[dict]:
    return workflow.get("reroutes") or (workflow.get("extra") or {}).get("reroutes") or []


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


def test_the_editor_draws_wires_where_they_are_reckoned(opened, editor):
    """Every curve, by its control points, with the whole graph in sight."""
    workflow, _, _ = opened
    left, top, right, bottom = bounds(workflow)
    seen = editor.page.evaluate(
        """async ([left, top, scale]) => {
            const renderer = app.canvas.linkRenderer.pathRenderer, curves = []
            const draw = renderer.drawLink
            renderer.drawLink = function (context, link, ...rest) {
                const points = [link.startPoint, ...link.controlPoints, link.endPoint]
                curves.push(points.flatMap(point => [point.x, point.y]))
                return draw.call(this, context, link, ...rest)
            }
            const before = { scale: app.canvas.ds.scale, offset: [...app.canvas.ds.offset] }
            Object.assign(app.canvas.ds, { scale, offset: [-left, -top] })
            app.canvas.draw(true, true)
            renderer.drawLink = draw
            Object.assign(app.canvas.ds, before)
            app.canvas.draw(true, true)
            return curves
        }""",
        [left, top, min(1600 / (right - left), 1000 / (bottom - top))],
    )
    curves = {curve for path in drawn(wires(workflow), last_reroutes(workflow)).values() for curve in path}
    assert len(curves) == len(seen) > 0
    for curve in curves:
        assert min(max(map(abs, map(operator.sub, itertools.chain(*curve), drawn_))) for drawn_ in seen) < 2


def test_a_note_is_as_large_as_its_text(opened, editor):
    editor.page.locator(".comfy-markdown .tiptap").wait_for()
    heights = editor.page.evaluate(
        """() => {
            const text = document.querySelector('.comfy-markdown .tiptap').getBoundingClientRect()
            const last = document.querySelector('.comfy-markdown .tiptap > :last-child').getBoundingClientRect()
            return [last.bottom - text.top, text.height]
        }"""
    )
    assert 0.7 <= heights[0] / heights[1] <= 1


def test_a_workflow_opens_at_its_view_on_a_note_that_can_be_read(opened, editor):
    workflow, _, saved = opened
    assert saved["extra"]["ds"] == workflow["extra"]["ds"]
    (left, top, right, bottom), letters = editor.page.evaluate(
        """() => {
            const heading = app.graph._nodes.find(node => node.type === 'MarkdownNote').widgets[0].element.querySelector('h2')
            const { left, top, right, bottom, height } = heading.getBoundingClientRect()
            return [[left, top, right, bottom], parseFloat(getComputedStyle(heading).fontSize) * height / heading.offsetHeight]
        }"""
    )
    assert letters >= LEGIBLE
    window = editor.page.viewport_size
    assert VIEW_LEFT <= left < right <= window["width"] and VIEW_TOP <= top < bottom <= window["height"]


def test_the_editor_complains_of_missing_model_files_and_of_nothing_else(opened, editor):
    """Each of them once: a node that is ringed in red, and one message."""
    missing = {
        node["id"]: node["widgets_values"][0]
        for node in opened[0]["nodes"]
        if node["type"] in MODEL_LOADERS and node["widgets_values"][0] not in choices(editor, node["id"])
    }
    said, ringed = editor.complaints()
    assert sorted(ringed) == sorted(missing)
    if len(missing) > 1:
        assert [message.partition("\n")[0] for message in said] == [f"{len(missing)} errors found"]
    else:
        assert [message.partition("\n")[0] for message in said] == [f"{file} is missing" for file in missing.values()]


def choices(editor, number: int) -> list[str]:
    """The files that the loader of this id offers."""
    return editor.page.evaluate("number => app.graph.getNodeById(number).widgets[0].options.values", number)


def to_run(path: Path):
    """A study, which has no single result, takes a minute or two, and makes no step that the workflow of one result does not make."""
    titles = [node.get("title", "") for node in json.loads(path.read_text(encoding="utf-8"))["nodes"]]
    is_study = not any(title.endswith(("result", "map")) for title in titles)
    return pytest.param(path, marks=[pytest.mark.full] if is_study else [], id=path.stem)


ON_THE_MINIATURE = [to_run(path) for path in FILES if path.stem.endswith("(miniature)")]


@pytest.mark.parametrize("opened", ON_THE_MINIATURE, indirect=True)
def test_a_workflow_of_the_miniature_ends_with_a_picture_when_run_is_pressed(opened, editor):
    for kind, iterations in (
        ("GraftOptimizeLatent", "stage.iterations"),
        ("Remove Object", "iterations"),
        ("Harmonise Pasted Object", "iterations"),
    ):
        editor.set_widgets(kind, iterations, 5)  # of a hundred, which take half a minute each
    end = editor.run()
    assert end["status"]["status_str"] == "success"
    assert any(output.get("images") for output in end["outputs"].values())
    for steps, pictures in editor.seen_at_work().values():
        assert pictures >= steps  # a node that samples twice counts the last time only


def test_a_run_is_cancelled_by_its_button_and_the_next_one_works(editor):
    editor.open_template(PACK_NAME, "Try 1 Remove Object (miniature)")
    editor.set_widget("Remove Object", "seed", 1)
    editor.press_run()
    editor.wait_for_progress("GraftOptimizeLatent")
    editor.press_cancel()
    cancelled = editor.wait_for_end()
    assert "execution_interrupted" in [name for name, _ in cancelled["status"]["messages"]]
    editor.set_widget("Remove Object", "iterations", 2)
    assert editor.run()["status"]["status_str"] == "success"


def test_undoing_a_change_leaves_the_view_that_its_user_has_chosen(editor):
    editor.open_template(PACK_NAME, "MasaCtrl")
    moved, view = editor.page.evaluate(
        """async () => {
            const changes = () => app.extensionManager.workflow.activeWorkflow.changeTracker
            const [node] = app.graph._nodes
            const before = node.pos[0]
            node.pos[0] += 100
            changes().captureCanvasState()
            Object.assign(app.canvas.ds, { scale: 0.5, offset: [10, 20] })
            await app.extensionManager.command.execute('Comfy.Undo')
            return [app.graph.getNodeById(node.id).pos[0] - before, [app.canvas.ds.scale, ...app.canvas.ds.offset]]
        }"""
    )
    assert moved == 0 and view == [0.5, 10, 20]


def test_words_that_people_type_find_the_template_of_their_task(editor):
    """The words in a template's name are a promise: its search looks at the beginning of names only."""
    numbered = {path.stem: re.findall(r"[^(),]+", path.stem.partition(" (")[2]) for path in FILES if re.match(r"\d ", path.stem)}
    words = [(word.strip(), title) for title, promised in numbered.items() for word in promised]
    assert len(numbered) == 8 and len(words) > 8
    plain = {
        "remove": "1 Remove Object",
        "swap": "3 Swap a Word",
        "harmonize": "5 Harmonise Pasted Object",
        "paste": "5 Harmonise Pasted Object",
    }
    words += [(word, title) for word, start in plain.items() for title in numbered if title.startswith(start)]
    window = editor.show_templates(PACK_NAME, "")
    for word, title in words:
        window.get_by_placeholder("Search ...").fill("zzzz")
        window.get_by_test_id(re.compile("template-workflow-")).first.wait_for(state="hidden")
        window.get_by_placeholder("Search ...").fill(word)
        window.get_by_test_id(f"template-workflow-{title}").wait_for(timeout=20_000)
    editor.page.keyboard.press("Escape")


def test_words_that_people_type_find_a_node_of_the_pack(editor):
    editor.open({"nodes": [], "links": [], "groups": [], "version": 0.4})
    search = editor.show_node_search()
    for word, node in FOUND.items():
        search.fill("zzzz")
        editor.page.get_by_test_id("result-item").first.wait_for(state="hidden")
        search.fill(word)
        editor.found_node(node).wait_for(timeout=20_000)
    editor.page.keyboard.press("Escape")


def test_a_checkpoint_that_is_missing_is_offered(editor):
    editor.open_template(PACK_NAME, "1 Remove Object (erase, inpaint)")
    page = editor.page
    page.get_by_text("View details").first.click()
    page.get_by_text("Missing Models").wait_for()
    page.get_by_role("button", name="Download v1-5-pruned-emaonly-fp16.safetensors").wait_for()
    page.get_by_role("button", name="Toggle properties panel").click()


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


def test_subgraphs_are_built_as_the_editor_builds_them(editor, object_info):
    inner = Subgraph("Inner")
    inner.output("inverted", inner.add("ImageInvert", image=inner.input("image", kind="IMAGE"))[0])
    inner.output("blank", inner.add("EmptyImage", width=inner.input("width", 48), height=32)[0])
    outer = Subgraph("Outer")
    placed = outer.add(inner, image=outer.input("picture"), width=outer.input("width", 40))
    outer.output("both", outer.add("BatchImagesNode", images=[placed["inverted"], placed["blank"]])[0])
    graph = Graph("Subgraphs")
    picture = graph.add("EmptyImage", width=64, height=64)
    for node in (graph.add(outer, picture=picture[0]), graph.add(outer, picture=picture[0], width=graph.add("PrimitiveInt", value=24)[0])):
        graph.add("PreviewImage", images=node["both"])
    workflow = to_workflow(graph, object_info)
    report = editor.open(workflow)
    assert report.missing_types == report.errors == ()
    assert without_titles(report.prompt) == without_titles(to_prompt(workflow, object_info))
    assert shape(editor.saved()) == shape(workflow)
    assert editor.run()["status"]["status_str"] == "success"


def test_a_missing_node_is_reported(editor):
    node = {"id": 1, "type": "NoSuchNode", "pos": [0, 0], "size": [200, 100], "inputs": [], "outputs": []}
    assert editor.open({"nodes": [node], "links": [], "groups": [], "version": 0.4}).missing_types == ("NoSuchNode",)


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
