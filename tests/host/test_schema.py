"""Saved workflows go on working: the live schemas are the accepted ones."""

import copy
import difflib

import pytest
from building import schema_snapshot
from hosting import pack


@pytest.fixture(scope="module")
def object_info():
    return pack.object_info()


def changes(object_info) -> list[str]:
    accepted = schema_snapshot.FILE.read_text(encoding="utf-8").splitlines()
    lines = difflib.unified_diff(accepted, schema_snapshot.snapshot(object_info).splitlines(), "accepted", "now", n=0, lineterm="")
    return [line for line in lines if not line.startswith("@@")]


def test_schemas_are_as_accepted(object_info):
    difference = "\n".join(changes(object_info))
    assert not difference, f"saved workflows may break; if this is meant, run python tools schema_snapshot\n{difference}"


def test_a_changed_default_id_or_order_shows_and_a_changed_text_does_not(object_info):
    changed = copy.deepcopy(object_info)
    required = changed["GraftInvertImage"]["input"]["required"]
    required["iterations"][1]["tooltip"] = "Another text."
    assert not changes(changed)
    required["iterations"][1]["default"] = 4
    assert [line for line in changes(changed) if line.startswith("+Graft")] == [
        '+GraftInvertImage: required iterations INT {"default": 4, "max": 20, "min": 1}'
    ]
    required["model"] = required.pop("model")
    assert any(line.startswith("+GraftInvertImage: required model") for line in changes(changed))
    changed["GraftInverted"] = changed.pop("GraftInvertImage")
    assert any(line.startswith("-GraftInvertImage: output trajectory") for line in changes(changed))


def test_defaults_of_an_option_count(object_info):
    changed = copy.deepcopy(object_info)
    options = changed["GraftOptimizeLatent"]["input"]["required"]["stage"][1]["options"]
    options[0]["inputs"]["required"]["iterations"][1]["default"] = 1
    assert any("stage=removal.iterations" in line for line in changes(changed))


def test_files_of_this_machine_do_not_count(object_info):
    changed = copy.deepcopy(object_info)
    changed["GraftLoadTrajectory"]["input"]["required"]["file"][1]["options"] = ["mine.safetensors"]
    assert not changes(changed)
