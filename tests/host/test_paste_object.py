"""The node that pastes an object, run as a graph runs it, on scenes of the miniature's world."""

import pytest
import torch
from graft.host.errors import GraftError
from graft.miniature.scenes.rendering import render
from graft.miniature.scenes.scene import Scene, Thing
from graft.nodes.composition import PasteObject, PlaceReference
from torch import Tensor

SIDE = 64
STAR = Thing("star", "red", x=0.5, y=0.75, size=0.4)


pytestmark = pytest.mark.usefixtures("previews")


def drawn(scene: Scene) -> tuple[Tensor, Tensor]:
    """The picture (1, 64, 64, 3) and the masks (things, 64, 64) of its things."""
    rendering = render(scene, SIDE)
    return torch.from_numpy(rendering.picture)[None], torch.from_numpy(rendering.objects)


SAND = drawn(Scene("sand"))[0]
REFERENCE, OBJECT = drawn(Scene("meadow", things=(STAR,)))
SAME_PLACE = {"place": "mask", "mask": OBJECT}


def paste(place: dict = SAME_PLACE, **inputs):
    inputs = {"image": SAND, "reference": REFERENCE, "reference_mask": OBJECT, "rotation": 0.0, "feather": 0, **inputs}
    return PasteObject.EXECUTE_NORMALIZED(**inputs, place=place)


def test_an_object_pasted_where_it_was_keeps_every_pixel_and_so_does_its_new_ground():
    pasted, mask = paste().result
    assert float((mask - OBJECT).abs().max()) < 1e-5
    assert float((pasted - torch.lerp(SAND, REFERENCE, OBJECT[..., None])).abs().max()) < 1e-5
    assert torch.equal(pasted[mask == 0], SAND[mask == 0])


def test_it_is_pasted_as_place_reference_pastes_it():
    place = {"place": "numbers", "center_x": 0.3, "center_y": 0.6, "size": 0.4}
    shared = {"image": SAND, "reference": REFERENCE, "reference_mask": OBJECT, "rotation": 30.0, "place": place}
    placed = PlaceReference.EXECUTE_NORMALIZED(**shared, fit="object", surround="black (paper)").result
    pasted, mask = paste(place, rotation=30.0).result
    assert torch.equal(mask, placed[1])
    assert float((pasted - placed[3]).abs().max()) < 1e-5


def test_feathering_softens_the_edge_inwards():
    hard, soft = (paste(feather=feather).result for feather in (0, 2))
    assert bool((soft[1] <= hard[1]).all()) and torch.equal(soft[1][hard[1] == 0], hard[1][hard[1] == 0])
    edge = (soft[1] > 0) & (soft[1] < 1)
    assert int(edge.sum()) > 2 * int(((hard[1] > 0) & (hard[1] < 1)).sum())
    middle = (soft[1] == 1)[..., None].expand_as(soft[0])
    assert torch.equal(soft[0][middle], hard[0][middle])


def test_a_feather_that_leaves_nothing_of_the_object_is_refused():
    hard = paste().result[1][0] > 0
    width, height = int(hard.any(0).sum()), int(hard.any(1).sum())
    with pytest.raises(GraftError, match=rf"^feather: a soft edge 128 pixels wide leaves nothing of the object, {width} x {height} pixels"):
        paste(feather=64)


def test_one_object_goes_into_every_picture_and_is_shown(previews):
    output = paste(image=torch.cat([SAND, 1 - SAND]))
    assert output.result[0].shape == (2, 64, 64, 3) and output.result[1].shape == (1, 64, 64)
    assert torch.equal(output.result[0][:1], paste().result[0])
    assert len(list(previews.glob("*.png"))) >= 2


@pytest.mark.parametrize(
    "inputs, message",
    [
        ({"reference_mask": torch.zeros(1, 64, 64)}, r"^reference_mask: it is empty"),
        ({"reference_mask": torch.ones(1, 32, 64)}, r"^reference_mask: it is 64 x 32 pixels, the reference 64 x 64"),
        ({"reference_mask": OBJECT.expand(3, -1, -1)}, r"^reference_mask: it holds 3, the image 1 pictures"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(inputs, message):
    with pytest.raises(GraftError, match=message):
        paste(**inputs)
