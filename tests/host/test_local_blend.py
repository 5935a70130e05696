"""Prompt-to-Prompt's local blend in the real host, against its loop written out."""

from itertools import pairwise

import pytest
import torch
from graft.attention.words import WordError
from graft.host.engine.plan import plan_of
from graft.host.errors import GraftError
from graft.host.samplers.sampling import GraftSampler
from graft.inversion.trajectory import Trajectory
from graft.nodes.cross_attention import CrossAttentionControlNode
from graft.nodes.latents import LocalBlendNode
from tiny_models import noise, prompt, random_trajectory, sample_from, schedule, watched, worded
from torch.nn.functional import interpolate, max_pool2d
from written_out import guided, maps, predict, require_close, step

STEPS, CFG = 5, 3.0
SOURCE, TARGET, NEGATIVE = worded(1, "a cat on a mat"), worded(2, "a dog on a mat"), prompt(3)
OWN_STEP, TRAJECTORY = "the source's own step", "the source's trajectory"
INPUTS = {
    "source_words": "",
    "target_words": "",
    "threshold": 0.3,
    "subtract_source_words": "",
    "subtract_target_words": "",
    "subtract_threshold": 0.3,
    "start_percent": 0.2,
    "end_percent": 1.0,
    "background": OWN_STEP,
    "word_map_grid": "quarter (paper)",
}
pytestmark = pytest.mark.usefixtures("faint_masks")

ONES, ZEROS = torch.ones(1, 128, 128), torch.full((1, 128, 128), 1e-30)  # nothing to the bit; an empty mask is refused
DDIM = GraftSampler("ddim")


def edited(model, source: Trajectory, conditioning: list = SOURCE, **inputs):
    """The node itself, as a graph runs it."""
    return LocalBlendNode.EXECUTE_NORMALIZED(model=model, source=source, source_conditioning=conditioning, **{**INPUTS, **inputs})[0]


def controlled(model, source: Trajectory):
    inputs = {"mode": "replace", "start_percent": 0.0, "end_percent": 0.6, "word_weights": "", "word_windows": "", "alignment": "corrected"}
    return CrossAttentionControlNode.EXECUTE_NORMALIZED(model=model, source=source, source_conditioning=SOURCE, **inputs)[0]


def ours(model, source: Trajectory, sampler=DDIM, **options):
    return sample_from(model, source.latents[0], source.sigmas, TARGET, NEGATIVE, sampler=sampler, **{"cfg": CFG, **options})


def where_looked(summed, tokens, size, pool: bool, threshold: float):
    """`get_mask` of the released code for one prompt; `summed` (N, 77) is a sum over heads, layers and steps."""
    looked = summed[:, tokens].sum(dim=-1).reshape(1, 1, 4, 4)
    if pool:
        looked = max_pool2d(looked, 3, stride=1, padding=1)
    looked = interpolate(looked, size, mode="nearest")
    return looked / looked.max() > threshold


def local_blend(
    model, source, blended=None, subtracted=None, thresholds=(0.3, 0.3), *, mask=None, start=0.2, background=OWN_STEP, cfg=CFG, replaced=0
):
    """Rows s and t; after step i, from i = int(start S) on, t <- s + mask (t - s). `blended` and `subtracted` are the token
    indices of the words in both prompts; the first `replaced` steps take the source's cross-attention maps."""
    x, sums, applied = source.latents[0], {"s": 0, "t": 0}, []
    for index, (sigma, sigma_next) in enumerate(pairwise(source.sigmas)):
        kept = {}

        def row(name, kept=kept, index=index):
            def attention(site, query, key, value):
                seen = kept[site] if name == "t" and index < replaced else maps(query, key)
                kept.setdefault(site, seen)
                if site.grid == (4, 4):
                    sums[name] = sums[name] + seen[0].mean(dim=0)
                return seen @ value

            return attention

        def guided_step(x, conditioning, name, sigma=sigma, sigma_next=sigma_next):
            positive = predict(model, x, sigma, conditioning, attn2=row(name))
            return step(x, guided(predict(model, x, sigma, NEGATIVE), positive, cfg), sigma, sigma_next)

        x_s = guided_step(source.latents[index], SOURCE, "s")
        x = guided_step(x, TARGET, "t")
        if index + 1 > int(start * STEPS):
            keep = mask
            if keep is None:
                keep = where_looked(sums["s"], blended[0], x.shape[-2:], True, thresholds[0])
                keep = keep | where_looked(sums["t"], blended[1], x.shape[-2:], True, thresholds[0])
                if subtracted:
                    keep = keep & ~where_looked(sums["s"], subtracted[0], x.shape[-2:], False, thresholds[1])
                    keep = keep & ~where_looked(sums["t"], subtracted[1], x.shape[-2:], False, thresholds[1])
                keep = keep.float()
            applied.append(float(keep.mean()))
            outside = x_s if background == OWN_STEP else source.latents[index + 1]
            x = outside + keep * (x - outside)
    assert mask is not None or any(0.05 < part < 0.95 for part in applied)
    return x


# Whole edits


def test_a_blend_around_words_is_the_method_written_out(model):
    source = random_trajectory(model, SOURCE)
    theirs = local_blend(model, source, ([2], [2]), thresholds=(0.95, 0))
    require_close(ours(edited(model, source, source_words="cat", target_words="dog", threshold=0.95), source), theirs, ours(model, source))


def test_places_of_other_words_are_subtracted_without_pooling_and_above_a_threshold_of_their_own(sd1):
    source = random_trajectory(sd1, SOURCE)
    theirs = local_blend(sd1, source, ([2, 5], [2]), ([3], [3]), (0.6, 0.8))
    inputs = {"source_words": "cat, mat", "target_words": "dog", "threshold": 0.6}
    subtracting = {"subtract_source_words": "on", "subtract_target_words": "on", "subtract_threshold": 0.8}
    require_close(ours(edited(sd1, source, **inputs, **subtracting), source), theirs, ours(edited(sd1, source, **inputs), source))


def test_words_are_looked_for_in_the_maps_as_edited(sd1):
    source = random_trajectory(sd1, SOURCE)
    theirs = local_blend(sd1, source, ([2], [2]), thresholds=(0.95, 0), replaced=int(0.6 * (STEPS + 1)))
    patched = edited(controlled(sd1, source), source, source_words="cat", target_words="dog", threshold=0.95)
    require_close(ours(patched, source), theirs, ours(controlled(sd1, source), source))


@pytest.mark.parametrize("background", [OWN_STEP, TRAJECTORY])
@pytest.mark.parametrize("cfg", [1.0, CFG])
def test_a_given_mask_is_resized_by_area_and_stays_soft(sd1, background, cfg):
    mask = torch.linspace(0, 1, 120).expand(1, 120, 120)
    source = random_trajectory(sd1, SOURCE)
    cells = interpolate(mask[None], (16, 16), mode="area")
    theirs = local_blend(sd1, source, mask=cells, background=background, cfg=cfg)
    require_close(ours(edited(sd1, source, mask=mask, background=background), source, cfg=cfg), theirs, ours(sd1, source, cfg=cfg))


# Masks at their limits


def test_a_mask_of_everything_is_bitwise_off(model):
    source = random_trajectory(model, SOURCE)
    assert torch.equal(ours(edited(model, source, mask=ONES), source), ours(model, source))


def one_step(model, source: Trajectory, index: int, **options):
    """What one of the run's steps makes of a latent that is not the source's."""
    start = noise(9) * (1 + source.sigmas[index] ** 2).sqrt()
    return sample_from(model, start, source.sigmas[index : index + 2], TARGET, NEGATIVE, cfg=CFG, sampler=DDIM, **options)


def test_a_mask_of_nothing_is_the_sources_own_guided_step(model):
    source = random_trajectory(model, SOURCE)
    blended = one_step(edited(model, source, mask=ZEROS), source, 2)
    sigma, x = source.sigmas[2], source.latents[2]
    denoised = guided(predict(model, x, sigma, NEGATIVE), predict(model, x, sigma, SOURCE), CFG)
    require_close(blended, step(x, denoised, sigma, source.sigmas[3]), source.latents[3])


@pytest.mark.parametrize("index", [2, STEPS - 1])
def test_a_mask_of_nothing_over_the_trajectory_is_the_trajectory_itself(sd1, index):
    source = random_trajectory(sd1, SOURCE)
    blended = one_step(edited(sd1, source, mask=ZEROS, background=TRAJECTORY), source, index)
    torch.testing.assert_close(blended, source.latents[index + 1], rtol=1e-6, atol=1e-6)


def test_words_that_nobody_named_mask_nothing(sd1):
    """Only the target's words are named: the source's mask is empty, not everywhere."""
    source = random_trajectory(sd1, SOURCE)
    named, both = (
        ours(edited(sd1, source, target_words="dog", source_words=words, threshold=0.9), source, cfg=1.0) for words in ("", "cat, mat")
    )
    assert not torch.equal(named, both)


# When, and which rows


@pytest.mark.parametrize(("steps", "first"), [(5, 1), (50, 10)])
def test_the_first_blend_is_after_a_fifth_of_the_steps(sd1, steps, first):
    source, sigmas = random_trajectory(sd1, SOURCE, steps=steps), schedule(sd1, steps)[:-1].tolist()
    window = plan_of(edited(sd1, source, mask=ZEROS)).edits[0].window
    assert [sigma in window for sigma in sigmas] == [False] * first + [True] * (steps - first)


ROWS = [
    ({"source_words": "cat"}, CFG, [1, 2, 2, 2, 2]),
    ({"source_words": "cat"}, 1.0, [1, 1, 1, 1, 1]),
    ({"source_words": "cat", "background": TRAJECTORY}, CFG, [1, 1, 1, 1, 1]),
    ({"mask": ZEROS}, CFG, [0, 2, 2, 2, 2]),
    ({"mask": ZEROS, "end_percent": 0.6}, CFG, [0, 2, 2, 0, 0]),
    ({"mask": ZEROS}, 1.0, [0, 1, 1, 1, 1]),
    ({"mask": ZEROS, "background": TRAJECTORY}, CFG, [0, 0, 0, 0, 0]),
]


@pytest.mark.parametrize(("inputs", "cfg", "rows"), ROWS)
def test_only_the_rows_that_are_needed_are_computed(sd1, inputs, cfg, rows):
    """The source's for its words and for its step, its negative's for a guided step, none for its stored latents."""
    source = random_trajectory(sd1, SOURCE)
    spied, calls = watched(edited(sd1, source, **inputs))
    ours(spied, source, cfg=cfg)
    run = {float(sigma): 0 for sigma in source.sigmas[:-1]}
    for call in calls:
        run[call.sigma] += len(call.x) if call.stream else 0
    assert list(run.values()) == rows


def test_a_source_under_the_negative_prompt_takes_one_row(sd1):
    source = random_trajectory(sd1, NEGATIVE)
    spied, calls = watched(edited(sd1, source, NEGATIVE, mask=ZEROS))
    ours(spied, source)
    assert [len(call.x) for call in calls if call.stream] == [1] * 4


def test_every_row_of_a_batch_has_a_mask_of_its_own(sd1):
    source, start = random_trajectory(sd1, SOURCE), noise(6, batch=2) * 14
    masks = torch.cat([ONES, ZEROS])
    together = sample_from(edited(sd1, source, mask=masks), start, source.sigmas, TARGET, NEGATIVE, cfg=CFG, sampler=DDIM)
    for row, mask in enumerate((ONES, ZEROS)):
        patched = edited(sd1, source, mask=mask)
        alone = sample_from(patched, start[row : row + 1], source.sigmas, TARGET, NEGATIVE, cfg=CFG, sampler=DDIM)
        torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-3, atol=1e-3)


def test_the_blend_serves_the_other_solver_too(sd1):
    source = random_trajectory(sd1, SOURCE)
    blended = ours(edited(sd1, source, mask=ZEROS, background=TRAJECTORY), source, GraftSampler("dpmpp_2m"))
    torch.testing.assert_close(blended, source.latents[-1], rtol=1e-6, atol=1e-6)


# Refusals


def test_stock_samplers_are_refused_before_the_first_call(sd1):
    source = random_trajectory(sd1, SOURCE)
    spied, calls = watched(edited(sd1, source, mask=ONES))
    with pytest.raises(GraftError, match=r"^sampler: LocalBlend works between steps.*connect Graft Sampler"):
        ours(spied, source, "euler")
    assert not calls


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"source_words": "dog"}, "^source_words: the prompt has no 'dog'; its words are: a, cat, on, mat"),
        ({"target_words": "cat"}, "^target_words: the prompt has no 'cat'; its words are: a, dog, on, mat"),
        ({"source_words": "cat", "subtract_source_words": "cow"}, "^subtract_source_words: the prompt has no 'cow'"),
        ({"source_words": "cat", "subtract_target_words": "cow"}, "^subtract_target_words: the prompt has no 'cow'"),
    ],
)
def test_words_that_the_prompt_has_not_are_refused_by_the_inputs_name(sd1, inputs, message):
    source = random_trajectory(sd1, SOURCE)
    spied, calls = watched(edited(sd1, source, **inputs))
    with pytest.raises(WordError, match=message):
        ours(spied, source)
    assert not calls


def test_neither_words_nor_a_mask_are_refused_and_an_empty_window_is_the_node_absent(sd1):
    source = random_trajectory(sd1, SOURCE)
    with pytest.raises(GraftError, match=r"^source_words, target_words: nothing says what may change"):
        edited(sd1, source)
    assert edited(sd1, source, mask=ONES, end_percent=0.2) is sd1


def test_several_negatives_are_refused_by_their_name(sd1):
    source = random_trajectory(sd1, SOURCE)
    with pytest.raises(GraftError, match=r"^negative: a stream needs one prompt, got 2 combined"):
        sample_from(edited(sd1, source, mask=ONES), source.latents[0], source.sigmas, TARGET, [*NEGATIVE, *prompt(5)], sampler=DDIM)
