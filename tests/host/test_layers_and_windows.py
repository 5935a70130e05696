"""Layers are found, not listed; windows mean the steps that ComfyUI's percents mean."""

import math

import pytest
import torch
from graft.host.engine.windows import Window
from graft.host.errors import GraftError
from graft.host.families.layer import Layer
from graft.host.families.layers import (
    attention_layers,
    coarse_layers,
    fine_decoder_layers,
    layers_at,
    named_layers,
    require_unet,
)
from graft.host.families.unet import site_of
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import FULL_SDXL_DEPTHS, make_model, prompt, sample, schedule

SD1_LAYERS = [("input", 1), ("input", 2), ("input", 4), ("input", 5), ("input", 7), ("input", 8), ("middle", 0)]
SD1_LAYERS += [("output", number) for number in range(3, 12)]


@pytest.fixture(scope="session")
def shape_of_sd1():
    """A model without weights, for what needs only its noise schedule."""
    return make_model("sd1", device="meta")


def seen_layers(model, height: int, width: int) -> dict[Layer, int]:
    """What the host itself reports while sampling: the tokens of every self-attention layer, in its order."""
    seen, model = {}, model.clone()

    def look(query, key, value, options):
        seen[site_of(options).layer] = query.shape[1]
        return query, key, value

    model.set_model_attn1_patch(look)
    sample(model, prompt(0), cfg=1.0, steps=1, start=torch.zeros(1, 4, height, width))
    return seen


def test_discovery_finds_the_layers_the_host_runs_in_its_order(model):
    assert list(seen_layers(model, 16, 16)) == list(attention_layers(require_unet(model)))


@pytest.mark.parametrize(("kind", "changes", "count"), [("sd1", {}, 16), ("sd2v", {}, 16), ("sdxl", FULL_SDXL_DEPTHS, 70)])
def test_full_size_models_have_the_layer_counts_of_the_papers(kind, changes, count):
    assert len(attention_layers(require_unet(make_model(kind, device="meta", **changes)))) == count


def test_sd1_layers_have_sd1_numbers(sd1):
    assert tuple(attention_layers(require_unet(sd1))) == tuple(Layer(block, number, 0) for block, number in SD1_LAYERS)


@pytest.mark.parametrize("size", [(16, 16), (16, 24), (24, 8), (17, 17), (9, 13), (18, 30)])
def test_a_layers_level_says_how_often_its_grid_was_halved(model, size):
    """UNets halve an odd side upwards."""
    tokens = seen_layers(model, *size)
    for layer, level in attention_layers(require_unet(model)).items():
        assert tokens[layer] == math.prod(-(-side // 2**level) for side in size)


def test_the_papers_rules_pick_the_layers_of_the_released_codes(sd1):
    """Free-Prompt-Editing: all of the sixteen but the two first and three last. SpecRef, MasaCtrl: the last six."""
    layers = tuple(attention_layers(require_unet(sd1)))
    assert coarse_layers(require_unet(sd1)) == set(layers[2:13])
    assert fine_decoder_layers(require_unet(sd1)) == set(layers[10:16])
    assert layers_at(require_unet(sd1), 2) == {Layer(block, number, 0) for block, number in [("input", 7), ("input", 8), *SD1_LAYERS[7:10]]}


def test_full_sdxl_reads_appearance_in_the_six_layers_of_its_upper_level():
    network = require_unet(make_model("sdxl", device="meta", **FULL_SDXL_DEPTHS))
    assert fine_decoder_layers(network) == {Layer("output", number, index) for number in (3, 4, 5) for index in (0, 1)}
    assert len(layers_at(network, 2)) == 60


def test_a_level_without_attention_is_refused_with_those_there_are():
    network = require_unet(make_model("sdxl", device="meta"))
    with pytest.raises(GraftError, match=r"halved 0 times, only \[1, 2\]"):
        layers_at(network, 0)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("2-12", range(2, 13)),
        ("3", [3]),
        ("0, 14 - 15,", [0, 14, 15]),
        ("all", range(16)),
        ("input", range(6)),
        ("middle", [6]),
        ("Output", range(7, 16)),
        ("output half, output full", range(10, 16)),
        ("eighth", [6]),
        ("all, not middle", [0, 1, 2, 3, 4, 5, *range(7, 16)]),
        ("not full", range(2, 13)),
        ("half, not 0-8 input, 0", [0, 10, 11, 12]),
        ("10-15 half", [10, 11, 12]),
    ],
)
def test_a_text_names_layers_by_number_part_and_grid(sd1, text, numbers):
    layers = tuple(attention_layers(require_unet(sd1)))
    assert named_layers(require_unet(sd1), text) == {layers[number] for number in numbers}


def test_a_grid_names_the_same_layers_of_sdxl_as_its_level():
    network = require_unet(make_model("sdxl", device="meta", **FULL_SDXL_DEPTHS))
    layers = tuple(attention_layers(network))
    assert named_layers(network, "quarter") == layers_at(network, 2) == set(layers[4:64])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "'' names no layer"),
        (" , ", "' , ' names no layer"),
        ("3-2", "'3-2' names no layer"),
        ("0-3, 9-16", "'9-16' is beyond the last layer"),
        ("-1", "'-1' in '-1' is no layer, range, part or grid"),
        ("10-15, ouput half", "'ouput' in 'ouput half' is no layer, range, part or grid"),
        ("middle full", "'middle full' names no layer"),
        ("3, not", "'not' names no layer"),
        ("input, not input", "'input, not input' names no layer"),
        ("²", "'²' in '²' is no layer, range, part or grid"),
    ],
)
def test_a_bad_piece_is_named_with_what_there_is(sd1, text, problem):
    with pytest.raises(GraftError) as caught:
        named_layers(require_unet(sd1), text)
    assert (
        str(caught.value)
        == f"layers: {problem}; this model has layers 0 to 15, the parts input, middle, output, and the grids full, half, quarter, eighth"
    )


def test_other_families_of_networks_are_refused_by_name(sd1):
    model = sd1.clone()
    model.add_object_patch("diffusion_model", torch.nn.Linear(1, 1))
    with pytest.raises(GraftError, match=r"model: BaseModel is not a Stable Diffusion UNet"):
        require_unet(model)


@given(st.integers(0, 100))
@settings(max_examples=25, deadline=None)
def test_a_window_from_the_start_holds_the_first_steps_of_the_schedule(shape_of_sd1, percent):
    """Oracle: Free-Prompt-Editing replaces maps in the first int(S * r) steps."""
    window = Window.of_percent(shape_of_sd1, 0.0, percent / 100)
    active = [sigma in window for sigma in schedule(shape_of_sd1, 50)[:-1].tolist()]
    first = int(50 * percent / 100)
    assert active == [step < sum(active) for step in range(50)]
    assert abs(sum(active) - first) <= (0 if percent % 10 == 0 else 1)


def test_four_fifths_of_fifty_steps_are_forty(shape_of_sd1):
    active = [sigma in Window.of_percent(shape_of_sd1, 0.0, 0.8) for sigma in schedule(shape_of_sd1, 50).tolist()]
    assert active == [True] * 40 + [False] * 11


def test_windows_that_meet_share_no_step_and_leave_none_out(shape_of_sd1):
    early, late = Window.of_percent(shape_of_sd1, 0.0, 0.37), Window.of_percent(shape_of_sd1, 0.37, 1.0)
    for name in ("ddim_uniform", "karras", "normal"):
        assert all((sigma in early) != (sigma in late) for sigma in schedule(shape_of_sd1, 30, name)[:-1].tolist())


@pytest.mark.parametrize("percent", [0.0, 0.5, 1.0])
def test_a_window_without_length_is_empty(shape_of_sd1, percent):
    window = Window.of_percent(shape_of_sd1, percent, percent)
    assert window.empty
    assert not any(sigma in window for sigma in schedule(shape_of_sd1, 50).tolist())


@pytest.mark.parametrize(("start", "end"), [(0.6, 0.4), (-0.1, 0.5), (0.0, 1.1)])
def test_impossible_windows_are_refused_with_their_bounds(shape_of_sd1, start, end):
    with pytest.raises(GraftError, match=rf"start_percent, end_percent.*{start}.*{end}|start_percent, end_percent.*{end}.*{start}"):
        Window.of_percent(shape_of_sd1, start, end)
