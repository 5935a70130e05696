"""MasaCtrl's mutual self-attention in the real host, against its loop written out."""

from itertools import pairwise

import pytest
import torch
from graft.host.engine.plan import Plan, plan_of
from graft.host.errors import GraftError
from graft.host.families.layers import fine_decoder_layers, require_unet
from graft.inversion.trajectory import Trajectory
from graft.nodes.self_attention import ReplaceKeysAndValuesNode
from tiny_models import noise, prompt, random_trajectory, sample_from, snapshot, watched, worded
from torch.nn.functional import interpolate
from written_out import guided, maps, predict, require_close, step

STEPS, CFG = 5, 3.0
SOURCE, TARGET, NEGATIVE = prompt(1), prompt(2), prompt(3)
PAPER = {"layers": "paper"}
LEFT, TOP = torch.zeros(1, 96, 96), torch.zeros(1, 96, 96)
LEFT[..., :40] = 1
TOP[:, :60] = 1


def edited(model, source: Trajectory, conditioning: list = SOURCE, layers: dict = PAPER, start: float = 0.2, end: float = 1.0, **masks):
    """The node itself, as a graph runs it."""
    inputs = {"start_percent": start, "end_percent": end, "layers": layers, **masks}
    return ReplaceKeysAndValuesNode.EXECUTE_NORMALIZED(model=model, source=source, source_conditioning=conditioning, **inputs)[0]


def ours(model, source: Trajectory, negative: list | None = NEGATIVE, cfg: float = CFG, sampler: str = "euler"):
    return sample_from(model, source.latents[0], source.sigmas, TARGET, negative, cfg=cfg, sampler=sampler)


def masactrl(model, source, masks=None, *, words=None, cfg: float = CFG, crossed: bool = False, conditionings=(SOURCE, TARGET)):
    """Rows s_u, t_u, s_c, t_c: from step 1 on, each row of the target keeps its queries and reads the source's row of the same
    prompt; with masks its foreground reads the foreground and its background the background.

    With `words`, tokens of the source's object and of the target's, the masks are those of the automatic variant: cross-attention of the
    positive prompts, the mean over heads and over the layers of this step that were run so far on a quarter of the latent's grid, summed
    over the tokens, brought to [0, 1], to the nearest token, from 0.1 on.
    """
    of_source, of_target = conditionings

    def looked_at(seen: list, tokens: list[int], grid) -> torch.Tensor:
        summed = torch.stack(seen).mean(dim=0)[..., tokens].sum(dim=-1)
        normalised = (summed - summed.min()) / (summed.max() - summed.min())
        return (interpolate(normalised[None, None], grid, mode="nearest")[0] >= 0.1).double()

    def bias(mask, grid):
        kept = interpolate(mask[None].double(), grid, mode="nearest").flatten() >= 0.5
        return torch.zeros(kept.shape, dtype=torch.float64).masked_fill(~kept, float("-inf")), kept.reshape(1, 1, -1, 1).double()

    x = source.latents[0]
    for index, (sigma, sigma_next) in enumerate(pairwise(source.sigmas)):
        kept, seen = {"negative": {}, "positive": {}}, {"source": [], "target": []}

        def looking(name, seen=seen):
            def attention(site, query, key, value):
                own = maps(query, key)
                if site.grid == (4, 4):
                    seen[name].append(own[0].mean(dim=0).unflatten(0, site.grid))
                return own @ value

            return attention

        def keep(name, kept=kept):
            def attention(site, query, key, value):
                kept[name][site] = key, value
                return maps(query, key) @ value

            return attention

        def mutual(name, index=index, kept=kept, seen=seen):
            def attention(site, query, key, value):
                if index >= 1 and site.block == "output" and site.grid[0] >= 8:
                    key, value = kept[name][site]
                    both = masks
                    if words is not None:
                        both = [looked_at(seen[of], tokens, site.grid) for of, tokens in zip(("source", "target"), words, strict=True)]
                    if both is not None:
                        (inside, _), (outside, _) = bias(both[0], site.grid), bias(1 - both[0], site.grid)
                        _, region = bias(both[1], site.grid)
                        return region * (maps(query, key, inside) @ value) + (1 - region) * (maps(query, key, outside) @ value)
                return maps(query, key) @ value

            return attention

        predict(model, source.latents[index], sigma, of_source, attn1=keep("positive"), attn2=looking("source"))
        predict(model, source.latents[index], sigma, NEGATIVE, attn1=keep("negative"))
        positive = predict(model, x, sigma, of_target, attn1=mutual("positive"), attn2=looking("target"))
        negative = predict(model, x, sigma, NEGATIVE, attn1=mutual("positive" if crossed else "negative"))
        x = step(x, guided(negative, positive, cfg), sigma, sigma_next)
    return x


# Whole edits


def test_a_whole_edit_is_the_method_written_out(model):
    """The negative row reads the source under the negative prompt: reading it under its own comes to something else."""
    source = random_trajectory(model, SOURCE)
    theirs, crossed = (masactrl(model, source, crossed=crossed) for crossed in (False, True))
    require_close(ours(edited(model, source), source), theirs, crossed)


def test_an_edit_with_masks_is_the_method_written_out(model):
    source = random_trajectory(model, SOURCE)
    theirs, plain = (masactrl(model, source, masks) for masks in ((LEFT, TOP), None))
    require_close(ours(edited(model, source, source_mask=LEFT, target_mask=TOP), source), theirs, plain)


OF_SOURCE, OF_TARGET = worded(1, "a black cat on|grass"), worded(2, "a dog on grass")
WORDS = {"source_words": "black, cat", "target_words": "dog"}
TOKENS = [2, 3], [2]


@pytest.mark.parametrize("kind", ["sd1", "sd2v"])
def test_an_edit_with_words_is_the_method_written_out(model):
    """The masks of words are found anew in every step, and are the positive prompt's in the negative's rows, too."""
    source = random_trajectory(model, OF_SOURCE)
    prompts = {"conditionings": (OF_SOURCE, OF_TARGET)}
    theirs, plain, swapped = (masactrl(model, source, words=words, **prompts) for words in (TOKENS, None, TOKENS[::-1]))
    ours = sample_from(edited(model, source, OF_SOURCE, **WORDS), source.latents[0], source.sigmas, OF_TARGET, NEGATIVE, cfg=CFG)
    require_close(ours, theirs, plain)
    require_close(ours, theirs, swapped)


@pytest.mark.parametrize("known", ["source", "target"])
def test_one_picture_may_have_a_mask_and_the_other_words(sd1, known):
    """A mask goes before the words."""
    source = random_trajectory(sd1, OF_SOURCE)

    def run(**inputs):
        return sample_from(edited(sd1, source, OF_SOURCE, **inputs), source.latents[0], source.sigmas, OF_TARGET, NEGATIVE, cfg=CFG)

    masked = run(**{**WORDS, f"{known}_mask": TOP})
    assert torch.equal(
        masked, run(**{name: words for name, words in WORDS.items() if not name.startswith(known)}, **{f"{known}_mask": TOP})
    )
    assert not torch.allclose(masked, run(**WORDS), rtol=1e-2) and not torch.allclose(
        masked, run(source_mask=TOP, target_mask=TOP), rtol=1e-2
    )


def test_with_words_the_first_layers_of_the_first_step_read_everything(sd1):
    """Before any map has been seen the edit is the plain one."""
    source = random_trajectory(sd1, OF_SOURCE)
    first, none = ({"layers": "custom", "custom_layers": "0-1"}, {"start": 0.0, "end": 0.2})
    words, plain = (edited(sd1, source, OF_SOURCE, first, **none, **words) for words in (WORDS, {}))
    ends = [sample_from(model, source.latents[0], source.sigmas, OF_TARGET, NEGATIVE, cfg=CFG) for model in (words, plain)]
    require_close(*ends, sample_from(sd1, source.latents[0], source.sigmas, OF_TARGET, NEGATIVE, cfg=CFG))


def test_without_guidance_only_the_source_runs_beside_the_target(sd1):
    source = random_trajectory(sd1, SOURCE)
    for masks in ({}, {"source_mask": LEFT, "target_mask": TOP}):
        spied, calls = watched(edited(sd1, source, **masks))
        result = ours(spied, source, cfg=1.0)
        assert [(call.stream, len(call.x)) for call in calls] == [(False, 1)] + [(True, 1), (False, 1)] * 4
        require_close(result, masactrl(sd1, source, (LEFT, TOP) if masks else None, cfg=1.0), ours(sd1, source, cfg=1.0))


def test_a_run_without_a_negative_is_a_run_without_guidance(sd1):
    source = random_trajectory(sd1, SOURCE)
    assert torch.equal(ours(edited(sd1, source), source, None, cfg=1.0), ours(edited(sd1, source), source, cfg=1.0))


def test_a_step_without_guidance_amid_a_guided_run_leaves_the_negative_out(sd1):
    """The host's own shortcut can be switched off; then both rows are there, and both are edited."""
    source = random_trajectory(sd1, SOURCE)
    sd1.model_options["disable_cfg1_optimization"] = True
    spied, calls = watched(edited(sd1, source))
    require_close(ours(spied, source, cfg=1.0), masactrl(sd1, source, cfg=1.0))
    assert [len(call.x) for call in calls if call.stream] == [2] * 4


# Rows


def test_source_and_negative_share_a_batch_inside_the_window_only(sd1):
    source = random_trajectory(sd1, SOURCE)
    spied, calls = watched(edited(sd1, source, start=0.4, end=0.8))
    ours(spied, source)
    assert [(call.stream, len(call.x)) for call in calls] == [(False, 2)] * 2 + [(True, 2), (False, 2)] * 2 + [(False, 2)]
    assert torch.equal(next(call.context for call in calls if call.stream), torch.cat([SOURCE[0][0], NEGATIVE[0][0]]))


def test_a_source_under_the_negative_prompt_takes_one_row(sd1):
    """As for inverted pictures, whose prompt is the empty one; encoded a second time."""
    again = [[NEGATIVE[0][0].clone(), {"pooled_output": NEGATIVE[0][1]["pooled_output"].clone()}]]
    source = random_trajectory(sd1, NEGATIVE)
    spied, calls = watched(edited(sd1, source, again))
    ours(spied, source)
    assert [len(call.x) for call in calls if call.stream] == [1] * 4


def test_both_rows_change_and_nothing_else_does_outside_the_window(model):
    source = random_trajectory(model, SOURCE)
    for start, equal in ((0.0, False), (0.2, True)):
        rows = []
        for one in (model, edited(model, source, start=start)):
            spied, calls = watched(one)
            sample_from(spied, noise(5) * 14, source.sigmas[:2], TARGET, NEGATIVE, cfg=CFG)
            rows.append(calls[-1])
        assert torch.equal(rows[0].x, rows[1].x)
        assert [torch.equal(rows[0].rows(which)[1], rows[1].rows(which)[1]) for which in (0, 1)] == [equal, equal]


def test_a_full_mask_pair_is_the_plain_edit(sd1):
    """Everything is object: all of it reads all of the source. That no background is left to read is noted."""
    source, ones = random_trajectory(sd1, SOURCE), torch.ones(1, 96, 96)
    require_close(ours(edited(sd1, source, source_mask=ones, target_mask=ones), source), ours(edited(sd1, source), source))


def test_what_has_nothing_to_read_keeps_its_own_attention_and_says_so_once(sd1, caplog):
    source, ones = random_trajectory(sd1, SOURCE), torch.ones(1, 96, 96)
    ours(edited(sd1, source, source_mask=ones, target_mask=LEFT), source)
    noted = [entry.getMessage() for entry in caplog.records if entry.name == "graft"]
    assert len(noted) == 1 and "source_mask is empty or full" in noted[0]


def test_rows_of_a_batch_pair_up(sd1):
    source, start = random_trajectory(sd1, SOURCE, batch=2), noise(6, batch=2) * 14
    masks = {"source_mask": torch.cat([LEFT, TOP]), "target_mask": torch.cat([TOP, LEFT])}
    together = sample_from(edited(sd1, source, **masks), start, source.sigmas, TARGET, NEGATIVE, cfg=CFG)
    for row in range(2):
        one = slice(row, row + 1)
        own = Trajectory(source.latents[:, one], source.sigmas, source.solver, source.model, source.conditioning)
        patched = edited(sd1, own, **{name: mask[one] for name, mask in masks.items()})
        alone = sample_from(patched, start[one], source.sigmas, TARGET, NEGATIVE, cfg=CFG)
        torch.testing.assert_close(together[one], alone, rtol=1e-3, atol=2e-3 * float(alone.abs().max()))


# The node


@pytest.mark.parametrize("given", [{"mask": LEFT}, {"words": "cat"}], ids=["mask", "words"])
def test_an_object_that_is_known_in_one_picture_alone_is_refused_by_the_others_inputs(sd1, given):
    source, ((by, value),) = random_trajectory(sd1, SOURCE), given.items()
    for known, missing in (("source", "target"), ("target", "source")):
        with pytest.raises(GraftError, match=f"^{missing}_mask, {missing}_words: where the object is has been said of the {known} only"):
            edited(sd1, source, **{f"{known}_{by}": value})


def test_words_that_are_not_there_are_refused_before_the_first_call(sd1):
    source = random_trajectory(sd1, OF_SOURCE)
    for words, message in (
        ({"source_words": "dog", "target_words": "dog"}, "^source_words: .*dog"),
        ({"source_words": "cat", "target_words": "cat"}, "^target_words: .*cat"),
    ):
        spied, calls = watched(edited(sd1, source, OF_SOURCE, **words))
        with pytest.raises(GraftError, match=message):
            sample_from(spied, source.latents[0], source.sigmas, OF_TARGET, NEGATIVE, cfg=CFG)
        assert not calls
    spied, calls = watched(edited(sd1, source, SOURCE, source_words="cat", target_words="dog"))
    with pytest.raises(GraftError, match=r"^source_conditioning: it does not say which words"):
        sample_from(spied, source.latents[0], source.sigmas, OF_TARGET, NEGATIVE, cfg=CFG)
    assert not calls


def test_several_negatives_and_masks_that_do_not_pair_up_are_refused_before_the_first_call(sd1):
    source = random_trajectory(sd1, SOURCE)
    spied, calls = watched(edited(sd1, source))
    with pytest.raises(GraftError, match=r"^negative: a stream needs one prompt, got 2 combined"):
        ours(spied, source, [*NEGATIVE, *prompt(5)])
    with pytest.raises(GraftError, match=r"^negative: it holds 2 prompts, the source 1 pictures"):
        sample_from(spied, noise(6, batch=2), source.sigmas, TARGET, prompt(3, rows=2), cfg=CFG)
    three = LEFT.expand(3, -1, -1)
    with pytest.raises(GraftError, match=r"^source_mask: it holds 3, the sampled batch 1"):
        ours(edited(spied, source, source_mask=three, target_mask=three), source)
    assert not calls


def test_an_empty_window_is_the_node_absent_and_the_given_model_is_left_as_it_was(sd1):
    before, source = snapshot(sd1), random_trajectory(sd1, SOURCE)
    assert edited(sd1, source, start=0.5, end=0.5) is sd1
    patched = edited(sd1, source)
    assert snapshot(sd1) == before and plan_of(sd1) == Plan()
    assert plan_of(patched).edits[0].layers == fine_decoder_layers(require_unet(sd1))
