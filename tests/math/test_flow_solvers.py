"""Solvers on a flow whose every path is known: pictures of a normal distribution, for which the best prediction is linear."""

import math

import pytest
import torch
from graft.inversion.mixing import size
from graft.inversion.solvers import Step, invert, sample
from graft.inversion.trajectory import Trajectory

MEAN, SPREAD = 0.7, 0.4
PICTURES = MEAN + SPREAD * torch.randn(3, 4, 5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def deviation(sigma: float) -> float:
    """Of the noisy latents at a noise level."""
    return math.sqrt(((1 - sigma) * SPREAD) ** 2 + sigma**2)


def denoise(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """E[z | x] for z of N(MEAN, SPREAD^2) and x = (1 - sigma) z + sigma n."""
    share = (1 - sigma) * SPREAD**2 / deviation(float(sigma)) ** 2
    return MEAN + share * (x - (1 - sigma) * MEAN)


def on_path(sigma: float) -> torch.Tensor:
    """Where the exact ODE has the pictures at a noise level: it keeps how many deviations they are away from the mean."""
    return (1 - sigma) * MEAN + deviation(sigma) / SPREAD * (PICTURES - MEAN)


def uniform(steps: int, shift: float = 1.0) -> torch.Tensor:
    even = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    return shift * even / (1 + (shift - 1) * even)


def error(solver: str, steps: int, up: bool) -> float:
    sigmas = uniform(steps)
    if up:
        arrived = invert(solver, denoise, PICTURES, sigmas.flip(0), mixing="flow")
        return float((arrived - on_path(1.0)).abs().max())
    return float((sample(solver, denoise, on_path(1.0), sigmas) - PICTURES).abs().max())


@pytest.mark.parametrize("up", [True, False], ids=["to noise", "to the picture"])
@pytest.mark.parametrize(("solver", "order"), [("ddim", 1), ("midpoint", 2)])
def test_solvers_of_flows_have_their_order(solver, order, up):
    coarse, fine = error(solver, 40, up), error(solver, 80, up)
    assert math.log2(coarse / fine) == pytest.approx(order, abs=0.25)


@pytest.mark.parametrize("up", [True, False], ids=["to noise", "to the picture"])
@pytest.mark.parametrize("solver", ["dpmpp_2m", "midpoint"])
def test_the_second_order_is_far_closer_in_as_many_steps(solver, up):
    assert error(solver, 20, up) < error("ddim", 20, up) / 2


@pytest.mark.parametrize("shift", [1.0, 3.0, 6.0])
def test_the_fixed_point_comes_back_exactly_on_any_schedule(shift):
    sigmas = uniform(8, shift)
    usual, fixed = (invert("ddim", denoise, PICTURES, sigmas.flip(0), iterations=count, mixing="flow") for count in (1, 80))
    back = [sample("ddim", denoise, noise, sigmas) for noise in (usual, fixed)]
    torch.testing.assert_close(back[1], PICTURES, rtol=0, atol=1e-9)
    assert float((back[0] - PICTURES).abs().max()) > 1e-3


def test_the_first_look_at_a_level_is_the_latent_as_it_is():
    """A flow's latents keep their range, so nothing is rescaled before the network sees them at the next level."""
    seen = []

    def look(x, sigma):
        seen.append((x, float(sigma)))
        return denoise(x, sigma)

    passed = [PICTURES]
    invert("ddim", look, PICTURES, uniform(4).flip(0), lambda x, step: passed.append(x) or x, mixing="flow")
    assert [level for _, level in seen] == uniform(4).flip(0)[1:].tolist()
    assert all(torch.equal(shown, latent) for (shown, _), latent in zip(seen, passed, strict=False))


def test_the_midpoint_asks_once_a_step_and_once_more_at_the_first():
    """Of the middles of its steps, where it never meets a noise level of 0."""
    asked = []

    def ask(x, sigma):
        asked.append(float(sigma))
        return denoise(x, sigma)

    sample("midpoint", ask, on_path(1.0), uniform(5))
    middles = ((uniform(5)[1:] + uniform(5)[:-1]) / 2).tolist()
    assert asked == [middles[0], *middles]


def test_the_midpoint_is_the_papers_recursion_written_out():
    """FireFlow: the velocity of the middle before serves as that of the present latent."""
    sigmas = uniform(6)
    velocity = lambda x, t: (x - denoise(x, torch.tensor(t, dtype=torch.float64))) / t  # noqa: E731
    x, before, steps = on_path(1.0), None, []
    for t, t_next in zip(sigmas.tolist(), sigmas.tolist()[1:], strict=False):
        middle = (t + t_next) / 2
        before = velocity(x, middle) if before is None else before
        before = velocity(x + (middle - t) * before, middle)
        x = x + (t_next - t) * before
        steps.append(x)
    ours: list[torch.Tensor] = []

    def keep(x: torch.Tensor, step: Step) -> torch.Tensor:
        ours.append(x)
        return x

    sample("midpoint", denoise, on_path(1.0), sigmas, keep)
    torch.testing.assert_close(torch.stack(ours), torch.stack(steps), rtol=1e-12, atol=1e-12)


def test_flows_keep_the_range_of_pictures_at_every_level():
    sigmas = torch.tensor([1.0, 0.5, 0.0])
    latents = torch.randn(3, 2, 4, 1, 3, 5, generator=torch.Generator().manual_seed(1))
    stored = Trajectory(latents, sigmas, "ddim", "m", "c", mixing="flow")
    assert all(torch.equal(stored.scaled_to_picture(level), latents[level]) for level in range(3))
    assert torch.equal(stored.shown_at(1.0), latents[1])
    assert float(size("flow", 0.5)) == 1 and float(size("added", 3.0)) == pytest.approx(math.sqrt(10))


def test_a_file_keeps_how_picture_and_noise_are_mixed(tmp_path):
    stored = Trajectory(torch.randn(3, 1, 4, 1, 3, 5), torch.tensor([1.0, 0.5, 0.0]), "midpoint", "m", "c", mixing="flow")
    stored.save(tmp_path / "flow.safetensors")
    loaded = Trajectory.load(tmp_path / "flow.safetensors")
    assert loaded.mixing == "flow" and loaded.solver == "midpoint" and torch.equal(loaded.latents, stored.latents)
