"""Fit Picture and Keep Outside Mask, run as a graph runs them, with an edit between that changes every pixel."""

import math

import comfy.model_management
import folder_paths
import pytest
import torch
from comfy_api.latest import io
from graft.host.errors import GraftError
from graft.nodes import checks
from graft.nodes.keeping import FitPicture, KeepOutsideMask
from PIL import Image
from torch.nn.functional import max_pool2d

import nodes

pytestmark = pytest.mark.usefixtures("previews")

SIZES = [(37, 53), (53, 37), (40, 200), (200, 40), (64, 64), (301, 299)]


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def painted(size: tuple[int, int]) -> torch.Tensor:
    """A mask (1, *size) over the middle ninth."""
    mask = torch.zeros(1, *size)
    mask[:, size[0] // 3 : 2 * size[0] // 3 + 1, size[1] // 3 : 2 * size[1] // 3 + 1] = 1
    return mask


def fit(image, mask=None, size=128, multiple=64):
    return FitPicture.EXECUTE_NORMALIZED(image=image, size=size, multiple=multiple, mask=mask).result


def keep(image, edited, mask=None, frame=None, grow=0, feather=0, colour="as edited"):
    return KeepOutsideMask.EXECUTE_NORMALIZED(
        image=image, edited=edited, grow=grow, feather=feather, colour=colour, mask=mask, frame=frame
    ).result[0]


def around(mask: torch.Tensor, pixels: int) -> torch.Tensor:
    return max_pool2d(mask[:, None], 2 * pixels + 1, stride=1, padding=pixels)[:, 0] > 0


@pytest.mark.parametrize("size", SIZES)
def test_the_result_has_the_pictures_size_and_its_pixels_outside_the_mask(size):
    image, mask = draw(0, 1, *size, 3), painted(size)
    fitted, fitted_mask, frame = fit(image, mask)
    assert all(side % 64 == 0 for side in fitted.shape[1:3]) and max(fitted.shape[1:3]) == 128
    assert fitted_mask.shape == fitted.shape[:3]
    result = keep(image, 1 - fitted, fitted_mask, frame)
    reach = around(
        mask, 2 * max(1, math.ceil(max(size) / 128))
    )  # scaling the mask there and back blurs it by two pixels of the coarser grid
    assert result.shape == image.shape and torch.equal(result[~reach], image[~reach])
    inside = ~around(1 - mask, 2 + round(2 * max(size) / 128))
    if bool(inside.any()):
        assert float((result - image).abs()[inside].mean()) > 0.1


@pytest.mark.parametrize("size", SIZES)
def test_a_mask_of_the_pictures_own_size_is_kept_to_the_pixel(size):
    image, mask = draw(0, 1, *size, 3), painted(size)
    result = keep(image, torch.ones_like(fit(image)[0]), mask, fit(image)[2])
    assert torch.equal(result[mask == 0], image[mask == 0])
    torch.testing.assert_close(result[mask == 1], torch.ones_like(result[mask == 1]))


@pytest.mark.parametrize("grow, feather", [(0, 0), (3, 0), (0, 2), (3, 2)])
def test_the_edit_is_whole_in_the_grown_mask_and_fades_over_twice_the_feather(grow, feather):
    image, mask = draw(1, 1, 48, 64, 3), painted((48, 64))
    result = keep(image, torch.full_like(image, 2.0), mask, grow=grow, feather=feather)
    whole, reach = around(mask, grow), around(mask, grow + 2 * feather)
    assert bool((result[whole] == 2).all())
    assert torch.equal(result[~reach], image[~reach])
    if feather:
        between = result[reach & ~whole]
        assert bool(((between < 2) & (between > 0)).all())


def test_without_a_mask_the_whole_picture_is_the_edited_one_at_the_originals_size():
    image = torch.linspace(0, 1, 37 * 53 * 3).reshape(1, 37, 53, 3)
    fitted, everything, frame = fit(image)
    assert bool((everything[:, : frame.scaled[0], : frame.scaled[1]] == 1).all())
    assert float((keep(image, fitted, frame=frame) - image).abs().mean()) < 0.01
    assert torch.equal(keep(image, torch.zeros_like(fitted), frame=frame), torch.zeros_like(image))


def test_an_edited_picture_that_another_node_rounded_or_enlarged_goes_back_to_its_place():
    image, mask = draw(3, 1, 50, 75, 3), painted((50, 75))
    for size in ((56, 80), (104, 152)):
        result = keep(image, torch.ones(1, *size, 3), mask)
        assert torch.equal(result[mask == 0], image[mask == 0])
        torch.testing.assert_close(result[mask == 1], torch.ones_like(result[mask == 1]))
    fitted, fitted_mask, frame = fit(image, mask)
    twice = torch.ones(1, *(2 * side for side in fitted.shape[1:3]), 3)
    inside = keep(image, twice, fitted_mask, frame)[~around(1 - mask, 2)]
    torch.testing.assert_close(inside, torch.ones_like(inside))


def test_transparency_is_left_out_and_the_colours_stay():
    image, mask = draw(4, 1, 24, 24, 4), painted((24, 24))
    result = keep(image, torch.ones(1, 24, 24, 3), mask)
    assert result.shape == (1, 24, 24, 3) and torch.equal(result[mask == 0], image[..., :3][mask == 0])


def test_one_edited_picture_and_one_mask_serve_a_batch_and_each_its_own():
    image, mask = draw(5, 2, 24, 32, 3), painted((24, 32))
    edited = draw(6, 2, 24, 32, 3)
    rows = [keep(image[row : row + 1], edited[row : row + 1], mask) for row in range(2)]
    assert torch.equal(keep(image, edited, mask), torch.cat(rows))
    assert torch.equal(keep(image, edited[:1], mask)[:1], rows[0])


def test_a_tint_of_the_edit_is_matched_at_the_seam():
    image, mask = draw(7, 1, 64, 64, 3) * 0.5, painted((64, 64))
    as_edited, matched = (keep(image, image + 0.2, mask, colour=colour) for colour in ("as edited", "matched at the seam"))
    assert float((as_edited - image)[mask == 1].mean()) > 0.19
    assert float((matched - image)[mask == 1].abs().max()) < 1e-5


def test_a_lossy_picture_that_was_painted_keeps_its_pixels(tmp_path, monkeypatch):
    """Load Image reads opaque pixels of a lossy WebP as a step of 8 bits from opaque."""
    pixels = (draw(9, 32, 48, 4) * 255).byte()
    pixels[..., 3] = 255 * (painted((32, 48))[0] == 0)
    Image.fromarray(pixels.numpy()).save(tmp_path / "painted.webp", quality=80)
    monkeypatch.setattr(folder_paths, "get_annotated_filepath", lambda name: str(tmp_path / name))
    image, mask = nodes.LoadImage().load_image("painted.webp")[:2]
    assert len(mask.unique()) == 2
    result = keep(image, 1 - image, mask)
    outside = painted((32, 48)) == 0
    assert torch.equal(result[outside], image[outside]) and torch.equal(result[~outside], (1 - image)[~outside])
    with pytest.raises(GraftError, match=r"^mask: it is empty"):
        keep(image, 1 - image, mask.where(mask < 0.5, mask.min()))


def test_pictures_and_masks_come_to_where_the_host_keeps_them(monkeypatch):
    """As under --gpu-only, where some nodes give theirs on the CPU all the same."""
    monkeypatch.setattr(comfy.model_management, "intermediate_device", lambda: torch.device("meta"))
    inputs = [io.Image.Input("image"), io.Mask.Input("mask")]
    values = {"image": draw(1, 1, 8, 8, 3), "mask": torch.ones(1, 8, 8)}
    given = {input.id: checks.CHECKS[input.get_io_type()](input.id, values[input.id], input) for input in inputs}
    assert [given[name].device.type for name in values] == ["meta", "meta"]


IMAGE, MASK = draw(8, 1, 40, 60, 3), painted((40, 60))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: fit(IMAGE, torch.zeros(1, 64, 64)), r"^mask: it is empty, nothing is painted.*Mask Editor"),
        (lambda: fit(IMAGE, torch.ones(1, 64, 64)), r"^mask: it is 64 x 64 pixels, the picture 60 x 40"),
        (lambda: fit(IMAGE, MASK.expand(3, -1, -1)), r"^mask: it holds 3, the image 1 pictures"),
        (lambda: keep(IMAGE, IMAGE, torch.zeros(1, 64, 64)), r"^mask: it is empty, nothing is painted"),
        (lambda: keep(IMAGE, IMAGE, torch.ones(1, 64, 64)), r"^mask: it is 64 x 64 pixels, the picture 60 x 40;"),
        (lambda: keep(IMAGE, fit(IMAGE)[0], torch.ones(1, 9, 9), fit(IMAGE)[2]), r"the picture 60 x 40 or 128 x 128;"),
        (
            lambda: keep(IMAGE, IMAGE[:, :, :40], MASK),
            r"^edited: it is 40 x 40 pixels, the image 60 x 40, of other proportions; .*Fit Picture",
        ),
        (lambda: keep(IMAGE[:, :20], IMAGE, MASK, fit(IMAGE)[2]), r"^frame: it is of a picture of 60 x 40 pixels, the image has 60 x 20"),
        (lambda: keep(IMAGE, IMAGE.expand(2, -1, -1, -1), MASK), r"^edited: it holds 2, the image 1 pictures"),
    ],
)
def test_what_cannot_be_right_is_refused(call, message):
    with pytest.raises(GraftError, match=message):
        call()
