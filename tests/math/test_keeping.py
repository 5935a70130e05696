"""Frames and what is put back into them: against slices of arrays, NumPy's padding and a membrane known in closed form."""

import numpy as np
import pytest
import torch
from graft.composition.frames import Frame
from graft.composition.keeping import grown, kept_outside, matched_at_seam
from hypothesis import given, settings
from hypothesis import strategies as st

SIZES = [(37, 53), (53, 37), (12, 90), (90, 12), (64, 64), (1, 40)]


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def square(side: int, first: int, last: int) -> torch.Tensor:
    mask = torch.zeros(1, side, side)
    mask[:, first:last, first:last] = 1
    return mask


@given(st.integers(1, 500), st.integers(1, 500), st.integers(8, 600), st.sampled_from([1, 8, 16, 64]))
@settings(max_examples=200, deadline=None)
def test_a_frame_keeps_proportions_and_is_no_larger_than_it_must_be(height, width, longer, multiple):
    frame = Frame.of((height, width), longer, multiple)
    assert max(frame.scaled) == longer
    shorter = min(height, width) * longer / max(height, width)
    assert abs(min(frame.scaled) - max(1, shorter)) <= 0.5
    assert all(
        padded % multiple == 0 and 0 <= padded - scaled < multiple for padded, scaled in zip(frame.padded, frame.scaled, strict=True)
    )


@given(*[st.integers(1, 500)] * 4)
@settings(max_examples=200, deadline=None)
def test_within_another_size_it_touches_two_sides_and_keeps_its_proportions(height, width, whole_height, whole_width):
    frame = Frame.within((height, width), (whole_height, whole_width))
    assert frame.padded == (whole_height, whole_width)
    assert all(scaled <= padded for scaled, padded in zip(frame.scaled, frame.padded, strict=True))
    assert frame.scaled[0] == whole_height or frame.scaled[1] == whole_width
    assert abs(frame.scaled[0] * width - frame.scaled[1] * height) <= max(height, width)


@pytest.mark.parametrize("size", SIZES)
def test_at_its_own_size_a_picture_is_padded_by_its_mirror_image_and_comes_back_bit_for_bit(size):
    frame, picture, mask = Frame.of(size, max(size), 16), draw(0, 2, *size, 3), draw(1, 2, *size)
    padding = [(0, padded - side) for padded, side in zip(frame.padded, size, strict=True)]
    np.testing.assert_array_equal(frame.fit(picture), np.pad(picture, [(0, 0), *padding, (0, 0)], mode="symmetric"))
    np.testing.assert_array_equal(frame.fit_mask(mask), np.pad(mask, [(0, 0), *padding]))
    assert torch.equal(frame.take_out(frame.fit(picture)), picture)
    assert torch.equal(frame.take_out_mask(frame.fit_mask(mask)), mask)


@pytest.mark.parametrize("size", SIZES[:4])
def test_a_smooth_picture_that_was_scaled_comes_back_where_it_was(size):
    rows, columns = (torch.linspace(0, 1, side) for side in size)
    picture = torch.stack([rows[:, None].expand(size), columns.expand(size), torch.zeros(size)], dim=-1)[None]
    frame = Frame.of(size, 3 * max(size), 64)
    assert float((frame.take_out(frame.fit(picture)) - picture).abs().max()) < 0.02


def test_growing_takes_the_highest_value_around():
    mask = draw(2, 1, 9, 11)
    expected = [[mask[0, max(0, y - 2) : y + 3, max(0, x - 2) : x + 3].max() for x in range(11)] for y in range(9)]
    assert torch.equal(grown(mask, 2)[0], torch.tensor(expected))


def test_the_original_stays_to_the_bit_where_the_mask_is_zero_whatever_was_edited():
    original, edited, mask = draw(3, 2, 16, 16, 4), torch.full((2, 16, 16, 3), float("nan")), square(16, 4, 9)
    kept = kept_outside(original, edited, mask)
    outside = mask.expand(2, -1, -1) == 0
    assert torch.equal(kept[outside], original[outside])
    assert bool(kept[..., :3][~outside].isnan().all()) and torch.equal(kept[..., 3], original[..., 3])


def test_half_a_mask_is_half_of_each():
    original, edited = draw(4, 1, 8, 8, 3), draw(5, 1, 8, 8, 3)
    kept = kept_outside(original, edited, torch.full((1, 8, 8), 0.5))
    torch.testing.assert_close(kept, (original + edited) / 2)


def test_a_tint_is_taken_off_wholly():
    original = 0.2 + 0.5 * draw(6, 1, 64, 64, 3)
    tinted = original + torch.tensor([0.1, -0.1, 0.05])
    assert float((matched_at_seam(original, tinted, square(64, 16, 48)) - original).abs().max()) < 1e-5


def test_a_shift_that_differs_from_side_to_side_is_followed_between():
    slope = torch.linspace(-0.2, 0.2, 128)[None, None, :, None].expand(1, 128, 128, 3)
    flat = torch.full((1, 128, 128, 3), 0.5)
    matched = matched_at_seam(flat + slope, flat, square(128, 48, 80))
    assert float((matched - flat - slope).abs()[:, 56:72, 56:72].max()) < 0.03  # the membrane of a slope is the slope


def test_a_new_thing_in_the_mask_keeps_its_contrast():
    original = torch.full((1, 64, 64, 3), 0.4)
    edited = original + 0.1 + 0.3 * square(64, 28, 36)[..., None]
    matched = matched_at_seam(original, edited, square(64, 16, 48))
    torch.testing.assert_close(matched, original + 0.3 * square(64, 28, 36)[..., None])


def test_a_mask_of_everything_knows_no_seam():
    original, edited = draw(7, 1, 32, 40, 3), draw(8, 1, 32, 40, 3)
    assert torch.equal(matched_at_seam(original, edited, torch.ones(1, 32, 40)), edited)
