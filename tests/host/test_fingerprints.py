"""Fingerprints change with what a model computes and with nothing else."""

import comfy.lora
import comfy.model_management
import pytest
import torch
from graft.host.engine.fingerprints import conditioning_fingerprint, model_fingerprint
from graft.host.samplers.sampling import invert
from tiny_models import make_model, noise, prompt, sample, schedule

PATCHED = "diffusion_model.middle_block.1.transformer_blocks.0.attn1.to_q.weight"
LORA = "lora_unet_middle_block_1_transformer_blocks_0_attn1_to_q"


def with_lora(model, strength: float, seed: int = 0):
    """As LoraLoader does it: a file of down and up matrices, found by name, added to a clone."""
    generator = torch.Generator().manual_seed(seed)
    file = {
        f"{LORA}.lora_down.weight": torch.randn(2, 32, generator=generator),
        f"{LORA}.lora_up.weight": torch.randn(32, 2, generator=generator),
    }
    loaded = comfy.lora.load_lora(file, {LORA: PATCHED})
    clone = model.clone()
    assert clone.add_patches(loaded, strength)
    return clone


def test_the_same_weights_have_one_name_however_often_they_are_built(kind):
    assert model_fingerprint(make_model(kind)) == model_fingerprint(make_model(kind).clone())


def test_other_weights_have_another_name(kind):
    assert model_fingerprint(make_model(kind, seed=0)) != model_fingerprint(make_model(kind, seed=1))


def test_layouts_have_different_names(built):
    assert len({model_fingerprint(built(kind)) for kind in ("sd1", "sd2v", "sdxl")}) == 3


def test_a_lora_its_strength_and_its_weights_change_the_name(sd1):
    models = [sd1, with_lora(sd1, 0.5), with_lora(sd1, 1.0), with_lora(sd1, 1.0, seed=1)]
    assert len({model_fingerprint(model) for model in models}) == 4
    assert model_fingerprint(with_lora(sd1, 0.5)) == model_fingerprint(with_lora(sd1, 0.5))


def test_loading_a_model_with_its_patches_merged_keeps_every_name():
    """All clones share one network, whose weights are the merged ones while any patched clone is loaded. Every weight is
    patched here, so that those the name is made of are."""
    plain = make_model("sd1")
    weights = {name: weight for name, weight in plain.model_state_dict("diffusion_model.").items() if name.endswith("weight")}
    merged = plain.clone()
    merged.add_patches({name: ("diff", (torch.full_like(weight, 0.1),)) for name, weight in weights.items()}, 0.7)
    names = model_fingerprint(plain), model_fingerprint(merged)
    assert names[0] != names[1]
    before = plain.model_state_dict()[PATCHED].clone()
    comfy.model_management.load_models_gpu([merged])
    try:
        assert not torch.equal(plain.model_state_dict()[PATCHED], before)
        assert (model_fingerprint(plain), model_fingerprint(merged)) == names
    finally:
        comfy.model_management.unload_all_models()
    assert (model_fingerprint(plain), model_fingerprint(merged)) == names


def test_sampling_and_editing_nodes_keep_the_name(sd1):
    name = model_fingerprint(sd1)
    sample(sd1, prompt(0), steps=1, cfg=1.0)
    patched = sd1.clone()
    patched.set_model_attn1_patch(lambda query, key, value, options: (query, key, value))
    assert model_fingerprint(sd1) == model_fingerprint(patched) == name


def test_a_prompts_name_follows_its_states_and_its_pooled_output():
    states, pooled = prompt(0)[0][0], prompt(0)[0][1]["pooled_output"]
    named = [
        [[states, {"pooled_output": pooled}]],
        [[states + 1e-3, {"pooled_output": pooled}]],
        [[states, {"pooled_output": pooled * 2}]],
        [[states, {}]],
        [[states, {}], [states, {}]],
    ]
    assert len({conditioning_fingerprint(conditioning) for conditioning in named}) == len(named)
    assert conditioning_fingerprint([[states.clone(), {"pooled_output": pooled, "strength": 1.0}]]) == conditioning_fingerprint(named[0])


@pytest.mark.parametrize("solver", ["ddim", "dpmpp_2m"])
def test_trajectories_carry_the_names_of_what_made_them(sd1, solver):
    made = invert(with_lora(sd1, 0.5), prompt(1), noise(0), schedule(sd1, 2), solver, 1)
    assert made.model == model_fingerprint(with_lora(sd1, 0.5)) != model_fingerprint(sd1)
    assert made.conditioning == conditioning_fingerprint(prompt(1)) != conditioning_fingerprint(prompt(2))
