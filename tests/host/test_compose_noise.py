"""The node that composes TF-ICON's start noise, against the composition written out, and what the model is shown first."""

import pytest
import torch
from comfy_extras.nodes_custom_sampler import Noise_RandomNoise
from einops import reduce
from graft.host.errors import GraftError
from graft.host.samplers.sampling import NoFreshNoise
from graft.host.samplers.schedules import uniform_time_sigmas
from graft.inversion.trajectory import Trajectory
from graft.nodes.composition import ComposeNoise
from tiny_models import make_model, prompt, random_trajectory, sample, watched

PROMPT = prompt(1)
CROSS, SAME = "cross-domain", "same-domain"


def disc(side: float, rows: int = 1) -> torch.Tensor:
    """Masks (rows, 128, 128) whose border crosses latent cells, each a little further to the right."""
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, 128)] * 2, indexing="ij")
    return torch.stack([((x - 0.1 - 0.2 * row) ** 2 + y**2 < side**2).float() for row in range(rows)])


OBJECT, REGION = disc(0.5), disc(0.8)


def run(model, main: Trajectory, reference: Trajectory | None = None, object_mask=OBJECT, region=REGION, domain=CROSS, seed=3, skip=0.0):
    inputs = {"main": main, "object_mask": object_mask, "region": region, "domain": domain, "noise_seed": seed, "skip": skip}
    return ComposeNoise.EXECUTE_NORMALIZED(model=model, reference=reference, **inputs).result


def altered(trajectory: Trajectory, **changes) -> Trajectory:
    return Trajectory(**{**vars(trajectory), **changes})


def trajectories(model, batch: int = 1, references: int = 1, **options) -> tuple[Trajectory, Trajectory]:
    """From the model's highest noise level on, as TF-ICON's grid has it."""
    sigmas = uniform_time_sigmas(model, options.pop("steps", 5))
    main, reference = (
        random_trajectory(model, PROMPT, seed=seed, batch=count, steps=len(sigmas) - 1, **options)
        for seed, count in ((1, batch), (2, references))
    )
    return altered(main, sigmas=sigmas), altered(reference, sigmas=sigmas)


def composed(main: Trajectory, reference: Trajectory, object_mask, region, domain: str, seed: int) -> torch.Tensor:
    """Part by part in the variance-preserving scale, with core's noise; masks are the mean over 8 x 8 pixels."""
    scale = (1 + main.sigmas[0] ** 2).sqrt()
    x, x_reference = main.latents[0] / scale, reference.latents[0].expand_as(main.latents[0]) / scale
    noise = Noise_RandomNoise(seed).generate_noise({"samples": x})
    object, region = (cells(mask).expand(len(x), -1, -1) >= 0.5 for mask in (object_mask, region))
    x = x.clone()
    for picture in range(len(x)):
        inside, around = object[picture], region[picture] & ~object[picture]
        assert inside.any() and around.any() and not region[picture].all()
        x[picture][:, around] = noise[picture][:, around]
        if domain == CROSS:
            x[picture][:, inside] = x_reference[picture][:, inside]
    return x * scale


def cells(mask: torch.Tensor) -> torch.Tensor:
    return reduce(mask, "b (h down) (w across) -> b h w", "mean", down=8, across=8)


@pytest.mark.parametrize("domain", [CROSS, SAME])
@pytest.mark.parametrize("batches", [(1, 1, 1), (2, 1, 1), (2, 2, 1), (2, 1, 2), (2, 2, 2)])
def test_the_start_is_the_composition_written_out(sd1, domain, batches):
    batch, references, rows = batches
    main, reference = trajectories(sd1, batch, references)
    masks = disc(0.4, rows), disc(0.7, rows)
    noise, sigmas, latent = run(sd1, main, reference, *masks, domain)
    ours = sd1.model.process_latent_in(latent["samples"])
    torch.testing.assert_close(ours, composed(main, reference, *masks, domain, 3), rtol=1e-5, atol=1e-5)
    assert isinstance(noise, NoFreshNoise) and torch.equal(sigmas, main.sigmas)


def test_it_is_what_the_model_is_shown_first(model):
    main, reference = trajectories(model)
    noise, sigmas, latent = run(model, main, reference)
    spied, calls = watched(model)
    start = noise.generate_noise(latent)
    sample(spied, PROMPT, sigmas=sigmas, start=start, latent=latent["samples"], cfg=1.0)
    expected = composed(main, reference, OBJECT, REGION, CROSS, 3)
    torch.testing.assert_close(calls[0].x, expected, rtol=1e-4, atol=1e-4)
    assert calls[0].sigma == pytest.approx(float(main.sigmas[0]))


@pytest.mark.parametrize("domain", [CROSS, SAME])
def test_a_later_start_has_the_picture_under_its_noise(model, domain):
    """Every part at the level of the first step that is left; around the object what img2img starts from."""
    main, reference = trajectories(model)
    noise, sigmas, latent = run(model, main, reference, domain=domain, skip=0.4)
    assert isinstance(noise, NoFreshNoise) and torch.equal(sigmas, main.sigmas[2:])
    ours = model.model.process_latent_in(latent["samples"])
    fresh = Noise_RandomNoise(3).generate_noise({"samples": main.clean}) * main.sigmas[2] + main.clean
    object, region = (cells(mask)[0] >= 0.5 for mask in (OBJECT, REGION))
    inside = (reference if domain == CROSS else main).latents[2]
    for part, expected in ((object, inside), (region & ~object, fresh), (~region, main.latents[2])):
        assert part.any()
        torch.testing.assert_close(ours[:, :, part], expected[:, :, part], rtol=1e-5, atol=1e-5)


def test_a_schedule_that_starts_below_the_highest_level_keeps_the_picture_too(sd1):
    """The host's rule for the start of a schedule: the same latent that a later start of a longer schedule has."""
    main, reference = trajectories(sd1)
    short = [altered(one, sigmas=one.sigmas[2:], latents=one.latents[2:]) for one in (main, reference)]
    assert torch.equal(run(sd1, *short)[2]["samples"], run(sd1, main, reference, skip=0.4)[2]["samples"])


def test_the_same_seed_gives_the_same_bits_and_another_changes_only_the_surroundings(sd1):
    main, reference = trajectories(sd1)
    first, again, other = (run(sd1, main, reference, seed=seed)[2]["samples"] for seed in (3, 3, 2**64 - 1))
    assert torch.equal(first, again)
    changed = (first != other).any(dim=1)
    around = cells(disc(0.8) - disc(0.5))
    assert bool(changed.any()) and bool((around[changed] > 0).all())


def test_the_random_state_of_the_host_is_left_alone(sd1):
    before = torch.get_rng_state()
    run(sd1, *trajectories(sd1))
    assert torch.equal(torch.get_rng_state(), before)


def test_one_domain_needs_no_reference_and_ignores_one(sd1):
    main, reference = trajectories(sd1)
    alone, beside = (run(sd1, main, given, domain=SAME)[2]["samples"] for given in (None, reference))
    assert torch.equal(alone, beside)
    with pytest.raises(GraftError, match=r"^reference: cross-domain starts the object from the reference's noise"):
        run(sd1, main)


def test_trajectories_that_do_not_fit_are_refused_with_both_values(sd1):
    main, reference = trajectories(sd1)
    smaller = random_trajectory(sd1, PROMPT, size=(16, 12))
    with pytest.raises(GraftError, match=r"^reference: its latents are 4 x 16 x 12, the main picture's 4 x 16 x 16"):
        run(sd1, main, smaller)
    with pytest.raises(GraftError, match=r"^reference: it holds 3 pictures, the main trajectory 2"):
        run(sd1, *trajectories(sd1, 2, 3))
    lower = altered(reference, sigmas=reference.sigmas * 0.99)
    with pytest.raises(GraftError, match=rf"^reference: it has no latents at noise level {float(main.sigmas[0]):.5g}, from which the main"):
        run(sd1, main, lower)
    wide = altered(main, latents=torch.zeros(6, 1, 16, 16, 16))
    with pytest.raises(GraftError, match=r"^main: its latents have 16 channels, this model's have 4"):
        run(sd1, wide, reference)


def test_a_reference_of_other_steps_serves_where_it_has_the_level(sd1):
    """Two of the main picture's steps to one of the reference's: every other start is there, none is interpolated."""
    main, reference = trajectories(sd1)
    coarse = altered(reference, sigmas=reference.sigmas[::2], latents=reference.latents[::2])
    share = 1 / main.steps
    for steps in (0, 2):
        assert torch.equal(*(run(sd1, main, given, skip=steps * share)[2]["samples"] for given in (reference, coarse)))
    with pytest.raises(GraftError, match=rf"^reference: it has no latents at noise level {float(main.sigmas[1]):.5g}, from which the main"):
        run(sd1, main, coarse, skip=share)


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
    with pytest.raises(GraftError, match=r"^object_mask: what it shows is too small for the 16 x 16 cells"):
        run(sd1, main, reference, point)
