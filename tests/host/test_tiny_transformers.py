"""The tiny transformers are what they stand for: the host's classes, sampled as the host samples them."""

import comfy.model_base
import pytest
import torch
from tiny_models import sample, schedule
from tiny_transformers import FAMILIES, latent, prompt, with_references

SIGMAS_FROM_ONE = [name for name in FAMILIES if name != "cosmos predict 2"]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_generation_follows_prompt_and_noise(name, transformer):
    model = transformer(name)
    one, other = prompt(name, 0), prompt(name, 1)
    first = sample(model, one, other, start=latent(name, 0), steps=3, sampler="euler")
    assert first.shape == latent(name, 0).shape and bool(first.isfinite().all())
    assert torch.equal(first, sample(model, one, other, start=latent(name, 0), steps=3, sampler="euler"))
    assert not torch.equal(first, sample(model, other, one, start=latent(name, 0), steps=3, sampler="euler"))
    assert not torch.equal(first, sample(model, one, other, start=latent(name, 1), steps=3, sampler="euler"))


@pytest.mark.parametrize("name", SIGMAS_FROM_ONE)
def test_its_noise_levels_run_from_one(name, transformer):
    sigmas = schedule(transformer(name), 4, "simple")
    assert float(sigmas[0]) == pytest.approx(1, abs=1e-3) and float(sigmas[-1]) == 0


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.references])
def test_reference_pictures_count(name, transformer):
    """Other references make another picture, of the target's size whatever theirs."""
    model, start = transformer(name), latent(name, 0)
    plain = prompt(name, 0)
    results = [
        sample(model, with_references(plain, [latent(name, seed, height=8, width=6)]), cfg=1.0, start=start, steps=2) for seed in (5, 6)
    ]
    assert results[0].shape == start.shape
    assert not torch.equal(*results)
    assert not torch.equal(results[0], sample(model, plain, cfg=1.0, start=start, steps=2))


@pytest.mark.parametrize("name", FAMILIES)
def test_it_is_the_hosts_own_class(name, transformer):
    model = transformer(name).model
    assert type(model).__module__ == "comfy.model_base" and isinstance(model, comfy.model_base.BaseModel)
    assert type(model.diffusion_model).__module__.startswith("comfy.ldm.")
