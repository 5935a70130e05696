"""What InjectFusion's evaluation measures with: the Fréchet distance and the Gram loss, against closed forms."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from evaluation import injectfusion
from graft.miniature.face_judge import load_face_judge
from graft.miniature.faces import sample_face
from torch import Tensor

MEANS, DEVIATIONS = np.array([1.0, -2.0, 0.5]), np.array([0.5, 1.0, 3.0])
OTHER_MEANS, OTHER_DEVIATIONS = np.array([0.0, 1.0, 0.5]), np.array([2.0, 1.0, 0.25])


def cross(means: np.ndarray, deviations: np.ndarray) -> np.ndarray:
    """(2 D, D): points on the axes around the mean, whose sample covariance is diagonal with exactly these deviations."""
    count = 2 * len(means)
    arms = np.diag(deviations * np.sqrt((count - 1) / 2))
    return means + np.concatenate([arms, -arms])


@pytest.mark.parametrize("turned", [False, True])
def test_frechet_distance_of_diagonal_gaussians_is_its_closed_form(turned):
    """|m - m'|^2 + sum (s - s')^2, whatever the axes are called."""
    some, others = cross(MEANS, DEVIATIONS), cross(OTHER_MEANS, OTHER_DEVIATIONS)
    if turned:
        axes = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
        some, others = some @ axes, others @ axes
    expected = np.square(MEANS - OTHER_MEANS).sum() + np.square(DEVIATIONS - OTHER_DEVIATIONS).sum()
    assert injectfusion.frechet_distance(some, others) == pytest.approx(expected, rel=1e-6)
    assert injectfusion.frechet_distance(others, some) == pytest.approx(expected, rel=1e-6)


def test_frechet_distance_of_covariances_that_do_not_commute():
    """Of two dimensions, where the root of a matrix M has the trace sqrt(tr M + 2 sqrt(det M))."""
    rng = np.random.default_rng(1)
    some, others = (rng.standard_normal((40, 2)) @ rng.standard_normal((2, 2)) for _ in range(2))
    one, other = (np.cov(sample, rowvar=False) for sample in (some, others))
    root = np.sqrt(np.trace(one @ other) + 2 * np.sqrt(np.linalg.det(one @ other)))
    expected = np.square(some.mean(0) - others.mean(0)).sum() + np.trace(one + other) - 2 * root
    assert injectfusion.frechet_distance(some, others) == pytest.approx(expected, rel=1e-6)


def test_frechet_distance_of_a_sample_and_itself_is_0():
    sample = np.random.default_rng(2).standard_normal((64, 8))
    assert injectfusion.frechet_distance(sample, sample) == pytest.approx(0, abs=1e-6)
    assert injectfusion.frechet_distance(sample, sample[::-1]) == pytest.approx(0, abs=1e-6)


def test_a_gram_matrix_by_hand():
    """Channels of 2 x 2 pixels in [-1, 1]: (1, 1, 1, 1), (0, 0, 0, 0) and (1, 1, 1, -1)."""
    picture = torch.tensor([[1.0, 0.5, 1.0], [1.0, 0.5, 1.0], [1.0, 0.5, 1.0], [1.0, 0.5, 0.0]]).reshape(1, 2, 2, 3)
    judge = SimpleNamespace(convolutions=[torch.nn.Identity()])
    expected = torch.tensor([[[1.0, 0.0, 0.5], [0.0, 0.0, 0.0], [0.5, 0.0, 1.0]]])
    assert torch.equal(injectfusion._grams(judge, picture), expected)
    assert torch.equal(injectfusion._grams(judge, picture.flip(1, 2)), expected)  # of what, not where


def test_the_table_of_mixings_measures_originals_and_contents_as_what_they_are():
    """Results that are the originals, or the contents, drawn."""
    judge, rng = load_face_judge(), np.random.default_rng(93_000)
    originals, contents, others = ([sample_face(rng) for _ in range(count)] for count in (48, 48, 160))
    original, content = injectfusion.drawn(originals), injectfusion.drawn(contents)
    pictures = {"original": original, injectfusion.PAPER: original.clone(), "replaced": content.clone()}
    drawings = injectfusion._features(judge, injectfusion.drawn(others))
    kept, replaced, drawn = injectfusion._mixed(judge, originals, contents, pictures, drawings, injectfusion.PAPER)
    assert kept["Gram loss"] == drawn["Gram loss"] == 0 and kept["Frechet distance"] == drawn["Frechet distance"]
    assert replaced["Gram loss"] == pytest.approx(gram_loss(judge, content, original), rel=1e-4)
    assert kept["colour agreement (%)"] > 95 > 5 > kept["content agreement (%)"]
    assert replaced["content agreement (%)"] > 95 > 5 > replaced["colour agreement (%)"]
    assert kept["more than Slerp's by"] == drawn["more than Slerp's by"] == "0 ± 0" != replaced["more than Slerp's by"]


def gram_loss(judge, pictures: Tensor, originals: Tensor) -> float:
    """Written out, a picture and a pair of channels at a time."""
    squares = []
    for picture, original in zip(pictures, originals, strict=True):
        some, others = (judge.convolutions[0](2 * part.permute(2, 0, 1)[None] - 1)[0].double() for part in (picture, original))
        for first in range(len(some)):
            for second in range(len(some)):
                squares.append(((some[first] * some[second]).mean() - (others[first] * others[second]).mean()) ** 2)
    return float(torch.stack(squares).mean())
