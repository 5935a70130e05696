"""MasaCtrl's mutual self-attention in the real host, against its loop written out."""

from itertools import pairwise

import pytest
import torch
from graft.host.engine.plan import Plan, plan_of
from graft.host.errors import GraftError
from graft.host.families.layers import fine_decoder_layers, require_unet
from graft.inversion.trajectory import Trajectory
from graft.nodes.self_attention import ReplaceKeysAndValuesNode
from tiny_models import noise, prompt, random_trajectory, sample_from, snapshot, watched
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


def masactrl(model, source, masks=None, *, cfg: float = CFG, crossed: bool = False):
    """Rows s_u, t_u, s_c, t_c: from step 1 on, each row of the target keeps its queries and reads the source's row of the same
    prompt; with masks its foreground reads the foreground and its background the background."""

    def bias(mask, grid):
        kept = interpolate(mask[None].double(), grid, mode="nearest").flatten() >= 0.5
        return torch.zeros(kept.shape, dtype=torch.float64).masked_fill(~kept, float("-inf")), kept.reshape(1, 1, -1, 1).double()

    x = source.latents[0]
    for index, (sigma, sigma_next) in enumerate(pairwise(source.sigmas)):
        kept = {"negative": {}, "positive": {}}

        def keep(name, kept=kept):
            def attention(site, query, key, value):
                kept[name][site] = key, value
                return maps(query, key) @ value

            return attention

        def mutual(name, index=index, kept=kept):
            def attention(site, query, key, value):
                if index >= 1 and site.block == "output" and site.grid[0] >= 8:
                    key, value = kept[name][site]
                    if masks is not None:
                        (inside, _), (outside, _) = bias(masks[0], site.grid), bias(1 - masks[0], site.grid)
                        _, region = bias(masks[1], site.grid)
                        return region * (maps(query, key, inside) @ value) + (1 - region) * (maps(query, key, outside) @ value)
                return maps(query, key) @ value

            return attention

        predict(model, source.latents[index], sigma, SOURCE, attn1=keep("positive"))
        predict(model, source.latents[index], sigma, NEGATIVE, attn1=keep("negative"))
        positive = predict(model, x, sigma, TARGET, attn1=mutual("positive"))
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


def test_one_mask_alone_is_refused_by_the_others_name(sd1):
    source = random_trajectory(sd1, SOURCE)
    for given, missing in (("source_mask", "target_mask"), ("target_mask", "source_mask")):
        with pytest.raises(GraftError, match=f"^{missing}: only the other mask is connected"):
            edited(sd1, source, **{given: LEFT})


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
