"""Delta Denoising Score against its equation, on a network whose outputs are known, and the descent against torch.optim."""

import pytest
import torch
from graft.optimization.dds import dds_gradient, score_difference
from graft.optimization.descent import RELEASED_CELLS, RELEASED_FACTOR, Descent, Plateau, descend
from torch import Tensor


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


Z_T, Z_S, NOISE = normal(1, 2, 3, 4, 5), normal(2, 2, 3, 4, 5), normal(3, 2, 3, 4, 5)
PROMPTS = {"positive": 0.7, "source": -0.4, "negative": 0.1}
GUIDANCE = 7.5


def network(x: Tensor, prompt: str) -> Tensor:
    """An output that depends on the prompt and is not linear in x."""
    return torch.tanh(1.3 * x.roll(1, -1) + PROMPTS[prompt]) - 0.2 * x


def released(kind: str, abar: float) -> Tensor:
    """The released code's G = eps_t - eps_s on DDPM's x = sqrt(abar) z + sqrt(1 - abar) n, guidance on eps."""
    a, b = abar**0.5, (1 - abar) ** 0.5

    def eps(z: Tensor, prompt: str) -> Tensor:
        x = a * z + b * NOISE
        guided = []
        for text in ("negative", prompt):
            output = network(x, text)
            guided.append(a * output + b * x if kind == "v" else output)
        return guided[0] + GUIDANCE * (guided[1] - guided[0])

    return eps(Z_T, "positive") - eps(Z_S, "source")


def from_predictions(kind: str, abar: float) -> Tensor:
    """The same from the host's clean predictions on x = z + sigma n, guidance on those."""
    a, b = abar**0.5, (1 - abar) ** 0.5
    sigma = b / a

    def denoised(z: Tensor, prompt: str) -> Tensor:
        x = z + sigma * NOISE
        guided = []
        for text in ("negative", prompt):
            output = network(x * a, text)
            guided.append(a * (x * a) - b * output if kind == "v" else x - sigma * output)
        return guided[0] + GUIDANCE * (guided[1] - guided[0])

    return score_difference(Z_T, Z_S, denoised(Z_T, "positive"), denoised(Z_S, "source"), 1.0, sigma)


@pytest.mark.parametrize("kind", ["eps", "v"])
@pytest.mark.parametrize("abar", [0.99, 0.5, 0.02])
def test_the_direction_is_the_released_codes(kind, abar):
    torch.testing.assert_close(from_predictions(kind, abar), released(kind, abar), rtol=1e-9, atol=1e-9)


def test_a_flow_models_direction_is_that_of_the_noise_it_predicts():
    """x = (1 - s) z + s n, velocity v = n - z: n is predicted as x + (1 - s) v, z as x - s v."""
    s = 0.35
    rows = [((1 - s) * z + s * NOISE, prompt) for z, prompt in ((Z_T, "positive"), (Z_S, "source"))]
    velocities = [network(x, prompt) for x, prompt in rows]
    noises = [x + (1 - s) * v for (x, _), v in zip(rows, velocities, strict=True)]
    clean = [x - s * v for (x, _), v in zip(rows, velocities, strict=True)]
    torch.testing.assert_close(score_difference(Z_T, Z_S, *clean, 1 - s, s), noises[0] - noises[1], rtol=1e-9, atol=1e-9)


def test_rows_that_agree_have_no_direction():
    assert not score_difference(Z_T, Z_T, NOISE, NOISE, 0.8, 0.6).any()


def test_the_gradient_is_that_of_the_loss():
    """L = scale * sum(z * w * stopgrad(G)) / (h w), over channels and pictures; w is 0.2 outside a mask."""
    weights = torch.where(normal(4, 1, 1, 4, 5) > 0, 1.0, 0.2).double()
    z = Z_T.clone().requires_grad_()
    (10.0 * (z * weights * NOISE).sum() / (4 * 5)).backward()
    torch.testing.assert_close(dds_gradient(NOISE, weights, 10.0), z.grad)
    # A film of one frame, as some families take a picture for, has as many cells.
    torch.testing.assert_close(dds_gradient(NOISE[:, :, None], weights[:, :, None], 10.0), z.grad[:, :, None])


# The descent


def gradients(z: Tensor, iteration: int) -> Tensor:
    return torch.sin(z * (iteration + 1)) + 0.1 * normal(50 + iteration, *z.shape)


@pytest.mark.parametrize("rule", ["adam", "sgd"])
def test_steps_are_torchs_own_on_the_given_gradient(rule):
    """Against torch.optim with the loss that has that gradient; SGD's step at 64 x 64 is the released 0.1 * 2000."""
    side = 8 if rule == "adam" else 64
    start = normal(5, 1, 2, side, side)
    z = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([z], lr=5e-2) if rule == "adam" else torch.optim.SGD([z], lr=1e-4)
    for iteration in range(6):
        optimizer.zero_grad()
        loss = (z * gradients(z.detach(), iteration)).sum() * (1 if rule == "adam" else RELEASED_FACTOR)
        loss.backward()
        optimizer.step()
    seen = []
    ours = descend(start, Descent(rule, 5e-2 if rule == "adam" else 1e-4), 6, gradients, lambda latent, index: seen.append(index))
    torch.testing.assert_close(ours, z.detach())
    assert seen == list(range(6))


def test_sgd_moves_a_cell_alike_whatever_the_size_of_the_picture():
    """The loss per cell has a gradient G / (h w). Of a film of one frame as well."""
    moved = []
    for shape in ((16, 16), (64, 64), (16, 64), (1, 16, 64)):
        start = torch.zeros(1, 1, *shape, dtype=torch.float64)
        end = descend(start, Descent("sgd", 0.1), 1, lambda z, _: dds_gradient(torch.ones_like(z), 1.0, 1.0), lambda *_: None)
        moved.append(float(end.flatten()[0]))
    assert moved == pytest.approx([-0.1 * 2000 / RELEASED_CELLS] * 4)


def test_the_start_is_left_as_it_was_and_inference_mode_does_not_matter():
    start = normal(5, 1, 2, 4, 4)
    before = start.clone()
    outside = descend(start, Descent(), 5, gradients, lambda *_: None)
    with torch.inference_mode():
        inside = descend(start.clone(), Descent(), 5, gradients, lambda *_: None)
    assert torch.equal(start, before) and torch.equal(inside, outside)


def test_a_latent_that_has_settled_ends_the_descent_and_one_on_its_way_does_not():
    """Towards 1, half the way each step; and at constant speed."""
    counted = []
    start = torch.zeros(1, 1, 2, 2)
    descend(
        start, Descent("sgd", 0.5 / RELEASED_FACTOR * RELEASED_CELLS / 4), 500, lambda z, _: z - 1, lambda _, i: counted.append(i), 0.01
    )
    assert counted[-1] == 2 * 20 + 20 - 1
    counted.clear()
    descend(start, Descent(), 100, lambda z, _: -torch.ones_like(z), lambda _, i: counted.append(i), 0.01)
    assert counted[-1] == 99


@pytest.mark.parametrize("tolerance", [0.05, 0.5, 1.0])
def test_means_of_windows_tell_when_a_latent_has_settled(tolerance):
    """Written out: m_k is the mean of window k; |m_k - m_(k-1)| < tolerance |m_k - start|."""
    start, window = 10 + normal(60, 1, 2, 2, 2), 3
    course = [start + 3 * (1 - 0.8**index) + 0.02 * normal(61 + index, 1, 2, 2, 2) for index in range(1, 31)]
    means = [sum(course[at : at + window]) / window for at in range(0, 30, window)]
    ends = [at for at in range(1, 10) if (means[at] - means[at - 1]).norm() < tolerance * (means[at] - start).norm()]
    plateau = Plateau(start, tolerance, window)
    assert [index for index, latent in enumerate(course) if plateau.reached(latent)] == [window * at + window - 1 for at in ends]
    assert len(ends) == {0.05: 6, 0.5: 9, 1.0: 9}[tolerance]


@pytest.mark.parametrize("tolerance", [0.0, 0.5])
def test_what_has_not_moved_has_not_settled(tolerance):
    still = Plateau(torch.zeros(1), tolerance)
    assert not any(still.reached(torch.zeros(1)) for _ in range(200))


def test_without_a_tolerance_nothing_settles():
    still = Plateau(torch.zeros(1), 0.0)
    assert not any(still.reached(torch.ones(1)) for _ in range(200))
    counted = []
    descend(torch.zeros(1, 1, 2, 2), Descent(), 100, lambda z, _: torch.ones_like(z), lambda _, i: counted.append(i))
    assert len(counted) == 100


def test_unless_told_otherwise_it_is_adam_as_in_the_article():
    optimizer = Descent().optimizer(torch.zeros(1))
    assert isinstance(optimizer, torch.optim.Adam) and optimizer.param_groups[0]["lr"] == 0.05
