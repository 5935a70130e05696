"""Fixtures over real ComfyUI: tiny random UNets in three layouts."""

import functools
import os
import shutil
import sys
from pathlib import Path

import pytest

if "COMFYUI_PATH" not in os.environ:
    raise pytest.UsageError("COMFYUI_PATH is not set. Run the tests with: python quickstart.py test")

sys.path.insert(0, str(Path(__file__).resolve().parent))

import folder_paths
import tiny_models
import tiny_transformers
import torch
from graft.host.models import miniature, pixel_diffusion
from graft.host.samplers import edit_by_prompt
from graft.nodes import checks


@pytest.fixture
def faint_masks(monkeypatch):
    """Masks are taken as they are, so that one of next to nothing, 0 to the bit where it counts, is not refused as empty."""
    monkeypatch.setattr(checks, "NEARLY", 0.0)


@pytest.fixture(autouse=True)
def as_in_a_prompt():
    """ComfyUI runs nodes in inference mode."""
    with torch.inference_mode():
        yield


@pytest.fixture
def folders(tmp_path, monkeypatch) -> Path:
    """The host's folders, the test's own; a pixel diffusion model lies among the models. Edit Picture takes few steps."""
    monkeypatch.setattr(edit_by_prompt, "STEPS", 5)
    for kind in ("output", "input", "temp"):
        (tmp_path / kind).mkdir()
        monkeypatch.setattr(folder_paths, f"{kind}_directory", str(tmp_path / kind))
    (tmp_path / "diffusers").mkdir()
    shutil.copytree(pixel_diffusion.FACES, tmp_path / "diffusers" / "faces")
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "diffusers", ([str(tmp_path / "diffusers")], set()))
    return tmp_path


@pytest.fixture(scope="session")
def miniature_clip():
    """The text encoder of the miniature, made once."""
    return miniature.load_clip()


@pytest.fixture
def previews(tmp_path, monkeypatch) -> Path:
    """The folder in which nodes leave their previews, the test's own."""
    monkeypatch.setattr(folder_paths, "temp_directory", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="session")
def built():
    """The tiny model of a layout, made once."""
    made = functools.cache(tiny_models.make_model)
    yield made
    made.cache_clear()


@pytest.fixture(params=tiny_models.KINDS)
def kind(request) -> str:
    return request.param


@pytest.fixture
def model(built, kind):
    """A fresh clone of the tiny model of every layout in turn."""
    return built(kind).clone()


@pytest.fixture
def sd1(built):
    """A fresh clone of the tiny model in SD1.x's layout, for what does not depend on the layout."""
    return built("sd1").clone()


@pytest.fixture(scope="session")
def transformers_built():
    """The tiny transformer of a family, made once."""
    made = functools.cache(tiny_transformers.make_transformer)
    yield made
    made.cache_clear()


@pytest.fixture
def transformer(transformers_built):
    """Gives a fresh clone of the tiny transformer of a family, by its name."""
    return lambda name: transformers_built(name).clone()
