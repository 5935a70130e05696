"""The node that composes TF-ICON's start noise, against the composition written out, and what the model is shown first."""

import pytest
import torch
from comfy_extras.nodes_custom_sampler import Noise_RandomNoise
from einops import reduce
from graft.host.errors import GraftError
from graft.host.sampling import NO_NOISE
from graft.inversion.trajectory import Trajectory
from graft.nodes.composition import ComposeNoise
from graft.nodes.inversion import StartFromTrajectory
from tiny_models import make_model, prompt, random_trajectory, sample, watched

PROMPT = prompt(1)
CROSS, SAME = "cross-domain", "same-domain"


def disc(side: float, rows: int = 1) -> torch.Tensor:
    """Masks (rows, 128, 128) whose border crosses latent cells, each a little further to the right."""
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, 128)] * 2, indexing="ij")
    return torch.stack([((x - 0.1 - 0.2 * row) ** 2 + y**2 < side**2).float() for row in range(rows)])


OBJECT, REGION = disc(0.5), disc(0.8)


def run(model, main: Trajectory, reference: Trajectory | None = None, object_mask=OBJECT, region=REGION, domain=CROSS, seed=3):
    inputs = {"main": main, "object_mask": object_mask, "region": region, "domain": domain, "noise_seed": seed}
    return ComposeNoise.EXECUTE_NORMALIZED(model=model, reference=reference, **inputs).result


def trajectories(model, batch: int = 1, references: int = 1, **options) -> tuple[Trajectory, Trajectory]:
    return (
        random_trajectory(model, PROMPT, seed=1, batch=batch, **options),
        random_trajectory(model, PROMPT, seed=2, batch=references, **options),
    )


def composed(main: Trajectory, reference: Trajectory, object_mask, region, domain: str, seed: int) -> torch.Tensor:
    """Part by part in the variance-preserving scale, with core's noise; masks are the mean over 8 x 8 pixels."""
    scale = (1 + main.sigmas[0] ** 2).sqrt()
    x, x_reference = main.latents[0] / scale, reference.latents[0].expand_as(main.latents[0]) / scale
    noise = Noise_RandomNoise(seed).generate_noise({"samples": x})
    object, region = (
        reduce(mask, "b (h down) (w across) -> b h w", "mean", down=8, across=8).expand(len(x), -1, -1) >= 0.5
        for mask in (object_mask, region)
    )
    x = x.clone()
    for picture in range(len(x)):
        inside, around = object[picture], region[picture] & ~object[picture]
        assert inside.any() and around.any() and not region[picture].all()
        x[picture][:, around] = noise[picture][:, around]
        if domain == CROSS:
            x[picture][:, inside] = x_reference[picture][:, inside]
    return x * scale


@pytest.mark.parametrize("domain", [CROSS, SAME])
@pytest.mark.parametrize("batches", [(1, 1, 1), (2, 1, 1), (2, 2, 1), (2, 1, 2), (2, 2, 2)])
def test_the_start_is_the_composition_written_out(sd1, domain, batches):
    batch, references, rows = batches
    main, reference = trajectories(sd1, batch, references)
    masks = disc(0.4, rows), disc(0.7, rows)
    noise, sigmas, latent = run(sd1, main, reference, *masks, domain)
    ours = sd1.model.process_latent_in(latent["samples"])
    torch.testing.assert_close(ours, composed(main, reference, *masks, domain, 3), rtol=1e-5, atol=1e-5)
    assert noise is NO_NOISE and torch.equal(sigmas, main.sigmas)


def test_it_is_what_the_model_is_shown_first(model):
    main, reference = trajectories(model)
    noise, sigmas, latent = run(model, main, reference)
    spied, calls = watched(model)
    start = noise.generate_noise(latent)
    sample(spied, PROMPT, sigmas=sigmas, start=start, latent=latent["samples"], cfg=1.0)
    expected = composed(main, reference, OBJECT, REGION, CROSS, 3)
    torch.testing.assert_close(calls[0].x, expected, rtol=1e-4, atol=1e-4)
    assert calls[0].sigma == pytest.approx(float(main.sigmas[0]))


def test_the_same_seed_gives_the_same_bits_and_another_changes_only_the_surroundings(sd1):
    main, reference = trajectories(sd1)
    first, again, other = (run(sd1, main, reference, seed=seed)[2]["samples"] for seed in (3, 3, 2**64 - 1))
    assert torch.equal(first, again)
    changed = (first != other).any(dim=1)
    around = (disc(0.8) - disc(0.5)).reshape(1, 16, 8, 16, 8).mean(dim=(2, 4))
    assert bool(changed.any()) and bool((around[changed] > 0).all())


def test_the_random_state_of_the_host_is_left_alone(sd1):
    before = torch.get_rng_state()
    run(sd1, *trajectories(sd1))
    assert torch.equal(torch.get_rng_state(), before)


def test_empty_masks_start_from_the_main_trajectory_bit_for_bit(sd1):
    main, reference = trajectories(sd1)
    nothing = torch.zeros(128, 128)
    plain = StartFromTrajectory.EXECUTE_NORMALIZED(model=sd1, trajectory=main, skip=0.0).result
    ours = run(sd1, main, reference, nothing, nothing)
    assert torch.equal(ours[2]["samples"], plain[2]["samples"]) and torch.equal(ours[1], plain[1])


def test_one_domain_needs_no_reference_and_ignores_one(sd1):
    main, reference = trajectories(sd1)
    alone, beside = (run(sd1, main, given, domain=SAME)[2]["samples"] for given in (None, reference))
    assert torch.equal(alone, beside)
    with pytest.raises(GraftError, match=r"^reference: cross-domain starts the object from the reference's noise"):
        run(sd1, main)


def altered(trajectory: Trajectory, **changes) -> Trajectory:
    return Trajectory(**{**vars(trajectory), **changes})


def test_trajectories_that_do_not_fit_are_refused_with_both_values(sd1):
    main, reference = trajectories(sd1)
    smaller = random_trajectory(sd1, PROMPT, size=(16, 12))
    with pytest.raises(GraftError, match=r"^reference: its latents are 4 x 16 x 12, the main picture's 4 x 16 x 16"):
        run(sd1, main, smaller)
    with pytest.raises(GraftError, match=r"^reference: it holds 3 pictures, the main trajectory 2"):
        run(sd1, *trajectories(sd1, 2, 3))
    lower = altered(reference, sigmas=reference.sigmas * 0.99)
    with pytest.raises(GraftError, match=rf"^reference: its highest noise level is {float(lower.sigmas[0]):.5g}, the main picture's"):
        run(sd1, main, lower)
    wide = altered(main, latents=torch.zeros(6, 1, 16, 16, 16))
    with pytest.raises(GraftError, match=r"^main: its latents have 16 channels, this model's have 4"):
        run(sd1, wide, reference)


@pytest.mark.parametrize("name", ["main", "reference"])
def test_a_trajectory_of_another_model_is_refused(sd1, name):
    main, reference = trajectories(sd1)
    foreign, *_ = trajectories(make_model("sd1", seed=1))
    with pytest.raises(GraftError, match=rf"^{name}: it was made with another model or other LoRAs"):
        run(sd1, **{"main": main, "reference": reference, name: foreign})


def test_masks_that_do_not_fit_are_refused_with_both_values(sd1):
    main, reference = trajectories(sd1, 2)
    with pytest.raises(GraftError, match=r"^object_mask: it holds 3, the main trajectory 2 pictures"):
        run(sd1, main, reference, disc(0.4, 3))
    with pytest.raises(GraftError, match=r"^region: it holds 3, the main trajectory 2 pictures"):
        run(sd1, main, reference, region=disc(0.8, 3))
    with pytest.raises(GraftError, match=r"^object_mask: (\d+) of its (\d+) latent cells lie outside the region"):
        run(sd1, main, reference, REGION, OBJECT)
    point = torch.zeros(1, 128, 128)
    point[:, 64:68, 64:68] = 1
    with pytest.raises(GraftError, match=r"^object_mask: what it shows covers no half of any of the 16 x 16 latent cells"):
        run(sd1, main, reference, point)
