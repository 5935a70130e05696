"""Which latents a stream shows the model: those of a noise level, or those that the inversion showed it there."""

import pytest
import torch
from graft.inversion.solvers import invert_ddim
from graft.inversion.trajectory import Trajectory

SIGMAS = torch.tensor([14.6, 7.0, 2.5, 0.9, 0.2, 0.0], dtype=torch.float64)


def inverted(iterations: int = 1) -> tuple[Trajectory, dict[float, torch.Tensor]]:
    """A trajectory of plain DDIM inversion, and what the model was shown at every noise level."""
    picture = torch.randn(2, 4, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    shown, latents = {}, [picture]

    def denoise(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        shown[float(sigma)] = x.clone()
        return torch.tanh(x / (1 + sigma)) + 0.1 * x.roll(1, dims=-1)

    def keep(x, step):
        latents.append(x)
        return x

    invert_ddim(denoise, picture, SIGMAS.flip(0), keep, iterations)
    return Trajectory(torch.stack(latents[::-1]), SIGMAS, "ddim", "m", "c"), shown


def test_what_the_inversion_showed_is_shown_again():
    """The latent of one level with the label of the next noisier one."""
    trajectory, shown = inverted()
    assert sorted(shown) == sorted(SIGMAS[:-1].tolist())
    for sigma, x in shown.items():
        torch.testing.assert_close(trajectory.shown_at(sigma), x, rtol=1e-12, atol=1e-12)


def test_it_is_not_the_latent_of_that_level():
    trajectory, shown = inverted()
    for sigma, x in shown.items():
        assert float((trajectory.at(sigma) - x).abs().max()) > 0.01


@pytest.mark.parametrize("nudge", [1 - 2e-5, 1 + 2e-5])
def test_a_level_off_by_rounding_is_the_stored_one(nudge):
    trajectory, shown = inverted()
    for sigma, x in shown.items():
        torch.testing.assert_close(trajectory.shown_at(sigma * nudge), x, rtol=1e-4, atol=1e-4)


def test_between_two_levels_the_lower_one_is_rescaled():
    trajectory, _ = inverted()
    expected = trajectory.latents[3] * ((1 + 1.5**2) / (1 + 0.9**2)) ** 0.5
    torch.testing.assert_close(trajectory.shown_at(1.5), expected)


def test_above_all_levels_the_noisiest_and_below_all_the_last_is_rescaled():
    trajectory, _ = inverted()
    torch.testing.assert_close(trajectory.shown_at(20.0), trajectory.latents[0] * ((1 + 20.0**2) / (1 + 14.6**2)) ** 0.5)
    torch.testing.assert_close(trajectory.shown_at(0.0), trajectory.clean)
    torch.testing.assert_close(trajectory.shown_at(0.1), trajectory.clean * (1 + 0.1**2) ** 0.5)
