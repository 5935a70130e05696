"""Placing a reference: against slices of arrays, Pillow's resizing and points of a turned rectangle."""

import math

import numpy as np
import pytest
import torch
from graft.composition.outlines import outlined, reduced
from graft.composition.placement import Place, PlacementError, place_reference, require_size
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.nn.functional import pad

HEIGHT, WIDTH = 32, 40


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def filled(height: int, width: int, top: int, left: int, bottom: int, right: int) -> torch.Tensor:
    """A mask (1, height, width) of one rectangle."""
    mask = torch.zeros(1, height, width)
    mask[:, top:bottom, left:right] = 1
    return mask


MAIN, REFERENCE = draw(0, 1, HEIGHT, WIDTH, 3), draw(1, 1, 12, 8, 3)
OBJECT = filled(12, 8, 3, 2, 9, 6)


def placed(place: Place, *, main=MAIN, reference=REFERENCE, mask=OBJECT, fit="whole picture"):
    return place_reference(main, reference, mask, [place], fit)


# Where it lies


def test_a_reference_of_the_asked_size_is_laid_down_bit_for_bit():
    laid = placed(Place(x=20, y=16, long_side=12))
    canvas, pasted = torch.zeros_like(MAIN), MAIN.clone()
    canvas[:, 10:22, 16:24] = REFERENCE
    pasted[:, 13:19, 18:22] = REFERENCE[:, 3:9, 2:6]
    assert torch.equal(laid.canvas, canvas) and torch.equal(laid.pasted, pasted)
    assert torch.equal(laid.region, filled(HEIGHT, WIDTH, 10, 16, 22, 24))
    assert torch.equal(laid.object, filled(HEIGHT, WIDTH, 13, 18, 19, 22))


def test_around_the_region_the_canvas_shows_black_or_the_references_average_colour_around_its_object():
    """The average in numpy, over the region less the object."""
    mask = torch.zeros(1, *REFERENCE.shape[1:3])
    mask[:, 2:6, 2:5] = 1
    place = {"image": MAIN, "reference": REFERENCE, "mask": mask, "places": [Place(x=20, y=16, long_side=12)], "fit": "whole picture"}
    black, average = (place_reference(**place, surround=surround) for surround in ("black", "average colour"))
    inside, outside = black.region[0] == 1, black.region[0] == 0
    around = black.canvas[0].numpy()[(inside & (black.object[0] == 0)).numpy()].mean(axis=0)
    assert torch.equal(average.canvas[0, inside], black.canvas[0, inside]) and not black.canvas[0, outside].any()
    np.testing.assert_allclose(average.canvas[0, outside].numpy(), np.broadcast_to(around, (int(outside.sum()), 3)), atol=1e-6)


def test_the_object_gets_the_place_and_takes_a_tenth_of_its_surroundings_along():
    reference, mask = draw(2, 1, 60, 70, 3), filled(60, 70, 20, 30, 40, 40)
    laid = placed(Place(x=20, y=16, long_side=20), reference=reference, mask=mask, fit="object")
    canvas = torch.zeros_like(MAIN)
    canvas[:, 4:28, 13:27] = reference[:, 18:42, 28:42]
    assert torch.equal(laid.canvas, canvas)
    assert torch.equal(laid.object, filled(HEIGHT, WIDTH, 6, 15, 26, 25))
    assert torch.equal(laid.region, filled(HEIGHT, WIDTH, 4, 13, 28, 27))


@pytest.mark.parametrize("rotation", [0.0, 90.0, 180.0, -90.0])
def test_an_object_at_the_references_border_gets_the_place_all_the_same(rotation):
    """Its surroundings are cut off on one side only."""
    reference, mask = draw(3, 1, 60, 70, 3), filled(60, 70, 0, 0, 10, 10)
    laid = placed(Place(20, 16, 10, rotation), reference=reference, mask=mask, fit="object")
    torch.testing.assert_close(laid.object, filled(HEIGHT, WIDTH, 11, 15, 21, 25), atol=1e-4, rtol=0)
    assert float(laid.region.sum()) == pytest.approx(11 * 11, abs=1e-2)


def test_a_masks_box_says_where_and_its_shape_does_not_count():
    mask = filled(HEIGHT, WIDTH, 4, 10, 20, 30)[0]
    dots = torch.zeros(HEIGHT, WIDTH)
    dots[4, 12] = dots[19, 10] = dots[7, 29] = 1
    assert Place.of_mask(mask) == Place.of_mask(dots) == Place(x=20, y=12, long_side=20)
    assert Place.of_mask(mask, 30.0).rotation == 30


def test_numbers_are_parts_of_the_picture_and_of_its_shorter_side():
    assert Place.of_fractions((200, 400), 0.25, 0.75, 0.5, 10.0) == Place(x=100, y=150, long_side=100, rotation=10.0)


def test_the_middle_goes_to_the_nearest_whole_pixel():
    at = {shift: placed(Place(20 + shift, 16, 12)).region for shift in (0.0, 0.25, 0.75, 1.0)}
    assert torch.equal(at[0.25], at[0.0]) and torch.equal(at[0.75], at[1.0]) and not torch.equal(at[0.0], at[1.0])


# Its size


@pytest.mark.parametrize("size", [(5, 7), (20, 28), (11, 15), (29, 41)])
def test_resizing_is_pillows_bicubic(size):
    """Shrunk without aliasing, and enlarged."""
    reference, mask = draw(4, 1, 20, 28, 3), draw(5, 1, 20, 28).clamp(0.2)
    laid = placed(Place(30, 30, size[1]), main=torch.zeros(1, 60, 60, 3), reference=reference, mask=mask)
    top, left = math.floor(30 - size[0] / 2 + 0.5), math.floor(30 - size[1] / 2 + 0.5)
    assert int(laid.region.sum()) == size[0] * size[1]
    for channel, ours in ((reference[0, ..., 1], laid.canvas[0, ..., 1]), (mask[0], laid.object[0])):
        theirs = np.asarray(Image.fromarray(channel.numpy(), "F").resize((size[1], size[0]), Image.Resampling.BICUBIC)).clip(0, 1)
        np.testing.assert_allclose(ours[top : top + size[0], left : left + size[1]].numpy(), theirs, atol=1e-5)


def test_a_long_reference_keeps_its_aspect():
    for shape in ((10, 40), (40, 10)):
        laid = placed(Place(20, 16, 20), reference=draw(6, 1, *shape, 3), mask=torch.ones(1, *shape))
        rows, columns = laid.region[0].any(dim=1).sum(), laid.region[0].any(dim=0).sum()
        assert (int(rows), int(columns)) == (shape[0] // 2, shape[1] // 2)


# Rotation


@pytest.mark.parametrize(("degrees", "quarters"), [(90.0, 1), (180.0, 2), (-90.0, 3), (450.0, 1)])
def test_quarter_turns_are_clockwise_and_exact(degrees, quarters):
    laid, turned = placed(Place(20, 16, 12, degrees)), torch.rot90(REFERENCE, -quarters, dims=(1, 2))
    height, width = turned.shape[1:3]
    expected = torch.zeros_like(MAIN)
    expected[:, 16 - height // 2 : 16 + height // 2, 20 - width // 2 : 20 + width // 2] = turned
    torch.testing.assert_close(laid.canvas, expected, atol=1e-4, rtol=0)


def test_a_whole_turn_is_none():
    for one, other in zip(vars(placed(Place(20, 16, 12, 360.0))).values(), vars(placed(Place(20, 16, 12))).values(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("degrees", [30.0, -45.0, 137.0])
def test_the_region_is_the_turned_rectangle(degrees):
    """Pixels a pixel and a half inside it are full and as far outside empty; half covered ones make up its area."""
    main, reference = torch.zeros(1, 80, 80, 3), draw(7, 1, 24, 36, 3)
    region = placed(Place(40, 40, 36, degrees), main=main, reference=reference, mask=torch.ones(1, 24, 36)).region[0]
    y, x = torch.meshgrid(*[torch.arange(80) + 0.5 - 40] * 2, indexing="ij")
    angle = math.radians(degrees)
    along, across = math.cos(angle) * x + math.sin(angle) * y, math.cos(angle) * y - math.sin(angle) * x
    beyond = torch.maximum(along.abs() - 18, across.abs() - 12)
    assert bool((region[beyond < -1.5] > 0.999).all()) and bool((region[beyond > 1.5] == 0).all())
    assert float(region.sum()) == pytest.approx(24 * 36, rel=0.01)


def test_a_slanted_edge_is_not_darkened_where_it_is_pasted():
    white, grey = torch.ones(1, 24, 36, 3), torch.full((1, 80, 80, 3), 0.5)
    pasted = placed(Place(40, 40, 36, 30.0), main=grey, reference=white, mask=torch.ones(1, 24, 36)).pasted
    assert float(pasted.min()) == 0.5


# What always holds

SIDES = st.integers(6, 24)
PLACES = st.builds(
    Place,
    *[st.integers(-20, 180).map(lambda quarter: quarter / 4)] * 2,
    long_side=st.integers(8, 240).map(lambda quarter: quarter / 4),
    rotation=st.sampled_from([0.0, 0.0, 90.0, 33.0, -140.0]),
)


def painted(seed: int, height: int, width: int):
    """A reference and a mask of its lower right part, soft within."""
    mask = draw(seed + 1, 1, height, width)
    mask[:, : height // 3] = mask[:, :, : width // 3] = 0
    return draw(seed, 1, height, width, 3), mask


@given(seed=st.integers(0, 10**6), height=SIDES, width=SIDES, place=PLACES, fit=st.sampled_from(["object", "whole picture"]))
@settings(deadline=None, max_examples=80)
def test_masks_lie_within_the_region_and_nothing_else_changes(seed, height, width, place, fit):
    reference, mask = painted(seed, height, width)
    try:
        laid = placed(place, reference=reference, mask=mask, fit=fit)
    except PlacementError:
        assume(False)
    assert bool((laid.object <= laid.region).all()) and float(laid.object.max()) >= 0.5
    assert all(float(part.min()) >= 0 and float(part.max()) <= 1 for part in vars(laid).values())
    assert bool((laid.canvas[laid.region == 0] == 0).all())
    assert torch.equal(laid.pasted[laid.object == 0], MAIN[laid.object == 0])
    full = laid.object == 1
    assert torch.equal(laid.pasted[full], laid.canvas[full])


@given(seed=st.integers(0, 10**6), height=SIDES, width=SIDES, place=PLACES)
@settings(deadline=None, max_examples=80)
def test_what_crosses_the_border_is_cut_off_a_larger_canvas(seed, height, width, place):
    reference, mask = painted(seed, height, width)
    try:
        laid = placed(place, reference=reference, mask=mask)
    except PlacementError:
        assume(False)
    far = 100
    moved = Place(place.x + far, place.y + far, place.long_side, place.rotation)
    whole = placed(moved, main=pad(MAIN, (0, 0, far, far, far, far)), reference=reference, mask=mask)
    for name, part in vars(laid).items():
        assert torch.equal(part, vars(whole)[name][:, far : far + HEIGHT, far : far + WIDTH])


# Batches


def test_every_row_is_what_it_would_be_alone():
    main, references = draw(8, 3, HEIGHT, WIDTH, 3), draw(9, 3, 12, 8, 3)
    masks = torch.cat([filled(12, 8, row, 1, row + 6, 6) for row in range(3)])
    places = [Place(10 + 8 * row, 16, 12 + row) for row in range(3)]
    together = place_reference(main, references, masks, places, "object")
    for row in range(3):
        one = slice(row, row + 1)
        alone = place_reference(main[one], references[one], masks[one], places[one], "object")
        assert all(torch.equal(part[one], vars(alone)[name]) for name, part in vars(together).items())


def test_what_serves_all_pictures_is_made_once():
    main = draw(8, 3, HEIGHT, WIDTH, 3)
    shared = placed(Place(20, 16, 12), main=main)
    assert len(shared.canvas) == len(shared.object) == len(shared.region) == 1 and len(shared.pasted) == 3
    for row in range(3):
        assert torch.equal(shared.pasted[row], placed(Place(20, 16, 12), main=main[row : row + 1]).pasted[0])
    mixed = place_reference(main, REFERENCE, OBJECT.expand(3, -1, -1), [Place(20, 16, 12)], "object")
    assert len(mixed.canvas) == 3


def test_further_channels_are_dropped():
    with_alpha = placed(Place(20, 16, 12), main=draw(0, 1, HEIGHT, WIDTH, 4), reference=pad(REFERENCE, (0, 1)))
    assert with_alpha.pasted.shape == with_alpha.canvas.shape == MAIN.shape


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("reference", {"reference": draw(0, 2, 12, 8, 3)}),
        ("reference_mask", {"mask": OBJECT.expand(2, -1, -1)}),
        ("place", {"places": [Place(20, 16, 12)] * 2}),
    ],
)
def test_a_batch_of_another_size_is_refused_with_both_numbers(name, changed):
    given = {"reference": REFERENCE, "mask": OBJECT, "places": [Place(20, 16, 12)], **changed}
    with pytest.raises(PlacementError, match=rf"^{name}: it holds 2, the image 3 pictures"):
        place_reference(MAIN.expand(3, -1, -1, -1), **given, fit="object")


# What cannot be placed


@pytest.mark.parametrize("mask", [torch.zeros(1, 12, 8), torch.full((1, 12, 8), 0.49)])
@pytest.mark.parametrize("fit", ["object", "whole picture"])
def test_a_reference_without_an_object_is_refused(mask, fit):
    with pytest.raises(PlacementError, match=rf"^reference_mask: it is empty: its highest value is {float(mask.max()):.3g}, "):
        placed(Place(20, 16, 12), mask=mask, fit=fit)


def test_an_empty_place_is_refused():
    with pytest.raises(PlacementError, match=r"^place: it is empty: its highest value is 0, "):
        Place.of_mask(torch.zeros(HEIGHT, WIDTH))


def test_less_than_a_pixel_is_refused_with_its_size():
    with pytest.raises(PlacementError, match=r"^place: the reference would be 0\.5 x 0\.75 pixels there"):
        placed(Place(20, 16, 0.75))


@pytest.mark.parametrize(("x", "y"), [(-4, 16), (44, 16), (20, -6), (20, 38), (-500, 900)])
def test_a_place_outside_is_refused_and_a_pixel_further_in_it_is_none(x, y):
    everything = torch.ones(1, 12, 8)
    with pytest.raises(
        PlacementError, match=rf"^place: the reference would lie from x = {x - 4} to {x + 4} .* outside the picture of 40 x 32"
    ):
        placed(Place(x, y, 12), mask=everything)
    inwards = Place(min(max(x, -3), 43), min(max(y, -5), 37), 12)
    assert float(placed(inwards, mask=everything).region.sum()) >= 1


def test_an_object_that_is_all_cut_off_is_refused():
    with pytest.raises(PlacementError, match=r"^place: nothing of the object is left in the picture: its mask is nowhere above 0 there"):
        placed(Place(-2, 16, 12))


def test_a_mask_of_another_size_is_refused_with_both_sizes():
    with pytest.raises(PlacementError, match=r"^reference_mask: it is 64 x 63 pixels, the reference 8 x 12; "):
        placed(Place(20, 16, 12), mask=torch.ones(1, 63, 64))
    require_size("place", torch.ones(2, HEIGHT, WIDTH), "image", MAIN)


# Outlines


@pytest.mark.parametrize(
    ("size", "shown"), [((64, 40), (64, 40)), ((1024, 30), (1024, 30)), ((2048, 1536), (1024, 768)), ((3, 4096), (1, 1024))]
)
def test_pictures_are_shown_no_larger_than_an_editor_shows_them(size, shown):
    image = draw(8, 1, *size, 3)
    made = reduced(image)
    assert made.shape == (1, *shown, 3)
    torch.testing.assert_close(made.mean(), image.mean())
    if size == (2048, 1536):
        torch.testing.assert_close(made[0, 5, 7], image[0, 10:12, 14:16].mean(dim=(0, 1)))
    assert made is image or size != shown


def test_an_outline_is_the_masks_inner_edge_and_nothing_else():
    mask, colour = filled(HEIGHT, WIDTH, 20, 5, HEIGHT, 15), (1.0, 0.0, 0.5)
    line = mask.bool() & ~filled(HEIGHT, WIDTH, 21, 6, HEIGHT - 1, 14).bool()
    shown = outlined(MAIN.expand(2, -1, -1, -1), mask, colour)
    assert torch.equal(shown[0][line[0]], torch.tensor(colour).expand(int(line.sum()), -1))
    assert torch.equal(shown[1][~line[0]], MAIN[0][~line[0]])


@pytest.mark.parametrize("size", [(40, 64), (512, 640), (770, 771)])
def test_an_outline_is_all_of_the_mask_that_a_square_around_it_leaves(size):
    """The pooling over squares written out, for lines of 1, 2 and 3 pixels, on masks that touch the border and are soft."""
    image, mask = draw(6, 2, *size, 3), torch.zeros(2, *size)
    mask[0, 5:, size[1] // 2 :] = 0.7
    mask[1, size[0] // 4 : size[0] // 2, 3:-7] = draw(7, size[0] // 2 - size[0] // 4, size[1] - 10).sqrt().clamp(min=0.4)
    inside, width = mask[:, None] >= 0.5, round(min(size) / 256) or 1
    outside = torch.nn.functional.pad((~inside).float(), [width] * 4, value=1)
    line = (inside & (torch.nn.functional.max_pool2d(outside, 2 * width + 1, stride=1) > 0))[:, 0]
    assert line.any() and not line.all()
    assert torch.equal(outlined(image, mask, (1.0, 0.0, 0.5)), torch.where(line[..., None], torch.tensor((1.0, 0.0, 0.5)), image))
