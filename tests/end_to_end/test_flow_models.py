"""The templates of flow models, on small random models of their families: each runs in the real server, and gives back the picture's size."""

from __future__ import annotations

import io
import json
from importlib import resources

import numpy as np
import pytest
from building import build_workflows
from graph import to_prompt
from PIL import Image
from workflow_descriptions import flow_models

LOADERS = {"UNETLoader": 0, "CLIPLoader": 1, "VAELoader": 2}
"""What the templates load with, and the output of the tests' own loader that stands in for each."""
FAMILIES = {"Qwen-Image": "qwen_image", "Qwen-Image-Edit": "qwen_image_edit", "Z-Image": "z_image", "Flux.2 klein": "flux2"}
SMALL = {
    "GraftFitPicture": {"size": 64},
    "GraftKeepOutsideMask": {"grow": 2, "feather": 1},
    "GraftOptimizeLatent": {"stage.iterations": 2},
    "KSampler": {"steps": 2},
    "Flux2Scheduler": {"steps": 2},
}
templates = pytest.mark.parametrize("graph", flow_models.graphs(), ids=lambda graph: graph.title)


def family_of(title: str) -> str:
    """The longest name that its title ends with."""
    return FAMILIES[max((name for name in FAMILIES if title.endswith(name)), key=len)]


def on_the_small_model(prompt: dict, family: str) -> dict:
    """The prompt with one loader in place of its three, and small settings."""
    loaders = {node_id: LOADERS[node["class_type"]] for node_id, node in prompt.items() if node["class_type"] in LOADERS}
    assert sorted(loaders.values()) == [0, 1, 2]
    kept = {node_id: node for node_id, node in prompt.items() if node_id not in loaders}
    for node in kept.values():
        linked = {name: value for name, value in node["inputs"].items() if isinstance(value, list) and value[0] in loaders}
        node["inputs"] |= {name: ["tiny", loaders[value[0]]] for name, value in linked.items()}
        node["inputs"] |= SMALL.get(node["class_type"], {})
    return {**kept, "tiny": {"class_type": "TinyFamily", "inputs": {"family": family}}}


@templates
def test_a_template_runs_on_a_small_model_of_its_family(graph, server, object_info):
    workflow = json.loads(build_workflows.named(graph.title).read_text(encoding="utf-8"))
    prompt = on_the_small_model(to_prompt(workflow, object_info), family_of(graph.title))
    result = server.client.run(prompt)
    (shown,) = [picture for node in result.outputs for picture in result.images(node) if picture.folder == "output"]
    edited = pixels(server.client.view(shown))
    loaded = next(node for node in prompt.values() if node["class_type"] == "LoadImage")
    original = pixels((server.base_directory / "input" / loaded["inputs"]["image"]).read_bytes())
    assert edited.shape == original.shape == (512, 768, 3)
    assert (edited != original).any()
    if not graph.title.startswith("Edit Picture by Prompt"):  # what is far from every mask
        assert (edited[:60, :60] == original[:60, :60]).all()


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


@templates
def test_a_loader_offers_its_file_from_where_it_is_published(graph):
    for node in json.loads(build_workflows.named(graph.title).read_text(encoding="utf-8"))["nodes"]:
        if node["type"] in LOADERS:
            (model,) = node["properties"]["models"]
            assert model["name"] == node["widgets_values"][0]
            assert model["url"].startswith("https://huggingface.co/Comfy-Org/") and model["url"].endswith(f"/{model['name']}")
            assert model["directory"] in ("diffusion_models", "text_encoders", "vae") and f"/{model['directory']}/" in model["url"]


def test_the_models_files_are_those_of_the_hosts_own_templates():
    """So nobody has to download another copy under another name."""
    folder = resources.files("comfyui_workflow_templates_json") / "templates"
    text = "".join(path.read_text(encoding="utf-8") for path in folder.iterdir() if path.name.startswith("image_"))
    for family in (*flow_models.FAMILIES, flow_models.QWEN_IMAGE_EDIT):
        for file in (family.network, family.encoder, family.vae):
            assert file.properties["models"][0]["url"] in text
