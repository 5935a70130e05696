"""Solvers against diffusers' schedulers, closed forms and their own inverses."""

import math

import pytest
import torch
from diffusers import DDIMInverseScheduler, DDIMScheduler, DPMSolverMultistepScheduler
from graft.inversion.solvers import (
    SOLVERS,
    Prediction,
    Step,
    ddim_step,
    dpmpp_2m,
    dpmpp_prediction,
    dpmpp_step,
    invert,
    invert_ddim,
    looks_back,
    noise_prediction,
    sample,
    sample_ddim,
)  # fmt: skip
from hypothesis import given, settings
from hypothesis import strategies as st

SCHEDULE = {"num_train_timesteps": 1000, "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
PREDICTIONS = ["epsilon", "v_prediction"]
START = torch.randn(2, 4, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class Network:
    """A smooth nonlinear stand-in for a UNet: (x in the variance-preserving scale, timestep) -> eps or v."""

    def __init__(self, prediction: str) -> None:
        self.prediction = prediction
        self.mix = torch.randn(4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 0.4
        self.asked: list[tuple[torch.Tensor, int]] = []

    def __call__(self, x_vp: torch.Tensor, timestep: int) -> torch.Tensor:
        self.asked.append((x_vp, timestep))
        return torch.tanh(torch.einsum("oc,bchw->bohw", self.mix, x_vp) + math.cos(timestep / 300))

    def denoiser(self, timesteps: dict[float, int]):
        """The same network as a solver sees it. `timesteps` names the timestep of every sigma."""

        def denoise(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
            alpha_bar = 1 / (1 + sigma**2)
            x_vp = x * alpha_bar.sqrt()
            output = self(x_vp, timesteps[float(sigma)])
            if self.prediction == "epsilon":
                return (x_vp - (1 - alpha_bar).sqrt() * output) / alpha_bar.sqrt()
            return alpha_bar.sqrt() * x_vp - (1 - alpha_bar).sqrt() * output

        return denoise


def sigma_of(alpha_bar: torch.Tensor) -> torch.Tensor:
    return ((1 - alpha_bar) / alpha_bar).sqrt()


def in_double(scheduler):
    """diffusers keeps its schedule in float32; in float64 agreement can be asked for to many digits."""
    betas = torch.linspace(SCHEDULE["beta_start"] ** 0.5, SCHEDULE["beta_end"] ** 0.5, 1000, dtype=torch.float64) ** 2
    scheduler.alphas_cumprod = torch.cumprod(1 - betas, 0)
    for name in ("final_alpha_cumprod", "initial_alpha_cumprod"):
        if hasattr(scheduler, name):
            setattr(scheduler, name, scheduler.alphas_cumprod[0])
    return scheduler


def to_vp(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    return x / (1 + sigma**2).sqrt()


class Passed:
    """An after-step hook that keeps every latent, in the variance-preserving scale, and every step."""

    def __init__(self) -> None:
        self.latents: list[torch.Tensor] = []
        self.steps: list[Step] = []

    def __call__(self, x: torch.Tensor, step: Step) -> torch.Tensor:
        self.latents.append(to_vp(x, step.sigma_next))
        self.steps.append(step)
        return x


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_ddim_takes_every_step_of_diffusers_ddim(prediction):
    scheduler = in_double(DDIMScheduler(**SCHEDULE, clip_sample=False, set_alpha_to_one=False, steps_offset=1, prediction_type=prediction))
    scheduler.set_timesteps(10)
    network, x_vp, expected = Network(prediction), START, []
    for timestep in scheduler.timesteps:
        x_vp = scheduler.step(network(x_vp, int(timestep)), timestep, x_vp).prev_sample
        expected.append(x_vp)

    sigmas = sigma_of(torch.cat([scheduler.alphas_cumprod[scheduler.timesteps], scheduler.alphas_cumprod[:1]]))
    timesteps = dict(zip(sigmas.tolist(), scheduler.timesteps.tolist(), strict=False))
    passed = Passed()
    sample_ddim(network.denoiser(timesteps), START * (1 + sigmas[0] ** 2).sqrt(), sigmas, passed)
    torch.testing.assert_close(passed.latents, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_ddim_inversion_takes_every_step_of_diffusers_inverse_ddim(prediction):
    """For v, diffusers reads the noise out of v at the latent's level; here it is read at the level the network was
    asked about, as the fixed point needs. So the oracle is fed with that noise."""
    scheduler = in_double(DDIMInverseScheduler(**SCHEDULE, clip_sample=False, set_alpha_to_one=False, steps_offset=1))
    scheduler.set_timesteps(10)
    network, x_vp, expected = Network(prediction), START, []
    for timestep in scheduler.timesteps:
        output, alpha_bar = network(x_vp, int(timestep)), scheduler.alphas_cumprod[timestep]
        noise = output if prediction == "epsilon" else alpha_bar.sqrt() * output + (1 - alpha_bar).sqrt() * x_vp
        x_vp = scheduler.step(noise, timestep, x_vp).prev_sample
        expected.append(x_vp)
    asked = network.asked.copy()

    sigmas = sigma_of(torch.cat([scheduler.alphas_cumprod[:1], scheduler.alphas_cumprod[scheduler.timesteps]]))
    timesteps = dict(zip(sigmas[1:].tolist(), scheduler.timesteps.tolist(), strict=True))
    network.asked.clear()
    passed = Passed()
    invert_ddim(network.denoiser(timesteps), START * (1 + sigmas[0] ** 2).sqrt(), sigmas, passed)
    torch.testing.assert_close(passed.latents, expected, rtol=1e-9, atol=1e-9)
    for (seen, label), (seen_by_oracle, label_of_oracle) in zip(network.asked, asked, strict=True):
        assert label == label_of_oracle
        torch.testing.assert_close(seen, seen_by_oracle, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("steps", [5, 20])
@pytest.mark.filterwarnings("ignore:__array__ implementation")
def test_dpmpp_2m_takes_every_step_of_diffusers_dpm_solver(prediction, steps):
    scheduler = DPMSolverMultistepScheduler(
        **SCHEDULE,
        prediction_type=prediction,
        solver_order=2,
        lower_order_final=False,
        final_sigmas_type="zero",
        timestep_spacing="leading",
    )
    alphas_bar = in_double(scheduler).alphas_cumprod
    scheduler.set_timesteps(steps)
    sigmas = torch.cat([sigma_of(alphas_bar[scheduler.timesteps]), torch.zeros(1, dtype=torch.float64)])
    scheduler.sigmas = sigmas
    network, x_vp, expected = Network(prediction), START, []
    for timestep in scheduler.timesteps:
        x_vp = scheduler.step(network(x_vp, int(timestep)), timestep, x_vp).prev_sample
        expected.append(x_vp)

    timesteps = dict(zip(sigmas.tolist(), scheduler.timesteps.tolist(), strict=False))
    passed = Passed()
    dpmpp_2m(network.denoiser(timesteps), START * (1 + sigmas[0] ** 2).sqrt(), sigmas, passed)
    for latent, theirs in zip(passed.latents, expected, strict=True):
        torch.testing.assert_close(latent, theirs.double(), rtol=2e-6, atol=2e-6)  # their step computes in float32


@pytest.mark.parametrize("steps", [2, 5, 9, 10, 20])
@pytest.mark.parametrize("direction", [sample, invert])
def test_dpmpp_2m_ends_with_a_step_of_first_order_below_ten_steps(direction, steps):
    """The authors' multistep formula written out in the variance-preserving scale (Lu et al. 2022, Algorithm 2, and their `lower_order_final`)."""
    sigmas = torch.logspace(-1.5, 1.1, steps + 1, dtype=torch.float64)
    sigmas, denoise = sigmas.flip(0) if direction is sample else sigmas, contractive(0.5)
    alphas = 1 / (1 + sigmas**2).sqrt()
    noises, lambdas = alphas * sigmas, -sigmas.log()
    x, seen = START * alphas[0], []
    for s, t in zip(range(steps), range(1, steps + 1), strict=True):
        seen.append(denoise(x / alphas[s], sigmas[s]))
        h, target = lambdas[t] - lambdas[s], seen[s]
        if s > 0 and (steps >= 10 or t < steps):
            target = seen[s] + h / (2 * (lambdas[s] - lambdas[s - 1])) * (seen[s] - seen[s - 1])
        x = noises[t] / noises[s] * x - alphas[t] * torch.expm1(-h) * target
    torch.testing.assert_close(direction("dpmpp_2m", denoise, START, sigmas), x / alphas[-1], rtol=1e-9, atol=1e-9)


def contractive(strength: float):
    """A denoiser whose noise changes less than the latent does, so that the fixed point exists and is found."""

    def denoise(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        return x - sigma * torch.sin(strength * to_vp(x, sigma) + 1)

    return denoise


@given(st.floats(0, 6), st.floats(0.05, 3), st.floats(0.1, 0.6), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_fixed_point_inversion_is_undone_by_one_ddim_step(sigma, rise, strength, seed):
    x = torch.randn(1, 2, 3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    sigmas, denoise = torch.tensor([sigma, sigma + rise], dtype=torch.float64), contractive(strength)

    def distance(iterations: int) -> float:
        noisy = invert_ddim(denoise, x, sigmas, iterations=iterations)
        back = ddim_step(noisy, noise_prediction(noisy, denoise(noisy, sigmas[1]), sigmas[1]), sigmas[1], sigmas[0])
        return float((back - x).abs().max())

    assert distance(60) < 1e-9
    assert distance(3) <= distance(1) + 1e-12


def test_fixed_point_round_trip_beats_the_usual_approximation_by_far():
    sigmas, denoise = torch.linspace(0, 8, 9, dtype=torch.float64), contractive(0.6)
    errors = {}
    for iterations in (1, 3, 40):
        noise = invert("ddim", denoise, START, sigmas, iterations=iterations)
        errors[iterations] = float((sample("ddim", denoise, noise, sigmas.flip(0)) - START).abs().max())
    assert errors[1] > 0.05
    assert errors[3] < errors[1] / 8
    assert errors[40] < 1e-9


schedules = st.lists(st.floats(0.03, 2.0), min_size=1, max_size=8).map(
    lambda rises: torch.cumsum(torch.tensor([0.05, *rises], dtype=torch.float64), 0)
)


def test_the_first_step_of_dpmpp_has_nothing_to_look_back_at():
    assert [looks_back(index, 12) for index in range(3)] == [False, True, True] and looks_back(11, 12)
    assert [looks_back(index, 3) for index in range(3)] == [False, True, False]


@pytest.mark.parametrize("second_order", [False, True])
@pytest.mark.parametrize("sigmas", [(5.0, 2.0), (2.0, 5.0), (2.0, 0.0)])
def test_the_prediction_of_a_step_of_dpmpp_is_the_one_it_was_made_with(sigmas, second_order):
    x, denoised, before = (torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) for seed in range(3))
    sigma, sigma_next = torch.tensor(sigmas, dtype=torch.float64)
    last = Prediction(before, torch.tensor(0.7, dtype=torch.float64)) if second_order else None
    x_next = dpmpp_step(x, denoised, sigma, sigma_next, last)
    torch.testing.assert_close(dpmpp_prediction(x, x_next, sigma, sigma_next, last), denoised, rtol=1e-10, atol=1e-10)


@given(schedules, st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_ddim_retraces_straight_paths_exactly_in_both_directions(sigmas, iterations):
    """Where the noise is the same everywhere the paths are straight lines: closed form x + (sigma' - sigma) * noise."""
    noise = torch.randn(START.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    there = invert("ddim", lambda x, sigma: x - sigma * noise, START, sigmas, iterations=iterations)
    torch.testing.assert_close(there, START + (sigmas[-1] - sigmas[0]) * noise)
    torch.testing.assert_close(sample("ddim", lambda x, sigma: x - sigma * noise, there, sigmas.flip(0)), START)


@given(schedules)
@settings(max_examples=30, deadline=None)
def test_dpmpp_2m_retraces_paths_to_one_picture_exactly_in_both_directions(sigmas):
    """Where the prediction is the same everywhere the closed form is m + (sigma' / sigma) (x - m)."""
    picture = torch.randn(START.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    there = invert("dpmpp_2m", lambda x, sigma: picture, START, sigmas)
    torch.testing.assert_close(there, picture + sigmas[-1] / sigmas[0] * (START - picture))
    torch.testing.assert_close(sample("dpmpp_2m", lambda x, sigma: picture, there, sigmas.flip(0)), START)


@pytest.mark.parametrize(("solver", "order"), [("ddim", 1), ("dpmpp_2m", 2)])
@pytest.mark.parametrize("direction", [sample, invert])
def test_solvers_converge_to_the_true_path_at_their_order(solver, order, direction):
    """Gaussian pictures of deviation d: x(sigma) = x(s) sqrt((d^2 + sigma^2) / (d^2 + s^2)) solves the flow."""
    deviation, high, low = 0.8, 10.0, 0.1

    def error(steps: int) -> float:
        sigmas = torch.logspace(math.log10(high), math.log10(low), steps + 1, dtype=torch.float64)
        sigmas = sigmas if direction is sample else sigmas.flip(0)
        arrived = direction(solver, lambda x, sigma: x * deviation**2 / (deviation**2 + sigma**2), START, sigmas)
        true = START * ((deviation**2 + sigmas[-1] ** 2) / (deviation**2 + sigmas[0] ** 2)).sqrt()
        return float((arrived / true - 1).abs().max())

    coarse, fine = error(64), error(128)
    assert fine < 0.03
    assert 2**order * 0.85 < coarse / fine < 2**order * 1.25


@pytest.mark.parametrize("solver", ["ddim", "dpmpp_2m"])
def test_inversion_leaves_a_clean_picture_without_dividing_by_its_noise_level(solver):
    sigmas = torch.tensor([0.0, 0.03, 0.5, 3.0, 14.0], dtype=torch.float64)
    passed = Passed()
    invert(solver, contractive(0.5), START, sigmas, passed)
    assert all(bool(latent.isfinite().all()) for latent in passed.latents)
    first = contractive(0.5)(START * (1 + sigmas[1] ** 2).sqrt(), sigmas[1])
    noise = (START * (1 + sigmas[1] ** 2).sqrt() - first) / sigmas[1]
    torch.testing.assert_close(passed.latents[0], to_vp(START + sigmas[1] * noise, sigmas[1]))


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("direction", [sample, invert])
def test_the_model_is_asked_once_per_step(solver, direction):
    sigmas, asked = torch.tensor([0.0, 0.5, 3.0, 14.0], dtype=torch.float64), []

    def denoise(x, sigma):
        asked.append(float(sigma))
        return 0.5 * x

    direction(solver, denoise, START, sigmas.flip(0) if direction is sample else sigmas)
    assert len(asked) == (4 if solver == "midpoint" else 3)  # The midpoint's first step has no velocity from a step before.
    assert min(asked) > 0


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("direction", [sample, invert])
def test_what_the_hook_returns_is_what_the_solver_goes_on_with(solver, direction):
    sigmas = torch.tensor([0.2, 0.5, 3.0, 14.0], dtype=torch.float64)
    sigmas = sigmas.flip(0) if direction is sample else sigmas
    steps = []

    def after_step(x, step):
        steps.append(step)
        return torch.full_like(x, step.index)

    arrived = direction(solver, contractive(0.5), START, sigmas, after_step)
    assert bool((arrived == 2).all())
    assert [step.index for step in steps] == [0, 1, 2]
    assert [float(step.sigma) for step in steps] == sigmas[:-1].tolist()
    assert [float(step.sigma_next) for step in steps] == sigmas[1:].tolist()
    assert torch.equal(steps[0].x, START)
    assert bool((steps[1].x == 0).all()) and bool((steps[2].x == 1).all())
