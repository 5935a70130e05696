"""Prompt-to-Prompt's control of cross-attention in the real host, against attention maps that are written out and edited."""

from itertools import pairwise

import comfy.samplers
import pytest
import torch
from graft.host.engine.windows import Window
from graft.host.samplers.sampling import record
from graft.inversion.trajectory import Trajectory
from graft.nodes.cross_attention import CrossAttentionControlNode
from tiny_models import (
    GivenNoise,
    empty_like,
    make_guider,
    noise,
    prompt,
    random_trajectory,
    sample,
    sample_from,
    schedule,
    watched,
    worded,
)
from written_out import guided, maps, predict, require_close, require_negative_untouched, step

STEPS, CFG = 5, 3.0
SOURCE, NEGATIVE = worded(1, "a cat on a mat"), prompt(3)
SWAPPED = worded(2, "a dog on a mat")
LONGER_WORD = worded(2, "a ti|ger on a mat")
REFINED = worded(2, "a cat on a red mat")
WHOLE = {"start_percent": 0.0, "end_percent": 1.0}
NOTHING_ELSE = {"word_weights": "", "word_windows": "", "alignment": "corrected"}

# Which source token each target token looks with: position by position; all of "tiger" with all of "cat"; the new word alone.
IDENTITY = torch.eye(77)
TIGER = torch.zeros(77, 77)
TIGER[range(2), range(2)] = 1
TIGER[2, [2, 3]] = 0.5
TIGER[range(3, 7), range(4, 8)] = 1  # on, a, mat, end
TIGER[range(8, 77), range(8, 77)] = 1  # padding
RED = torch.zeros(77, 77)
RED[range(5), range(5)] = 1  # start, a, cat, on, a
RED[[5, 6], [6, 7]] = 1  # mat, end
RED[range(8, 77), range(8, 77)] = 1  # padding


def edited(model, source: Trajectory, mode: str, *, conditioning: list = SOURCE, **inputs):
    """The node itself, as a graph runs it."""
    inputs = {"mode": mode, **WHOLE, **NOTHING_ELSE, **inputs}
    return CrossAttentionControlNode.EXECUTE_NORMALIZED(model=model, source=source, source_conditioning=conditioning, **inputs)[0]


def alphas(ends: dict[int, tuple[float, float]], default: tuple[float, float], steps: int = STEPS, length: int = 77) -> torch.Tensor:
    """Upstream's table: a row more than there are steps, a column per token."""
    table = torch.zeros(steps + 1, length)
    table[int(default[0] * (steps + 1)) : int(default[1] * (steps + 1))] = 1
    for token, (start, end) in ends.items():
        table[:, token] = 0
        table[int(start * (steps + 1)) : int(end * (steps + 1)), token] = 1
    return table


def prompt_to_prompt(model, source, prompts: tuple[list, list], matrix, alpha, scale=None, negative: list = NEGATIVE, cfg: float = CFG):
    """A_t <- alpha E (mapped (A_s M) + (1 - mapped) A_t) + (1 - alpha) A_t in every cross-attention of the positive row."""
    mapped = matrix.any(dim=0).double()
    scale = torch.ones(matrix.shape[1]) if scale is None else scale
    x = source.latents[0]
    for index, (sigma, sigma_next) in enumerate(pairwise(source.sigmas)):
        kept, active = {}, alpha[index].double()

        def keep(site, query, key, value, kept=kept):
            kept[site] = maps(query, key)
            return kept[site] @ value

        def control(site, query, key, value, kept=kept, active=active):
            own = maps(query, key)
            edit = scale * (mapped * (kept[site] @ matrix.double()) + (1 - mapped) * own)
            return (active * edit + (1 - active) * own) @ value

        predict(model, source.latents[index], sigma, prompts[0], attn2=keep)
        positive = predict(model, x, sigma, prompts[1], attn2=control)
        x = step(x, guided(predict(model, x, sigma, negative), positive, cfg), sigma, sigma_next)
    return x


def ours(model, source: Trajectory, positive: list, negative: list = NEGATIVE, cfg: float = CFG):
    return sample_from(model, source.latents[0], source.sigmas, positive, negative, cfg=cfg)


@pytest.mark.parametrize(
    ("mode", "target", "matrix"), [("replace", SWAPPED, IDENTITY), ("replace", LONGER_WORD, TIGER), ("refine", REFINED, RED)]
)
def test_a_whole_edit_is_the_method_written_out(model, mode, target, matrix):
    source = random_trajectory(model, SOURCE)
    theirs = prompt_to_prompt(model, source, (SOURCE, target), matrix, alphas({}, (0, 0.8)))
    require_close(ours(edited(model, source, mode, end_percent=0.8), source, target), theirs, ours(model, source, target))


def test_reweighted_words_and_windows_of_words_are_the_method_written_out(model):
    """`red` (token 5) keeps its own map, reweighted all the same; `mat` (6) has a window of its own."""
    source, scale = random_trajectory(model, SOURCE), torch.ones(77)
    scale[[2, 5]] = torch.tensor([2.0, -3.0])
    table = alphas({6: (0.4, 1.0)}, (0, 0.6))
    assert table[:, 6].tolist() == [0, 0, 1, 1, 1, 1] and table[:, 1].tolist() == [1, 1, 1, 0, 0, 0]
    theirs = prompt_to_prompt(model, source, (SOURCE, REFINED), RED, table, scale)
    patched = edited(model, source, "refine", end_percent=0.6, word_weights="cat: 2, red: -3", word_windows="mat: 0.4-1")
    require_close(ours(patched, source, REFINED), theirs, ours(edited(model, source, "refine", end_percent=0.6), source, REFINED))


def test_words_alone_may_be_controlled(sd1):
    """The default window is empty, a word has one."""
    source = random_trajectory(sd1, SOURCE)
    theirs = prompt_to_prompt(sd1, source, (SOURCE, SWAPPED), IDENTITY, alphas({2: (0, 0.4)}, (0, 0)))
    patched = edited(sd1, source, "replace", end_percent=0.0, word_windows="dog: 0.4")
    spied, calls = watched(patched)
    result = ours(spied, source, SWAPPED)
    scale = float(theirs.abs().max())
    assert float((result - theirs).abs().max()) < 2e-4 * scale < 0.2 * float((theirs - ours(sd1, source, SWAPPED)).abs().max())
    assert [call.stream for call in calls] == [True, False] * 2 + [False] * 3


def test_a_run_that_starts_after_every_window_says_so(sd1, caplog):
    source = random_trajectory(sd1, SOURCE)
    late = source.latents[3], source.sigmas[3:]
    plain = sample_from(sd1, *late, SWAPPED, NEGATIVE, cfg=CFG)
    for word_windows, notes in (("dog: 0.3", 1), ("dog: 0.9", 0)):
        caplog.clear()
        patched = edited(sd1, source, "replace", end_percent=0.4, word_windows=word_windows)
        assert torch.equal(sample_from(patched, *late, SWAPPED, NEGATIVE, cfg=CFG), plain) == bool(notes)
        noted = [entry.getMessage() for entry in caplog.records if entry.name == "graft"]
        assert ["CrossAttentionControl does nothing in this run" in text for text in noted] == [True] * notes


@pytest.mark.parametrize("steps", [4, 5, 20, 25, 50])
def test_windows_hold_as_many_steps_as_in_the_released_code(sd1, steps):
    sigmas = schedule(sd1, steps)[:-1].tolist()
    for ratio in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 0.98, 1.0):
        window = Window.of_steps(sd1, 0.0, ratio, steps)
        assert [sigma in window for sigma in sigmas] == [step < int(ratio * (steps + 1)) for step in range(steps)]
    assert sum(sigma in Window.of_steps(sd1, 0.0, 0.8, steps) for sigma in sigmas) == {4: 4, 5: 4, 20: 16, 25: 20, 50: 40}[steps]


# Which rows, and whose maps


def one_step(model, source: Trajectory, positive: list, negative: list | None = NEGATIVE, start=None, cfg: float = CFG) -> list:
    spied, calls = watched(model)
    sample_from(spied, source.latents[0] if start is None else start, source.sigmas[:2], positive, negative, cfg=cfg)
    return [call for call in calls if not call.stream]


def test_negative_rows_stay_what_they_were(model):
    source = random_trajectory(model, SOURCE)
    (plain,), (changed,) = (one_step(one, source, SWAPPED) for one in (model, edited(model, source, "replace")))
    require_negative_untouched(changed, plain)


def test_without_guidance_the_positive_row_is_edited_as_beside_a_negative(model):
    source = random_trajectory(model, SOURCE)
    alone, beside = (one_step(edited(model, source, "replace"), source, SWAPPED, cfg=cfg)[0] for cfg in (1.0, CFG))
    assert alone.order == [0]
    torch.testing.assert_close(alone.denoised, beside.rows(0)[1], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("mode", ["refine", "replace"])
def test_the_same_prompt_replayed_from_its_own_recording_changes_nothing(model, mode):
    """Both maps are one, so that taking the source's is taking one's own."""
    guider, start = make_guider(model, SOURCE, NEGATIVE, CFG), noise(5)
    latent, source = record(guider, GivenNoise(start), empty_like(start), comfy.samplers.sampler_object("euler"), schedule(model, STEPS))
    again = sample(edited(model, source, mode), SOURCE, NEGATIVE, cfg=CFG, start=start, sigmas=schedule(model, STEPS))
    assert float((again - latent["samples"]).abs().max()) < 1e-3 * float(latent["samples"].abs().max())


def test_a_negative_twice_as_long_makes_the_host_repeat_the_positive_and_changes_nothing(model):
    """A negative that says everything twice is looked at as if it said it once."""
    source = random_trajectory(model, SOURCE)
    twice = [[NEGATIVE[0][0].repeat(1, 2, 1), NEGATIVE[0][1]]]
    patched = edited(model, source, "refine", word_weights="red: 2")
    (long,), (short,) = (one_step(patched, source, REFINED, negative) for negative in (twice, NEGATIVE))
    assert long.context.shape[1] == 154 and long.order == short.order
    torch.testing.assert_close(long.denoised, short.denoised, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("long", "short"), [("source", "target"), ("target", "source")])
def test_prompts_of_different_numbers_of_chunks_are_the_method_written_out(sd1, long, short):
    """75 words fill a chunk. What both have corresponds; the word that only one has, and its chunk, are left to themselves."""
    words = " ".join(f"w{number}" for number in range(74))
    prompts = {long: worded(1, f"{words} one two"), short: worded(2, f"{words} one")}
    matrix = torch.zeros(prompts["source"][0][0].shape[1], prompts["target"][0][0].shape[1])
    assert sorted(matrix.shape) == [77, 154]
    matrix[range(76), range(76)] = 1  # start and 75 words
    # The sentence's end: position 76 of a whole chunk, 79 of the longer, whose own position 76 ends its first chunk.
    matrix[(79, 76) if long == "source" else (76, [76, 79])] = 1
    source = random_trajectory(sd1, prompts["source"])
    pair = prompts["source"], prompts["target"]
    theirs = prompt_to_prompt(sd1, source, pair, matrix, alphas({}, (0, 1), length=matrix.shape[1]))
    patched = edited(sd1, source, "refine", conditioning=prompts["source"])
    require_close(ours(patched, source, prompts["target"]), theirs, ours(sd1, source, prompts["target"]))


def test_every_row_of_a_batch_has_words_of_its_own(model):
    source, both = random_trajectory(model, SOURCE), worded(7, "a dog on a mat", "a mat on a dog")
    start = noise(6, batch=2)
    patched = edited(model, source, "refine", word_weights="dog: 3", word_windows="mat: 0.5-1")
    (together,) = one_step(patched, source, both, start=start)
    for row in range(2):
        states, options = both[0]
        own = {name: part[row : row + 1] for name, part in options.items()}
        (alone,) = one_step(patched, source, [[states[row : row + 1], own]], start=start[row : row + 1])
        torch.testing.assert_close(together.rows(0)[1][row : row + 1], alone.rows(0)[1], rtol=1e-4, atol=1e-3)


def test_sources_of_a_batch_have_prompts_of_their_own(sd1):
    prompts = worded(8, "a cat on a mat", "a mat on a cat")
    source, start = random_trajectory(sd1, prompts, batch=2), noise(6, batch=2)
    (together,) = one_step(edited(sd1, source, "refine", conditioning=prompts), source, SWAPPED, start=start)
    for row in range(2):
        states, options = prompts[0]
        one = [[states[row : row + 1], {name: part[row : row + 1] for name, part in options.items()}]]
        own = Trajectory(source.latents[:, row : row + 1], source.sigmas, source.solver, source.model, source.conditioning)
        (alone,) = one_step(edited(sd1, own, "refine", conditioning=one), own, SWAPPED, start=start[row : row + 1])
        torch.testing.assert_close(together.rows(0)[1][row : row + 1], alone.rows(0)[1], rtol=1e-4, atol=1e-3)
