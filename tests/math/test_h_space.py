"""InjectFusion's mathematics: angles and norms, VE against VP, closed forms, and counts."""

import math

import pytest
import torch
from diffusers import DDIMScheduler
from graft.hspace.asymmetric_step import ancestral_levels, asymmetric_step, boosted_step, per_picture_noise
from graft.hspace.calibration import calibrated, regularised
from graft.hspace.schedules import COURSES, GRID, adapted_gamma, gammas, on_grid, pixel_sigma
from graft.hspace.slerp import MIXINGS, mix, norm_matched
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

SHAPE = (3, 16, 4, 5)


def draw(seed: int, shape: tuple[int, ...] = SHAPE, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def norm(h: Tensor) -> Tensor:
    return h.flatten(1).norm(dim=1)


def angle(one: Tensor, other: Tensor) -> Tensor:
    one, other = one.flatten(1) / norm(one)[:, None], other.flatten(1) / norm(other)[:, None]
    return 2 * torch.atan2((one - other).norm(dim=1), (one + other).norm(dim=1))


# Slerp


@settings(max_examples=30, deadline=None)
@given(gamma=st.floats(0, 1), size=st.floats(1e-4, 10), scale=st.floats(1e-4, 10), seed=st.integers(0, 1000))
def test_slerp_keeps_the_norm_and_goes_gamma_of_the_angle(gamma, size, scale, seed):
    h, content = size * draw(seed), scale * draw(seed + 1)
    mixed = mix(h, content, gamma)
    torch.testing.assert_close(norm(mixed), norm(h), rtol=1e-12, atol=0)
    torch.testing.assert_close(angle(h, mixed), gamma * angle(h, content), rtol=1e-6, atol=1e-6)


def test_the_ends_are_the_original_and_the_norm_matched_content():
    h, content = draw(0), 3 * draw(1)
    torch.testing.assert_close(mix(h, content, 0.0), h, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(mix(h, content, 1.0), norm_matched(content, h), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0])
def test_equal_and_opposite_activations_stay_finite_and_equal_ones_stay_put(dtype, gamma):
    h = draw(0, dtype=dtype)
    torch.testing.assert_close(mix(h, h, gamma), h, rtol=2e-3 if dtype != torch.float32 else 1e-6, atol=1e-6)
    for content in (-h, torch.zeros_like(h)):
        assert mix(h, content, gamma).isfinite().all()
    assert mix(torch.zeros_like(h), h, gamma).isfinite().all()


def test_half_precision_is_mixed_in_single():
    """82 thousand elements, as in SD1.x: a norm of them does not fit float16's digits."""
    shape = (1, 1280, 8, 8)
    h, content = draw(0, shape, torch.float16), draw(1, shape, torch.float16)
    expected = mix(h.double(), content.double(), 0.3)
    assert float((mix(h, content, 0.3).double() - expected).abs().max()) < 2e-3


@pytest.mark.parametrize("mixing", MIXINGS)
@pytest.mark.parametrize("masked", [False, True])
def test_a_picture_does_not_depend_on_its_batch(mixing, masked):
    h, content, mask = draw(0), draw(1), draw(2, (3, 1, 4, 5)).sigmoid() if masked else None
    gamma = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)
    together = mix(h, content, gamma, mixing, mask)
    for row in range(3):
        one = slice(row, row + 1)
        alone = mix(h[one], content[one], gamma[one], mixing, mask[one] if masked else None)
        torch.testing.assert_close(together[one], alone, rtol=1e-12, atol=1e-12)


def test_lerp_and_replace_do_not_match_norms():
    h, content = draw(0), 3 * draw(1)
    torch.testing.assert_close(mix(h, content, 0.25, "lerp"), 0.75 * h + 0.25 * content, rtol=1e-12, atol=1e-12)
    assert torch.equal(mix(h, content, 0.25, "replace"), content)
    assert torch.equal(mix(h, content[:1], 0.25, "replace"), content[:1].expand_as(h))


@pytest.mark.parametrize("mixing", MIXINGS)
def test_a_full_mask_is_no_mask_and_an_empty_one_no_edit(mixing):
    h, content = draw(0), draw(1)
    ones = torch.ones(1, 1, 4, 5)
    torch.testing.assert_close(mix(h, content, 0.4, mixing, ones), mix(h, content, 0.4, mixing), rtol=1e-12, atol=1e-12)
    assert torch.equal(mix(h, content, 0.4, mixing, 0 * ones), h)


def test_inside_a_mask_norm_and_angle_are_those_of_the_inside():
    h, content = draw(0), draw(1)
    mask = torch.zeros(1, 1, 4, 5, dtype=torch.float64)
    mask[..., 1:3] = 1
    mixed = mix(h, content, 0.4, mask=mask)
    assert torch.equal(mixed[..., [0, 3, 4]], h[..., [0, 3, 4]])
    torch.testing.assert_close(mixed[..., 1:3], mix(h[..., 1:3], content[..., 1:3], 0.4), rtol=1e-12, atol=1e-12)


# Steps: Song et al.'s in the variance-preserving scale, and diffusers' as an oracle


def alpha(sigma: Tensor) -> Tensor:
    return 1 / (1 + sigma**2)


SIGMA, NEXT = torch.tensor(2.04, dtype=torch.float64), torch.tensor(1.3, dtype=torch.float64)


@pytest.mark.parametrize("direction", [1.0, 0.9985])
def test_the_asymmetric_step_is_equation_3_in_the_papers_scale(direction):
    """With the released code's dt_lambda, by which its D is multiplied."""
    x, noise, edited = draw(0), draw(1), draw(2)
    a, a_next = alpha(SIGMA), alpha(NEXT)
    scaled = x * a.sqrt()
    expected = a_next.sqrt() * (scaled - (1 - a).sqrt() * edited) / a.sqrt() + direction * (1 - a_next).sqrt() * noise
    ours = asymmetric_step(x, x - SIGMA * noise, x - SIGMA * edited, SIGMA, NEXT, direction)
    torch.testing.assert_close(ours * a_next.sqrt(), expected, rtol=1e-12, atol=1e-12)


def test_boosting_is_diffusers_ddim_with_eta_1():
    scheduler = DDIMScheduler(beta_schedule="linear", clip_sample=False, set_alpha_to_one=False)
    scheduler.set_timesteps(50)
    t, x, eps, fresh = 200, draw(0), draw(1), draw(2)
    sigma, sigma_next = (((1 - a) / a).sqrt().double() for a in scheduler.alphas_cumprod[[t, t - 20]])
    expected = scheduler.step(eps, t, x, eta=1.0, variance_noise=fresh).prev_sample
    a, a_next = alpha(sigma), alpha(sigma_next)
    ours = boosted_step(x / a.sqrt(), x / a.sqrt() - sigma * eps, fresh, sigma, sigma_next)
    torch.testing.assert_close(ours * a_next.sqrt(), expected, rtol=1e-5, atol=1e-5)


def test_fresh_noise_has_the_deviation_of_equation_1_and_none_at_the_end():
    down, up = ancestral_levels(SIGMA, NEXT)
    a, a_next = alpha(SIGMA), alpha(NEXT)
    deviation = ((1 - a_next) / (1 - a)).sqrt() * (1 - a / a_next).sqrt()
    torch.testing.assert_close(up * a_next.sqrt(), deviation, rtol=1e-12, atol=0)
    torch.testing.assert_close(down.square() + up.square(), NEXT.square(), rtol=1e-12, atol=0)
    assert ancestral_levels(SIGMA, torch.zeros_like(SIGMA)) == (0, 0)


def test_noise_belongs_to_the_picture():
    def seeded(*seeds: int) -> list[torch.Generator]:
        return [torch.Generator().manual_seed(seed) for seed in seeds]

    together = per_picture_noise(torch.zeros(3, 4, 8, 8), seeded(5, 6, 7))
    assert torch.equal(together[1:2], per_picture_noise(torch.zeros(1, 4, 8, 8), seeded(6)))
    assert abs(float(together.std()) - 1) < 0.05


# Calibration


def test_regularised_has_the_plain_predictions_deviation_and_its_own_mean():
    for size in (3, 0.01):
        _has_its_deviation(size * draw(1) + 2, draw(0))
    assert torch.equal(regularised(torch.ones(SHAPE), draw(0)), torch.ones(SHAPE))


def _has_its_deviation(edited: Tensor, plain: Tensor) -> None:
    reg = regularised(edited, plain)
    torch.testing.assert_close(reg.std(dim=(1, 2, 3)), plain.std(dim=(1, 2, 3)), rtol=1e-12, atol=0)
    torch.testing.assert_close(reg.mean(dim=(1, 2, 3)), edited.mean(dim=(1, 2, 3)), rtol=1e-12, atol=1e-12)


def test_omega_1_without_regularisation_is_no_injection():
    x, plain, edited = draw(0), draw(1), draw(2)
    torch.testing.assert_close(calibrated(x, plain, edited, edited, 1.0), x, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(calibrated(x, plain, plain, plain, 0.3), x, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("omega", [0.0, 0.3, 0.7])
@pytest.mark.parametrize("regularise", [False, True])
def test_calibration_of_a_linear_model_has_its_closed_form(omega, regularise):
    """eps(x) = J x in the papers' scale, injected: + d. Equations 8 to 12 and the symmetric step from x', written out there."""
    slope, shift, x = 0.3, draw(1), draw(0)
    a, a_next = alpha(SIGMA), alpha(NEXT)

    def eps(scaled: Tensor) -> Tensor:
        return slope * scaled

    def predicted(scaled: Tensor, noise: Tensor) -> Tensor:
        return (scaled - (1 - a).sqrt() * noise) / a.sqrt()

    scaled = x * a.sqrt()
    plain, edited = predicted(scaled, eps(scaled)), predicted(scaled, eps(scaled) + shift)
    goal = edited
    if regularise:
        mean = edited.mean(dim=(1, 2, 3), keepdim=True)
        goal = (edited - mean) / edited.std(dim=(1, 2, 3), keepdim=True) * plain.std(dim=(1, 2, 3), keepdim=True) + mean
    moved = a.sqrt() * (goal - plain) + omega * (1 - a).sqrt() * shift
    if not regularise:
        torch.testing.assert_close(moved, (omega - 1) * (1 - a).sqrt() * shift, rtol=1e-10, atol=1e-10)
    moved = scaled + moved
    expected = a_next.sqrt() * predicted(moved, eps(moved)) + (1 - a_next).sqrt() * eps(moved)

    target = regularised(edited, plain) if regularise else edited
    latent = calibrated(x, plain, edited, target, omega)
    again = latent - SIGMA * eps(latent * a.sqrt())
    ours = asymmetric_step(latent, again, again, SIGMA, NEXT)
    torch.testing.assert_close(ours * a_next.sqrt(), expected, rtol=1e-10, atol=1e-10)


# Schedules


@pytest.mark.parametrize(("steps", "count"), [(10, 6), (20, 12), (30, 18), (40, 24), (50, 30), (100, 30), (500, 30), (1000, 30)])
def test_thirty_injections_at_most_however_many_steps(steps, count):
    timesteps = torch.linspace(999, 0, steps).int()
    chosen = on_grid(timesteps)
    assert int((chosen & (timesteps >= 400)).sum()) == count
    assert int(chosen.sum()) == min(steps, 50)


def test_the_grid_is_fifty_timesteps_from_end_to_end_and_of_as_many_all_count():
    assert tuple(torch.linspace(0, 999, 50, dtype=torch.float64).int().tolist()) == GRID
    assert on_grid(torch.arange(949, 899, -1)).all()


@pytest.mark.parametrize(("injections", "gamma"), [(30, 0.3), (18, 0.45), (12, 0.59), (8, 0.7), (4, 0.7)])
def test_fewer_injections_get_a_larger_gamma_up_to_a_limit(injections, gamma):
    assert adapted_gamma(0.3, injections) == pytest.approx(gamma, abs=0.005)
    assert adapted_gamma(0.9, injections) == 0.9 and adapted_gamma(0.3, 60) < 0.3


@pytest.mark.parametrize("course", COURSES)
@pytest.mark.parametrize("count", [1, 2, 7, 30])
def test_every_course_leaves_the_same_share_of_the_original(course, count):
    left = math.prod(1 - gamma for gamma in gammas(0.3, count, course))
    assert left == pytest.approx(0.7**count)
    assert len(gammas(0.3, count, course)) == count and gammas(0.0, count, course) == [0.0] * count


def test_courses_go_where_they_say():
    down, up, cosine = (gammas(0.3, 5, course) for course in ("decreasing", "increasing", "cosine"))
    assert sorted(down, reverse=True) == down and sorted(up) == up and sorted(cosine, reverse=True) == cosine
    assert gammas(0.3, 2, "decreasing") == pytest.approx([1 - 0.7**2, 0]) and gammas(0.3, 1, "decreasing") == [0.3]
    assert down == pytest.approx(up[::-1]) and gammas(0.3, 5) == pytest.approx([0.3] * 5)


@pytest.mark.parametrize(("timestep", "sigma"), [(400, 2.04), (200, 0.72)])
def test_the_papers_noise_levels(timestep, sigma):
    assert pixel_sigma(timestep) == pytest.approx(sigma, abs=0.005)
    alphas = DDIMScheduler(beta_schedule="linear").alphas_cumprod.double()
    sigmas = ((1 - alphas) / alphas).sqrt()
    assert pixel_sigma(timestep) == pytest.approx(float(sigmas[timestep]), rel=1e-4)
    assert pixel_sigma(timestep + 0.5) == pytest.approx(float((sigmas[timestep] * sigmas[timestep + 1]).sqrt()), rel=1e-6)
    noisiest = float((1 - torch.linspace(1e-4, 2e-2, 1000, dtype=torch.float64)).prod())
    assert pixel_sigma(999) == pytest.approx(((1 - noisiest) / noisiest) ** 0.5, rel=1e-9)
