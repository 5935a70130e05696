"""TF-ICON's start noise against its three cases, cell by cell."""

from itertools import product

import pytest
import torch
from graft.composition.noise import compose_noise

SIZE = 6, 8


def draw(seed: int, batch: int) -> torch.Tensor:
    return torch.randn(batch, 4, *SIZE, generator=torch.Generator().manual_seed(seed))


def masks(seed: int, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    """An object within a region, of cells anywhere."""
    region, kept = torch.rand(2, rows, *SIZE, generator=torch.Generator().manual_seed(seed))
    return (region > 0.4) & (kept > 0.5), region > 0.4


@pytest.mark.parametrize("references", [1, 2])
@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("cross", [True, False])
def test_every_cell_starts_from_its_part(references, rows, cross):
    main, reference, fresh, (object, region) = draw(0, 2), draw(1, references), draw(2, 2), masks(3, rows)
    composed = compose_noise(main, reference if cross else None, fresh, object, region)
    assert composed.shape == main.shape
    for picture, i, j in product(range(2), *map(range, SIZE)):
        if not region[picture % rows, i, j]:
            expected = main[picture, :, i, j]
        elif object[picture % rows, i, j]:
            expected = (reference[picture % references] if cross else main[picture])[:, i, j]
        else:
            expected = fresh[picture, :, i, j]
        assert torch.equal(composed[picture, :, i, j], expected)


def test_an_object_beyond_the_region_does_not_count():
    main, reference, (object, region) = draw(0, 1), draw(1, 1), masks(5, 1)
    beyond = compose_noise(main, reference, draw(2, 1), object | ~region, region)
    assert torch.equal(beyond, compose_noise(main, reference, draw(2, 1), object, region))


def test_empty_masks_leave_the_main_pictures_noise():
    main, nothing = draw(0, 1), torch.zeros(1, *SIZE, dtype=torch.bool)
    assert torch.equal(compose_noise(main, draw(1, 1), draw(2, 1), nothing, nothing), main)
