"""Every input of every node, given every bad value of its type: an error that names the input, or a finite result where that is right.

The nodes are the live ones and so are their inputs: a new node is tried without a line here, and one with an input of a type that has
no check, or no bad values below, fails.
"""

import inspect
import math
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from comfy_api.latest import io
from every_node import NODES, PLACES, PROMPT, carried_out, changed_at, good_inputs, inputs_of, model_for
from graft.errors import GraftError
from graft.host.models import pixel_diffusion
from graft.inversion.trajectory import Trajectory
from graft.nodes.checks import CHECKS
from tiny_models import GivenNoise, make_guider
from torch import Tensor

pytestmark = pytest.mark.usefixtures("folders")
NAN, INF = math.nan, math.inf


def with_values(tensor: Tensor, value: float) -> Tensor:
    changed = tensor.clone().float()
    changed.view(-1)[len(changed.view(-1)) // 2] = value
    return changed


def states(change) -> object:
    """A prompt with other states."""

    def changed(conditioning):
        ((given, options),) = conditioning
        return [[change(given), options]]

    return changed


NOTHING = {"nothing": lambda given: None, "a text": lambda given: "text", "a list": lambda given: [given]}
BAD = {
    "IMAGE": {
        **NOTHING,
        "no pictures": lambda given: given[:0],
        "no height": lambda given: given[:, :0],
        "one channel": lambda given: given[..., :1],
        "two channels": lambda given: given[..., :2],
        "five channels": lambda given: given[..., [0, 1, 2, 0, 1]],
        "three dimensions": lambda given: given[0],
        "NaN": lambda given: with_values(given, NAN),
        "infinity": lambda given: with_values(given, -INF),
        "counted to 255": lambda given: given * 255,
        "bytes": lambda given: (given * 255).byte(),
    },
    "MASK": {
        **NOTHING,
        "empty": lambda given: torch.zeros_like(given),
        "LoadImage's empty one": lambda given: torch.zeros(1, 64, 64),
        "empty in one of two": lambda given: torch.cat([given, torch.zeros_like(given)]),
        "no masks": lambda given: given[:0],
        "no width": lambda given: given[..., :0],
        "one dimension": lambda given: given[0, 0],
        "a picture": lambda given: given[:, None].expand(-1, 3, -1, -1),
        "another aspect": lambda given: torch.ones(1, 128, 64),
        "three for one picture": lambda given: given.expand(3, -1, -1),
        "NaN": lambda given: with_values(given, NAN),
        "infinity": lambda given: with_values(given, INF),
        "counted to 255": lambda given: given * 255,
        "negative": lambda given: given - 2,
    },
    "LATENT": {
        **NOTHING,
        "no samples": lambda given: {},
        "no pictures": lambda given: {"samples": given["samples"][:0]},
        "other channels": lambda given: {"samples": given["samples"][:, :3] + 1},
        "three dimensions": lambda given: {"samples": given["samples"][0]},
        "whole numbers": lambda given: {"samples": given["samples"].long()},
        "NaN": lambda given: {"samples": with_values(given["samples"], NAN)},
        "infinity": lambda given: {"samples": with_values(given["samples"], INF)},
    },
    "SIGMAS": {
        **NOTHING,
        "rising": lambda given: given.flip(0),
        "standing still": lambda given: torch.tensor([3.0, 3.0, 0.0]),
        "negative": lambda given: torch.tensor([3.0, 1.0, -1.0]),
        "NaN": lambda given: with_values(given, NAN),
        "infinity": lambda given: torch.tensor([INF, 1.0, 0.0]),
        "one level": lambda given: given[:1],
        "no level": lambda given: given[:0],
        "whole numbers": lambda given: torch.tensor([3, 1, 0]),
        "two dimensions": lambda given: given[None],
    },
    "CONDITIONING": {
        "nothing": lambda given: None,
        "no prompt": lambda given: [],
        "a text": lambda given: "a cat",
        "states alone": lambda given: [given[0][0]],
        "no tokens": states(lambda given: given[:, :0]),
        "no rows": states(lambda given: given[:0]),
        "states of another model": states(lambda given: torch.cat([given, given], dim=-1)),
        "two dimensions": states(lambda given: given[0]),
        "NaN": states(lambda given: with_values(given, NAN)),
        "infinity": states(lambda given: with_values(given, INF)),
    },
    "GRAFT_TRAJECTORY": {
        **NOTHING,
        "other channels": lambda given: replace(given, latents=given.latents[:, :, :3]),
    },
    "MODEL": NOTHING,
    "CLIP": NOTHING,
    "VAE": {
        **NOTHING,
        "a VAE of pixels": lambda given: pixel_diffusion.load_vae(),
        "a VAE that makes NaN": lambda given: SimpleNamespace(
            latent_channels=4,
            encode=lambda image: torch.full((len(image), 4, 16, 16), NAN),
            decode=lambda latent: torch.full((len(latent), 128, 128, 3), NAN),
        ),
    },
    "NOISE": {
        **NOTHING,
        "NaN": lambda given: GivenNoise(given.values * NAN),
        "another size": lambda given: GivenNoise(given.values[..., :8]),
    },
    "GUIDER": {
        **NOTHING,
        "a prompt of another model": lambda given: make_guider(given.model_patcher, states(lambda s: s[..., :8])(PROMPT)),
    },
    "SAMPLER": NOTHING,
    "GRAFT_PERCEPTUAL_LOSS": NOTHING,
    "GRAFT_FRAME": NOTHING,
    "INT": {
        "nothing": lambda given: None,
        "a text": lambda given: "x",
        "a part": lambda given: 1.5,
        "NaN": lambda given: NAN,
        "far too small": lambda given: -(10**12),
        "far too large": lambda given: 10**30,
    },
    "FLOAT": {
        "nothing": lambda given: None,
        "a text": lambda given: "x",
        "NaN": lambda given: NAN,
        "infinity": lambda given: INF,
        "far too small": lambda given: -1e39,
        "far too large": lambda given: 1e39,
    },
    "STRING": {"nothing": lambda given: None, "a number": lambda given: 7},
    "BOOLEAN": {"nothing": lambda given: None, "a text": lambda given: "maybe"},
    "COMBO": {"nothing": lambda given: None, "no option": lambda given: "no such option", "a number": lambda given: 7},
    "COMFY_DYNAMICCOMBO_V3": {"nothing": lambda given: None, "no option": lambda given: {**given, next(iter(given)): "no such option"}},
}
"""By type and name: how a good value becomes one that has to be refused."""

ODD = {
    "IMAGE": {
        "with alpha": lambda given: torch.cat([given, torch.rand_like(given[..., :1])], dim=-1),
        "half precision": lambda given: given.half(),
        "double precision": lambda given: given.double(),
        "a little beyond white": lambda given: given * 1.2 - 0.1,
    },
    "MASK": {
        "without a batch": lambda given: given[0],
        "with a channel": lambda given: given[:, None],
        "bool": lambda given: given.bool(),
        "whole numbers": lambda given: given.long(),
        "half precision": lambda given: given.half(),
        "soft": lambda given: given * 0.9,
        "a little beyond 1": lambda given: given * 1.1 - 0.05,
    },
    "SIGMAS": {"double precision": lambda given: given.double()},
}
"""Likewise: values that are unusual and right."""


BESIDE_A_MODEL = {"other channels", "a VAE of pixels", "a VAE that makes NaN"}
"""Cases that a node without a model and a picture cannot know."""


def beside_a_model(schema: io.Schema) -> bool:
    return any(input.get_io_type() in ("MODEL", "GUIDER") for input in schema.inputs)


def finite(value) -> bool:
    if isinstance(value, Tensor):
        return bool(value.float().isfinite().all())
    if isinstance(value, dict):
        return finite(value.get("samples", 0.0))
    if isinstance(value, Trajectory):
        return finite(value.latents) and finite(value.sigmas)
    return not isinstance(value, float) or math.isfinite(value)


def test_every_input_of_every_node_has_a_check_and_bad_values():
    kinds = {input.get_io_type() for _, _, _, input in PLACES}
    assert kinds <= CHECKS.keys() and kinds <= BAD.keys()
    assert len(PLACES) > 150


@pytest.mark.parametrize("node_id", NODES)
def test_good_inputs_give_finite_results(sd1, miniature_clip, node_id):
    """What the cases below change one thing about."""
    options = {option for _, _, options, _ in (place for place in PLACES if place[0] == node_id) for option in [tuple(options.items())]}
    model = model_for(node_id, sd1)
    for chosen in options or {()}:
        given = good_inputs(NODES[node_id].define_schema().inputs, model, miniature_clip, dict(chosen))
        assert all(map(finite, carried_out(NODES[node_id], given, model)))


@pytest.mark.parametrize(("node_id", "name", "options", "input"), PLACES, ids=[f"{node_id}.{name}" for node_id, name, _, _ in PLACES])
def test_a_bad_value_is_refused_by_the_inputs_name(sd1, miniature_clip, gave, node_id, name, options, input):
    node, kind = NODES[node_id], input.get_io_type()
    schema, model = node.define_schema(), model_for(node_id, sd1)
    wrong = []
    for case, change in BAD[kind].items():
        if (case == "nothing" and input.optional) or (case in BESIDE_A_MODEL and not beside_a_model(schema)):
            continue
        if case == "states of another model" and node_id == "GraftFlowEdit":
            continue  # its model here is of no family; those that are have a test of their own
        given = good_inputs(schema.inputs, model, miniature_clip, options)
        outcome = outcome_of(node, name, changed_at(given, name, change), model)
        gave("Bad inputs", schema.display_name, kind, f"{name} {case}", outcome)
        if outcome != "refused by name":
            wrong.append(f"{case}: {outcome}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(("node_id", "name", "options", "input"), PLACES, ids=[f"{node_id}.{name}" for node_id, name, _, _ in PLACES])
def test_an_input_that_is_left_out_has_its_default_or_is_refused_by_its_name(sd1, miniature_clip, gave, node_id, name, options, input):
    """As the host leaves out a choice that its list has not."""
    if input.optional:
        return
    node, model = NODES[node_id], model_for(node_id, sd1)
    schema = node.define_schema()
    given = left_out(good_inputs(schema.inputs, model, miniature_clip, options), name)
    outcome = outcome_of(node, name, given, model)
    preset = inspect.signature(node.execute).parameters.get(name)
    has_value = getattr(input, "default", None) is not None or (preset is not None and preset.default is not preset.empty)
    expected, word = ("accepted, finite", "works") if has_value else ("refused by name", "refused by name")
    gave("Bad inputs", schema.display_name, input.get_io_type(), f"{name} left out", word if outcome == expected else outcome)
    assert outcome == expected


def test_links_of_a_choice_that_is_none_do_not_hide_it(sd1):
    given = inputs_of("GraftOptimizeLatent", {"stage": "removal"}, sd1, None)
    mask = given.pop("stage")["mask"]
    with pytest.raises(GraftError, match=r"^stage: it is none of its choices; they are .*removal"):
        NODES["GraftOptimizeLatent"].EXECUTE_NORMALIZED(**given, **{"stage.mask": mask})


def left_out(given: dict, name: str) -> dict:
    """The inputs without one, wherever a choice has put it."""
    return {key: left_out(value, name) if isinstance(value, dict) else value for key, value in given.items() if key != name}


LIMITS = {
    "an area": {"area": (8, 8, 0, 0)},
    "a mask": {"mask": torch.ones(1, 16, 16), "set_area_to_bounds": False},
    "a mask's bounds": {"mask": torch.ones(1, 16, 16), "set_area_to_bounds": True},
    "the beginning of the run": {"start_percent": 0.0, "end_percent": 0.5},
}
OF_SOURCES = [place for place in PLACES if place[3].get_io_type() == "CONDITIONING" and place[1].endswith("conditioning")]


@pytest.mark.parametrize(
    ("node_id", "name", "options", "input"), OF_SOURCES, ids=[f"{node_id}.{name}" for node_id, name, _, _ in OF_SOURCES]
)
def test_the_prompt_of_a_source_holds_everywhere(sd1, miniature_clip, gave, node_id, name, options, input):
    """What ComfyUI's nodes limit to a part of the picture or of the run."""
    node, model = NODES[node_id], model_for(node_id, sd1)
    schema, outcomes = node.define_schema(), {}
    for case, limits in LIMITS.items():
        given = good_inputs(schema.inputs, model, miniature_clip, options)
        limited = changed_at(given, name, lambda prompt, limits=limits: [[prompt[0][0], {**prompt[0][1], **limits}]])
        outcomes[case] = outcome_of(node, name, limited, model)
        gave("Bad inputs", schema.display_name, "CONDITIONING", f"{name} {case}", outcomes[case])
    assert set(outcomes.values()) == {"refused by name"}, outcomes


def outcome_of(node, name: str, given: dict, model) -> str:
    """What inputs give of which the one called `name` is bad."""
    try:
        outputs = carried_out(node, given, model)
    except GraftError as refused:
        return "refused by name" if re.match(rf"[^:;]*\b{name}\b", str(refused)) else f"does not name {name}: {refused}"
    except Exception as failed:
        return f"stack trace: {type(failed).__name__}: {failed}"
    return f"accepted, {'finite' if all(map(finite, outputs)) else 'NOT FINITE'}"


@pytest.mark.parametrize(
    ("node_id", "name", "options", "input"),
    [place for place in PLACES if place[3].get_io_type() in ODD],
    ids=[f"{node_id}.{name}" for node_id, name, _, input in PLACES if input.get_io_type() in ODD],
)
def test_an_odd_value_that_is_right_gives_a_finite_result(sd1, miniature_clip, gave, node_id, name, options, input):
    node, kind = NODES[node_id], input.get_io_type()
    schema, model = node.define_schema(), model_for(node_id, sd1)
    for case, change in ODD[kind].items():
        given = changed_at(good_inputs(schema.inputs, model, miniature_clip, options), name, change)
        assert all(map(finite, carried_out(node, given, model))), case
        gave("Bad inputs", schema.display_name, kind, f"{name} {case}", "works")
