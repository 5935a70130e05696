"""The shipped blueprints: in the editor's node search, placed from there, and run on the miniature."""

from __future__ import annotations

import json

import pytest
from building import build_workflows
from graph import Graph, Place, to_workflow

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
SMALLEST = {"size": 64, "steps": 4, "iterations": 2, "draws": 1}


def surroundings(object_info) -> dict:
    """The miniature, two scenes and two viewers."""
    graph = Graph("Surroundings")
    model = graph.add("GraftLoadMiniature", title="Load Miniature")
    graph.add("CLIPTextEncode", title="Empty prompt", clip=model["clip"], text="")
    for title, shape, ground in (("Picture", "ball", "grass"), ("Reference", "cube", "snow")):
        graph.add("GraftMiniatureScene", title=title, first_shape=shape, ground=ground, at=Place(column=1))
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
    assert len([entry for entry in definition["inputs"] if entry["type"] in ("STRING", "INT", "FLOAT", "COMBO")]) <= 10
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
