"""What stands outside a mask when flow models are sampled: the source's own latents, after every step and to the bit."""

import comfy.samplers
import pytest
import torch
from comfy_extras.nodes_custom_sampler import SamplerCustomAdvanced
from graft.host.errors import GraftError
from graft.host.samplers.sampling import GraftSampler, invert
from graft.nodes.inversion import StartFromTrajectory
from graft.nodes.latents import BackgroundPreservationNode, LocalBlendNode
from test_local_blend import INPUTS, TRAJECTORY
from tiny_models import make_guider, schedule
from tiny_transformers import latent, prompt
from torch.nn.functional import adaptive_avg_pool2d

KINDS = ["flux2", "qwen image", "anima"]
BOX = torch.zeros(1, 96, 64)
BOX[:, 16:64, 16:48] = 1
STEPS = 4


def trajectory(model, name: str):
    return invert(model, prompt(name, 0), latent(name, 3), schedule(model, STEPS, "simple"), "ddim", 1)


def kept(model, name: str, source, mask) -> object:
    return BackgroundPreservationNode.EXECUTE_NORMALIZED(model=model, main=source, region=mask, end_percent=1.0, feather=0)[0]


def blended(model, name: str, source, mask, **changes) -> object:
    knobs = {**INPUTS, "start_percent": 0.0, "background": TRAJECTORY}
    return LocalBlendNode.EXECUTE_NORMALIZED(
        model=model, source=source, source_conditioning=prompt(name, 0), mask=mask, **{**knobs, **changes}
    )[0]


def passed(model, name: str, source) -> list[torch.Tensor]:
    """The latents that every step but the first begins with."""
    seen = []
    start, sigmas, noisy = StartFromTrajectory.EXECUTE_NORMALIZED(model=model, trajectory=source, skip=0.0).result
    guider = make_guider(model, prompt(name, 1), prompt(name, 2))
    guider.sample(
        start.generate_noise(noisy),
        noisy["samples"],
        GraftSampler("ddim"),
        sigmas,
        callback=lambda step, denoised, x, total: seen.append(x.clone()),
        disable_pbar=True,
        seed=0,
    )
    return seen[1:]


@pytest.mark.parametrize("edit", [kept, blended], ids=["Background Preservation", "Local Blend"])
@pytest.mark.parametrize("name", KINDS)
def test_outside_the_mask_stand_the_sources_latents(name, edit, transformer):
    model = transformer(name)
    source = trajectory(model, name)
    inside = (adaptive_avg_pool2d(BOX[:, None], (12, 8)) > 0).reshape(12, 8)
    for step, x in enumerate(passed(edit(model, name, source, BOX), name, source), start=1):
        assert torch.equal(x[..., ~inside], source.latents[step][..., ~inside])
        assert not torch.equal(x[..., inside], source.latents[step][..., inside])


@pytest.mark.parametrize("name", KINDS)
def test_a_batch_has_a_mask_for_each_picture(name, transformer):
    """Of films of one frame, too, whose latents have a dimension more than masks."""
    model = transformer(name)
    both = invert(model, prompt(name, 0), latent(name, 3, batch=2), schedule(model, STEPS, "simple"), "ddim", 1)
    masks = torch.cat([BOX, torch.ones_like(BOX)])
    outside = (adaptive_avg_pool2d(BOX[:, None], (12, 8)) == 0).reshape(12, 8)
    plain = passed(model, name, both)
    for step, x in enumerate(passed(kept(model, name, both, masks), name, both), start=1):
        assert torch.equal(x[0][..., outside], both.latents[step][0][..., outside])
        torch.testing.assert_close(x[1], plain[step - 1][1], rtol=1e-3, atol=1e-3)


def test_words_are_refused_and_a_mask_is_named_instead(transformer):
    model = transformer("flux2")
    with pytest.raises(GraftError, match=r"^model: Flux2 is not a Stable Diffusion UNet.*or take Local Blend with a mask for this model"):
        blended(model, "flux2", trajectory(model, "flux2"), None, source_words="cat")


def test_another_sampler_is_refused(transformer):
    model = transformer("flux2")
    source = trajectory(model, "flux2")
    start, sigmas, noisy = StartFromTrajectory.EXECUTE_NORMALIZED(model=model, trajectory=source, skip=0.0).result
    guider = make_guider(kept(model, "flux2", source, BOX), prompt("flux2", 1), prompt("flux2", 2))
    with pytest.raises(GraftError, match=r"connect Graft Sampler"):
        SamplerCustomAdvanced.execute(start, guider, comfy.samplers.sampler_object("euler"), sigmas, noisy)
