"""What is unexpected, on pictures whose best prediction is known in closed form."""

import torch
from graft.optimization.unnaturalness import heat, strength, unexpected_change, wanted_change
from torch import Tensor

GENERATOR = torch.Generator().manual_seed(0)


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=GENERATOR, dtype=torch.float64)


def mean_changes(latent: Tensor, deviation: Tensor, alpha: float, beta: float, draws: int = 4000):
    """Means over noise of both measures, for the prior z ~ N(0, deviation^2) in every cell, whose best prediction is linear in x."""
    total, unexpected = 0.0, 0.0
    for _ in range(draws):
        noise = normal(*latent.shape)
        x = alpha * latent + beta * noise
        denoised = alpha * deviation**2 / (alpha**2 * deviation**2 + beta**2) * x
        total = total + wanted_change(latent, denoised) / draws
        unexpected = unexpected + unexpected_change(latent, denoised, noise, beta / alpha) / draws
    return total, unexpected


def test_pictures_of_the_prior_are_as_expected_however_uncertain_a_cell_is():
    """On the left the prior is narrow, on the right wide: only the plain change tells them apart. For DDPM's and flow's mixtures."""
    deviation = torch.cat([torch.full((1, 1, 8, 4), 0.1), torch.full((1, 1, 8, 4), 1.0)], dim=-1).double()
    for alpha, beta in ((1.0, 0.8), (0.6, 0.4)):
        latents = normal(64, 4, 8, 8) * deviation
        total, unexpected = (change.mean(dim=(0, 1)) for change in mean_changes(latents, deviation, alpha, beta, 200))
        assert float(total[4:].mean()) > 5 * float(total[:4].mean())
        assert float(unexpected.abs().max()) < 0.15 * float(total[4:].mean())


def test_the_wanted_change_is_the_square_of_what_prediction_and_picture_differ_by():
    latent, denoised = normal(2, 4, 3, 5), normal(2, 4, 3, 5)
    expected = sum((denoised[:, channel] - latent[:, channel]) ** 2 for channel in range(4))
    torch.testing.assert_close(wanted_change(latent, denoised), expected)


def test_a_change_that_is_the_same_everywhere_is_so_at_the_border_too():
    assert torch.equal(strength(torch.full((1, 4, 4), 4.0)), torch.full((1, 4, 4), 2.0))


def test_what_the_prior_does_not_know_is_unexpected():
    """A cell three deviations off: by what the mean prediction would move it, less what it moves by chance."""
    deviation, alpha, beta = torch.tensor(1.0).double(), 1.0, 0.5
    latent = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
    latent[..., 2, 2] = 3.0
    _, unexpected = mean_changes(latent, deviation, alpha, beta)
    shrink = beta**2 / (1 + beta**2)
    # r = -shrink z + (1 - shrink) beta n; its mean product with beta n is (1 - shrink) beta^2.
    expected = shrink**2 * latent[:, 0] ** 2 + (1 - shrink) ** 2 * beta**2 - (1 - shrink) * beta**2
    torch.testing.assert_close(unexpected, expected, rtol=0, atol=0.03)
    assert float(unexpected[0, 2, 2]) > 0 and float(unexpected[0, 0, 0]) < 0


def test_strength_is_never_imaginary_and_heat_ends_at_one():
    change = torch.zeros(1, 8, 8)
    change[0, 4, 4], change[0, 0, 0] = 9.0, -9.0
    shown = strength(change)
    assert float(shown.min()) == 0 and float(shown[0, 4, 4]) == 1.0
    latent = torch.zeros(1, 2, 8, 8)
    latent[..., :4] = 1.0
    assert float(heat(shown, latent).max()) == 1.0
    torch.testing.assert_close(heat(shown / 2, latent)[0, 4, 4], torch.tensor(0.5 / (2 * 0.25) ** 0.5))
