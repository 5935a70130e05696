"""Masks over token grids against the papers' steps written out, cell by cell."""

from itertools import product

import pytest
import torch
from graft.attention.masks import blend_mask, feathered, resized, token_mask, word_mask
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import interpolate

SIZES = [(16, 16), (8, 24), (7, 5)]


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def scaled_up(map_: torch.Tensor, size: tuple[int, int], interpolation: str) -> torch.Tensor:
    corners = {"align_corners": False} if interpolation == "bilinear" else {}
    return interpolate(map_[None, None], size, mode=interpolation, **corners)[0, 0]


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize("size", SIZES)
def test_words_masks_are_normalised_then_resized_then_cut(size, interpolation):
    maps = torch.stack([0.1 * draw(0, 4, 6), 30 + 5 * draw(1, 4, 6)])
    mask = word_mask(maps, size, 0.5, interpolation)
    for row, map_ in enumerate(maps):
        normalised = (map_ - map_.min()) / (map_.max() - map_.min())
        assert torch.equal(mask[row], scaled_up(normalised, size, interpolation) >= 0.5)


def test_the_order_of_the_steps_counts():
    """Cut before it is resized, and normalised after, the map masks something else."""
    maps, size = draw(2, 1, 4, 4), (16, 16)
    mask = word_mask(maps, size, 0.7, "bilinear")[0]
    low, high = maps.min(), maps.max()
    normalised = (maps[0] - low) / (high - low)
    cut_first = scaled_up((normalised >= 0.7).float(), size, "bilinear") >= 0.7
    large = scaled_up(maps[0], size, "bilinear")
    normalised_last = (large - large.min()) / (large.max() - large.min()) >= 0.7
    assert not torch.equal(mask, cut_first) and not torch.equal(mask, normalised_last)


def test_the_threshold_itself_belongs_to_the_mask():
    maps = torch.tensor([[[0.0, 2.0], [3.0, 4.0]]])
    assert word_mask(maps, (2, 2), 0.5, "nearest").tolist() == [[[False, True], [True, True]]]
    assert token_mask(maps / 4, (2, 2), 0.5, "nearest").tolist() == [[[False, True], [True, True]]]
    assert blend_mask(maps, (2, 2), 0.5, pool=False).tolist() == [[[False, False], [True, True]]]


@pytest.mark.parametrize("threshold", [0.0, 0.5])
@pytest.mark.parametrize("level", [0.0, 0.3])
def test_a_map_without_contrast_masks_nothing(level, threshold):
    """And leaves the other rows as they are."""
    maps = torch.stack([torch.full((4, 4), level), draw(3, 4, 4)])
    mask = word_mask(maps, (8, 8), threshold, "bilinear")
    assert not mask[0].any() and torch.equal(mask[1:], word_mask(maps[1:], (8, 8), threshold, "bilinear"))


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "area"])
def test_a_pictures_mask_is_resized_and_cut_without_being_normalised(interpolation):
    mask = 0.6 * draw(4, 2, 40, 24)
    for row, one in enumerate(token_mask(mask, (5, 3), 0.3, interpolation)):
        assert torch.equal(one, scaled_up(mask[row], (5, 3), interpolation) >= 0.3)
    assert not token_mask(mask, (5, 3), 0.7, interpolation).any()


def test_resizing_by_area_is_the_mean_of_what_a_cell_covers():
    mask = draw(5, 2, 12, 20)
    means = torch.stack([torch.stack([mask[:, 3 * i : 3 * i + 3, 5 * j : 5 * j + 5].mean(dim=(1, 2)) for j in range(4)]) for i in range(4)])
    torch.testing.assert_close(resized(mask, (4, 4), "area"), means.permute(2, 0, 1))


def test_masks_of_whole_numbers_and_of_yes_and_no_are_masks_too():
    mask = draw(6, 1, 8, 8) > 0.5
    assert torch.equal(token_mask(mask, (8, 8), 0.5, "bilinear"), mask)
    assert torch.equal(token_mask(mask.long(), (8, 8), 0.5, "nearest"), mask)


def local_blends_mask(map_: torch.Tensor, size: tuple[int, int], threshold: float, pool: bool) -> torch.Tensor:
    """Steps 3 to 6 of the released code for one prompt, cell by cell."""
    height, width = map_.shape
    if pool:
        pooled = torch.zeros_like(map_)
        for i, j in product(range(height), range(width)):
            pooled[i, j] = map_[max(0, i - 1) : i + 2, max(0, j - 1) : j + 2].max()
        map_ = pooled
    large = torch.zeros(size)
    for i, j in product(range(size[0]), range(size[1])):
        large[i, j] = map_[i * height // size[0], j * width // size[1]]
    return large / large.max() > threshold


@given(
    seed=st.integers(0, 10**6),
    grid=st.sampled_from([(4, 4), (2, 6), (3, 5)]),
    factor=st.integers(1, 4),
    pool=st.booleans(),
    threshold=st.floats(0.01, 0.99),
)
@settings(deadline=None, max_examples=40)
def test_local_blends_mask_is_the_released_codes(seed, grid, factor, pool, threshold):
    maps = draw(seed, 2, *grid) * torch.tensor([1e-3, 40.0])[:, None, None]
    size = grid[0] * factor, grid[1] * factor
    mask = blend_mask(maps, size, threshold, pool)
    for row, map_ in enumerate(maps):
        large = local_blends_mask(map_, size, threshold, pool)
        nudged = local_blends_mask(map_, size, threshold * (1 + 1e-5), pool)
        # Division may round a cell that lies on the threshold to either side.
        assert bool(((mask[row] == large) | (mask[row] == nudged)).all())


def test_pooling_reaches_one_cell_in_all_directions():
    maps = torch.zeros(1, 5, 5)
    maps[0, 2, 1] = 1
    assert blend_mask(maps, (5, 5), 0.3, pool=True)[0].nonzero().tolist() == [[i, j] for i in (1, 2, 3) for j in (0, 1, 2)]
    assert blend_mask(maps, (5, 5), 0.3, pool=False)[0].nonzero().tolist() == [[2, 1]]


@pytest.mark.parametrize("pool", [False, True])
def test_a_map_without_any_attention_blends_nothing(pool):
    assert not blend_mask(torch.zeros(2, 4, 4), (8, 8), 0.3, pool).any()


def box(top: int, bottom: int, left: int, right: int, size: tuple[int, int] = (24, 30)) -> torch.Tensor:
    mask = torch.zeros(1, *size)
    mask[:, top:bottom, left:right] = 1
    return mask


def test_a_feather_is_a_linear_slope_that_ends_where_the_mask_did():
    """Radius 3: seventh by seventh from the first pixel inside to the last of the slope, and 1 from there on."""
    soft = feathered(box(0, 24, 10, 30), 3)[0]
    slope = [0.0] * 10 + [(pixel + 1) / 7 for pixel in range(7)] + [1.0] * 13
    torch.testing.assert_close(soft, torch.tensor(slope).expand(24, 30))


def test_the_pictures_border_is_no_edge():
    assert torch.equal(feathered(torch.ones(2, 9, 7), 4), torch.ones(2, 9, 7))
    corner = feathered(box(12, 24, 15, 30), 2)[0]
    assert torch.equal(corner[17:, 20:], torch.ones(7, 10)) and not corner[:12].any() and not corner[:, :15].any()
    torch.testing.assert_close(corner[-1, 15:20], torch.arange(1, 6) / 5)


def test_a_feather_of_nothing_is_the_mask_itself():
    mask = draw(7, 2, 6, 6)
    assert feathered(mask, 0) is mask
    assert torch.equal(feathered(mask > 0.5, 0), mask > 0.5)


def test_a_mask_narrower_than_its_feather_vanishes():
    assert not feathered(box(4, 20, 10, 15), 3).any()


@given(seed=st.integers(0, 10**6), radius=st.integers(1, 4), cut=st.booleans())
@settings(deadline=None, max_examples=30)
def test_a_feather_is_the_mean_of_the_lowest_neighbours_and_never_above_the_mask(seed, radius, cut):
    """Pixel by pixel; masks of 0 and 1, of yes and no, and soft ones."""
    mask = draw(seed, 2, 11, 8)
    mask = resized(mask[:, ::4, ::4], (11, 8), "nearest") > 0.3 if cut else mask
    soft, values = feathered(mask, radius), mask.float()

    def around(maps: torch.Tensor, i: int, j: int) -> torch.Tensor:
        return maps[:, max(0, i - radius) : i + radius + 1, max(0, j - radius) : j + radius + 1]

    lowest, mean = torch.zeros_like(values), torch.zeros_like(values)
    for i, j in product(range(11), range(8)):
        lowest[:, i, j] = around(values, i, j).amin(dim=(1, 2))
    for i, j in product(range(11), range(8)):
        mean[:, i, j] = around(lowest, i, j).mean(dim=(1, 2))
    torch.testing.assert_close(soft, mean)
    assert bool((soft <= values + 1e-6).all()) and bool((soft >= 0).all())
    assert not soft[values == 0].any()
