"""What holds of any mask, region, window, frame and trajectory, whatever their sizes and values."""

import math

import pytest
import torch
from graft.attention.masks import blend_mask, feathered, on_cells, resized, token_mask, vanished, word_mask
from graft.attention.self_attention import Region
from graft.attention.words import LARGEST_WEIGHT, WordError, names_in, parse_numbers, parse_windows
from graft.composition.frames import Frame
from graft.composition.keeping import grown, kept_outside, matched_at_seam
from graft.composition.outlines import outlined
from graft.inversion.trajectory import Trajectory
from hypothesis import given, settings
from hypothesis import strategies as st

quickly = settings(deadline=None, max_examples=40)
SIDES, SEEDS = st.integers(1, 24), st.integers(0, 10**6)
SIZES = st.tuples(SIDES, SIDES)
KINDS = st.sampled_from(["bool", "long", "float"])
INTERPOLATIONS = st.sampled_from(["nearest", "bilinear", "area"])


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def mask_of(kind: str, seed: int, *shape: int) -> torch.Tensor:
    """A mask (rows, H, W): hard, counted in whole numbers, or soft."""
    values = draw(seed, *shape)
    return {"bool": values > 0.6, "long": (values > 0.6).long(), "float": values.where(values > 0.4, 0.0)}[kind]


# Masks


@quickly
@given(KINDS, SEEDS, SIZES, SIZES, INTERPOLATIONS)
def test_a_mask_on_another_grid_stays_a_mask(kind, seed, size, grid, interpolation):
    """Within [0, 1], nothing of nothing, everything of everything, and no less where the mask is no less."""
    mask, more = mask_of(kind, seed, 2, *size), mask_of("float", seed + 1, 2, *size)
    on_grid = resized(mask, grid, interpolation)
    assert on_grid.shape == (2, *grid) and float(on_grid.min()) >= 0 and float(on_grid.max()) <= 1 + 1e-6
    assert not resized(torch.zeros_like(mask), grid, interpolation).any()
    torch.testing.assert_close(resized(torch.ones_like(mask), grid, interpolation), torch.ones(2, *grid))
    larger = resized(torch.maximum(mask.float(), more), grid, interpolation)
    assert bool((larger >= on_grid - 1e-6).all())


@quickly
@given(KINDS, SEEDS, SIDES, SIDES, st.integers(1, 4), st.booleans())
def test_what_cells_are_covered_adds_up_to_the_mask(kind, seed, rows, columns, factor, film):
    mask = mask_of(kind, seed, 1, rows * factor, columns * factor)
    latent = torch.zeros(1, 4, *[1] * film, rows, columns)
    cells = on_cells(mask, latent)
    assert cells.shape == (1, 1, *[1] * film, rows, columns)
    torch.testing.assert_close(cells.sum() * factor**2, mask.float().sum(), rtol=1e-4, atol=1e-4)


@quickly
@given(SEEDS, SIZES, SIZES)
def test_a_mask_has_vanished_where_there_was_one_and_is_none(seed, size, grid):
    before, after = draw(seed, 4, *size) > 0.9, draw(seed + 1, 4, *grid) > 0.9
    expected = [any(one.flatten().tolist()) and not any(other.flatten().tolist()) for one, other in zip(before, after, strict=True)]
    assert vanished(before, after).tolist() == expected


@quickly
@given(SEEDS, SIZES, SIZES, INTERPOLATIONS, st.floats(0.05, 1))
def test_hard_masks_of_words_are_the_same_for_any_unit_of_attention(seed, size, grid, interpolation, threshold):
    """A word's map counts by its contrast, and a picture's mask as it is."""
    maps = draw(seed, 2, *size).double()
    assert torch.equal(word_mask(maps, grid, threshold, interpolation), word_mask(4 * maps, grid, threshold, interpolation))
    assert torch.equal(blend_mask(maps, grid, threshold, True), blend_mask(4 * maps, grid, threshold, True))
    assert bool((token_mask(maps, grid, threshold, interpolation) <= token_mask(maps, grid, threshold / 2, interpolation)).all())


@quickly
@given(KINDS, SEEDS, SIZES, st.integers(0, 6))
def test_a_feather_softens_inwards_and_growing_goes_outwards(kind, seed, size, radius):
    mask = mask_of(kind, seed, 1, *size)
    if radius:
        soft = feathered(mask, radius)
        assert bool((soft <= mask + 1e-6).all()) and bool((soft >= 0).all()) and not soft[mask == 0].any()
        torch.testing.assert_close(feathered(torch.ones_like(mask), radius), torch.ones(1, *size))
    large = grown(mask, radius)
    assert large.shape == mask.shape and bool((large >= mask).all())
    rows, columns = size
    for y, x in [(0, 0), (rows - 1, columns - 1), (rows // 2, columns // 3)]:
        around = mask[0, max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
        assert large[0, y, x] == around.max()


@quickly
@given(SEEDS, SIZES, st.integers(3, 4), st.sampled_from([math.nan, math.inf, 0.3]))
def test_outside_a_mask_the_picture_stays_whatever_was_edited(seed, size, channels, value):
    original, edited = draw(seed, 1, *size, channels), torch.full((1, *size, 3), value)
    mask = mask_of("float", seed + 1, 1, *size)
    kept = kept_outside(original, edited, mask)
    assert torch.equal(kept[mask == 0], original[mask == 0]) and torch.equal(kept[..., 3:], original[..., 3:])
    assert torch.equal(kept[..., :3][mask == 1], edited[mask == 1])


@quickly
@given(SEEDS, SIZES)
def test_matching_at_a_seam_is_finite_and_leaves_a_picture_that_fits(seed, size):
    original, mask = draw(seed, 1, *size, 3), mask_of("float", seed + 1, 1, *size)
    matched = matched_at_seam(original, draw(seed + 2, 1, *size, 3), mask)
    assert bool(matched.isfinite().all()) and float(matched.min()) >= 0 and float(matched.max()) <= 1
    torch.testing.assert_close(matched_at_seam(original, original, mask), original)


@quickly
@given(SEEDS, SIZES)
def test_an_outline_is_drawn_on_what_the_mask_holds_and_only_there(seed, size):
    image, mask = draw(seed, 1, *size, 3), mask_of("bool", seed + 1, 1, *size)
    drawn = (outlined(image, mask.float(), (2.0, 2.0, 2.0)) == 2).all(dim=-1)
    assert not drawn[~mask].any() and bool(drawn.any()) == bool(mask.any())


# Regions


@quickly
@given(SEEDS, st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.floats(0, 1), st.floats(0, 1))
def test_a_region_attends_as_its_masked_softmax_does(seed, rows, length, keys, some_queries, some_keys):
    """Oracle: row by row, key by key, in float64; a row that sees no key, and a query outside, keep what they have."""
    inside, seen = draw(seed, rows, length) < some_queries, draw(seed + 1, rows, keys) < some_keys
    query, own = (draw(seed + part, rows, length, 4).double() for part in (2, 3))
    key, value = (draw(seed + part, rows, keys, 4).double() for part in (4, 5))

    def attend(query, key, value, rows=None):
        return (query @ key.mT / 2).softmax(dim=-1) @ value

    expected = own.clone()
    for row in range(rows):
        for place in range(length):
            if inside[row, place] and seen[row].any():
                weights = [math.exp(float(query[row, place] @ key[row, other]) / 2) for other in range(keys) if seen[row, other]]
                shown = value[row][seen[row]]
                expected[row, place] = sum(weight * part for weight, part in zip(weights, shown, strict=True)) / sum(weights)
    region = Region.of(inside, seen)
    torch.testing.assert_close(region.attend(lambda: own, query, key, value, attend), expected)


# What is written of words


@quickly
@given(st.text("abz0159.:-, \n\t%_eE+é猫", max_size=24) | st.text(max_size=16))
def test_any_text_of_weights_and_windows_is_read_or_refused_by_its_input(text):
    try:
        assert all(abs(weight) <= LARGEST_WEIGHT for weight in parse_numbers(text, "word_weights").values())
    except WordError as refused:
        assert str(refused).startswith("word_weights: ")
    try:
        assert all(0 <= start <= end <= 1 for start, end in parse_windows(text, "word_windows").values())
    except WordError as refused:
        assert str(refused).startswith("word_windows: ")
    assert all(name == " ".join(name.split()) != "" for name in names_in(text))


@quickly
@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), min_size=1, max_size=4), st.booleans())
def test_windows_come_back_as_they_were_written(ends, spaced):
    windows = {f"word{index}": (min(pair) / 100, max(pair) / 100) for index, pair in enumerate(ends)}
    between = " - " if spaced else "-"
    text = ", ".join(f"{name}: {start}{between}{end}" for name, (start, end) in windows.items())
    assert parse_windows(text, "word_windows") == windows


# Frames


@quickly
@given(SEEDS, SIZES, SIZES)
def test_a_framed_mask_says_nothing_beyond_the_picture_and_all_of_it_within(seed, size, padded):
    frame = Frame.within(size, padded)
    everything, nothing = (frame.fit_mask(torch.full((1, *size), value)) for value in (1.0, 0.0))
    height, width = frame.scaled
    assert everything.shape == (1, *padded) and not nothing.any()
    torch.testing.assert_close(everything[:, :height, :width], torch.ones(1, height, width))
    assert not everything[:, height:].any() and not everything[:, :, width:].any()
    soft = frame.take_out_mask(frame.fit_mask(mask_of("float", seed, 1, *size)))
    assert soft.shape == (1, *size) and float(soft.min()) >= 0 and float(soft.max()) <= 1
    picture = frame.take_out(frame.fit(draw(seed, 1, *size, 3)))
    assert picture.shape == (1, *size, 3) and bool(picture.isfinite().all()) and float(picture.min()) >= 0 and float(picture.max()) <= 1


# Trajectories

LEVELS = st.lists(st.floats(0, 100, width=32), min_size=2, max_size=8, unique_by=lambda level: round(level, 2))


@quickly
@given(LEVELS, SEEDS, st.floats(0, 1))
def test_a_trajectory_gives_what_it_holds_and_lines_between(levels, seed, share):
    sigmas = torch.tensor(sorted(levels, reverse=True))
    trajectory = Trajectory(draw(seed, len(levels), 1, 4, 2, 2), sigmas, "ddim", "m", "c")
    for index, sigma in enumerate(sigmas.tolist()):
        assert torch.equal(trajectory.at(sigma), trajectory.latents[index])
        assert trajectory.bottleneck_at(sigma) is None
        assert bool(trajectory.shown_at(sigma).isfinite().all() and trajectory.left_behind_at(sigma).isfinite().all())
        high = sigmas[max(index - 1, 0)].item()
        between = trajectory.at(sigma + share * (high - sigma))
        ends = torch.stack([trajectory.latents[index], trajectory.latents[max(index - 1, 0)]])
        slack = 1e-3
        assert bool((between >= ends.amin(dim=0) - slack).all() and (between <= ends.amax(dim=0) + slack).all())
    assert 0 <= trajectory.after(share) <= trajectory.steps


@pytest.mark.parametrize("outside", [0.5, 200.0])
def test_beyond_its_levels_a_trajectory_goes_on_in_its_last_line(outside):
    trajectory = Trajectory(torch.tensor([4.0, 2.0, 1.0]).view(3, 1, 1, 1, 1), torch.tensor([100.0, 10.0, 1.0]), "ddim", "m", "c")
    low, high = (1, 10) if outside < 1 else (10, 100)
    at_low, at_high = (1.0, 2.0) if outside < 1 else (2.0, 4.0)
    expected = at_low + (at_high - at_low) * (outside - low) / (high - low)
    assert float(trajectory.at(outside)) == pytest.approx(expected, rel=1e-5)
