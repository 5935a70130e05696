"""TF-ICON's background preservation in the real host: what stands in the latent after every step."""

from dataclasses import replace
from itertools import pairwise

import comfy.model_management
import pytest
import torch
from comfy.patcher_extension import WrappersMP
from einops import reduce
from graft.host.engine.fingerprints import conditioning_fingerprint, model_fingerprint
from graft.host.engine.plan import RUN_KEY, plan_of
from graft.host.engine.windows import Window
from graft.host.errors import GraftError
from graft.host.samplers.sampling import GraftSampler
from graft.host.samplers.schedules import uniform_time_sigmas
from graft.inversion.solvers import Prediction, ddim_step, dpmpp_step, noise_prediction
from graft.inversion.trajectory import Trajectory
from graft.nodes.latents import BackgroundPreservationNode
from tiny_models import make_model, noise, prompt, random_trajectory, sample_from, schedule, snapshot, watched
from written_out import guided, predict, released_multistep, released_stream, require_close

STEPS, CFG = 5, 3.0
MAIN, TARGET, NEGATIVE = prompt(1), prompt(2), prompt(3)
DDIM, MULTISTEP = GraftSampler("ddim"), GraftSampler("dpmpp_2m")
SIZE, PIXELS = (8, 16), (64, 128)
pytestmark = pytest.mark.usefixtures("faint_masks")

ZEROS, ONES = torch.full((1, *PIXELS), 1e-30), torch.ones(1, *PIXELS)  # nothing to the bit; an empty mask is refused


def box(top: int, bottom: int, left: int, right: int) -> torch.Tensor:
    mask = torch.zeros(1, *PIXELS)
    mask[:, top:bottom, left:right] = 1
    return mask


WHOLE_CELLS = box(16, 64, 40, 96)
BETWEEN_CELLS = box(13, 64, 37, 90)


def picture(model, *, steps: int = STEPS, batch: int = 1, size=SIZE, seed: int = 1) -> Trajectory:
    return random_trajectory(model, MAIN, seed=seed, batch=batch, size=size, steps=steps)


def edited(model, main: Trajectory, region=WHOLE_CELLS, end_percent: float = 0.8, feather: int = 0, **mode):
    """The node itself, as a graph runs it."""
    inputs = {"region": region, "end_percent": end_percent, "feather": feather, **mode}
    return BackgroundPreservationNode.EXECUTE_NORMALIZED(model=model, main=main, **inputs)[0]


def ours(model, main: Trajectory, sampler=DDIM, batch: int = 1, **options):
    start = noise(6, batch, *main.latents.shape[-2:]) * (1 + main.sigmas[0] ** 2).sqrt()
    return sample_from(model, start, main.sigmas, TARGET, NEGATIVE, cfg=CFG, sampler=sampler, **options)


def states(model, main: Trajectory, **options) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """The latents that each step but the first began with, and those at which DDIM's step before had arrived."""
    seen = []
    ours(model, main, callback=lambda i, denoised, x, steps: seen.append((x.clone(), denoised.clone())), **options)
    sampled = [ddim_step(x, noise_prediction(x, d, s), s, n) for (x, d), s, n in zip(seen, main.sigmas, main.sigmas[1:], strict=False)]
    return [x for x, _ in seen[1:]], sampled[:-1]


def cells(mask: torch.Tensor) -> torch.Tensor:
    """(rows, 1, h, w): how much of each cell is covered."""
    return reduce(mask, "b (h down) (w across) -> b 1 h w", "mean", down=8, across=8)


# After every step


@pytest.mark.parametrize("end", [0.4, 0.8, 1.0])
def test_the_background_is_the_main_pictures_bit_for_bit_and_the_region_is_what_was_sampled(model, end):
    """Inside the window; after it the latent is free."""
    main, inside = picture(model), cells(WHOLE_CELLS).bool().expand(-1, 4, -1, -1)
    after, sampled = states(edited(model, main, end_percent=end), main)
    assert len(after) == STEPS - 1
    for index, (x, free) in enumerate(zip(after, sampled, strict=True)):
        if index < round(end * STEPS):
            assert torch.equal(x[inside], free[inside]) and torch.equal(x[~inside], main.latents[index + 1][~inside])
            assert not torch.equal(free[~inside], main.latents[index + 1][~inside])
        else:
            assert torch.equal(x, free)


@pytest.mark.parametrize(("end", "exact"), [(1.0, True), (0.8, False)])
@pytest.mark.parametrize("sampler", [DDIM, MULTISTEP], ids=["ddim", "dpmpp_2m"])
def test_kept_to_the_end_the_background_is_the_clean_main_picture(sd1, sampler, end, exact):
    main, inside = picture(sd1), cells(WHOLE_CELLS).bool().expand(-1, 4, -1, -1)
    result = ours(edited(sd1, main, end_percent=end), main, sampler)
    clean = main.clean[~inside]
    assert torch.allclose(result[~inside], clean, rtol=1e-6, atol=1e-6) == exact
    assert not torch.allclose(result[inside], main.clean[inside], rtol=0.1)


def test_no_row_of_a_stream_is_computed(sd1):
    main = picture(sd1)
    spied, calls = watched(edited(sd1, main))
    ours(spied, main)
    assert [len(call.x) for call in calls] == [2] * STEPS and not any(call.stream for call in calls)


@pytest.mark.parametrize(("steps", "end", "kept"), [(5, 0.8, 4), (10, 0.8, 8), (50, 0.4, 20), (50, 1.0, 50)])
def test_the_window_is_a_part_of_the_steps(sd1, steps, end, kept):
    window = plan_of(edited(sd1, picture(sd1), end_percent=end)).edits[0].window
    assert [sigma in window for sigma in schedule(sd1, steps)[:-1].tolist()] == [True] * kept + [False] * (steps - kept)


@pytest.mark.parametrize("steps", [20, 25, 40, 50])
def test_the_window_is_the_same_part_of_even_steps_in_time(sd1, steps):
    """Whatever part of the steps it is: where it ends on a level, that level is outside."""
    levels = uniform_time_sigmas(sd1, steps)[:-1].tolist()
    for count in range(1, steps):
        before, after = Window.of_percent(sd1, 0.0, count / steps), Window.of_percent(sd1, count / steps, 1.0)
        assert [sigma in before for sigma in levels] == [index < count for index in range(steps)]
        assert [sigma in after for sigma in levels] == [index >= count for index in range(steps)]


INTERPOLATED = "the main trajectory has no latents at some of the run's noise levels; they are interpolated"


def test_other_levels_than_the_trajectorys_are_interpolated_and_the_log_says_so(sd1, caplog):
    main = picture(sd1)
    ours(edited(sd1, main, end_percent=1.0), main)
    assert INTERPOLATED not in caplog.text
    coarse = replace(main, sigmas=main.sigmas[::STEPS], latents=main.latents[::STEPS])
    result = ours(edited(sd1, coarse, end_percent=0.5), main)
    assert caplog.text.count(INTERPOLATED) == 1 and result.isfinite().all()


def test_a_feather_that_leaves_nothing_of_the_region_is_refused(sd1):
    main, region = picture(sd1), box(20, 51, 40, 80)
    edited(sd1, main, region, feather=30)
    with pytest.raises(GraftError, match=r"^feather: a soft edge 32 pixels wide leaves nothing of the region, 40 x 31 pixels"):
        edited(sd1, main, region, feather=32)


# Masks


def test_a_soft_mask_mixes_the_two(model):
    """Its edge crosses cells, and it is itself soft."""
    soft = BETWEEN_CELLS * torch.linspace(0.2, 1, PIXELS[1])
    main, share = picture(model), cells(soft)
    assert bool(((share > 0) & (share < 1)).any())
    for x, free, own in zip(*states(edited(model, main, soft, 1.0), main), main.latents[1:], strict=False):
        torch.testing.assert_close(x, own + share * (free - own), rtol=1e-5, atol=1e-5)
        assert torch.equal(x[share.expand_as(x) == 0], own[share.expand_as(x) == 0])


def test_a_feather_is_soft_inwards_only(sd1):
    """Sixteen pixels from the left edge at 40 on: a slope of seventeenths. What was outside stays exact, the picture's border hard."""
    region = box(0, 64, 40, 128)
    main = picture(sd1)
    profile = ((torch.arange(128) - 39).clamp(0, 17) / 17).expand(1, *PIXELS)
    share = cells(profile)
    for x, free, own in zip(*states(edited(sd1, main, region, 1.0, feather=16), main), main.latents[1:], strict=False):
        assert torch.equal(x[..., :5], own[..., :5])
        torch.testing.assert_close(x[..., 5:7], torch.lerp(own, free, share)[..., 5:7], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(x[..., 7], torch.lerp(own, free, share)[..., 7], rtol=1e-4, atol=1e-4)
        assert torch.equal(x[..., 8:], free[..., 8:])
    assert 0 < float(share[..., 5].max()) < float(share[..., 6].min()) < 1


@pytest.mark.parametrize("feather", [0, 1, 5])
def test_a_feathered_region_never_reaches_beyond_itself(sd1, feather):
    main, outside = picture(sd1), (cells(BETWEEN_CELLS) == 0).expand(-1, 4, -1, -1)
    for x, own in zip(states(edited(sd1, main, BETWEEN_CELLS, 1.0, feather), main)[0], main.latents[1:], strict=False):
        assert torch.equal(x[outside], own[outside])


def test_a_region_of_everything_is_bitwise_off_and_one_of_nothing_is_the_main_picture(model):
    main = picture(model)
    assert torch.equal(ours(edited(model, main, ONES), main), ours(model, main))
    torch.testing.assert_close(ours(edited(model, main, ZEROS, 1.0), main), main.clean, rtol=1e-6, atol=1e-6)


def test_every_row_of_a_batch_has_a_picture_and_a_region_of_its_own(sd1):
    main, regions = picture(sd1, batch=2), torch.cat([WHOLE_CELLS, BETWEEN_CELLS])
    share = cells(regions)
    for x, free, own in zip(*states(edited(sd1, main, regions, 1.0), main, batch=2), main.latents[1:], strict=False):
        torch.testing.assert_close(x, torch.lerp(own, free, share.expand_as(x)), rtol=1e-5, atol=1e-5)


def test_one_picture_and_one_region_serve_a_whole_batch(sd1):
    main, inside = picture(sd1), cells(WHOLE_CELLS).bool()[0, 0]
    for x, free, own in zip(*states(edited(sd1, main), main, batch=3), main.latents[1:], strict=False):
        assert torch.equal(x[..., inside], free[..., inside]) and torch.equal(x[..., ~inside], own[..., ~inside].expand(3, -1, -1))


@pytest.mark.parametrize("size", [(8, 12), (17, 13)])
def test_regions_of_any_size_fit_pictures_of_every_shape(sd1, size):
    """The region's left half, whatever its pixels are per cell."""
    main = picture(sd1, size=size)
    for pixels in (tuple(8 * side for side in size), tuple(5 * side for side in size)):
        region = torch.zeros(pixels)
        region[:, : pixels[1] // 2] = 1
        after, sampled = states(edited(sd1, main, region[None], 1.0), main)
        for x, free, own in zip(after, sampled, main.latents[1:], strict=False):
            half = size[1] // 2
            assert torch.equal(x[..., :half], free[..., :half]) and torch.equal(x[..., half + 1 :], own[..., half + 1 :])


# The released code's order


RELEASED = {"mode": "released code"}


def solved(model, steps: int) -> tuple[Trajectory, list[torch.Tensor]]:
    sigmas = uniform_time_sigmas(model, steps)
    latents, predictions = released_stream(model, noise(11, 1, *SIZE) * (1 + sigmas[0] ** 2).sqrt(), sigmas, MAIN)
    return Trajectory(latents, sigmas, "recorded", model_fingerprint(model), conditioning_fingerprint(MAIN)), predictions


def released(model, main: Trajectory, predictions, region, tau: float, batch: int = 1) -> torch.Tensor:
    """The target's loop of the released code."""

    def predicted(index: int, x: torch.Tensor) -> torch.Tensor:
        rows = (predict(model, x.float(), main.sigmas[index], conditioning) for conditioning in (NEGATIVE, TARGET))
        return guided(*rows, CFG)

    start = noise(6, batch, *SIZE) * (1 + main.sigmas[0] ** 2).sqrt()
    return released_multistep(predicted, start, main.sigmas, (main.latents, predictions[:2], 1 - cells(region).double(), tau))[-1]


@pytest.mark.parametrize(
    ("kind", "steps", "end"), [("sd1", 20, 0.8), ("sd1", 12, 1.0), ("sd2v", 6, 0.8), ("sdxl", 8, 0.5), ("sd1", 4, 0.4)]
)
def test_the_released_codes_order_is_its_loop_written_out(model, steps, end):
    """Blended after the evaluation, and the first two predictions instead of their latents; the last step of a short run is of first order."""
    main, predictions = solved(model, steps)
    theirs = released(model, main, predictions, BETWEEN_CELLS, end)
    every_step = ours(edited(model, main, BETWEEN_CELLS, end), main, MULTISTEP)
    require_close(ours(edited(model, main, BETWEEN_CELLS, end, **RELEASED), main, MULTISTEP), theirs, every_step)


def test_the_released_order_leaves_the_region_of_each_step_bit_for_bit(sd1):
    main, inside = solved(sd1, 6)[0], cells(WHOLE_CELLS).bool().expand(-1, 4, -1, -1)
    seen = []
    ours(edited(sd1, main, end_percent=1.0, **RELEASED), main, MULTISTEP, callback=lambda i, denoised, x, steps: seen.append((x, denoised)))
    last = None
    for index, ((x, denoised), after) in enumerate(pairwise(seen)):
        free = dpmpp_step(x, denoised, *main.sigmas[index : index + 2], last)
        last = Prediction.of(denoised, *main.sigmas[index : index + 2])
        assert torch.equal(after[0][inside], free[inside]) and torch.equal(after[0][~inside], free[~inside]) == (index == 0)


def test_the_released_order_takes_no_row_of_a_stream_and_one_main_picture_for_a_batch(sd1):
    main, predictions = solved(sd1, 6)
    spied, calls = watched(edited(sd1, main, WHOLE_CELLS, **RELEASED))
    result = ours(spied, main, MULTISTEP, batch=2)
    assert [len(call.x) for call in calls] == [4] * 6 and not any(call.stream for call in calls)
    require_close(result, released(sd1, main, predictions, WHOLE_CELLS, 0.8, batch=2))


@pytest.mark.parametrize("solver", ["ddim", "midpoint"])
def test_the_released_order_is_refused_where_nothing_is_stored(sd1, solver):
    main = picture(sd1)
    spied, calls = watched(edited(sd1, main, **RELEASED))
    with pytest.raises(GraftError, match=r"^sampler: the released code blends .*choose DPM-Solver\+\+ 2M in Graft Sampler"):
        ours(spied, main, GraftSampler(solver))
    assert not calls


def test_an_end_of_zero_is_the_node_absent_in_the_released_order_too(sd1):
    assert edited(sd1, picture(sd1), end_percent=0.0, **RELEASED) is sd1


# Refusals


def test_an_end_of_zero_is_the_node_absent(model):
    assert edited(model, picture(model), end_percent=0.0) is model


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m"])
def test_stock_samplers_are_refused_before_the_first_call(sd1, sampler):
    main = picture(sd1)
    spied, calls = watched(edited(sd1, main))
    with pytest.raises(GraftError, match=r"^sampler: BackgroundPreservation works between steps.*connect Graft Sampler"):
        ours(spied, main, sampler)
    assert not calls


REFUSED = {
    "another model": ({}, {}, r"^main: it was made with another model"),
    "another size": ({"size": (8, 12)}, {}, r"^main: its latents are \(4, 8, 12\).*\(4, 8, 16\)"),
    "two pictures for one": ({"batch": 2}, {}, r"^main: it holds 2 pictures, the sampled batch 1"),
    "two regions for one": ({}, {"region": torch.cat([ONES, ZEROS])}, r"^region: it holds 2, the sampled batch 1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_by_the_inputs_name_before_the_first_call(sd1, case):
    options, inputs, message = REFUSED[case]
    made_with = make_model("sd1", seed=1) if case == "another model" else sd1
    spied, calls = watched(edited(sd1, picture(made_with, **options), **inputs))
    with pytest.raises(GraftError, match=message):
        ours(spied, picture(sd1))
    assert not calls


def test_a_run_that_starts_far_above_the_main_trajectory_is_refused_before_the_first_call(sd1):
    whole = picture(sd1)
    lower = Trajectory(**{**vars(whole), "latents": whole.latents[2:], "sigmas": whole.sigmas[2:]})
    spied, calls = watched(edited(sd1, lower))
    first = float(whole.sigmas[1])
    with pytest.raises(
        GraftError, match=rf"^sigmas: the main is needed at noise level {first:.4g}, its trajectory starts at {lower.sigmas[0]:.4g}"
    ):
        ours(spied, whole)
    assert not calls


# Once and again


class Broken(Exception):
    pass


@pytest.mark.parametrize("error", [comfy.model_management.InterruptProcessingException, Broken])
def test_nothing_is_left_after_a_run_that_did_not_finish(sd1, error):
    main = picture(sd1)
    patched = edited(sd1, main)
    whole, before, failing, calls = ours(patched, main), snapshot(patched), patched.clone(), []

    def fail(executor, *args, **kwargs):
        calls.append(args)
        if len(calls) > 2:
            raise error
        return executor(*args, **kwargs)

    failing.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "test", fail)
    with pytest.raises(error):
        ours(failing, main)
    assert snapshot(patched) == before and RUN_KEY not in failing.model_options["transformer_options"]
    assert torch.equal(ours(patched, main), whole)


def test_the_trajectory_and_the_region_are_left_as_they_were(sd1):
    main, region = picture(sd1), BETWEEN_CELLS.clone()
    latents = main.latents.clone()
    ours(edited(sd1, main, region, 1.0, 9), main)
    assert torch.equal(main.latents, latents) and torch.equal(region, BETWEEN_CELLS)
