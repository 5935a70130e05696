"""FreeCompose's K,V mask in the real host, against explicit softmax with -inf for the masked keys."""

from itertools import pairwise

import pytest
import torch
from graft.host.engine.plan import Plan, plan_of
from graft.host.errors import GraftError
from graft.host.families.layers import fine_decoder_layers, require_unet
from graft.nodes.self_attention import MaskKeysAndValuesNode, ReplaceSelfAttentionNode
from tiny_models import make_guider, noise, prompt, random_trajectory, sample, sample_from, schedule, snapshot, watched
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate
from written_out import guided, maps, predict, require_close, step

STEPS, CFG = 4, 3.0
TARGET, NEGATIVE = prompt(2), prompt(3)
PAPER, ALL = {"layers": "paper"}, {"layers": "all"}
BOX, THIN = torch.zeros(1, 128, 128), torch.zeros(1, 128, 128)
BOX[:, 20:90, 30:100] = 1
THIN[:, :, 61:63] = 1


def edited(
    model, mask: Tensor = BOX, *, layers: dict = PAPER, start: float = 0.0, end: float = 1.0, threshold: float = 0.1, by: str = "area"
):
    """The node itself, as a graph runs it."""
    inputs = {"mask_threshold": threshold, "interpolation": by, "start_percent": start, "end_percent": end, "layers": layers}
    return MaskKeysAndValuesNode.EXECUTE_NORMALIZED(model=model, mask=mask, **inputs)[0]


def start_of(model, batch: int = 1) -> tuple[Tensor, Tensor]:
    return noise(6, batch) * 14, schedule(model, STEPS)


def ours(model, *, batch: int = 1, cfg: float = CFG, **options) -> Tensor:
    return sample_from(model, *start_of(model, batch), TARGET, NEGATIVE, cfg=cfg, **options)


def written_out(model, masks: Tensor, *, active=range(STEPS), everywhere: bool = False, by: str = "area") -> Tensor:
    """Every row, positive and negative, with its own mask: softmax over all keys, of which the masked have -inf."""

    def masked(site, query, key, value):
        if not everywhere and (site.block != "output" or site.grid[0] < 8):
            return maps(query, key) @ value
        if by == "area":
            tokens = adaptive_avg_pool2d(masks[:, None].double(), site.grid).flatten(2)
        else:
            tokens = interpolate(masks[:, None].double(), site.grid, mode="bilinear", align_corners=False).flatten(2)
        bias = torch.zeros_like(tokens).masked_fill(tokens > 0.1, float("-inf"))
        bias[(tokens > 0.1).all(dim=-1)] = 0.0
        return maps(query, key, bias[:, :, None]) @ value

    x, sigmas = start_of(model, len(masks))
    for index, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        compute = masked if index in active else None
        rows = [predict(model, x, sigma, conditioning, attn1=compute) for conditioning in (NEGATIVE, TARGET)]
        x = step(x, guided(*rows, CFG), sigma, sigma_next)
    return x


def test_masked_keys_have_no_weight_in_either_row(model):
    require_close(ours(edited(model)), written_out(model, BOX), ours(model))


def test_rows_of_a_batch_have_each_their_own_mask(sd1):
    masks = torch.cat([BOX, BOX.mT.flip(1)])
    require_close(ours(edited(sd1, masks), batch=2), written_out(sd1, masks), ours(edited(sd1, masks.flip(0)), batch=2))


def test_all_layers_and_a_window(sd1):
    """percent 0.25 to 0.75 of four steps: the second and the third."""
    result = ours(edited(sd1, layers=ALL, start=0.25, end=0.75))
    require_close(result, written_out(sd1, BOX, active=(1, 2), everywhere=True), ours(edited(sd1, start=0.25, end=0.75)))


def test_by_area_a_thin_mask_is_found_and_by_the_released_code_it_is_missed(sd1):
    """A line of two pixels is a quarter of a cell's width at an eighth of the side, and falls between the pixels that bilinear looks at."""
    require_close(ours(edited(sd1, THIN)), written_out(sd1, THIN), ours(sd1))
    require_close(ours(sd1), written_out(sd1, THIN, by="bilinear"))
    with pytest.raises(GraftError, match=r"^mask: what it shows is too small for the 16 x 16 cells"):
        ours(edited(sd1, THIN, by="bilinear"))


def test_without_guidance_the_one_row_is_masked(sd1):
    spied, calls = watched(edited(sd1))
    sample_from(spied, *start_of(sd1), TARGET, NEGATIVE, cfg=1.0)
    assert [call.order for call in calls] == [[0]] * STEPS and not torch.equal(calls[0].denoised, _plain(sd1))


def _plain(model) -> Tensor:
    spied, calls = watched(model)
    sample_from(spied, *start_of(model), TARGET, NEGATIVE, cfg=1.0)
    return calls[0].denoised


def test_a_full_mask_leaves_every_layer_plain_and_says_so_once(sd1, caplog):
    assert torch.equal(ours(edited(sd1, torch.ones(1, 128, 128))), ours(sd1))
    noted = [entry.getMessage() for entry in caplog.records if entry.name == "graft"]
    assert len(noted) == 1 and "mask covers all of a layer's grid" in noted[0]


def test_a_row_whose_mask_is_full_stays_plain_beside_one_that_is_masked(sd1):
    masks = torch.cat([BOX, torch.ones_like(BOX)])
    require_close(ours(edited(sd1, masks), batch=2), written_out(sd1, masks), ours(sd1, batch=2))


def test_an_empty_window_is_the_node_absent(sd1):
    before = snapshot(sd1)
    assert edited(sd1, start=0.5, end=0.5) is sd1
    patched = edited(sd1)
    assert snapshot(sd1) == before and plan_of(sd1) == Plan()
    assert plan_of(patched).edits[0].layers == fine_decoder_layers(require_unet(sd1))


def test_it_runs_in_the_hosts_ksampler(sd1):
    from nodes import common_ksampler

    def sampled(model) -> Tensor:
        latent = {"samples": torch.zeros(1, 4, 16, 16)}
        return common_ksampler(model, 3, 3, CFG, "dpmpp_2m", "karras", TARGET, NEGATIVE, latent)[0]["samples"]

    assert not torch.allclose(sampled(edited(sd1)), sampled(sd1))
    assert torch.equal(sampled(edited(sd1)), sampled(edited(sd1)))


def test_it_goes_with_another_edit_in_other_layers(sd1):
    """Free-Prompt-Editing's queries and keys come from the source where keys are not masked."""
    source = random_trajectory(sd1, TARGET, steps=STEPS)
    rest = {"start_percent": 0.0, "end_percent": 1.0, "strength": 1.0, "layers": {"layers": "custom", "custom_layers": "0-6"}}
    both = ReplaceSelfAttentionNode.EXECUTE_NORMALIZED(model=edited(sd1), source=source, source_conditioning=TARGET, **rest)[0]
    one = ReplaceSelfAttentionNode.EXECUTE_NORMALIZED(model=sd1, source=source, source_conditioning=TARGET, **rest)[0]
    results = [ours(model) for model in (both, one, edited(sd1))]
    assert not torch.allclose(results[0], results[1]) and not torch.allclose(results[0], results[2])


def test_masks_that_do_not_fit_are_refused_before_the_first_call(sd1):
    spied, calls = watched(sd1)
    with pytest.raises(GraftError, match=r"^mask: it is 64 x 128 pixels, the latent 16 x 16 cells"):
        ours(edited(spied, BOX[..., :64]))
    with pytest.raises(GraftError, match=r"^mask: it holds 3, the sampled batch 1 pictures"):
        ours(edited(spied, BOX.expand(3, -1, -1)))
    assert not calls


def test_a_mask_of_another_resolution_of_the_picture_fits(sd1):
    """Encoding cuts off what does not fill a cell: 131 pixels are 16 cells."""
    for size in ((131, 131), (64, 64)):
        sample(edited(sd1, interpolate(BOX[None], size)[0]), TARGET, NEGATIVE, steps=1)


def test_models_without_self_attention_of_this_kind_are_refused_by_name(sd1):
    sd1.add_object_patch("diffusion_model", torch.nn.Linear(1, 1))
    with pytest.raises(GraftError, match=r"^model: the self-attention of BaseModel cannot be edited"):
        edited(sd1)


def test_interrupting_leaves_the_model_as_it_was(sd1):
    patched = edited(sd1)
    before = snapshot(patched)

    def interrupt(step, *rest):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample(patched, TARGET, NEGATIVE, callback=interrupt)
    assert snapshot(patched) == before
    assert make_guider(patched, TARGET, NEGATIVE).model_options is patched.model_options
