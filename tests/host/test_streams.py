"""The stream engine in the real host: what the network is shown, in which rows, and that nothing else changes."""

import logging
from dataclasses import dataclass
from typing import ClassVar

import comfy.model_management
import comfy.samplers
import pytest
import torch
from comfy.patcher_extension import WrappersMP
from comfy_extras.nodes_hypertile import HyperTile
from comfy_extras.nodes_tomesd import TomePatchModel
from graft.host.edits.background_preservation import BackgroundPreservation
from graft.host.edits.key_value_mask import MaskKeysAndValues
from graft.host.edits.local_blend import LocalBlend
from graft.host.edits.reference_attention import ReferenceAttention
from graft.host.edits.self_attention import ReplaceKeysAndValues, ReplaceSelfAttention
from graft.host.engine.fingerprints import conditioning_fingerprint, model_fingerprint
from graft.host.engine.plan import PLAN_KEY, RUN_KEY, Plan, RunningEdit
from graft.host.engine.run import carry_out
from graft.host.engine.stream import Stream
from graft.host.engine.windows import Window
from graft.host.errors import GraftError
from graft.host.families import unet
from graft.host.families.layers import all_layers, coarse_layers, require_unet
from graft.host.samplers.sampling import GraftSampler, record
from graft.inversion.trajectory import Trajectory
from tiny_models import Call, GivenNoise, empty_like, make_guider, make_model, noise, prompt, sample, schedule, snapshot, watched
from written_out import maps, predict, require_close

STEPS = 5
SOURCE, TARGET, NEGATIVE = prompt(1), prompt(2), prompt(3)
ALWAYS = Window(1e10, -1.0)


def trajectory(model, *, seed: int = 0, batch: int = 1, size: tuple[int, int] = (16, 16), steps: int = STEPS) -> Trajectory:
    """Any latents will do where only their way through the host is looked at."""
    sigmas = schedule(model, steps)
    latents = torch.stack([noise(seed + 10 * level, batch, *size) * (1 + sigma**2).sqrt() for level, sigma in enumerate(sigmas)])
    return Trajectory(latents, sigmas, "ddim", model_fingerprint(model), conditioning_fingerprint(SOURCE))


def edited(model, source: Trajectory | None = None, *, window: Window = ALWAYS, conditioning: list = SOURCE, strength: float = 1.0):
    """`model` with Free-Prompt-Editing of a source in every coarse layer."""
    stream = Stream(source or trajectory(model), conditioning)
    return carry_out(model, Plan(edits=(ReplaceSelfAttention(stream, window, coarse_layers(require_unet(model)), strength),)))


def targets(calls: list[Call]) -> list[Call]:
    return [call for call in calls if not call.stream]


# What the network is shown


@pytest.mark.parametrize("sampler", ["euler", GraftSampler("ddim")], ids=["euler", "graft"])
def test_the_stream_shows_the_network_the_stored_latents_bit_for_bit(model, sampler):
    """Step i of S sees L[S - i]: the trajectory's own latent, whatever the target has become."""
    source = trajectory(model)
    spied, calls = watched(edited(model, source))
    sample(spied, TARGET, NEGATIVE, sampler=sampler, steps=STEPS)
    shown = [call for call in calls if call.stream]
    assert [call.sigma for call in shown] == source.sigmas[:-1].tolist()
    for step, call in enumerate(shown):
        assert torch.equal(call.x, source.latents[step])
        assert torch.equal(call.context, SOURCE[0][0])


def test_the_stream_is_computed_as_if_it_were_sampled_alone(model):
    """Oracle: the same latent at the same level through a plain, unguided run."""
    source = trajectory(model)
    spied, calls = watched(edited(model, source))
    sample(spied, TARGET, NEGATIVE, steps=STEPS)
    plain, alone = watched(model)
    for level, sigma in enumerate(source.sigmas[:-1]):
        start = model.model.process_latent_out(source.latents[level])
        sample(plain, SOURCE, cfg=1.0, start=torch.zeros_like(start), latent=start, sigmas=torch.stack([sigma, sigma * 0]))
    for call, other in zip([call for call in calls if call.stream], alone, strict=True):
        torch.testing.assert_close(call.denoised, other.denoised, rtol=1e-4, atol=1e-4 * max(1.0, call.sigma))


def test_outside_the_window_no_row_of_the_stream_is_computed(sd1):
    sigmas = schedule(sd1, STEPS).tolist()
    spied, calls = watched(edited(sd1, window=Window(sigmas[1], sigmas[3])))
    sample(spied, TARGET, NEGATIVE, steps=STEPS)
    assert [call.sigma for call in calls if call.stream] == sigmas[1:3]
    assert [call.sigma for call in targets(calls)] == sigmas[:-1]


def test_two_looks_at_one_noise_level_run_the_stream_once(sd1):
    """heun looks twice at every level but the first and the last."""
    spied, calls = watched(edited(sd1))
    sample(spied, TARGET, NEGATIVE, steps=STEPS, sampler="heun")
    assert len([call for call in calls if call.stream]) == STEPS
    assert len(targets(calls)) == 2 * STEPS - 1


def test_streams_share_a_batch_whatever_their_prompts(model):
    window, layers = ALWAYS, coarse_layers(require_unet(model))
    first, second, third = (trajectory(model, seed=seed) for seed in (0, 1, 2))
    edits = [ReplaceSelfAttention(Stream(*one), window, layers, 0.5) for one in ((first, SOURCE), (second, SOURCE), (third, NEGATIVE))]
    spied, calls = watched(carry_out(model, Plan(tuple(edits))))
    sample(spied, TARGET, cfg=1.0, steps=2)
    assert [len(call.x) for call in calls] == [3, 1] * 2
    for edit in edits:
        lone, alone = watched(carry_out(model, Plan((edit,))))
        sample(lone, TARGET, cfg=1.0, steps=2)
        row = edits.index(edit)
        torch.testing.assert_close(calls[0].denoised[row : row + 1], alone[0].denoised, rtol=1e-4, atol=1e-3)


def test_streams_with_prompts_of_unequal_length_run_apart(sd1):
    window, layers = ALWAYS, coarse_layers(require_unet(sd1))
    streams = Stream(trajectory(sd1), SOURCE), Stream(trajectory(sd1, seed=1), prompt(4, tokens=154))
    spied, calls = watched(carry_out(sd1, Plan(tuple(ReplaceSelfAttention(stream, window, layers, 0.5) for stream in streams))))
    sample(spied, TARGET, cfg=1.0, steps=1)
    assert [len(call.x) for call in calls] == [1, 1, 1]


def test_edits_that_look_at_one_picture_under_one_prompt_share_its_row(sd1):
    """The prompt may have been encoded twice."""
    source, layers = trajectory(sd1), coarse_layers(require_unet(sd1))
    copied = [[SOURCE[0][0].clone(), {"pooled_output": SOURCE[0][1]["pooled_output"].clone()}]]
    edits = tuple(ReplaceSelfAttention(Stream(source, conditioning), ALWAYS, layers, 0.5) for conditioning in (SOURCE, copied))
    spied, calls = watched(carry_out(sd1, Plan(edits)))
    sample(spied, TARGET, cfg=1.0, steps=2)
    assert [len(call.x) for call in calls] == [1] * 4


def test_other_patches_of_attention_keep_working_beside_the_edit(sd1):
    """A patch set before Graft's sees and changes the same layers in both passes."""
    patched, seen = sd1.clone(), []

    def scale(query, key, value, options):
        seen.append(options["block"])
        return query, key, value * 0.5

    patched.set_model_attn1_patch(scale)
    changed = sample(edited(patched), TARGET, NEGATIVE, steps=2)
    assert len(seen) == 16 * 2 * 2
    assert not torch.equal(changed, sample(edited(sd1), TARGET, NEGATIVE, steps=2))


def test_a_later_patch_that_writes_in_place_does_not_reach_the_taps(sd1):
    """Oracle: the same patch written without writing in place."""

    def in_place(query, key, value, options):
        return query.mul_(0.5), key, value

    def apart(query, key, value, options):
        # What an in-place write does to the block: unedited queries, keys and values are one tensor.
        shared = query is key is value
        return (query * 0.5,) * 3 if shared else (query * 0.5, key, value)

    results = []
    for patch in (in_place, apart):
        patched = edited(sd1)
        patched.set_model_attn1_patch(patch)
        results.append(sample(patched, TARGET, NEGATIVE, steps=2))
    assert torch.equal(*results)


# Order and split of the rows


def one_step(model, positive: list, negative: list | None = None, **options) -> list[Call]:
    """The calls of a single step: every sampler makes its first calls from the same latents, so they can be compared row by row."""
    spied, calls = watched(model)
    sample(spied, positive, negative, sigmas=schedule(model, STEPS)[:2], **options)
    return calls


def rows_of(calls: list[Call], conditioning: int) -> tuple[torch.Tensor, torch.Tensor]:
    chosen = [call.rows(conditioning) for call in calls if conditioning in call.order]
    return tuple(torch.cat(tensors) for tensors in zip(*chosen, strict=True))


def require_only_guided_rows_differ(plain: list[Call], changed: list[Call], order: list[list[int]]) -> None:
    """Same calls in the same order, same inputs; the negative's outputs are the same bits and the positive's are not."""
    assert [call.order for call in plain] == [call.order for call in changed] == order
    for before, after in zip(plain, changed, strict=True):
        assert torch.equal(before.x, after.x) and torch.equal(before.context, after.context)
        if 1 in before.order:
            assert torch.equal(before.rows(1)[1], after.rows(1)[1])
        if 0 in before.order:
            assert all(not torch.equal(*pair) for pair in zip(before.rows(0)[1], after.rows(0)[1], strict=True))


def test_guidance_in_one_call_edits_the_positive_rows_only(model):
    plain, changed = one_step(model, TARGET, NEGATIVE), one_step(edited(model), TARGET, NEGATIVE)
    require_only_guided_rows_differ(plain, targets(changed), [[1, 0]])


def test_without_guidance_the_only_rows_are_edited(model):
    plain, changed = one_step(model, TARGET, NEGATIVE, cfg=1.0), one_step(edited(model), TARGET, NEGATIVE, cfg=1.0)
    require_only_guided_rows_differ(plain, targets(changed), [[0]])
    guided = targets(one_step(edited(model), TARGET, NEGATIVE, cfg=4.0))
    torch.testing.assert_close(targets(changed)[0].denoised, guided[0].rows(0)[1], rtol=1e-4, atol=1e-3)


def test_guidance_of_one_without_the_hosts_shortcut_keeps_the_negative_plain(sd1):
    sd1.model_options["disable_cfg1_optimization"] = True
    plain, changed = one_step(sd1, TARGET, NEGATIVE, cfg=1.0), one_step(edited(sd1), TARGET, NEGATIVE, cfg=1.0)
    require_only_guided_rows_differ(plain, targets(changed), [[1, 0]])


def test_too_little_memory_for_one_call_changes_no_row(model, monkeypatch):
    whole = targets(one_step(edited(model), TARGET, NEGATIVE))
    monkeypatch.setattr(type(model), "get_free_memory", lambda *_: 1)
    plain, changed = one_step(model, TARGET, NEGATIVE), one_step(edited(model), TARGET, NEGATIVE)
    require_only_guided_rows_differ(plain, targets(changed), [[1], [0]])
    for conditioning in (0, 1):
        torch.testing.assert_close(rows_of(changed[1:], conditioning)[1], rows_of(whole, conditioning)[1], rtol=1e-4, atol=1e-3)


def test_every_prompt_of_a_combined_positive_is_edited(model):
    combined = [*TARGET, *prompt(4)]
    plain, changed = one_step(model, combined, NEGATIVE), one_step(edited(model), combined, NEGATIVE)
    require_only_guided_rows_differ(plain, targets(changed), [[1, 0, 0]])
    alone = targets(one_step(edited(model), prompt(4), NEGATIVE))[0].rows(0)[1]
    assert any(torch.allclose(row, alone[0], rtol=1e-4, atol=1e-3) for row in targets(changed)[0].rows(0)[1])


def test_prompts_too_unequal_for_one_call_put_the_positive_first(model):
    """385 tokens cannot be repeated to a common length with 77: the host runs [0], then [1]."""
    long = prompt(2, tokens=385)
    plain, changed = one_step(model, long, NEGATIVE), one_step(edited(model), long, NEGATIVE)
    require_only_guided_rows_differ(plain, targets(changed), [[0], [1]])


def test_a_masked_prompt_is_edited_like_any_other(sd1):
    masked = [[TARGET[0][0], {**TARGET[0][1], "mask": torch.ones(1, 16, 16), "set_area_to_bounds": False}]]
    plain, changed = one_step(sd1, masked, NEGATIVE), one_step(edited(sd1), masked, NEGATIVE)
    require_only_guided_rows_differ(plain, targets(changed), [[1, 0]])
    torch.testing.assert_close(targets(changed)[0].denoised, targets(one_step(edited(sd1), TARGET, NEGATIVE))[0].denoised)


def test_the_middle_prompt_of_a_two_prompt_guider_is_edited_too(sd1):
    from comfy_extras.nodes_custom_sampler import Guider_DualCFG

    def calls(model) -> list[Call]:
        spied, seen = watched(model)
        guider = Guider_DualCFG(spied)
        guider.set_conds(TARGET, prompt(4), NEGATIVE)
        guider.set_cfg(3.0, 2.0)
        guider.sample(
            noise(0), torch.zeros(1, 4, 16, 16), comfy.samplers.sampler_object("euler"), schedule(sd1, STEPS)[:2], disable_pbar=True, seed=0
        )
        return targets(seen)

    for before, after in zip(calls(sd1), calls(edited(sd1)), strict=True):
        assert sorted(before.order) == [0, 1, 2]  # here 0 is the negative, 1 the middle, 2 the positive
        assert torch.equal(before.rows(0)[1], after.rows(0)[1])
        assert not torch.equal(before.rows(1)[1], after.rows(1)[1])
        assert not torch.equal(before.rows(2)[1], after.rows(2)[1])


# Batches and sizes


def test_every_target_of_a_batch_is_edited_by_the_one_source_as_it_would_be_alone(model):
    source, start = trajectory(model), noise(5, batch=3)
    together = targets(one_step(edited(model, source), TARGET, NEGATIVE, start=start))[0].rows(0)[1]
    for row in range(3):
        alone = targets(one_step(edited(model, source), TARGET, NEGATIVE, start=start[row : row + 1]))[0].rows(0)[1]
        torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-4, atol=1e-3)


def test_targets_and_sources_of_one_batch_pair_up_row_by_row(model):
    source, start = trajectory(model, batch=3), noise(5, batch=3)
    together = targets(one_step(edited(model, source), TARGET, NEGATIVE, start=start))[0].rows(0)[1]
    for row in range(3):
        own = Trajectory(source.latents[:, row : row + 1], source.sigmas, source.solver, source.model, source.conditioning)
        alone = targets(one_step(edited(model, own), TARGET, NEGATIVE, start=start[row : row + 1]))[0].rows(0)[1]
        torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("sources", "sampled"), [(2, 3), (2, 1), (3, 2)])
def test_batches_that_do_not_pair_up_are_refused_with_both_numbers(sd1, sources, sampled):
    spied, calls = watched(edited(sd1, trajectory(sd1, batch=sources)))
    with pytest.raises(GraftError, match=rf"source: it holds {sources} pictures, the sampled batch {sampled}"):
        sample(spied, TARGET, NEGATIVE, start=noise(0, batch=sampled))
    assert not calls


def test_a_trajectory_of_another_size_is_refused_with_both_sizes(sd1):
    spied, calls = watched(edited(sd1, trajectory(sd1, size=(16, 24))))
    with pytest.raises(GraftError, match=r"source: its latents are \(4, 16, 24\).*\(4, 16, 16\)"):
        sample(spied, TARGET, NEGATIVE)
    assert not calls


@pytest.mark.parametrize("size", [(16, 24), (24, 8), (17, 13)])
def test_pictures_of_every_shape_are_edited(model, size):
    source, start = trajectory(model, size=size), noise(5, 1, *size)
    plain, changed = (one_step(one, TARGET, NEGATIVE, start=start) for one in (model, edited(model, source)))
    require_only_guided_rows_differ(plain, targets(changed), [[1, 0]])


# Self-attention computed by edits


@dataclass(frozen=True, eq=False)
class Scale:
    """An edit that scales the self-attention of the target's guided rows, and of its own stream, if it has any. `asks` is whether
    it looks at what would be computed without it."""

    hooks: ClassVar = frozenset({"attn1"})

    factor: float = 1.0
    stream: Stream | None = None
    of_stream: float | None = None
    asks: bool = True
    seen: list | None = None

    def begin(self, run):
        return RunningScale(self, run)


class RunningScale(RunningEdit):
    def __init__(self, edit: Scale, run) -> None:
        self.edit, self.run = edit, run
        self.streams = () if edit.stream is None else (edit.stream,)
        self.changes = frozenset() if edit.factor == 1 else frozenset({"map"})

    def active_at(self, sigma: float) -> bool:
        return True

    def streams_at(self, sigma: float):
        return self.streams

    def reads(self, tap, stream, layer) -> bool:
        return tap == "queries_keys"

    def works_at(self, place) -> bool:
        return place.guided

    def computes_stream(self, stream) -> bool:
        return self.edit.of_stream is not None and stream == self.edit.stream

    def self_attention(self, place, query, key, value, plain, attend):
        if self.streams and self.edit.seen is not None:
            self.edit.seen.append(self.run.tapped("queries_keys", self.edit.stream, place.layer, len(query)))
        return self.edit.factor * (plain() if self.edit.asks else attend(query, key, value))

    def stream_attention(self, place, stream, query, key, value, plain, attend):
        assert stream == self.edit.stream
        return self.edit.of_stream * (plain() if self.edit.asks else attend(query, key, value))


def scaled(model, *edits: Scale):
    return carry_out(model, Plan(edits))


def times(factor: float):
    """Self-attention written out, its output scaled."""
    return lambda site, query, key, value: factor * (maps(query, key) @ value)


def sharpening(model, shown: list[int] | None = None):
    """A clone on which another node replaces self-attention: queries count double."""

    def replacement(query, key, value, options):
        if shown is not None:
            shown.append(len(query))
        heads = [part.unflatten(2, (options["n_heads"], -1)).transpose(1, 2) for part in (query, key, value)]
        return (maps(2 * heads[0], heads[1]) @ heads[2]).transpose(1, 2).flatten(2)

    clone = model.clone()
    for layer in all_layers(require_unet(model)):
        clone.set_model_attn1_replace(replacement, layer.block, layer.number)
    return clone


def first_level(model) -> torch.Tensor:
    return schedule(model, STEPS)[0]


def test_edits_that_compute_self_attention_chain(model):
    """The second edit's plain attention is what the first one made of it."""
    (call,) = one_step(scaled(model, Scale(0.5), Scale(3.0)), TARGET, NEGATIVE)
    x, plain = call.rows(0)[0], one_step(model, TARGET, NEGATIVE)[0]
    require_close(call.rows(0)[1], predict(model, x, first_level(model), TARGET, attn1=times(1.5)), plain.rows(0)[1])
    assert torch.equal(call.rows(1)[1], plain.rows(1)[1])


IGNORED = "Scale comes to nothing where Scale works too"


def test_the_last_of_the_edits_may_ignore_those_before_it_and_the_log_says_so(sd1, caplog):
    (alone,) = one_step(scaled(sd1, Scale(3.0)), TARGET, NEGATIVE)
    one_step(scaled(sd1, Scale(0.5), Scale(3.0)), TARGET, NEGATIVE)
    assert IGNORED not in caplog.text
    (chained,) = one_step(scaled(sd1, Scale(0.5), Scale(3.0, asks=False)), TARGET, NEGATIVE)
    (both,) = one_step(scaled(sd1, Scale(0.5), Scale(3.0)), TARGET, NEGATIVE)
    require_close(chained.denoised, alone.denoised, both.denoised)
    assert caplog.text.count(IGNORED) == 1


@pytest.mark.parametrize("last", [False, True], ids=["before Graft's", "after Graft's"])
@pytest.mark.parametrize(
    "other",
    [lambda model: TomePatchModel.execute(model, 0.3)[0], lambda model: HyperTile.execute(model, 32, 2, 0, False)[0]],
    ids=["ToMe", "HyperTile"],
)
def test_a_node_that_changes_the_tokens_is_refused_where_attention_is_edited(sd1, other, last):
    edited = other(scaled(sd1, Scale(2.0))) if last else scaled(other(sd1), Scale(2.0))
    with pytest.raises(GraftError, match=r"^model: (HyperTile|Token Merging) has self-attention see other tokens"):
        one_step(edited, TARGET, NEGATIVE)
    one_step(other(scaled(sd1, Scale(1.0))), TARGET, NEGATIVE)


def test_attention_that_nobody_asks_for_is_not_computed(sd1, monkeypatch):
    """One edited row of two, each attended once: row by row, or in one call if the edit asks what its row would be."""
    rows, layers = [], len(all_layers(require_unet(sd1)))
    attention = unet.optimized_attention

    def count(query, *args, **kwargs):
        rows.append(len(query))
        return attention(query, *args, **kwargs)

    monkeypatch.setattr(unet, "optimized_attention", count)
    cases = (((Scale(2.0, asks=False),), [1, 1]), ((Scale(2.0),), [2]), ((Scale(2.0), Scale(0.5)), [2]), ((Scale(1.0),), [2]))
    for edits, calls in cases:
        rows.clear()
        one_step(scaled(sd1, *edits), TARGET, NEGATIVE)
        assert rows == calls * layers


@pytest.mark.parametrize("prompts", [TARGET, [*TARGET, *prompt(4)]], ids=["one prompt", "two combined"])
def test_another_nodes_attention_is_asked_once_for_all_rows(sd1, prompts):
    shown = []
    one_step(scaled(sharpening(sd1, shown), Scale(0.5), Scale(3.0)), prompts, NEGATIVE)
    assert shown == [1 + len(prompts)] * len(all_layers(require_unet(sd1)))


@pytest.mark.parametrize("asks", [False, True])
def test_edits_ask_another_nodes_attention_or_take_its_place(sd1, asks):
    other = sharpening(sd1)
    (call,), (plain,) = one_step(scaled(other, Scale(3.0, asks=asks)), TARGET, NEGATIVE), one_step(other, TARGET, NEGATIVE)
    assert torch.equal(call.rows(1)[1], plain.rows(1)[1])

    def theirs(site, query, key, value):
        return 3 * (maps((2 if asks else 1) * query, key) @ value)

    require_close(call.rows(0)[1], predict(sd1, call.rows(0)[0], first_level(sd1), TARGET, attn1=theirs), plain.rows(0)[1])


@pytest.mark.parametrize("asks", [False, True])
def test_an_edit_may_compute_its_own_streams_attention_and_no_others(model, asks):
    """Of three streams in a batch the one between two of other edits."""
    sources = [trajectory(model, seed=seed) for seed in (0, 1, 2)]
    streams = [Stream(source, SOURCE) for source in sources]
    factors = None, 3.0, None
    edits = [Scale(1.0, stream, factor, asks) for stream, factor in zip(streams, factors, strict=True)]
    together = one_step(scaled(model, *edits), TARGET, cfg=1.0)
    assert [(call.stream, len(call.x)) for call in together] == [(True, 3), (False, 1)]
    for row, (source, factor) in enumerate(zip(sources, factors, strict=True)):
        expected = predict(model, source.latents[0], first_level(model), SOURCE, attn1=times(factor or 1.0))
        other = predict(model, source.latents[0], first_level(model), SOURCE, attn1=times(1.0 if factor else 3.0))
        require_close(together[0].denoised[row : row + 1], expected, other)
    assert torch.equal(together[1].denoised, one_step(model, TARGET, cfg=1.0)[0].denoised)


def test_two_pairings_of_one_picture_are_two_streams_to_the_edit_that_computes_one(sd1):
    source = trajectory(sd1)
    streams = [Stream(source, SOURCE, pairing) for pairing in ("TF-ICON", "TF-ICON cross")]
    edits = Scale(1.0, streams[0]), Scale(1.0, streams[1], 3.0)
    stream, _ = one_step(scaled(sd1, *edits), TARGET, cfg=1.0)
    sigma = source.sigmas[1]
    for row, factor in enumerate((1.0, 3.0)):
        require_close(stream.denoised[row : row + 1], predict(sd1, source.latents[1], sigma, SOURCE, attn1=times(factor)))
    assert not torch.allclose(stream.denoised[0], stream.denoised[1], rtol=0.1)


def test_a_streams_own_attention_may_ask_another_nodes(sd1):
    source = trajectory(sd1)
    stream, _ = one_step(scaled(sharpening(sd1), Scale(1.0, Stream(source, SOURCE), 3.0)), TARGET, cfg=1.0)

    def theirs(site, query, key, value):
        return 3 * (maps(2 * query, key) @ value)

    require_close(stream.denoised, predict(sd1, source.latents[0], first_level(sd1), SOURCE, attn1=theirs))


def test_the_tap_of_queries_and_keys_is_what_the_streams_layers_attend_with(model):
    """Of every layer, for as many target rows; oracle: the stream's prediction written out."""
    source, seen, stored = trajectory(model), [], []
    one_step(scaled(model, Scale(2.0, Stream(source, SOURCE), seen=seen)), TARGET, NEGATIVE, start=noise(5, batch=2))

    def keep(site, query, key, value):
        stored.append((query, key))
        return maps(query, key) @ value

    predict(model, source.latents[0], first_level(model), SOURCE, attn1=keep)
    assert len(seen) == len(stored) == len(all_layers(require_unet(model)))
    for tapped, expected in zip(seen, stored, strict=True):
        for ours, theirs in zip(tapped, expected, strict=True):
            assert len(ours) == 2
            torch.testing.assert_close(ours[1], theirs[0].transpose(0, 1).flatten(1).float(), rtol=1e-3, atol=1e-3)


# Refusals before the first call

AREA = {"area": (8, 8, 0, 0)}
BOUNDS = {"mask": torch.ones(1, 16, 16), "set_area_to_bounds": True}


@pytest.mark.parametrize("limits", [AREA, BOUNDS], ids=["area", "mask bounds"])
@pytest.mark.parametrize("name", ["positive", "negative"])
def test_prompts_limited_to_an_area_are_refused_before_the_first_call(sd1, name, limits):
    prompts = {"positive": TARGET, "negative": NEGATIVE}
    prompts[name] = [*prompts[name], [prompt(4)[0][0], {**prompt(4)[0][1], **limits}]]
    spied, calls = watched(edited(sd1))
    with pytest.raises(GraftError, match=rf"^{name}: "):
        sample(spied, **prompts)
    assert not calls


@pytest.mark.parametrize(
    "limits", [AREA, BOUNDS, {"start_percent": 0.2}, {"end_percent": 0.9}, {"hooks": object()}], ids=lambda limits: next(iter(limits))
)
def test_a_stream_takes_only_a_prompt_that_holds_everywhere_and_always(sd1, limits):
    with pytest.raises(GraftError, match=r"^source_conditioning: "):
        Stream(trajectory(sd1), [[SOURCE[0][0], {**SOURCE[0][1], **limits}]])


def test_a_stream_takes_one_prompt(sd1):
    with pytest.raises(GraftError, match="source_conditioning: a stream needs one prompt, got 2"):
        Stream(trajectory(sd1), [*SOURCE, *TARGET])


def test_several_devices_and_context_windows_are_refused(sd1):
    several = edited(sd1)
    several.set_additional_models("multigpu", [sd1.clone()])
    with pytest.raises(GraftError, match=r"model: .*several GPUs"):
        sample(several, TARGET, NEGATIVE)
    windowed = edited(sd1)
    windowed.model_options["context_handler"] = object()
    with pytest.raises(GraftError, match=r"model: .*context windows"):
        sample(windowed, TARGET, NEGATIVE)


# Noise levels the trajectory has not


def warnings_of(caplog) -> list[str]:
    return [entry.getMessage() for entry in caplog.records if entry.name == "graft"]


def test_a_level_the_trajectory_has_not_is_interpolated_and_noted_once(sd1, caplog):
    """dpm_2 asks between the schedule's levels; another schedule asks for others altogether."""
    source = trajectory(sd1)
    other = torch.linspace(float(source.sigmas[0]) * 1.1, 0, 5)
    for options in ({"sampler": "dpm_2", "steps": STEPS}, {"sigmas": other}):
        caplog.clear()
        spied, calls = watched(edited(sd1, source))
        sample(spied, TARGET, NEGATIVE, **options)
        shown = [call for call in calls if call.stream]
        assert any(source.nearest(call.sigma) is None for call in shown)
        assert all(torch.equal(call.x, source.at(call.sigma)) for call in shown)
        noted = warnings_of(caplog)
        assert len(noted) == 1 and "interpolated" in noted[0]


def test_a_run_that_starts_far_above_the_trajectory_is_refused_with_both_levels(sd1):
    spied, calls = watched(edited(sd1, trajectory(sd1)))
    with pytest.raises(GraftError, match=r"^sigmas: the source is needed at noise level 14\.61, its trajectory starts at 5\."):
        sample(spied, TARGET, NEGATIVE, sigmas=schedule(sd1, 4, "karras"))
    assert not calls


def test_a_trajectory_of_another_model_is_refused_before_the_first_call(sd1):
    spied, calls = watched(edited(sd1, trajectory(make_model("sd1", seed=1))))
    with pytest.raises(GraftError, match=r"^source: it was made with another model"):
        sample(spied, TARGET, NEGATIVE, steps=STEPS)
    assert not calls


def test_another_prompt_than_the_trajectorys_is_noted(sd1, caplog):
    sample(edited(sd1, conditioning=prompt(5)), TARGET, NEGATIVE, steps=STEPS)
    assert ["replayed under another prompt" in text for text in warnings_of(caplog)] == [True]


def test_nothing_is_noted_where_the_trajectory_has_every_level(sd1, caplog):
    with caplog.at_level(logging.DEBUG, "graft"):
        sample(edited(sd1), TARGET, NEGATIVE, steps=STEPS)
    assert not warnings_of(caplog)


ALL = torch.ones(1, 16, 16)
LEFT = (torch.arange(16) < 8).float().expand(1, 16, 16)
WINDOWED = {
    "ReplaceSelfAttention": lambda stream, window, layers: ReplaceSelfAttention(stream, window, layers),
    "ReplaceKeysAndValues": lambda stream, window, layers: ReplaceKeysAndValues(stream, window, layers),
    "MaskKeysAndValues": lambda stream, window, layers: MaskKeysAndValues(LEFT, window, layers),
    "ReferenceAttention": lambda stream, window, layers: ReferenceAttention(stream, window, layers, "", layers, 0.3, "bilinear"),
    "LocalBlend": lambda stream, window, layers: LocalBlend(stream, window, None, ALL * 0, "the source's trajectory"),
    "BackgroundPreservation": lambda stream, window, layers: BackgroundPreservation(stream.trajectory, window, ALL * 0),
}


@pytest.mark.parametrize("name", WINDOWED)
@pytest.mark.parametrize(("levels", "when"), [(slice(3, None), "past"), (slice(None, 3), "to come")], ids=["past", "to come"])
def test_an_edit_says_that_the_runs_levels_are_not_in_its_window(sd1, caplog, name, levels, when):
    sigmas = schedule(sd1, STEPS)
    stream, layers = Stream(trajectory(sd1), SOURCE), coarse_layers(require_unet(sd1))
    highest, lowest = (1e10, float(sigmas[2])) if when == "past" else (float(sigmas[3]), 0.0)

    def run(window: Window | None):
        edits = () if window is None else (WINDOWED[name](stream, window, layers),)
        caplog.clear()
        return sample(carry_out(sd1, Plan(edits=edits)), TARGET, NEGATIVE, sampler=GraftSampler("ddim"), sigmas=sigmas[levels])

    plain = run(None)
    assert torch.equal(run(Window(highest, lowest)), plain)
    (noted,) = warnings_of(caplog)
    made = sigmas[levels][:-1]
    assert noted.startswith(f"Graft: {name} does nothing in this run")
    assert f"{min(highest, 14.61):.4g} to {lowest:.4g}, the run those from {made[0]:.4g} to {made[-1]:.4g}" in noted
    assert torch.equal(run(Window(0.0, 0.0)), plain) and not warnings_of(caplog)
    run(ALWAYS)
    assert not warnings_of(caplog)


# Once and again


def test_a_cached_model_gives_the_same_bits_again_and_is_left_as_it_was(model):
    patched = edited(model)
    before, upstream = snapshot(patched), snapshot(model)
    first = sample(patched, TARGET, NEGATIVE, steps=3)
    assert snapshot(patched) == before and snapshot(model) == upstream
    sample(patched, prompt(6), NEGATIVE, steps=2, start=noise(9, batch=2))
    assert torch.equal(sample(patched, TARGET, NEGATIVE, steps=3), first)
    assert snapshot(patched) == before and snapshot(model) == upstream


def test_editing_leaves_the_model_it_was_given_untouched(model):
    before, plain = snapshot(model), sample(model, TARGET, NEGATIVE, steps=2)
    changed = sample(edited(model), TARGET, NEGATIVE, steps=2)
    assert snapshot(model) == before
    assert torch.equal(sample(model, TARGET, NEGATIVE, steps=2), plain)
    assert not torch.equal(changed, plain)


class Broken(Exception):
    pass


@pytest.mark.parametrize("error", [comfy.model_management.InterruptProcessingException, Broken])
@pytest.mark.parametrize("stream", [False, True], ids=["in the target", "in the stream"])
def test_nothing_is_left_after_a_run_that_did_not_finish(sd1, error, stream):
    patched = edited(sd1)
    whole, before, runs = sample(patched, TARGET, NEGATIVE, steps=3), snapshot(patched), []
    failing = patched.clone()

    def fail(executor, x, sigma, *args, **kwargs):
        engine = args[3][RUN_KEY]
        runs.append(engine)
        if bool(engine.writing) == stream and len(runs) > 3:
            raise error
        return executor(x, sigma, *args, **kwargs)

    failing.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "test", fail)
    guider = make_guider(failing, TARGET, NEGATIVE)
    options, entries = guider.model_options, set(vars(guider))
    with pytest.raises(error):
        guider.sample(
            noise(0), torch.zeros(1, 4, 16, 16), comfy.samplers.sampler_object("euler"), schedule(sd1, 3), disable_pbar=True, seed=7
        )
    assert guider.model_options is options and RUN_KEY not in options["transformer_options"]
    assert set(vars(guider)) - entries <= {"inner_model", "loaded_models", "conds"}  # the host's own leftovers
    assert set(guider.conds) == {"positive", "negative"}
    engine = runs[0]
    assert not engine.run.taps and not engine.writing and not engine.active and engine.tapped_at is None
    assert snapshot(patched) == before
    assert torch.equal(sample(patched, TARGET, NEGATIVE, steps=3), whole)


def test_a_finished_run_holds_no_taps(sd1):
    patched, runs = edited(sd1), []

    def keep(executor, x, sigma, *args, **kwargs):
        runs.append(args[3][RUN_KEY])
        return executor(x, sigma, *args, **kwargs)

    patched.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "test", keep)
    sample(patched, TARGET, NEGATIVE, steps=2)
    assert len(set(map(id, runs))) == 1
    assert not runs[0].run.taps


def test_taps_hold_one_noise_level_of_the_edited_layers_only(sd1):
    patched, sizes = edited(sd1), []

    def count(executor, x, sigma, *args, **kwargs):
        result = executor(x, sigma, *args, **kwargs)
        sizes.append({(layer, tuple(hidden.shape)) for (_, _, layer), (hidden, _) in args[3][RUN_KEY].run.taps.items()})
        return result

    patched.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "test", count)
    sample(patched, TARGET, NEGATIVE, steps=3)
    assert all(len(taps) == 11 for taps in sizes)
    assert {shape for _, shape in sizes[0]} == {(1, 64, 32), (1, 16, 32), (1, 4, 32)}


# Both ways to nothing


def test_edits_chain_and_the_later_one_sees_what_the_earlier_made(sd1):
    """Two edits of half strength from one source move three quarters of the way."""
    source, layers = trajectory(sd1), coarse_layers(require_unet(sd1))
    stream = Stream(source, SOURCE)
    half = ReplaceSelfAttention(stream, ALWAYS, layers, 0.5)
    twice = carry_out(carry_out(sd1, Plan().with_edit(half)), Plan().with_edit(half).with_edit(half))
    once = carry_out(sd1, Plan().with_edit(ReplaceSelfAttention(stream, ALWAYS, layers, 0.75)))
    ours, theirs = (targets(one_step(one, TARGET, NEGATIVE))[0].denoised for one in (twice, once))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-3)
    assert len(twice.get_wrappers(WrappersMP.OUTER_SAMPLE, PLAN_KEY)) == 1


@pytest.mark.parametrize("cfg", [1.0, 4.0])
@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m"])
def test_the_same_prompt_replayed_from_its_own_recording_changes_nothing(model, cfg, sampler):
    """Free-Prompt-Editing's synthetic variant with the source's prompt as target: both rows are one."""
    sigmas, latent = schedule(model, STEPS), torch.zeros(1, 4, 16, 16)
    guider = make_guider(model, TARGET, NEGATIVE, cfg)
    recorded, replay = record(guider, GivenNoise(noise(0)), empty_like(latent), comfy.samplers.sampler_object(sampler), sigmas)
    recorded = recorded["samples"]
    stream = Stream(replay, TARGET)
    patched = carry_out(model, Plan(edits=(ReplaceSelfAttention(stream, ALWAYS, all_layers(require_unet(model))),)))
    again = sample(patched, TARGET, NEGATIVE, cfg=cfg, sampler=sampler, sigmas=sigmas)
    scale = float(recorded.abs().max())
    torch.testing.assert_close(again, recorded, rtol=0, atol=(0 if cfg == 1.0 else 2e-3) * scale)
    # The edit was at work: another prompt gives another picture with it than without.
    other, unedited = (sample(one, prompt(8), NEGATIVE, cfg=cfg, sampler=sampler, sigmas=sigmas) for one in (patched, model))
    assert float((other - unedited).abs().max()) > 0.01 * scale
