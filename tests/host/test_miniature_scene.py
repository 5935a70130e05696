"""The node that draws scenes: tensors, words, and the truth after a change."""

import pytest
import torch
from graft.host.errors import GraftError
from graft.miniature.network import SIDE
from graft.miniature.scenes.scene import COLOURED, COLOURS, GROUNDS, KINDS, LIGHTS, STYLES
from graft.nodes.miniature import CHANGES, MiniatureScene

ONE = {
    "ground": "meadow",
    "light": "day",
    "style": "3-D render",
    "first_kind": "car",
    "first_colour": "red",
    "first_x": 0.27,
    "first_y": 0.8,
    "first_size": 0.4,
    "first_mirrored": False,
    "second_kind": "none",
    "second_colour": "blue",
    "second_x": 0.74,
    "second_y": 0.85,
    "second_size": 0.4,
    "second_mirrored": False,
    "object": "first",
    "seed": 0,
    "width": SIDE,
    "height": SIDE,
}
TWO = {**ONE, "second_kind": "teapot"}
WORDS = "a 3-D render of a red car and a blue teapot on a meadow by day"


def scene(inputs: dict, change: dict | None = None, **changes) -> tuple:
    return MiniatureScene.EXECUTE_NORMALIZED(**{**inputs, **changes}, change=change or {"change": "none"}).result


def test_outputs_have_the_hosts_shapes_and_ranges():
    picture, objects, shadows, text, truth, truth_text = scene(TWO)
    assert picture.shape == truth.shape == (1, SIDE, SIDE, 3)
    assert objects.shape == shadows.shape == (1, SIDE, SIDE)
    for tensor in (picture, objects, shadows, truth):
        assert tensor.dtype == torch.float32 and float(tensor.min()) >= 0 and float(tensor.max()) <= 1
    assert text == truth_text == WORDS
    assert torch.equal(picture, truth)


@pytest.mark.parametrize(("width", "height"), [(192, 96), (64, 128)])
def test_a_picture_is_as_wide_and_as_high_as_asked_for(width, height):
    """Places keep their fractions of width and height, whatever the aspect."""
    picture, objects, shadows, _, truth, _ = scene(TWO, {"change": "remove"}, width=width, height=height)
    assert picture.shape == truth.shape == (1, height, width, 3)
    assert objects.shape == shadows.shape == (1, height, width)
    assert abs(_middle(objects) - TWO["first_x"]) < 0.05
    lowest = float(objects[0].amax(1).nonzero().max() + 1) / height
    assert abs(lowest - TWO["first_y"]) < 0.05


def test_the_inputs_are_those_the_schema_offers():
    offered = {part.id for part in MiniatureScene.define_schema().inputs}
    assert offered == {*ONE, "change"}


def test_the_same_inputs_draw_the_same_bits_and_seeds_differ():
    assert torch.equal(scene(TWO)[0], scene(TWO)[0])
    assert not torch.equal(scene(TWO)[0], scene(TWO, seed=1)[0])
    assert scene(TWO)[3] == scene(TWO, seed=1)[3]


CASES = {
    "none": ({}, {}, WORDS),
    "remove": ({}, None, "a 3-D render of a blue teapot on a meadow by day"),
    "recolour": (
        {"new_colour": "green"},
        {"first_colour": "green"},
        "a 3-D render of a green car and a blue teapot on a meadow by day",
    ),
    "replace": (
        {"new_kind": "owl"},
        {"first_kind": "owl"},
        "a 3-D render of an owl and a blue teapot on a meadow by day",
    ),
    "turn round": ({}, {"first_mirrored": True}, WORDS),
    "move": ({"new_x": 0.25, "new_y": 0.95}, {"first_x": 0.25, "first_y": 0.95}, WORDS),
    "change ground": ({"new_ground": "snow"}, {"ground": "snow"}, "a 3-D render of a red car and a blue teapot in snow by day"),
    "change light": ({"new_light": "night"}, {"light": "night"}, "a 3-D render of a red car and a blue teapot on a meadow at night"),
    "change style": (
        {"new_style": "watercolour"},
        {"style": "watercolour"},
        "a watercolour of a red car and a blue teapot on a meadow by day",
    ),
}
"""By change: its own inputs, the inputs of the node that draw the same without it, the words."""


def test_every_change_has_a_case():
    assert CASES.keys() == CHANGES.keys()


@pytest.mark.parametrize("name", [name for name in CASES if name != "remove"])
def test_the_truth_of_a_change_is_a_plain_drawing_of_the_changed_scene(name):
    """Oracle: the same node without a change, given the changed inputs."""
    values, described, words = CASES[name]
    *_, truth, truth_text = scene(TWO, {"change": name, **values})
    assert truth_text == words
    assert torch.equal(truth, scene(TWO, **described)[0])
    assert torch.equal(truth, scene(TWO)[0]) == (name == "none")


def test_the_truth_of_a_removal_is_a_plain_drawing_of_what_is_left():
    """The second thing taken away leaves the first as it would be alone; the first taken away leaves the second, outside its own mask
    and shadow the same picture as before."""
    *_, truth, truth_text = scene(TWO, {"change": "remove"}, object="second")
    alone = scene(ONE)
    assert torch.equal(truth, alone[0]) and truth_text == alone[3]
    before, objects, shadows, _, truth, truth_text = scene(TWO, {"change": "remove"})
    assert truth_text == CASES["remove"][2]
    elsewhere = (objects + shadows)[0] == 0
    assert torch.equal(truth[0][elsewhere], before[0][elsewhere])
    assert float((truth - before)[0][objects[0] > 0.9].abs().mean()) > 0.1


def test_the_chosen_object_is_the_one_masked_and_changed():
    first, second = scene(TWO), scene(TWO, object="second")
    assert float((first[1] * second[1]).max()) < 1e-6
    for result, x in ((first, TWO["first_x"]), (second, TWO["second_x"])):
        assert abs(_middle(result[1]) - x) < 0.05
    recoloured = scene(TWO, {"change": "recolour", "new_colour": "yellow"}, object="second")
    assert recoloured[5] == "a 3-D render of a red car and a yellow teapot on a meadow by day"


def _middle(mask: torch.Tensor) -> float:
    """(1, H, W) -> x of its centre of mass, as a part of the width."""
    columns = (torch.arange(mask.shape[2]) + 0.5) / mask.shape[2]
    return float((mask[0].sum(0) * columns).sum() / mask.sum())


def test_a_thing_that_looks_the_other_way_is_the_mirror_image_of_itself():
    """Its mask, not its picture: light falls from the same side."""
    middle = {"first_x": 0.5}
    one, other = (scene(ONE, **middle, first_mirrored=mirrored)[1] for mirrored in (False, True))
    assert not torch.equal(one, other)
    assert float((one.flip(2) - other).abs().mean()) < 0.01 < float((one - other).abs().mean())


def test_a_kind_without_a_colour_is_painted_the_same_whatever_colour_is_chosen():
    red, blue = (scene(ONE, first_kind="rabbit", first_colour=colour) for colour in ("red", "blue"))
    assert torch.equal(red[0], blue[0])
    assert red[3] == blue[3] == "a 3-D render of a rabbit on a meadow by day"


def test_ink_names_no_colour():
    assert scene(TWO, style="ink drawing")[3] == "an ink drawing of a car and a teapot on a meadow by day"


@pytest.mark.parametrize("kind", sorted(set(KINDS) - COLOURED))
def test_recolouring_a_kind_that_has_colours_of_its_own_is_refused(kind):
    with pytest.raises(GraftError, match=rf"^change: a {kind} has colours of its own; recolour one of fish, "):
        scene(ONE, {"change": "recolour", "new_colour": "blue"}, first_kind=kind)


def test_what_replaces_a_kind_without_a_colour_has_one():
    assert scene(ONE, {"change": "replace", "new_kind": "star"}, first_kind="rabbit")[5] == "a 3-D render of a red star on a meadow by day"


def test_choosing_an_object_that_is_not_there_is_refused():
    with pytest.raises(GraftError, match=r"^object: there is no second thing"):
        scene(ONE, object="second")


def test_an_unknown_change_is_refused_with_those_there_are():
    with pytest.raises(GraftError, match=r"^change: 'melt' is not one of none, remove"):
        scene(ONE, {"change": "melt"})


def test_removing_the_only_object_leaves_the_ground():
    assert scene(ONE, {"change": "remove"})[5] == "a 3-D render of an empty meadow by day"


def test_every_choice_of_the_schema_is_drawn_and_seen():
    """No two choices of an input give one picture, and none gives one that is not finite."""
    inputs = {part.id: part for part in MiniatureScene.define_schema().inputs}
    for name in ("ground", "light", "style", "first_kind", "first_colour", "second_kind"):
        drawn = [scene(ONE, **{name: option})[0] for option in inputs[name].options]
        assert all(bool(picture.isfinite().all()) for picture in drawn)
        assert len({picture.numpy().tobytes() for picture in drawn}) == len(inputs[name].options), name
    offered = {name: tuple(inputs[name].options) for name in ("ground", "light", "style", "first_kind", "first_colour", "second_kind")}
    assert offered == {
        "ground": GROUNDS,
        "light": LIGHTS,
        "style": STYLES,
        "first_kind": KINDS,
        "first_colour": COLOURS,
        "second_kind": ("none", *KINDS),
    }
