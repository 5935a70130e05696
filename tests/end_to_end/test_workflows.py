"""The shipped workflows against the real server: they fit its schema, and those of the embedded model run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import quote

import pytest
import requests
import torch
from benchmark import full_size
from building import build_workflows
from graph import FILE_SUFFIXES, FOLDERS, Graph, check, to_prompt
from hosting.host_client import PromptFailed
from pictures.screenshot import browser_on_path
from PIL import Image
from safetensors.torch import save_file
from showing.demo_workflows import Workflow, files_needed
from workflow_descriptions import combinations, easy, is_listed, notes

FILES = build_workflows.files()
LISTED = [path for path in FILES if is_listed(path.stem)]
shipped = pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
ON_THE_MINIATURE = [path for path in FILES if path.stem.endswith("(miniature)")]
ON_CHECKPOINTS = [path for path in FILES if path not in ON_THE_MINIATURE]
EASY = [
    graph.title
    for graph in (*easy.graphs(), *combinations.graphs())
    if not graph.title.endswith(("(miniature)", "ControlNet"))  # a ControlNet fits no miniature
]
SIDE, STEPS = 128, 4
WITHDRAWN = "v2-1_"  # the files of SD2.1, which its makers publish no more
FAMILIES = {"v1-5": "SD1.5", "v2-1": "SD2.1"}  # how the notes call the checkpoints, by how their files begin


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def test_every_description_has_its_file():
    assert {path.stem for path in FILES} == {graph.title for graph in build_workflows.descriptions()} != set()


def test_files_are_what_their_descriptions_build(object_info):
    assert build_workflows.complaints(build_workflows.descriptions(), object_info) == []


def test_every_workflow_has_a_thumbnail_that_is_its_own_or_that_of_the_one_it_borrows_from():
    assert build_workflows.thumbnail_complaints(build_workflows.descriptions()) == []


def test_a_borrowed_thumbnail_that_differs_is_found_and_copied_anew(tmp_path):
    own, borrowed = Graph("Own"), Graph("Borrowed", thumbnail_of="Own")
    (tmp_path / "Own.jpg").write_bytes(b"new")
    (tmp_path / "Borrowed.jpg").write_bytes(b"old")
    (found,) = build_workflows.thumbnail_complaints([own, borrowed], tmp_path)
    assert found.startswith("Borrowed: its thumbnail differs")
    assert build_workflows.borrow_thumbnails([own, borrowed], tmp_path) == [tmp_path / "Borrowed.jpg"]
    assert (
        build_workflows.thumbnail_complaints([own, borrowed], tmp_path)
        == build_workflows.borrow_thumbnails([own, borrowed], tmp_path)
        == []
    )


@shipped
def test_workflow_fits_the_live_schema(path, object_info):
    assert check(read(path), object_info) == []


@shipped
def test_workflows_of_the_miniature_and_no_others_need_no_file_of_the_users(path, object_info):
    assert bool(files_needed(Workflow(path.stem, read(path)), object_info)) == (path not in ON_THE_MINIATURE)


@pytest.mark.skipif(browser_on_path(), reason="test_browser runs them, by the editor's button")
@pytest.mark.parametrize("path", ON_THE_MINIATURE, ids=[path.stem for path in ON_THE_MINIATURE])
def test_workflow_of_the_miniature_runs(path, server, object_info):
    pictures = run(server, to_prompt(read(path), object_info))
    assert pictures and all(server.client.view(picture) for picture in pictures)


@pytest.mark.parametrize("path", ON_CHECKPOINTS, ids=[path.stem for path in ON_CHECKPOINTS])
def test_the_server_refuses_other_workflows_for_want_of_a_file_only(path, server, object_info):
    with pytest.raises(PromptFailed) as refusal:
        server.client.queue(to_prompt(read(path), object_info))
    reasons = str(refusal.value).splitlines()[1:]
    assert reasons and all(any(part in reason for part in (*FILE_SUFFIXES, *FOLDERS)) for reason in reasons)


@pytest.mark.parametrize("title", EASY)
def test_workflow_runs_on_the_miniature_instead_of_a_checkpoint(title, server, object_info):
    painted = server.client.upload_image(full_size.drawing(SIDE), "painted.png").filename
    write_lora(server.base_directory / "models" / "loras" / combinations.LORA)
    prompt = full_size.at_full_size(
        to_prompt(read(build_workflows.named(title)), object_info), full_size.Settings("none", painted, "none", SIDE, STEPS)
    )
    for node in prompt.values():
        if node["class_type"] == "CheckpointLoaderSimple":
            node.update(class_type="GraftLoadMiniature", inputs={})
        elif node["class_type"] == "PrimitiveInt":  # the place and side of a crop
            node["inputs"]["value"] = SIDE // 2 if node["_meta"]["title"] == "Side" else SIDE // 4
    assert any(picture.folder == "output" for picture in run(server, prompt))
    assert "lora key not loaded" not in server.log.read_text(encoding="utf-8", errors="replace")


def run(server, prompt) -> list:
    result = server.client.run(prompt)
    return [picture for node in result.outputs for picture in result.images(node)]


def write_lora(path: Path) -> None:
    """A LoRA for one layer of the miniature."""
    generator = torch.Generator().manual_seed(0)
    layer = "lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q"
    shapes = {"lora_down": (4, 96), "lora_up": (96, 4)}
    path.parent.mkdir(exist_ok=True)
    save_file({f"{layer}.{name}.weight": torch.randn(shape, generator=generator) for name, shape in shapes.items()}, path)


@shipped
def test_a_loader_says_where_its_file_is_to_be_had(path):
    for node in read(path)["nodes"]:
        directory = {"CheckpointLoaderSimple": "checkpoints", "ControlNetLoader": "controlnet"}.get(node["type"])
        if directory and not node["widgets_values"][0].startswith(WITHDRAWN):
            (model,) = node["properties"]["models"]
            assert [model["name"]] == node["widgets_values"] and model["directory"] == directory
            assert model["url"].startswith("https://huggingface.co/") and f"/{model['name']}" in model["url"]


def read_me(workflow: dict) -> dict[str, str]:
    """The parts of a workflow's note by their headings, "" for what comes before the first, "last" for its last line."""
    (note,) = (node["widgets_values"][0] for node in workflow["nodes"] if node["type"] == "MarkdownNote")
    assert note.startswith("## ")
    first, *parts = re.split(r"^\*\*([^*:]+):\*\* ", note.partition("\n")[2], flags=re.MULTILINE)
    return {"": first, **dict(zip(parts[::2], parts[1::2], strict=True)), "last": note.splitlines()[-1].strip("*")}


@shipped
def test_a_note_says_all_that_a_note_must_say(path):
    workflow = read(path)
    assert workflow["extra"]["description"]
    said = read_me(workflow)
    assert list(said) == ["", *notes.HEADINGS, "last"]
    for heading, text in said.items():
        sentence = text.split("\n\n")[0].strip()
        assert len(sentence) >= 20 and sentence[-1] in ".!:", (heading, sentence)


@shipped
def test_a_note_says_which_model_and_whether_it_is_still_to_be_had(path):
    workflow = read(path)
    model = read_me(workflow)[notes.MODEL]
    loaders = {node["type"]: (node.get("widgets_values") or [""])[0] for node in workflow["nodes"] if "Load" in node["type"]}
    if path in ON_THE_MINIATURE:
        assert "comes with Graft" in model
    elif "CheckpointLoaderSimple" in loaders:
        file = loaders["CheckpointLoaderSimple"]
        (family,) = (name for start, name in FAMILIES.items() if file.startswith(start))
        assert family in model
        assert ("no longer offers" in model) == file.startswith(WITHDRAWN)
    elif "UNETLoader" in loaders:
        assert all(loaders[kind] in model for kind in ("UNETLoader", "CLIPLoader", "VAELoader"))
    else:
        folder = loaders["GraftLoadPixelDiffusion"]
        assert f"https://huggingface.co/google/{folder}" in model and f"models/diffusers/{folder}" in model


@pytest.mark.parametrize("graph", build_workflows.descriptions(), ids=lambda graph: graph.title)
def test_a_note_says_what_made_the_picture_in_the_template_browser(graph):
    last = read_me(read(build_workflows.named(graph.title)))["last"]
    assert last == (notes.BORROWED if graph.thumbnail_of else notes.OWN)


def test_notes_show_all_of_their_text(editor):
    notes_ = [node for path in FILES for node in read(path)["nodes"] if node["type"] == "MarkdownNote"]
    placed = [{**node, "id": number, "pos": [500 * number, 0]} for number, node in enumerate(notes_, start=1)]
    editor.open({"nodes": placed, "links": [], "groups": [], "version": 0.4})
    spare = editor.page.evaluate(
        """async () => {
            const spare = []
            for (const note of app.graph._nodes) {
                app.canvas.ds.scale = 1
                app.canvas.ds.offset = [600 - note.pos[0], 100]
                app.canvas.setDirty(true, true)
                await new Promise(done => setTimeout(done, 200))
                const field = note.widgets[0].element
                const texts = [...field.querySelectorAll('p, li, h2')].map(text => text.getBoundingClientRect()).filter(box => box.height)
                spare.push(texts.length ? field.getBoundingClientRect().bottom - Math.max(...texts.map(box => box.bottom)) : null)
            }
            return spare
        }"""
    )
    assert len(spare) == len(FILES) and all(pixels is not None and pixels >= 0 for pixels in spare)


@pytest.mark.parametrize("path", LISTED, ids=[path.stem for path in LISTED])
def test_template_browser_gets_workflow_and_thumbnail(path, server):
    assert path.stem in server.client.get_json("/workflow_templates")["graft"]
    for suffix, kind in ((".json", "application/json"), (".jpg", "image/jpeg")):
        reply = requests.get(f"{server.address}/api/workflow_templates/graft/{quote(path.stem)}{suffix}", timeout=60)
        assert reply.status_code == 200 and reply.headers["content-type"].startswith(kind)


def test_template_browser_gets_no_other(server):
    assert sorted(server.client.get_json("/workflow_templates")["graft"]) == sorted(path.stem for path in LISTED)


def test_a_borrowed_thumbnail_may_show_other_pictures(server, tmp_path):
    lender = Graph("lender", thumbnail=("1 red",))
    for title, colour in (("1 red", 0xFF0000), ("2 blue", 0x0000FF)):
        picture = lender.add("EmptyImage", width=64, height=64, batch_size=1, color=colour)[0]
        lender.add("PreviewImage", title=title, images=picture)
    borrowers = [Graph("same", thumbnail_of="lender"), Graph("other", thumbnail_of="lender", thumbnail=("2 blue",))]
    files = build_workflows.write_thumbnails([lender, *borrowers], server.client, tmp_path)
    files += build_workflows.borrow_thumbnails([lender, *borrowers], tmp_path)
    red, blue = (254, 0, 0), (0, 0, 254)  # as JPEG has them
    assert {file.stem: Image.open(file).getpixel((9, 9)) for file in files} == {"lender": red, "same": red, "other": blue}


def test_a_thumbnail_that_no_workflow_has_is_found(tmp_path):
    for title in ("Own", "Former"):
        (tmp_path / f"{title}.jpg").write_bytes(b"picture")
    assert build_workflows.thumbnail_complaints([Graph("Own")], tmp_path) == ["Former.jpg: no workflow is called so; delete it."]


def test_a_thumbnail_shows_pairs_in_rows():
    red, blue = Image.new("RGB", (64, 64), "red"), Image.new("RGB", (64, 64), "blue")
    sheet = build_workflows.thumbnail([[red, blue], [blue, red]])
    width, height = sheet.size
    assert (width, height) == (512, 512)
    corners = [sheet.getpixel((x, y)) for y in (0, height - 1) for x in (0, width - 1)]
    assert corners == [(255, 0, 0), (0, 0, 255), (0, 0, 255), (255, 0, 0)]
