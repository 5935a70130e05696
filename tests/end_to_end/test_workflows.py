"""The shipped workflows against the real server: they fit its schema, and those of the embedded model run."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import build_workflows
import pytest
import requests
from demo_workflows import Workflow, files_needed
from graph import FILE_SUFFIXES, check, to_prompt
from host_client import PromptFailed
from PIL import Image

FILES = sorted(build_workflows.FOLDER.glob("*.json"))
shipped = pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])


@pytest.fixture(scope="module")
def object_info(server) -> dict:
    return server.client.object_info()


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def test_every_description_has_its_file():
    assert {path.stem for path in FILES} == {graph.title for graph in build_workflows.descriptions()} != set()


def test_files_are_what_their_descriptions_build(object_info):
    assert build_workflows.complaints(build_workflows.descriptions(), object_info) == []


def test_every_workflow_has_a_thumbnail():
    assert build_workflows.without_thumbnail() == []


@shipped
def test_workflow_fits_the_live_schema(path, object_info):
    assert check(read(path), object_info) == []


@shipped
def test_workflow_runs_unless_it_needs_a_file_of_the_users(path, server, object_info):
    """Without that file the server must find nothing else to refuse."""
    workflow = read(path)
    prompt = to_prompt(workflow, object_info)
    if not files_needed(Workflow(path.stem, workflow), object_info):
        result = server.client.run(prompt)
        pictures = [picture for node in result.outputs for picture in result.images(node)]
        assert pictures and all(server.client.view(picture) for picture in pictures)
        return
    with pytest.raises(PromptFailed) as refusal:
        server.client.queue(prompt)
    reasons = str(refusal.value).splitlines()[1:]
    assert reasons and all(any(suffix in reason for suffix in FILE_SUFFIXES) for reason in reasons)


@shipped
def test_workflow_explains_itself(path):
    workflow = read(path)
    assert workflow["extra"]["description"]
    assert any(node["type"] == "MarkdownNote" for node in workflow["nodes"])


@shipped
def test_template_browser_gets_workflow_and_thumbnail(path, server):
    assert path.stem in server.client.get_json("/workflow_templates")["graft"]
    for suffix, kind in ((".json", "application/json"), (".jpg", "image/jpeg")):
        reply = requests.get(f"{server.address}/api/workflow_templates/graft/{quote(path.stem)}{suffix}", timeout=60)
        assert reply.status_code == 200 and reply.headers["content-type"].startswith(kind)


def test_a_thumbnail_shows_pairs_in_rows():
    red, blue = Image.new("RGB", (64, 64), "red"), Image.new("RGB", (64, 64), "blue")
    sheet = build_workflows.thumbnail([[red, blue], [blue, red]])
    width, height = sheet.size
    assert (width, height) == (512, 512)
    corners = [sheet.getpixel((x, y)) for y in (0, height - 1) for x in (0, width - 1)]
    assert corners == [(255, 0, 0), (0, 0, 255), (0, 0, 255), (255, 0, 0)]
