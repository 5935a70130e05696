"""Edits of cross-attention among other nodes, what they refuse before the first call, and that they leave nothing behind."""

import comfy.model_management
import pytest
import torch
from comfy.ldm.modules.attention import optimized_attention
from comfy.patcher_extension import WrappersMP
from graft.attention.words import WordError
from graft.host.edits.self_attention import ReplaceSelfAttention
from graft.host.engine.plan import RUN_KEY, Plan, plan_of
from graft.host.engine.run import carry_out
from graft.host.engine.stream import Stream
from graft.host.engine.windows import Window
from graft.host.errors import GraftError
from graft.host.families.layers import coarse_layers, require_unet
from graft.nodes.cross_attention import CrossAttentionControlNode
from tiny_models import make_guider, noise, prompt, random_trajectory, sample, sample_from, schedule, snapshot, watched, worded

STEPS = 3
SOURCE, TARGET, NEGATIVE = worded(1, "a cat on a mat"), worded(2, "a dog on a mat"), prompt(3)
WITHOUT_WORDS = prompt(4)
DEFAULTS = {"mode": "refine", "start_percent": 0.0, "end_percent": 1.0, "word_weights": "", "word_windows": "", "alignment": "corrected"}


def edited(model, conditioning: list = SOURCE, batch: int = 1, **inputs):
    source = random_trajectory(model, conditioning, steps=STEPS, batch=batch)
    inputs = {**DEFAULTS, **inputs}
    return CrossAttentionControlNode.EXECUTE_NORMALIZED(model=model, source=source, source_conditioning=conditioning, **inputs)[0]


def one_step(model, positive: list = TARGET, negative: list | None = NEGATIVE) -> list:
    """The target's calls in a single step."""
    spied, calls = watched(model)
    sample_from(spied, 14 * noise(9), schedule(model, STEPS)[:2], positive, negative)
    return [call for call in calls if not call.stream]


# Other nodes


def louder(query, key, value, options):
    """Another node's attn2 replacement."""
    return 1.5 * optimized_attention(query, key, value, options["n_heads"])


def with_replacement(model, whole_blocks: bool = False):
    changed = model.clone()
    for number in (4, 5, 7, 8):
        changed.set_model_attn2_replace(louder, "input", number, *(() if whole_blocks else (0,)))
    return changed


@pytest.mark.parametrize("whole_blocks", [False, True])
def test_a_replacement_put_before_ours_keeps_computing_the_rows_that_are_not_edited(sd1, whole_blocks):
    patched = with_replacement(sd1, whole_blocks)
    (plain,), (theirs,), (ours,) = (one_step(one) for one in (sd1, patched, edited(patched)))
    assert torch.equal(ours.rows(1)[1], theirs.rows(1)[1])
    assert not torch.equal(ours.rows(1)[1], plain.rows(1)[1])
    assert not torch.equal(ours.rows(0)[1], theirs.rows(0)[1])


def test_a_replacement_put_before_ours_serves_the_stream_and_runs_without_graft(sd1):
    patched = with_replacement(sd1)
    results = []
    for model in (sd1, patched):
        spied, calls = watched(edited(model))
        sample_from(spied, 14 * noise(9), schedule(sd1, STEPS)[:2], TARGET, NEGATIVE)
        results.append(next(call.denoised for call in calls if call.stream))
    assert not torch.equal(*results)
    quiet = edited(patched, start_percent=0.99)  # no step of this schedule
    assert plan_of(quiet).edits
    assert torch.equal(*(sample(one, TARGET, NEGATIVE, steps=STEPS) for one in (patched, quiet)))


def test_a_replacement_put_after_ours_is_as_one_put_before(sd1, caplog):
    """Both are asked at call time, whatever the order of the nodes; a note says whose turn it is on the edited rows."""
    results = [sample(one, TARGET, NEGATIVE, steps=STEPS) for one in (with_replacement(edited(sd1)), edited(with_replacement(sd1)))]
    assert torch.equal(*results)
    assert any("another node replaces cross-attention too" in entry.getMessage() for entry in caplog.records)


def test_edits_of_both_attentions_share_the_sources_row(sd1):
    """And together change what each changes alone: Prompt-to-Prompt whole."""
    crossed = edited(sd1)
    stream = plan_of(crossed).edits[0].stream
    swap = ReplaceSelfAttention(Stream(stream.trajectory, SOURCE), Window(1e10, -1.0), coarse_layers(require_unet(sd1)))
    both = carry_out(crossed, plan_of(crossed).with_edit(swap))
    spied, calls = watched(both)
    sample_from(spied, stream.trajectory.latents[0], stream.trajectory.sigmas, SOURCE, NEGATIVE)
    assert [len(call.x) for call in calls] == [1, 2] * STEPS
    outputs = [one_step(one)[0].rows(0)[1] for one in (both, crossed, carry_out(sd1, Plan((swap,))))]
    assert not torch.allclose(outputs[0], outputs[1], rtol=1e-3) and not torch.allclose(outputs[0], outputs[2], rtol=1e-3)


# Off


def test_an_empty_window_is_the_node_absent(sd1):
    assert edited(sd1, end_percent=0.0) is sd1
    assert edited(sd1, start_percent=0.4, end_percent=0.4, word_weights="dog: 2") is sd1


@pytest.mark.parametrize("start", [0.99, 0.999])
def test_a_window_without_a_step_is_bitwise_off(model, start):
    quiet = edited(model, start_percent=start)
    spied, calls = watched(quiet)
    assert torch.equal(sample(spied, TARGET, NEGATIVE, steps=STEPS), sample(model, TARGET, NEGATIVE, steps=STEPS))
    assert plan_of(quiet).edits and not any(call.stream for call in calls)


@pytest.mark.parametrize(("first", "edited_there"), [(0, True), (1, False)])
def test_a_run_of_a_part_of_the_steps_keeps_the_windows_of_the_whole(sd1, first, edited_there):
    """The window holds the first of three steps, whichever of them this run makes; outside it is bitwise off."""
    part, start = schedule(sd1, STEPS)[first : first + 2], noise(4)
    plain, changed = (
        sample_from(one, start * part[0], part, TARGET, NEGATIVE, sampler="euler") for one in (sd1, edited(sd1, end_percent=0.34))
    )
    assert torch.equal(plain, changed) != edited_there


# Refusals before the first call


def refused(model, message: str, positive: list = TARGET, error: type[Exception] = GraftError, start=None) -> None:
    spied, calls = watched(model)
    with pytest.raises(error, match=message):
        sample(spied, positive, NEGATIVE, steps=STEPS, start=start)
    assert not calls


def test_words_that_the_prompt_has_not_are_refused_with_those_it_has(sd1):
    refused(edited(sd1, word_weights="cat: 2"), r"^word_weights: the prompt has no 'cat'; its words are: a, dog, on, mat", error=WordError)
    refused(edited(sd1, word_windows="cat: 0.5"), "^word_windows: the prompt has no 'cat'; its words are: a, dog, on, mat", error=WordError)


def test_replacing_words_needs_as_many(sd1):
    refused(edited(sd1, mode="replace"), "the source has 5 and the target 2: use refine", worded(2, "two words"), WordError)


def test_what_cannot_be_read_is_refused_by_the_node(sd1):
    with pytest.raises(WordError, match=r"^word_weights: 'much' after 'dog' is no number"):
        edited(sd1, word_weights="dog: much")
    with pytest.raises(WordError, match=r"^word_windows: '0.8-0.2' after 'dog' is not a part of the run"):
        edited(sd1, word_windows="dog: 0.8-0.2")


def test_combined_prompts_are_refused(sd1):
    refused(edited(sd1), r"^positive: Cross-Attention Control needs one prompt, got 2 combined", [*TARGET, *worded(5, "a cow")])


def test_prompts_without_words_are_refused_by_the_inputs_name(sd1):
    refused(edited(sd1), r"^positive: it does not say which words it was made of", WITHOUT_WORDS)
    refused(edited(sd1, WITHOUT_WORDS), r"^source_conditioning: it does not say which words it was made of")


def test_a_prompt_joined_with_another_is_refused(sd1):
    joined = [[torch.cat([TARGET[0][0], SOURCE[0][0]], dim=1), TARGET[0][1]]]
    refused(edited(sd1), r"^positive: it has 154 tokens, the prompt it was encoded from 77", joined)


def test_batches_of_prompts_that_do_not_pair_up_are_refused_with_both_numbers(sd1):
    two = worded(6, "a cat", "a dog")
    refused(edited(sd1), r"^positive: it holds 2, the sampled batch 3 pictures", two, start=noise(0, batch=3))
    refused(edited(sd1, two, batch=2), r"^source.*: it holds 2.*the sampled batch 3", start=noise(0, batch=3))
    refused(edited(sd1, two, batch=2), r"^source.*: it holds 2.*the sampled batch 1")


def test_more_source_prompts_than_source_pictures_are_refused(sd1):
    """The host would show the model the first of them only."""
    with pytest.raises(GraftError, match=r"^source_conditioning: it holds 2 prompts, the source 1 pictures"):
        edited(sd1, worded(6, "a cat", "a dog"))


# Nothing is left


class Broken(Exception):
    pass


@pytest.mark.parametrize("error", [comfy.model_management.InterruptProcessingException, Broken])
@pytest.mark.parametrize("stream", [False, True], ids=["in the target", "in the stream"])
def test_nothing_is_left_after_a_run_that_did_not_finish(sd1, error, stream):
    patched = edited(sd1)
    whole, before, runs = sample(patched, TARGET, NEGATIVE, steps=STEPS), snapshot(patched), []
    failing = patched.clone()

    def fail(executor, x, sigma, *args, **kwargs):
        engine = args[3][RUN_KEY]
        runs.append(engine)
        if bool(engine.writing) == stream and len(runs) > 3:
            raise error
        return executor(x, sigma, *args, **kwargs)

    failing.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "test", fail)
    guider = make_guider(failing, TARGET, NEGATIVE)
    options = guider.model_options
    with pytest.raises(error):
        guider.sample(noise(0), torch.zeros_like(noise(0)), comfy.samplers.sampler_object("euler"), schedule(sd1, STEPS), disable_pbar=True)
    assert guider.model_options is options and RUN_KEY not in options["transformer_options"]
    assert set(guider.conds) == {"positive", "negative"}
    assert runs[0].run.taps == {} and not runs[0].writing and not runs[0].active
    assert snapshot(patched) == before
    assert torch.equal(sample(patched, TARGET, NEGATIVE, steps=STEPS), whole)


def test_the_given_model_is_left_as_it_was(sd1):
    before = snapshot(sd1)
    sample(edited(sd1), TARGET, NEGATIVE, steps=STEPS)
    assert snapshot(sd1) == before and plan_of(sd1) == Plan()


def test_other_bits_for_other_words_and_the_same_bits_again(sd1):
    patched = edited(sd1)
    first = sample(patched, TARGET, NEGATIVE, steps=STEPS)
    sample(patched, worded(5, "a cow on a mat"), NEGATIVE, steps=STEPS, start=noise(3, batch=2))
    assert torch.equal(sample(patched, TARGET, NEGATIVE, steps=STEPS), first)
