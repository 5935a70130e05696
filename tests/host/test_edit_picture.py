"""Flow Edit's and Edit Picture's nodes: what they hand on, and that the way taken is the model's own."""

import pytest
import torch
from graft.host.engine.pictures import encode
from graft.host.errors import GraftError
from graft.host.samplers import edit_by_prompt
from graft.host.samplers.flow_edit import DISTILLED, FlowEdit, edit_by_flow, settings_for
from graft.host.samplers.guided import Prompts
from graft.nodes.editing import NODES, EditPictureNode, FlowEditNode
from test_flow_inversion import LatentVAE
from test_inversion_nodes import BlockVAE
from tiny_models import make_model, watched
from tiny_models import prompt as unet_prompt
from tiny_transformers import FAMILIES, latent, make_transformer, prompt

SEED = 5
BOX = torch.zeros(1, 96, 64)
BOX[:, 16:64, 16:48] = 1
CUSTOM = {
    "settings": "custom",
    "steps": 4,
    "edited_steps": 3,
    "source_guidance": 1.0,
    "guidance": 2.0,
    "plain_steps": 1,
    "draws": 2,
    "shift": 0.5,
}


def flow_edit(model, name: str, **changes):
    target, source, negative = (prompt(name, seed) for seed in range(3))
    inputs = {"positive": target, "source_conditioning": source, "negative": negative, "latent_image": {"samples": latent(name, 9)}}
    settings = {"settings": CUSTOM, "feather": 0, "seed": SEED}
    return FlowEditNode.EXECUTE_NORMALIZED(model=model, **{**inputs, **settings, **changes})[0]


def edit_picture(model, vae, image, conditionings, **changes):
    names = ("positive", "source_conditioning", "negative")
    knobs = {"seed": SEED, "amount": 1.0, "distilled": False, "feather": 0}
    return EditPictureNode.EXECUTE_NORMALIZED(
        model=model, vae=vae, image=image, **dict(zip(names, conditionings, strict=True)), **{**knobs, **changes}
    )[0]


def picture(height: int = 12, width: int = 8) -> torch.Tensor:
    return torch.rand(1, height, width, 3, generator=torch.Generator().manual_seed(1))


# Flow Edit


def test_custom_settings_are_the_edits(transformer):
    model, name = transformer("flux2"), "flux2"
    settings = FlowEdit(steps=4, edited=3, source_guidance=1.0, guidance=2.0, plain=1, draws=2, shift=0.5)
    expected = edit_by_flow(model, Prompts(*(prompt(name, seed) for seed in range(3))), latent(name, 9), SEED, settings)
    assert torch.equal(flow_edit(model, name)["samples"], expected)


@pytest.mark.parametrize(
    ("name", "settings", "steps", "rows"),
    [("flux", "for this model", 24, 2), ("flux2", "distilled to few steps", 6, 2), ("flux2", "for this model", 20, 4)],
)
def test_a_preset_takes_its_steps_and_rows(name, settings, steps, rows, transformer):
    spied, calls = watched(transformer(name))
    flow_edit(spied, name, settings={"settings": settings})
    assert sum(len(call.x) for call in calls) == steps * rows


def test_what_else_a_latent_carries_goes_on(transformer):
    given = {"samples": latent("flux2", 9), "batch_index": [3]}
    assert flow_edit(transformer("flux2"), "flux2", latent_image=given)["batch_index"] == [3]


def test_a_mask_is_soft_inside_its_edge(transformer):
    model = transformer("flux2")
    hard, soft = (flow_edit(model, "flux2", mask=BOX, feather=feather)["samples"] for feather in (0, 16))
    given = latent("flux2", 9)
    changed = [(edited - given).abs().sum(dim=1).gt(0) for edited in (hard, soft)]
    assert bool((changed[1] <= changed[0]).all()) and not torch.equal(hard, soft)


def test_a_noise_mask_is_refused(transformer):
    masked = {"samples": latent("flux2", 9), "noise_mask": torch.ones(1, 12, 8)}
    with pytest.raises(GraftError, match=r"^latent_image: it carries a noise mask"):
        flow_edit(transformer("flux2"), "flux2", latent_image=masked)


# Edit Picture


@pytest.mark.parametrize("name", ["flux2", "qwen image"])
def test_flow_models_are_edited_by_flow(name, transformer, monkeypatch):
    model, vae = transformer(name), LatentVAE(name)
    monkeypatch.setattr(edit_by_prompt, "settings_for", lambda _: FlowEdit(4, 2, 1.0, 2.0))
    conditionings = [prompt(name, seed) for seed in range(3)]
    ours = edit_picture(model, vae, picture(), conditionings, amount=1.5)
    expected = edit_by_flow(model, Prompts(*conditionings), encode(vae, picture()), SEED, FlowEdit(4, 3, 1.0, 2.0))
    assert torch.equal(ours, vae.decode(expected).reshape(1, 12, 8, 3).clamp(0, 1))


def test_a_distilled_flow_is_asked_without_guidance_in_few_steps(transformer):
    spied, calls = watched(transformer("flux2"))
    edit_picture(spied, LatentVAE("flux2"), picture(), [prompt("flux2", seed) for seed in range(3)], distilled=True)
    assert sum(len(call.x) for call in calls) == 2 * DISTILLED.edited


@pytest.mark.parametrize("mask", [None, BOX], ids=["everywhere", "masked"])
def test_unets_are_edited_by_their_attention(mask, monkeypatch):
    """A row a step to invert, then the picture's beside the target's two while the layout is held."""
    monkeypatch.setattr(edit_by_prompt, "STEPS", 5)
    model, vae = make_model("sd1"), BlockVAE()
    spied, calls = watched(model)
    edited = edit_picture(spied, vae, picture(96, 64), [unet_prompt(seed) for seed in range(3)], mask=mask)
    assert edited.shape == (1, 96, 64, 3)
    assert sum(len(call.x) for call in calls if call.stream) == 4  # 0.8 of 5 steps
    assert sum(len(call.x) for call in calls if not call.stream) == 5 + 10
    if mask is not None:
        unedited = vae.decode(encode(vae, picture(96, 64))).clamp(0, 1)
        outside = BOX == 0
        assert torch.equal(edited[outside], unedited[outside]) and not torch.equal(edited, unedited)


def test_what_is_neither_descends(transformer, monkeypatch):
    monkeypatch.setattr(edit_by_prompt, "DESCENT_STEPS", 3)
    name = "cosmos predict 2"
    spied, calls = watched(transformer(name))
    edit_picture(spied, LatentVAE(name), picture(), [prompt(name, seed) for seed in range(3)])
    assert sum(len(call.x) for call in calls) == 3 * 4


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.__name__)
def test_every_input_and_output_says_what_it_is(node):
    schema = node.define_schema()
    assert schema.node_id == "Graft" + schema.display_name.replace(" ", "")
    assert schema.description and all(part.tooltip for part in [*schema.inputs, *schema.outputs])


def test_every_family_has_settings():
    for name in FAMILIES:
        assert settings_for(make_transformer(name, device="meta")).edited > 0
