"""FlowEdit's and Delta Velocity's directions against their equations, and the bridge between them, on flows in closed form."""

from itertools import pairwise

import pytest
import torch
from graft.optimization.dds import score_difference
from graft.optimization.flow_edit import shifted, velocity_difference

GENERATOR = torch.Generator().manual_seed(0)
Z, X, NOISE = (torch.randn(2, 4, 3, 5, generator=GENERATOR, dtype=torch.float64) for _ in range(3))
LEVELS = [0.05, 0.5, 0.95, 1.0]
SOURCE_MEAN, TARGET_MEAN, SPREAD = -0.3, 0.8, 0.5


def noised(picture: torch.Tensor, sigma: float) -> torch.Tensor:
    return (1 - sigma) * picture + sigma * NOISE


def denoised(x: torch.Tensor, sigma: float, mean: float) -> torch.Tensor:
    """What the best model predicts where pictures under a prompt are N(mean, SPREAD^2)."""
    share = (1 - sigma) * SPREAD**2 / (((1 - sigma) * SPREAD) ** 2 + sigma**2)
    return mean + share * (x - (1 - sigma) * mean)


def velocity(x: torch.Tensor, sigma: float, mean: float) -> torch.Tensor:
    return (x - denoised(x, sigma, mean)) / sigma


def direction(sigma: float, shift: float) -> torch.Tensor:
    shown = shifted(noised(Z, sigma), Z, X, sigma, shift), noised(X, sigma)
    predictions = denoised(shown[0], sigma, TARGET_MEAN), denoised(shown[1], sigma, SOURCE_MEAN)
    return velocity_difference(Z, X, shown, predictions, sigma, shift)


@pytest.mark.parametrize("sigma", LEVELS)
def test_full_shift_is_flowedits_update(sigma):
    """V(z + x_t - x, target) - V(x_t, source)."""
    x_t = noised(X, sigma)
    expected = velocity(Z + x_t - X, sigma, TARGET_MEAN) - velocity(x_t, sigma, SOURCE_MEAN)
    torch.testing.assert_close(direction(sigma, 1.0), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("sigma", LEVELS[:-1])
def test_no_shift_is_delta_denoising_score(sigma):
    """That which Optimize Latent descends, over alpha = 1 - t."""
    predictions = denoised(noised(Z, sigma), sigma, TARGET_MEAN), denoised(noised(X, sigma), sigma, SOURCE_MEAN)
    expected = score_difference(Z, X, *predictions, 1 - sigma, sigma)
    torch.testing.assert_close((1 - sigma) * direction(sigma, 0.0), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shift", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("sigma", LEVELS)
def test_a_shift_between_follows_the_shifted_path(sigma, shift):
    """z_t + shift t (z - x), whose own velocity e - z + shift (z - x) is taken off, as e - x is of the source's."""
    x_t, z_t = noised(X, sigma), noised(Z, sigma) + shift * sigma * (Z - X)
    beyond = velocity(z_t, sigma, TARGET_MEAN) - (NOISE - Z + shift * (Z - X))
    source_beyond = velocity(x_t, sigma, SOURCE_MEAN) - (NOISE - X)
    torch.testing.assert_close(direction(sigma, shift), beyond - source_beyond, rtol=1e-9, atol=1e-9)


def test_small_steps_carry_pictures_from_one_prompts_distribution_to_the_others():
    """Of two normal distributions of one spread that is a move by their difference, whatever the noise."""
    picture = SOURCE_MEAN + SPREAD * torch.randn(1, 1, 40, 40, generator=GENERATOR, dtype=torch.float64)
    z, levels = picture.clone(), torch.linspace(1, 0, 201, dtype=torch.float64).tolist()
    for sigma, sigma_next in pairwise(levels):
        e = torch.randn(picture.shape, generator=GENERATOR, dtype=torch.float64)
        x_t = (1 - sigma) * picture + sigma * e
        shown = shifted((1 - sigma) * z + sigma * e, z, picture, sigma, 1.0), x_t
        predictions = denoised(shown[0], sigma, TARGET_MEAN), denoised(x_t, sigma, SOURCE_MEAN)
        z = z + (sigma_next - sigma) * velocity_difference(z, picture, shown, predictions, sigma, 1.0)
    torch.testing.assert_close(z - picture, torch.full_like(z, TARGET_MEAN - SOURCE_MEAN), rtol=0, atol=0.02)
