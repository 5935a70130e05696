"""Perceptual losses: their gradients against finite differences in float64, LPIPS against its formula written out."""

import pytest
import torch
from graft.optimization import perceptual
from graft.optimization.perceptual import LatentLoss, PictureLoss, Region, feature_distance, normalised
from torch import Tensor, nn

torch.manual_seed(0)
DECODER = nn.Sequential(nn.ConvTranspose2d(2, 6, 4, 2, 1), nn.Tanh(), nn.Conv2d(6, 3, 3, padding=1)).double().requires_grad_(False)
FIRST, SECOND = (nn.Conv2d(3, 5, 3, padding=1).double(), nn.Conv2d(5, 7, 3, 2, 1).double())


def features(picture: Tensor):
    hidden = torch.tanh(FIRST.requires_grad_(False)(picture))
    yield hidden
    yield torch.tanh(SECOND.requires_grad_(False)(hidden))


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


SOURCE, LATENT = normal(1, 3, 2, 4, 4), normal(2, 3, 2, 4, 4)
LEFT = torch.zeros(1, 1, 8, 8, dtype=torch.float64)
LEFT[..., :4] = 1
REGIONS = [Region(LEFT, 0.3), Region(1 - LEFT, 0.1)]
WEIGHTS = [normal(3, 5).abs(), normal(4, 7).abs()]


def differences(value, latent: Tensor, step: float = 1e-6) -> Tensor:
    """Central finite differences of a loss (B,)."""
    result = torch.zeros_like(latent)
    for index in range(latent[0].numel()):
        push = torch.zeros_like(latent).flatten(1)
        push[:, index] = step
        push = push.view_as(latent)
        result.flatten(1)[:, index] = (value(latent + push) - value(latent - push)) / (2 * step)
    return result


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "LPIPS"])
def test_the_gradient_is_that_of_the_loss(weights):
    loss = PictureLoss(DECODER, features, SOURCE, REGIONS, weights)
    expected = differences(loss.value, LATENT)
    torch.testing.assert_close(loss.gradient(LATENT), expected, rtol=1e-5, atol=1e-9)
    assert float(expected.abs().max()) > 1e-3


def test_it_is_the_articles_sum_over_masked_pictures():
    """lambda * L_per(I_s x M, I_t x M), every part of LPIPS in its own loop."""
    expected = torch.zeros(3, dtype=torch.float64)
    for mask, weight in ((LEFT, 0.3), (1 - LEFT, 0.1)):
        ours, theirs = (list(features(DECODER(z) * mask)) for z in (LATENT, SOURCE))
        for own, other, channels in zip(ours, theirs, WEIGHTS, strict=True):
            for y in range(own.shape[2]):
                for x in range(own.shape[3]):
                    units = [part[:, :, y, x] / part[:, :, y, x].norm(dim=1, keepdim=True) for part in (own, other)]
                    expected += weight * (channels * (units[0] - units[1]) ** 2).sum(dim=1) / own[0, 0].numel()
    torch.testing.assert_close(PictureLoss(DECODER, features, SOURCE, REGIONS, WEIGHTS).value(LATENT), expected, rtol=1e-5, atol=0)


def test_a_place_outside_every_mask_has_no_gradient_and_the_source_has_none_at_all():
    loss = PictureLoss(DECODER, features, SOURCE, [Region(LEFT, 1.0)])
    gradient = loss.gradient(LATENT)
    assert bool(gradient[..., :2].any()) and not bool(gradient[..., 3].any())
    assert float(loss.value(SOURCE).abs().max()) == float(loss.gradient(SOURCE).abs().max()) == 0


def test_features_without_a_length_have_a_gradient():
    """A unit vector of zero length: ReLU networks have them wherever nothing is seen."""
    zero = torch.zeros(1, 4, 2, 2, requires_grad=True)
    feature_distance([zero], [normalised(torch.ones(1, 4, 2, 2))]).sum().backward()
    assert bool(zero.grad.isfinite().all())


def test_half_precision_features_are_compared_in_float32():
    assert normalised(torch.full((1, 512, 2, 2), 200.0, dtype=torch.float16)).sum(dim=1).isfinite().all()


def test_many_pictures_are_taken_a_few_at_a_time_to_the_same_result(monkeypatch):
    regions = [Region(LEFT.expand(3, -1, -1, -1), 0.3), Region(1 - LEFT, 0.1)]
    whole = PictureLoss(DECODER, features, SOURCE, regions)
    for pixels, parts in ((2 * 64, [2, 1]), (10, [1, 1, 1])):
        monkeypatch.setattr(perceptual, "PIXELS_AT_ONCE", pixels)
        shown = []
        split = PictureLoss(lambda z, shown=shown: shown.append(len(z)) or DECODER(z), features, SOURCE, regions)
        torch.testing.assert_close(split.gradient(LATENT), whole.gradient(LATENT))
        assert shown == 2 * parts


def test_unless_told_otherwise_they_count_in_every_iteration():
    assert PictureLoss(DECODER, features, SOURCE, REGIONS).every == LatentLoss(SOURCE, REGIONS).every == 1


def test_it_works_in_inference_mode_with_inference_tensors():
    with torch.inference_mode():
        loss = PictureLoss(DECODER, features, SOURCE.clone(), REGIONS)
        inside = loss.gradient(LATENT.clone())
    assert torch.equal(inside, PictureLoss(DECODER, features, SOURCE, REGIONS).gradient(LATENT))


def test_the_features_activations_are_gone_when_the_decoders_gradient_is_computed():
    """What autograd keeps for the features is not alive in the decoder's backward pass."""
    alive, at_decoder = set(), []

    class Watched(torch.autograd.Function):
        @staticmethod
        def forward(ctx, picture):
            kept = picture.clone()
            ctx.save_for_backward(kept)
            alive.add(kept.data_ptr())
            return picture.clone()

        @staticmethod
        def backward(ctx, gradient):
            (kept,) = ctx.saved_tensors
            alive.discard(kept.data_ptr())
            return gradient

    class Noting(torch.autograd.Function):
        @staticmethod
        def forward(ctx, latent):
            return latent.clone()

        @staticmethod
        def backward(ctx, gradient):
            at_decoder.append(len(alive))
            return gradient

    def watched(picture):
        for feature in features(picture):
            yield Watched.apply(feature) if feature.requires_grad else feature

    PictureLoss(lambda z: DECODER(Noting.apply(z)), watched, SOURCE, REGIONS).gradient(LATENT)
    assert at_decoder == [0]


def test_the_latent_stand_in_is_a_weighted_square():
    regions = [Region(LEFT[..., ::2, ::2], 0.3), Region(1 - LEFT[..., ::2, ::2], 0.1)]

    def value(z: Tensor) -> Tensor:
        squares = (z - SOURCE).square().sum(dim=1, keepdim=True)
        return sum(region.weight * (region.mask * squares).mean(dim=(1, 2, 3)) for region in regions)

    gradient = LatentLoss(SOURCE, regions).gradient(LATENT)
    torch.testing.assert_close(gradient, differences(value, LATENT), rtol=1e-5, atol=1e-8)
    film = LatentLoss(SOURCE[:, :, None], [Region(region.mask[:, :, None], region.weight) for region in regions])
    assert torch.equal(film.gradient(LATENT[:, :, None]), gradient[:, :, None])
