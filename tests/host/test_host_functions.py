"""What Graft takes of ComfyUI is listed, and is in the running host as it was when it was listed."""

import ast
import difflib
import sys
from types import ModuleType

import comfy.samplers
import pytest
from building import host_functions
from comfyui_version import __version__
from hosting.host_source import PINNED


@pytest.fixture(scope="module")
def names() -> dict[str, set[str]]:
    return host_functions.used()


def changes(names) -> str:
    accepted = host_functions.SIGNATURES.read_text(encoding="utf-8").splitlines()
    return "\n".join(difflib.unified_diff(accepted, host_functions.signatures(names).splitlines(), "listed", "host", n=0, lineterm=""))


@pytest.mark.skipif(__version__ != PINNED.version, reason="the list was made with another version")
def test_every_function_of_the_host_is_as_it_was_listed(names):
    difference = changes(names)
    assert not difference, f"the host changed what Graft relies on, or Graft takes something new: python tools host_functions\n{difference}"


def test_no_function_of_the_list_is_missing_from_this_host(names):
    assert not host_functions.missing_from(host_functions.signatures(names), host_functions.SIGNATURES.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("host", "missing"),
    [
        ("f (a, b=...)\n", False),
        ("f (a, new=..., b=..., **kwargs)\ng ()\n", False),
        ("f (b=..., a)\n", True),
        ("f (a)\n", True),
        ("f (a, b)\n", True),
        ("g (a, b=...)\n", True),
    ],
)
def test_a_later_host_may_have_more_and_not_less(host, missing):
    assert bool(host_functions.missing_from(host, "f (a, b=...)\n")) is missing


def test_a_changed_parameter_is_noticed(names, monkeypatch):
    plain = comfy.samplers.process_conds
    monkeypatch.setattr(comfy.samplers, "process_conds", lambda model, noise, conds, renamed: plain(model, noise, conds, renamed))
    assert "+comfy.samplers.process_conds (model, noise, conds, renamed)" in changes(names)


def test_a_function_that_is_gone_is_noticed(names, monkeypatch):
    monkeypatch.delattr(comfy.samplers, "process_conds")
    with pytest.raises(AttributeError, match="process_conds"):
        changes(names)


def test_the_page_has_the_table(names):
    page = host_functions.PAGE.read_text(encoding="utf-8")
    assert host_functions.with_table(page, host_functions.table(names)) == page, "python tools host_functions"


def test_methods_of_handed_over_objects_are_used(names):
    assert not [name for name in host_functions.OF_OBJECTS if not names[name]]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import comfy.samplers\nclass A(comfy.samplers.Sampler): ...", {"comfy.samplers.Sampler"}),
        ("from comfy.sd import VAE\nVAE._private()", {"comfy.sd.VAE", "comfy.sd.VAE._private"}),
        ("import comfy.model_base\ncomfy.model_base.ModelType.EPS", {"comfy.model_base.ModelType"}),
        ("import latent_preview\nlatent_preview.prepare_callback(1)", {"latent_preview.prepare_callback"}),
        ("from comfy_api.latest import io\nio.Schema()", {"comfy_api.latest.io"}),
        ("from .samplers import Sampler\nimport torch\ntorch.zeros(1)", set()),
    ],
)
def test_names_are_read_from_source(source, expected):
    assert set(host_functions._names(ast.parse(source))) == expected


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("comfy.ldm.modules.diffusionmodules.openaimodel.UNetModel._forward", "private"),
        ("comfy.samplers.process_conds", "internal"),
        ("comfy.model_patcher.ModelPatcher.clone", "public"),
        ("comfy_api.latest.io", "public"),
    ],
)
def test_kinds(name, kind):
    assert host_functions.kind(name) == kind


def test_a_module_of_the_host_that_is_missing_is_no_module():
    sys.modules["comfy.nothing"] = ModuleType("comfy.nothing")
    try:
        assert not host_functions._is_module("comfy.nothing")
    finally:
        del sys.modules["comfy.nothing"]
