"""SpecRef's reference attention in the real host, against its loop written out with a bank of the inversion's keys and values."""

from itertools import pairwise

import pytest
import torch
from graft.host.engine.plan import plan_of
from graft.host.errors import GraftError
from graft.host.families.layers import fine_decoder_layers, require_unet
from graft.host.samplers.sampling import invert
from graft.inversion.trajectory import Trajectory
from graft.nodes.cross_attention import CrossAttentionControlNode
from graft.nodes.self_attention import ReferenceAttentionNode, ReplaceSelfAttentionNode
from tiny_models import noise, prompt, random_trajectory, sample_from, schedule, watched, worded
from torch.nn.functional import interpolate
from written_out import guided, maps, predict, require_close, require_negative_untouched, step

STEPS, CFG = 5, 3.0
SOURCE, TARGET, NEGATIVE, EMPTY = worded(1, "a cat on a mat"), worded(2, "a dog on a mat"), prompt(3), prompt(4)
DOG = 2
PICTURE = noise(50)
DISC = (torch.linspace(-1, 1, 128)[:, None] ** 2 + torch.linspace(-1.2, 0.8, 128) ** 2 < 0.5).float()[None]
LEFT = torch.zeros(1, 128, 128)
LEFT[..., :70] = 1
PAPER = {"layers": "paper"}
INPUTS = {"threshold": 0.5, "interpolation": "bilinear", "start_percent": 0.2, "end_percent": 1.0}
CROSS = {"mode": "replace", "start_percent": 0.0, "word_weights": "", "word_windows": "", "alignment": "corrected"}


def reference_of(model, pictures=PICTURE, steps: int = STEPS) -> Trajectory:
    return invert(model, EMPTY, pictures, schedule(model, steps), "ddim", 1)


def edited(model, reference: Trajectory, words: str = "", layers: dict = PAPER, **inputs):
    """The node itself, as a graph runs it."""
    inputs = {**INPUTS, "target_words": words, "word_map_grid": "quarter (paper)", "layers": layers, **inputs}
    return ReferenceAttentionNode.EXECUTE_NORMALIZED(model=model, reference=reference, reference_conditioning=EMPTY, **inputs)[0]


def controlled(model, source: Trajectory, end: float):
    inputs = {**CROSS, "end_percent": end}
    return CrossAttentionControlNode.EXECUTE_NORMALIZED(model=model, source=source, source_conditioning=SOURCE, **inputs)[0]


def keeping_layout(model, source: Trajectory, end: float):
    inputs = {"strength": 1.0, "start_percent": 0.0, "end_percent": end, "layers": PAPER}
    return ReplaceSelfAttentionNode.EXECUTE_NORMALIZED(model=model, source=source, source_conditioning=SOURCE, **inputs)[0]


def bank_of(model, picture=PICTURE) -> list[dict]:
    """Keys and values of every layer at every inversion step: the latent of one level with the label of the next."""
    bank, x = [], model.model.process_latent_in(picture)
    for sigma, sigma_next in pairwise(schedule(model, STEPS).flip(0)):
        stored = {}

        def store(site, query, key, value, stored=stored):
            stored[site] = key, value
            return maps(query, key) @ value

        shown = x * ((1 + sigma_next**2) / (1 + sigma**2)).sqrt()
        denoised = predict(model, shown, sigma_next, EMPTY, attn1=store)
        x = x + (sigma_next - sigma) * (shown - denoised) / sigma_next
        bank.append(stored)
    return bank


def on_grid(mask, grid: tuple[int, int], threshold: float, interpolation: str):
    corners = {"align_corners": False} if interpolation == "bilinear" else {}
    return interpolate(mask[None].double(), grid, mode=interpolation, **corners)[0] >= threshold


def specref(
    model, source, *, words=(), seen=None, region=None, threshold=0.5, interpolation="bilinear", cross=0, layout=0, cumulative=True
):
    """The editing loop, of steps 1 to 4. `words` are token indices; the first `cross` steps take the source's cross-attention
    maps, the first `layout` its self-attention maps below the latent's own grid."""
    bank, x, looked = bank_of(model), source.latents[0], []
    for index, (sigma, sigma_next) in enumerate(pairwise(source.sigmas)):
        kept, kept_cross = {}, {}
        looked = looked if cumulative else []

        def keep(site, query, key, value, kept=kept):
            kept[site] = maps(query, key)
            return kept[site] @ value

        def keep_cross(site, query, key, value, kept_cross=kept_cross):
            return keep(site, query, key, value, kept_cross)

        def cross_attention(site, query, key, value, index=index, kept_cross=kept_cross, looked=looked):
            edited_map = kept_cross[site] if index < cross else maps(query, key)
            if site.grid == (4, 4):
                looked.append(edited_map.mean(dim=1)[..., list(words)].sum(dim=-1).reshape(1, 4, 4))
            return edited_map @ value

        def self_attention(site, query, key, value, index=index, kept=kept, looked=looked):
            if site.block != "output" or site.grid[0] < 8 or index < 1:
                own = kept[site] if index < layout and site.grid[0] <= 8 else maps(query, key)
                return own @ value
            own = maps(query, key) @ value
            keys, values = bank[STEPS - 1 - index][site]
            bias = torch.zeros(keys.shape[-2], dtype=torch.float64)
            if seen is not None:
                bias[~on_grid(seen, site.grid, threshold, interpolation).flatten()] = float("-inf")
            there = maps(query, keys, bias) @ values
            inside = torch.ones(1, *site.grid, dtype=torch.bool)
            if region is not None:
                inside = on_grid(region, site.grid, threshold, interpolation)
            elif words:
                mean = torch.stack(looked).mean(dim=0)
                inside = on_grid((mean - mean.min()) / (mean.max() - mean.min()), site.grid, threshold, interpolation)
            inside = inside.reshape(1, 1, -1, 1)
            assert words == () or 0 < int(inside.sum()) < inside.numel()
            return torch.where(inside, there, own)

        predict(model, source.latents[index], sigma, SOURCE, attn1=keep, attn2=keep_cross)
        positive = predict(model, x, sigma, TARGET, attn1=self_attention, attn2=cross_attention)
        x = step(x, guided(predict(model, x, sigma, NEGATIVE), positive, CFG), sigma, sigma_next)
    return x


def ours(model, source: Trajectory, **options):
    return sample_from(model, source.latents[0], source.sigmas, TARGET, NEGATIVE, **{"cfg": CFG, **options})


# Whole edits


def test_the_stream_shows_what_the_inversion_saw(model):
    """Step s reads the inversion step of the same label."""
    inverted, seen = watched(model)
    reference, source = reference_of(inverted), random_trajectory(model, SOURCE)
    spied, calls = watched(edited(model, reference))
    ours(spied, source)
    shown = [call for call in calls if call.stream]
    assert len(shown) == STEPS - 1
    for call, other in zip(shown, list(reversed(seen))[1:], strict=True):
        assert call.sigma == other.sigma
        torch.testing.assert_close(call.x, other.x, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "area"])
def test_an_edit_with_both_masks_is_the_method_written_out(sd1, interpolation):
    source = random_trajectory(sd1, SOURCE)
    theirs = specref(sd1, source, words=[DOG], seen=DISC, interpolation=interpolation, threshold=0.45)
    patched = edited(sd1, reference_of(sd1), "dog", reference_mask=DISC, interpolation=interpolation, threshold=0.45)
    require_close(ours(patched, source), theirs, ours(sd1, source))


def test_the_whole_of_specref_is_the_method_written_out(model):
    """With Prompt-to-Prompt's control of both attentions: words are looked for in the edited maps, and where the reference is
    looked at, the source's layout is not kept."""
    source = random_trajectory(model, SOURCE)
    theirs = specref(model, source, words=[DOG], seen=DISC, cross=4, layout=3)
    patched = edited(keeping_layout(controlled(model, source, 0.8), source, 0.6), reference_of(model), "dog", reference_mask=DISC)
    require_close(ours(patched, source), theirs, specref(model, source, words=[DOG], seen=DISC, layout=3))


MASKS = {
    "only the reference's": ({"reference_mask": DISC}, {"seen": DISC}),
    "only the target's": ({"words": "dog, mat"}, {"words": [DOG, 5]}),
    "none": ({}, {}),
    "given": ({"target_mask": LEFT, "reference_mask": DISC, "words": "dog"}, {"region": LEFT, "seen": DISC}),
}


@pytest.mark.parametrize("masks", MASKS)
def test_masks_may_be_left_out_and_a_given_one_goes_before_words(sd1, masks):
    inputs, method = MASKS[masks]
    source = random_trajectory(sd1, SOURCE)
    theirs = specref(sd1, source, **method)
    require_close(ours(edited(sd1, reference_of(sd1), **inputs), source), theirs, ours(sd1, source))


def test_words_are_looked_for_in_all_steps_so_far(sd1):
    """The running mean begins before the window; the last step's maps alone say something else."""
    source = random_trajectory(sd1, SOURCE)
    theirs, hasty = (specref(sd1, source, words=[DOG], cumulative=cumulative) for cumulative in (True, False))
    require_close(ours(edited(sd1, reference_of(sd1), "dog"), source), theirs, hasty)


# Nothing else changes


@pytest.mark.parametrize("name", ["reference_mask", "target_mask"])
def test_a_mask_below_the_threshold_everywhere_is_refused_and_one_on_some_grids_only_is_noted(sd1, caplog, name):
    source, reference = random_trajectory(sd1, SOURCE), reference_of(sd1)
    faint, small = torch.full((1, 128, 128), 0.4), torch.zeros(1, 128, 128)
    small[:, 40:48, 40:48] = 1
    spied, calls = watched(edited(sd1, reference, **{name: faint}))
    with pytest.raises(GraftError, match=rf"^{name}: what it shows is too small"):
        ours(spied, source)
    assert not calls
    ours(edited(sd1, reference, interpolation="area", **{name: small}), source)
    noted = [entry.getMessage() for entry in caplog.records if entry.name == "graft" and name in entry.getMessage()]
    assert noted == [f"Graft: {name}: what it shows is too small for the layers of 8 x 8 tokens; they stay as they are"]


def one_step(model, source: Trajectory, index: int, start=None) -> list:
    """The calls of one of the run's steps."""
    spied, calls = watched(model)
    start = source.latents[index] if start is None else start
    sample_from(spied, start, source.sigmas[index : index + 2], TARGET, NEGATIVE, cfg=CFG)
    return calls


def test_negative_rows_stay_what_they_were(model):
    source = random_trajectory(model, SOURCE)
    (plain,) = one_step(model, source, 2)
    _, changed = one_step(edited(model, reference_of(model), "dog"), source, 2)
    require_negative_untouched(changed, plain)


def test_the_reference_runs_inside_its_window_only(sd1):
    """Before it, words are watched, which takes no row; after it, nothing is left to do."""
    source = random_trajectory(sd1, SOURCE)
    for words in ("", "dog"):
        spied, calls = watched(edited(sd1, reference_of(sd1), words, start_percent=0.4, end_percent=0.8))
        ours(spied, source)
        assert [call.stream for call in calls] == [False, False, True, False, True, False, False]


def test_an_empty_window_is_the_node_absent(sd1):
    assert edited(sd1, reference_of(sd1), "dog", start_percent=0.5, end_percent=0.5) is sd1


def test_layers_before_the_first_map_keep_their_own_attention(sd1):
    """From the first step on in every layer: those before the first map of words stay plain in that step, the others do not."""
    source = random_trajectory(sd1, SOURCE)
    first = edited(sd1, reference_of(sd1), "dog", {"layers": "custom", "custom_layers": "0-3"}, start_percent=0.0)
    everywhere = edited(sd1, reference_of(sd1), "dog", {"layers": "all"}, start_percent=0.0)
    plain, early, all_ = (one_step(model, source, 0)[-1].rows(0)[1] for model in (sd1, first, everywhere))
    assert torch.equal(plain, early) and not torch.equal(plain, all_)


@pytest.mark.parametrize("size", [(16, 24), (24, 8), (20, 12)])
def test_pictures_of_every_shape_are_edited_and_others_left(sd1, size):
    """Shapes whose grids halve to unequal or odd sides."""
    source = random_trajectory(sd1, SOURCE, size=size)
    reference = reference_of(sd1, noise(50, 1, *size))
    disc = torch.nn.functional.interpolate(DISC[None], tuple(8 * side for side in size))[0]
    changed = one_step(edited(sd1, reference, "dog", reference_mask=disc), source, 2)[-1]
    (plain,) = one_step(sd1, source, 2)
    require_negative_untouched(changed, plain)


def test_every_row_of_a_batch_has_a_reference_and_masks_of_its_own(sd1):
    pictures, masks, start = noise(51, batch=2), torch.cat([DISC, LEFT]), noise(6, batch=2) * 5
    source, reference = random_trajectory(sd1, SOURCE), reference_of(sd1, pictures)
    together = one_step(edited(sd1, reference, reference_mask=masks, target_mask=masks.flip(0)), source, 2, start)[-1]
    for row in range(2):
        one = slice(row, row + 1)
        own = Trajectory(reference.latents[:, one], reference.sigmas, reference.solver, reference.model, reference.conditioning)
        patched = edited(sd1, own, reference_mask=masks[one], target_mask=masks.flip(0)[one])
        alone = one_step(patched, source, 2, start[one])[-1]
        torch.testing.assert_close(together.rows(0)[1][one], alone.rows(0)[1], rtol=1e-4, atol=1e-3)


# The node


def test_the_papers_layers_are_the_last_six(model, kind):
    """In the tiny SDXL the last three: its first level has no attention."""
    expected = {("output", number, 0) for number in ((3, 4, 5) if kind == "sdxl" else range(6, 12))}
    edit = plan_of(edited(model, random_trajectory(model, EMPTY))).edits[0]
    assert {(layer.block, layer.number, layer.index) for layer in edit.layers} == expected
    assert edit.layers == fine_decoder_layers(require_unet(model))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"words": "horse"}, r"^target_words: the prompt has no 'horse'; its words are: a, dog, on, mat"),
        ({"reference_mask": torch.ones(3, 8, 8)}, r"^reference_mask: it holds 3, the sampled batch 1"),
        ({"target_mask": torch.ones(3, 8, 8)}, r"^target_mask: it holds 3, the sampled batch 1"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_first_call(sd1, inputs, message):
    source = random_trajectory(sd1, SOURCE)
    spied, calls = watched(edited(sd1, random_trajectory(sd1, EMPTY), **inputs))
    with pytest.raises(ValueError, match=message):
        ours(spied, source)
    assert not calls


def test_words_need_one_prompt_that_carries_them_and_masks_do_not(sd1):
    source, reference = random_trajectory(sd1, SOURCE), random_trajectory(sd1, EMPTY)
    for positive, message in ((prompt(2), r"^positive: it does not say"), ([*TARGET, *SOURCE], "^positive: Reference Attention needs one")):
        with pytest.raises(GraftError, match=message):
            sample_from(edited(sd1, reference, "dog"), source.latents[0], source.sigmas, positive, NEGATIVE)
        sample_from(edited(sd1, reference, "dog", target_mask=LEFT), source.latents[3], source.sigmas[3:], positive, NEGATIVE)
