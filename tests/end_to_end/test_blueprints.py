"""The shipped blueprints: in the editor's node search, placed from there, and run on the miniature."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from building import build_workflows
from graph import Graph, Place, to_prompt, to_workflow
from hosting.host_client import PromptFailed
from PIL import Image
from scipy.ndimage import maximum_filter
from workflow_descriptions import blueprints, easy, load_miniature

FILES = sorted(build_workflows.BLUEPRINTS.glob("*.json"))
shipped = pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
SOURCES = {
    "model": ("Load Miniature", "model"),
    "clip": ("Load Miniature", "clip"),
    "vae": ("Load Miniature", "vae"),
    "conditioning": ("Empty prompt", "CONDITIONING"),
    **dict.fromkeys(("picture", "look"), ("Picture", "picture")),
    **dict.fromkeys(("mask", "where"), ("Picture", "object_mask")),
    **dict.fromkeys(("reference", "content"), ("Reference", "picture")),
    **dict.fromkeys(("reference_mask", "object"), ("Reference", "object_mask")),
}
"""What the inputs of all blueprints are linked to: title and output of a node of `surroundings`."""
SMALLEST = {"size": 64, "steps": 4, "iterations": 2, "draws": 1, "grow_mask": 2, "soft_edge": 1}
REACH = 10
"""How far a change may reach beyond the mask with these settings, in pixels of the working size."""
SIZES = [(37, 53), (40, 150), (150, 40)]
"""Odd, tall and wide: width and height."""
REFERENCE_SIZE = (91, 77)


def surroundings(object_info) -> dict:
    """The miniature, two scenes and two viewers."""
    graph = Graph("Surroundings")
    model = graph.add("GraftLoadMiniature", title="Load Miniature")
    graph.add("CLIPTextEncode", title="Empty prompt", clip=model["clip"], text="")
    for title, kind, ground in (("Picture", "car", "meadow"), ("Reference", "teapot", "snow")):
        graph.add("GraftMiniatureScene", title=title, first_kind=kind, ground=ground, at=Place(column=1))
    graph.add("PreviewImage", title="Result", at=Place(column=2))
    return to_workflow(graph, object_info)


def inside(path) -> dict:
    (definition,) = json.loads(path.read_text(encoding="utf-8"))["definitions"]["subgraphs"]
    return definition


def test_every_described_blueprint_has_its_file():
    assert {path.stem for path in FILES} == {graph.title for graph in build_workflows.blueprints()} != set()


def test_files_are_what_their_descriptions_build(object_info):
    assert build_workflows.complaints(build_workflows.blueprints(), object_info, build_workflows.BLUEPRINTS) == []


@shipped
def test_the_server_offers_the_blueprint(path, server):
    offered = server.client.get_json("/global_subgraphs").values()
    assert [entry["info"]["node_pack"] for entry in offered if entry["name"] == path.stem] == ["custom_nodes.graft"]


@shipped
def test_blueprint_asks_for_a_model_pictures_and_few_things_more(path):
    definition = inside(path)
    assert [entry["type"] for entry in definition["inputs"][:3]] in (["MODEL", "CLIP", "VAE"], ["MODEL", "CONDITIONING", "VAE"])
    assert len([entry for entry in definition["inputs"] if entry["type"] in ("STRING", "INT", "FLOAT", "COMBO")]) <= 11
    assert definition["description"] and definition["category"] == "Graft"


@shipped
def test_a_blueprint_found_in_the_node_search_runs_on_the_miniature(path, editor, object_info):
    editor.open(surroundings(object_info))
    editor.add_node(path.stem)
    for entry in inside(path)["inputs"]:
        if entry["name"] in SOURCES:
            editor.connect(*SOURCES[entry["name"]], path.stem, entry["name"])
        elif entry["name"] in SMALLEST:
            editor.set_widget(path.stem, entry["name"], SMALLEST[entry["name"]])
    first = inside(path)["outputs"][0]
    assert first["type"] == "IMAGE"
    editor.connect(path.stem, first["name"], "Result", "images")
    end = editor.run()
    assert end["status"]["status_str"] == "success", end["status"]["messages"][-1]
    (viewer,) = [node["id"] for node in editor.saved()["nodes"] if node["type"] == "PreviewImage"]
    assert end["outputs"][str(viewer)]["images"]


def photograph(size: tuple[int, int], seed: int) -> bytes:
    """Noise as a PNG, transparent in a part of the middle: that is what Load Image takes for painted."""
    width, height = size
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 4), dtype=np.uint8)
    pixels[..., 3] = 255 * (1 - painted(size))
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def painted(size: tuple[int, int]) -> np.ndarray:
    width, height = size
    mask = np.zeros((height, width), dtype=np.uint8)
    mask[height // 3 : 2 * height // 3, width // 3 : 2 * width // 3] = 1
    return mask


def on_pictures(task, server, sizes) -> Graph:
    """The blueprint once for each size, on the miniature, with everything painted that can be."""
    graph = Graph("Sizes")
    model = load_miniature(graph)
    for number, size in enumerate(sizes):
        picture, reference = (
            easy.load(graph, name, server.client.upload_image(photograph(own, seed), f"{name}-{number}.png").filename)
            for seed, (name, own) in enumerate((("picture", size), ("reference", REFERENCE_SIZE)))
        )
        sources = {"Picture": picture, "Reference": reference}
        given = {name: value for name, value in SMALLEST.items() if name in task.kinds}
        for name, (node, output) in SOURCES.items():
            if name in task.kinds and node in sources:
                given[name] = sources[node]["IMAGE" if output == "picture" else "MASK"]
        result = easy.place(graph, task, model, **given)
        graph.add("PreviewImage", title=f"input {number}", images=picture["IMAGE"])
        graph.add("PreviewImage", title=f"result {number}", images=result[next(iter(task.exits))])
    return graph


def pixels_by_title(server, prompt) -> dict[str, np.ndarray]:
    result = server.client.run(prompt)
    shown = {node: prompt[node]["_meta"]["title"] for node in result.outputs if prompt[node]["class_type"] == "PreviewImage"}
    pictures = {title: server.client.view(next(iter(result.images(node)))) for node, title in shown.items()}
    return {title: np.asarray(Image.open(io.BytesIO(content)).convert("RGB")) for title, content in pictures.items()}


def check_sizes(task, server, object_info, sizes) -> None:
    masked = {"mask", "where"} & task.kinds.keys()
    pixels = pixels_by_title(server, to_prompt(to_workflow(on_pictures(task, server, sizes), object_info), object_info))
    for number, size in enumerate(sizes):
        before, after = pixels[f"input {number}"], pixels[f"result {number}"]
        assert after.shape == before.shape == (size[1], size[0], 3)
        assert (before != after).any()
        if masked:
            reach = maximum_filter(painted(size), 2 * round(REACH * max(size) / SMALLEST["size"]) + 1)
            assert not reach.all()
            np.testing.assert_array_equal(after[reach == 0], before[reach == 0])


TASKS = pytest.mark.parametrize("task", blueprints.blueprints(), ids=lambda task: task.title)


@TASKS
def test_a_blueprint_gives_back_the_pictures_size_and_what_is_not_painted_to_the_bit(task, server, object_info):
    check_sizes(task, server, object_info, SIZES)


@pytest.mark.parametrize(
    "task",
    [pytest.param(task, marks=[pytest.mark.full] if number else [], id=task.title) for number, task in enumerate(blueprints.blueprints())],
)
def test_so_it_does_with_a_large_photograph(task, server, object_info):
    check_sizes(task, server, object_info, [(4000, 3000)])


def refused(server, object_info, graph: Graph) -> str:
    """What the host says of a prompt that fails, with the graph as the editor sends it along."""
    workflow = to_workflow(graph, object_info)
    with pytest.raises(PromptFailed) as failure:
        server.client.run(to_prompt(workflow, object_info), workflow=workflow)
    return str(failure.value)


def test_an_unpainted_picture_is_refused_before_the_model_is_loaded(server, object_info):
    graph = Graph("Unpainted")
    model = load_miniature(graph)
    plain = io.BytesIO()
    Image.new("RGB", (90, 60), "gray").save(plain, "PNG")
    picture = easy.load(graph, "picture", server.client.upload_image(plain.getvalue(), "unpainted.png").filename)
    result = easy.place(graph, blueprints.remove_object(), model, picture=picture["IMAGE"], mask=picture["MASK"], size=64, iterations=2)
    graph.add("PreviewImage", images=result["picture"])
    said = refused(server, object_info, graph)
    assert "Remove Object, mask (Fit Picture, mask): it is empty, nothing is painted" in said


def test_a_word_that_is_not_there_is_said_by_the_blueprint_and_its_input(server, object_info):
    graph = Graph("No such word")
    model = load_miniature(graph)
    picture = easy.load(graph, "picture", server.client.upload_image(photograph((64, 64), 0), "words.png").filename)
    words = {
        "what_it_shows": "a watercolour of an owl",
        "what_it_should_show": "a watercolour of a robot",
        "old_words": "cat",
        "new_words": "robot",
    }
    result = easy.place(graph, blueprints.swap_word(), model, picture=picture["IMAGE"], size=64, steps=4, **words)
    graph.add("PreviewImage", images=result["picture"])
    said = refused(server, object_info, graph)
    assert "Swap a Word, old_words (Local Blend, source_words): " in said
