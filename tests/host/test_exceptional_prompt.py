"""The exceptional prompt against text models whose position embeddings are zeros and which are given the token itself."""

import copy
from functools import cache
from types import SimpleNamespace

import comfy.sd
import comfy.supported_models_base
import comfy.text_encoders.aura_t5
import comfy.text_encoders.flux
import comfy.text_encoders.sd2_clip
import pytest
import torch
from comfy.sd1_clip import SD1ClipModel, SD1Tokenizer
from comfy.sdxl_clip import SDXLClipModel, SDXLRefinerClipModel, SDXLTokenizer
from graft.host.engine.exceptional_prompt import TOKEN, encode_exceptional_prompt
from graft.host.engine.prompts import encode_prompt, prompts_of
from graft.host.errors import GraftError
from graft.host.models import miniature
from graft.miniature.network import TEXT_TOKENS
from graft.nodes.prompts import ExceptionalPrompt
from tiny_models import CONTEXT, fill, prompt, sample, watched

SMALL = {"hidden_size": CONTEXT, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 4}
HALF = {**SMALL, "hidden_size": CONTEXT // 2}
LAYOUTS = {
    "sd1": (SD1Tokenizer, SD1ClipModel, {"l": SMALL}),
    "sd2": (comfy.text_encoders.sd2_clip.SD2Tokenizer, comfy.text_encoders.sd2_clip.SD2ClipModel, {"h": SMALL}),
    "sdxl": (SDXLTokenizer, SDXLClipModel, {"l": HALF, "g": HALF}),
    "refiner": (lambda **_: SD1Tokenizer(clip_name="g"), SDXLRefinerClipModel, {"g": SMALL}),
}
ENCODERS = {"sd1": "l", "sd2": "h", "sdxl": "lg", "refiner": "g", "miniature": "l"}
LENGTHS = {"miniature": TEXT_TOKENS}
"""Of prompts, in tokens, where it is not 77."""


@cache
def made(layout: str) -> comfy.sd.CLIP:
    """A CLIP of small text models with random weights; the positions' weigh as much as the tokens'."""
    if layout == "miniature":
        return miniature.load_clip()
    tokenizer, model, sizes = LAYOUTS[layout]
    options = {f"clip_{name}_model_config": config for name, config in sizes.items()}
    clip = comfy.sd.CLIP(comfy.supported_models_base.ClipTarget(tokenizer, model), model_options={"dtype": torch.float32, **options})
    fill(clip.cond_stage_model, seed=3)
    return clip


@pytest.fixture(params=ENCODERS)
def layout(request) -> str:
    return request.param


@pytest.fixture
def clip(layout) -> comfy.sd.CLIP:
    return made(layout).clone()


def positions(clip, encoder: str) -> torch.Tensor:
    return getattr(clip.cond_stage_model, f"clip_{encoder}").transformer.text_model.embeddings.position_embedding.weight


def without_positions(layout: str, layer: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    """States and pooled output of as many times the token's number as prompts have tokens, by the host, in a copy that knows no positions."""
    twin = made(layout).clone()
    twin.cond_stage_model = copy.deepcopy(twin.cond_stage_model)
    for encoder in ENCODERS[layout]:
        positions(twin, encoder).zero_()
    if layer is not None:
        twin.cond_stage_model.set_clip_options({"layer": layer})
    states, pooled = twin.cond_stage_model.encode_token_weights(
        {encoder: [[(TOKEN, 1.0)] * LENGTHS.get(layout, 77)] for encoder in ENCODERS[layout]}
    )
    return states, pooled


@pytest.mark.parametrize("layer", [None, -1, -3])
def test_it_is_the_token_everywhere_in_a_text_model_without_positions(clip, layout, layer):
    """Whatever layer the CLIP was set to with CLIP Set Last Layer."""
    clip.clip_layer(layer)
    ((states, options),) = ExceptionalPrompt.EXECUTE_NORMALIZED(clip=clip)[0]
    expected, pooled = without_positions(layout, layer)
    assert states.shape == expected.shape and states.shape[1] == LENGTHS.get(layout, 77)
    torch.testing.assert_close(states, expected, rtol=1e-4, atol=3e-5)
    torch.testing.assert_close(options["pooled_output"], pooled, rtol=1e-4, atol=3e-5)


def test_all_token_vectors_are_identical(clip):
    ((states, _),) = encode_exceptional_prompt(clip)
    assert torch.equal(states, states[:, :1].expand_as(states))
    ((usual, _),) = encode_prompt(clip, "")
    assert float((usual - states).abs().max()) > 0.1


def test_weights_stay_bitwise_as_they_were(clip):
    before = {name: weight.clone() for name, weight in clip.cond_stage_model.state_dict().items()}
    encode_exceptional_prompt(clip)
    after = clip.cond_stage_model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(weight, before[name]) for name, weight in after.items())


def test_patched_positions_cancel_too(clip, layout):
    patched = clip.clone()
    name = f"clip_{ENCODERS[layout][-1]}.transformer.text_model.embeddings.position_embedding.weight"
    patched.add_patches({name: ("diff", (torch.randn_like(positions(clip, ENCODERS[layout][-1])),))})
    ((plain, _),), ((states, _),) = encode_exceptional_prompt(clip), encode_exceptional_prompt(patched)
    torch.testing.assert_close(states, plain, rtol=1e-4, atol=3e-5)


def test_it_shares_its_calls_with_a_usual_prompt(built):
    spied, calls = watched(built("sd1").clone())
    sample(spied, encode_exceptional_prompt(made("sd1").clone()), prompt(3), steps=2)
    assert [sorted(call.order) for call in calls] == [[0, 1]] * 2


def test_one_of_its_tokens_would_do(built):
    """All keys are equal, so the number of tokens cannot matter."""
    ((states, options),) = encode_exceptional_prompt(made("sd1").clone())
    model = built("sd1").clone()
    whole, single = (sample(model, [[part, options]], cfg=1.0, steps=2) for part in (states, states[:, :1]))
    torch.testing.assert_close(whole, single, rtol=1e-4, atol=1e-4)


def test_the_token_is_the_piece_the_authors_code_names():
    assert made("sd1").tokenizer.clip_l.inv_vocab[TOKEN] == "rian</w>"


def test_it_has_no_words_and_nodes_that_need_them_say_so():
    ((states, options),) = encode_exceptional_prompt(made("sd1").clone())
    with pytest.raises(GraftError, match=r"^source_conditioning: it does not say which words it was made of"):
        prompts_of(states.shape[1], options, "source_conditioning")


@pytest.mark.parametrize(
    ("tokens", "model", "named"),
    [
        (("l", "t5xxl"), comfy.text_encoders.flux.FluxClipModel, "t5xxl"),
        (("pile_t5xl",), comfy.text_encoders.aura_t5.AuraT5Model, "pile_t5xl"),
    ],
)
def test_other_text_encoders_are_refused_by_name(tokens, model, named):
    clip = SimpleNamespace(tokenize=lambda text: {name: [[]] for name in tokens}, cond_stage_model=model(device="meta"))
    with pytest.raises(GraftError, match=rf"^clip: its text encoder '{named}' is not a CLIP"):
        encode_exceptional_prompt(clip)


def test_a_checkpoint_without_text_encoder_is_refused():
    with pytest.raises(GraftError, match=r"^clip: the checkpoint has no text encoder"):
        encode_exceptional_prompt(None)


def test_every_input_and_output_says_what_it_is():
    schema = ExceptionalPrompt.define_schema()
    assert schema.node_id == "Graft" + schema.display_name.replace(" ", "")
    assert all(part.tooltip for part in [*schema.inputs, *schema.outputs])
