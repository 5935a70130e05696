"""The unnaturalness map: what it computes, and that it finds on the miniature what was pasted and nothing else."""

import numpy as np
import pytest
import torch
from graft.host.engine.noise_levels import level_at
from graft.host.engine.prompts import encode_prompt
from graft.host.errors import GraftError
from graft.host.inspection.captions import Scale, strips
from graft.host.inspection.heat_maps import laid_over, over_grey
from graft.host.inspection.unnaturalness import explained, unnaturalness_map
from graft.host.models import miniature
from graft.miniature.network import SIDE
from graft.miniature.scenes.rendering import render
from graft.miniature.scenes.sampling import sample_scene
from graft.nodes.optimization import UnnaturalnessMap
from graft.nodes.self_attention import MaskKeysAndValuesNode
from scipy import ndimage
from tiny_models import make_flow_model, noise, prompt, snapshot, watched
from torch import Tensor
from torch.nn.functional import avg_pool2d
from written_out import predict

SCENES = 4


@pytest.fixture(scope="module")
def found() -> dict:
    """The miniature's maps of scenes as they are drawn, of the same with their object drawn in ink, and where."""
    generator = np.random.default_rng(41)
    drawn, pasted, regions = [], [], []
    for _ in range(SCENES):
        scene = sample_scene(generator, count=1, style="3-D render", light="day")
        rendering, background = render(scene.restyled("ink drawing")), render(scene.without(0)).picture
        object = rendering.objects[0]
        drawn.append(render(scene).picture)
        pasted.append(background * (1 - object[..., None]) + rendering.picture * object[..., None])
        regions.append(ndimage.binary_dilation(object > 0.05, iterations=8))
    model, vae = miniature.load_unet(), miniature.load_vae()
    empty = encode_prompt(miniature.load_clip(), "")
    inputs = {"model": model, "conditioning": empty, "vae": vae, "seed": 0, "draws": 9, "lowest_timestep": 100, "highest_timestep": 300}
    maps = {"regions": torch.from_numpy(np.stack(regions)), "pictures": torch.from_numpy(np.stack(pasted)).float()}
    for name, pictures, measure in (("pasted", pasted, "unexpected"), ("drawn", drawn, "unexpected"), ("drawn", drawn, "all (paper)")):
        images = torch.from_numpy(np.stack(pictures)).float()
        maps[name, measure] = UnnaturalnessMap.EXECUTE_NORMALIZED(**inputs, image=images, measure=measure).result
    return maps


def means(mask: Tensor, regions: Tensor) -> tuple[Tensor, Tensor]:
    """Per picture, inside and outside."""
    inside = (mask * regions).sum(dim=(1, 2)) / regions.sum(dim=(1, 2))
    return inside, (mask * ~regions).sum(dim=(1, 2)) / (~regions).sum(dim=(1, 2))


def test_it_finds_the_pasted_object_and_its_border_without_being_told(found):
    inside, outside = means(found["pasted", "unexpected"][1], found["regions"])
    assert bool((inside > 2 * outside).all()) and float(inside.mean()) > 4 * float(outside.mean())


def test_an_object_that_belongs_there_is_no_such_spot(found):
    """Where the plain change of the article stands out too, if less."""
    pasted, drawn = (means(found[name, "unexpected"][1], found["regions"])[0] for name in ("pasted", "drawn"))
    assert float(pasted.mean()) > 5 * float(drawn.mean()) and float(pasted.min()) > float(drawn.max())
    inside, outside = means(found["drawn", "all (paper)"][1], found["regions"])
    assert bool((inside > 1.1 * outside).all())


def test_the_heat_lies_over_the_picture_on_the_same_scale_for_all(found):
    heat_map, mask = found["pasted", "unexpected"]
    assert heat_map.shape[0] == SCENES and heat_map.shape[2:] == (256, 3) and mask.shape == (SCENES, SIDE, SIDE)
    assert float(mask.min()) >= 0 and float(mask.max()) <= 1 and bool(heat_map.isfinite().all())
    brighter = found["drawn", "unexpected"][1].mean() < mask.mean()
    assert bool(brighter)


def test_the_mask_is_the_bare_map_and_the_heat_map_shows_it_twice_as_large(found):
    heat_map, mask = found["pasted", "unexpected"]
    assert torch.equal(heat_map[:, 0:256:2, 1:256:2], laid_over(found["pictures"], mask))


@pytest.mark.parametrize(
    ("measure", "title", "ends"),
    [("unexpected", "unnaturalness", ("0: fits", "1: does not fit")), ("all (paper)", "all change wanted", ("0: stays", "1: changes"))],
)
def test_the_heat_map_says_what_was_measured_at_which_noise_levels_and_what_colours_mean(found, measure, title, ends):
    """Timesteps 298 to 100: sigmas of the miniature, and 1 - t / 999 of the run."""
    heat_map = found["drawn", measure][0]
    highest, lowest = level_at(miniature.load_unet().get_model_object("model_sampling"), torch.tensor([298, 100])).tolist()
    text = f"{title}\n9 draws, sigma {highest:.3g} to {lowest:.3g} (70 to 90 % of the run)"
    expected = strips(256, [text], [Scale(*ends, over_grey())])
    assert torch.equal(heat_map[:, -expected.shape[1] :], expected.expand(SCENES, -1, -1, -1))


def test_one_draw_is_said_at_its_one_noise_level(sd1):
    asked = explained(torch.rand(1, 64, 64, 3), sd1, (100, 300), 1, "unexpected")
    level = float(level_at(sd1.get_model_object("model_sampling"), torch.tensor(298)))
    text = f"unnaturalness\n1 draw, sigma {level:.3g} (70 % of the run)"
    expected = strips(256, [text], [Scale("0: fits", "1: does not fit", over_grey())])
    assert torch.equal(asked[:, 256:], expected)


# What it computes


def test_it_is_its_formula_written_out(sd1):
    """Three draws between timesteps 100 and 300, without guidance: the mean of r . (r - sigma n) over 3 x 3 cells."""
    latent, seed = noise(21, 2) * 4, 5
    result = unnaturalness_map(sd1, prompt(1), latent, (100, 300), 3, seed)
    clean = sd1.model.process_latent_in(latent)
    generator, total = torch.Generator().manual_seed(seed), 0.0
    for timestep in (298, 199, 100):
        sigma = level_at(sd1.get_model_object("model_sampling"), torch.tensor(timestep))
        n = torch.randn(clean.shape, generator=generator)
        r = predict(sd1, clean + sigma * n, sigma, prompt(1)) - clean
        total = total + (r * (r - sigma * n)).sum(dim=1) / 3
    cells = torch.ones(1, 1, 16, 16)
    blurred = avg_pool2d(total[:, None], 3, 1, 1, divisor_override=1) / avg_pool2d(cells, 3, 1, 1, divisor_override=1)
    spread = (clean - clean.mean(dim=(2, 3), keepdim=True)).square().mean(dim=(2, 3)).sum(dim=1).sqrt()
    expected = (blurred[:, 0].clamp(min=0).sqrt() / spread.view(2, 1, 1)).clamp(max=1)
    torch.testing.assert_close(result, expected, rtol=1e-2, atol=1e-3)


def test_every_model_that_adds_noise_can_be_asked(model):
    for asked in (model, make_flow_model()):
        heat = unnaturalness_map(asked, prompt(1), noise(21) * 4, (100, 300), 3, 0)
        assert heat.shape == (1, 16, 16) and bool(heat.isfinite().all()) and float(heat.max()) <= 1


def test_one_row_per_picture_and_draw_the_same_bits_and_a_clean_model(sd1):
    spied, calls = watched(sd1)
    before = snapshot(spied)
    heat = unnaturalness_map(spied, prompt(1), noise(21, 2), (100, 300), 4, 3)
    assert [len(call.x) for call in calls] == [2] * 4 and snapshot(spied) == before
    assert torch.equal(unnaturalness_map(sd1, prompt(1), noise(21, 2), (100, 300), 4, 3), heat)
    assert not torch.equal(unnaturalness_map(sd1, prompt(1), noise(21, 2), (100, 300), 4, 4), heat)


def test_what_cannot_be_asked_is_refused(sd1):
    with pytest.raises(GraftError, match=r"^image: its latents have 8 channels"):
        unnaturalness_map(sd1, prompt(1), torch.zeros(1, 8, 16, 16), (100, 300), 3, 0)
    with pytest.raises(GraftError, match=r"^lowest_timestep, highest_timestep: 300 and 100 leave nothing to draw"):
        unnaturalness_map(sd1, prompt(1), noise(21), (300, 100), 3, 0)
    inputs = {"mask_threshold": 0.1, "interpolation": "area", "start_percent": 0.0, "end_percent": 1.0, "layers": {"layers": "paper"}}
    edited = MaskKeysAndValuesNode.EXECUTE_NORMALIZED(model=sd1, mask=torch.ones(1, 64, 64), **inputs)[0]
    with pytest.raises(GraftError, match=r"^model: it already carries Graft edits"):
        unnaturalness_map(edited, prompt(1), noise(21), (100, 300), 3, 0)
