"""The node that draws scenes: tensors, words, and the truth after a change."""

import pytest
import torch
from graft.host.errors import GraftError
from graft.miniature import world
from graft.nodes.miniature import CHANGES, MiniatureScene

ONE = {
    "ground": "grass",
    "style": "photo",
    "first_shape": "ball",
    "first_colour": "red",
    "first_pattern": "plain",
    "first_x": 0.3,
    "first_y": 0.8,
    "first_size": 0.16,
    "second_shape": "none",
    "second_colour": "blue",
    "second_pattern": "plain",
    "second_x": 0.72,
    "second_y": 0.8,
    "second_size": 0.16,
    "object": "first",
    "seed": 0,
}
TWO = {**ONE, "second_shape": "cube"}


def scene(inputs: dict, change: dict | None = None, **changes) -> tuple:
    return MiniatureScene.EXECUTE_NORMALIZED(**{**inputs, **changes}, change=change or {"change": "none"}).result


def test_outputs_have_the_hosts_shapes_and_ranges():
    picture, objects, shadows, text, truth, truth_text = scene(TWO)
    assert picture.shape == truth.shape == (1, 64, 64, 3)
    assert objects.shape == shadows.shape == (1, 64, 64)
    for tensor in (picture, objects, shadows, truth):
        assert tensor.dtype == torch.float32 and float(tensor.min()) >= 0 and float(tensor.max()) <= 1
    assert text == truth_text == "a photo of a red ball and a blue cube on grass"
    assert torch.equal(picture, truth)


def test_the_inputs_are_those_the_schema_offers():
    offered = {part.id for part in MiniatureScene.define_schema().inputs}
    assert offered == {*ONE, "change"}


def test_the_same_inputs_draw_the_same_bits_and_seeds_differ():
    assert torch.equal(scene(TWO)[0], scene(TWO)[0])
    assert not torch.equal(scene(TWO)[0], scene(TWO, seed=1)[0])
    assert scene(TWO)[3] == scene(TWO, seed=1)[3]


CASES = {
    "none": ({}, "a photo of a red ball and a blue cube on grass"),
    "remove": ({}, "a photo of a blue cube on grass"),
    "recolour": ({"new_colour": "green"}, "a photo of a green ball and a blue cube on grass"),
    "reshape": ({"new_shape": "star"}, "a photo of a red star and a blue cube on grass"),
    "move": ({"new_x": 0.25, "new_y": 0.95}, "a photo of a red ball and a blue cube on grass"),
    "change ground": ({"new_ground": "snow"}, "a photo of a red ball and a blue cube on snow"),
    "change style": ({"new_style": "drawing"}, "a drawing of a red ball and a blue cube on grass"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_truth_of_a_change_is_a_plain_drawing_of_the_changed_scene(name):
    """Oracle: the same node without a change, given the changed inputs."""
    values, words = CASES[name]
    *_, truth, truth_text = scene(TWO, {"change": name, **values})
    assert truth_text == words
    described = {
        "none": {},
        "remove": {"first_shape": "cube", "first_colour": "blue", "first_x": 0.72, "second_shape": "none"},
        "recolour": {"first_colour": "green"},
        "reshape": {"first_shape": "star"},
        "move": {"first_x": 0.25, "first_y": 0.95},
        "change ground": {"ground": "snow"},
        "change style": {"style": "drawing"},
    }[name]
    assert torch.equal(truth, scene(TWO, **described)[0])
    assert torch.equal(truth, scene(TWO)[0]) == (name == "none")


def test_the_chosen_object_is_the_one_masked_and_changed():
    first, second = scene(TWO), scene(TWO, object="second")
    assert float((first[1] * second[1]).max()) < 1e-6
    columns = torch.arange(64) + 0.5
    for result, x in ((first, 0.3), (second, 0.72)):
        centre = float((result[1][0].sum(0) * columns).sum() / result[1].sum()) / 64
        assert abs(centre - x) < 0.05
    assert scene(TWO, {"change": "remove"}, object="second")[5] == "a photo of a red ball on grass"


def test_choosing_an_object_that_is_not_there_is_refused():
    with pytest.raises(GraftError, match=r"^object: there is no second object"):
        scene(ONE, object="second")


def test_an_unknown_change_is_refused_with_those_there_are():
    with pytest.raises(GraftError, match=r"^change: 'melt' is not one of none, remove"):
        scene(ONE, {"change": "melt"})


def test_removing_the_only_object_leaves_the_ground():
    assert scene(ONE, {"change": "remove"})[5] == "a photo of nothing on grass"


def test_every_choice_of_the_schema_can_be_drawn():
    inputs = {part.id: part for part in MiniatureScene.define_schema().inputs}
    for name in ("ground", "style", "first_shape", "second_shape", "first_colour", "first_pattern"):
        for option in inputs[name].options:
            assert bool(scene(ONE, **{name: option})[0].isfinite().all())
    assert inputs["second_shape"].options == ["none", *world.SHAPES]
