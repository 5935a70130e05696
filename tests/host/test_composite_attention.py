"""TF-ICON's composite self-attention in the real host, against its loop written out with explicit maps of composed logits."""

from collections.abc import Callable
from itertools import pairwise

import comfy.model_management
import pytest
import torch
from comfy.patcher_extension import WrappersMP
from comfy_extras.nodes_custom_sampler import SamplerCustomAdvanced
from einops import reduce
from graft.host.engine.fingerprints import conditioning_fingerprint, model_fingerprint
from graft.host.engine.passes import WritePass
from graft.host.engine.plan import RUN_KEY, plan_of
from graft.host.errors import GraftError
from graft.host.families.layers import all_layers, require_unet
from graft.host.samplers.sampling import GraftSampler, invert
from graft.host.samplers.schedules import uniform_time_sigmas
from graft.inversion.trajectory import Trajectory
from graft.nodes.composition import ComposeNoise
from graft.nodes.latents import BackgroundPreservationNode
from graft.nodes.sampling import UniformTimeScheduler
from graft.nodes.self_attention import CompositeAttentionNode, ReplaceSelfAttentionNode
from tiny_models import make_guider, make_model, noise, prompt, random_trajectory, sample_from, schedule, snapshot, watched
from written_out import (
    guided,
    maps,
    predict,
    released_multistep,
    released_stream,
    require_close,
    require_negative_untouched,
    step,
)

EXCEPTIONAL, TARGET, NEGATIVE = prompt(1), prompt(2), prompt(3)
CFG, STEPS, INJECTED = 3.0, 5, 3
SIZE = 8, 16
PIXELS = 64, 128
MODES = ("intended", "light", "released code")
MULTISTEP = GraftSampler("dpmpp_2m")


def box(top: int, bottom: int, left: int, right: int) -> torch.Tensor:
    mask = torch.zeros(1, *PIXELS)
    mask[:, max(top, 0) : bottom, max(left, 0) : right] = 1
    return mask


def ellipse(y: float, x: float, height: float, width: float) -> torch.Tensor:
    down, across = torch.meshgrid(*(torch.arange(side) + 0.5 for side in PIXELS), indexing="ij")
    return (((down - y) / height) ** 2 + ((across - x) / width) ** 2 < 1).float()[None]


REGION = box(18, 100, 50, 200)  # over the lower and the right border
OBJECT = ellipse(42, 100, 26, 34) * REGION
SMALL_REGION, SMALL_OBJECT = box(-20, 46, 3, 60), ellipse(20, 30, 12, 16)  # on coarse grids a region without an object
REGIONS, OBJECTS = torch.cat([REGION, SMALL_REGION]), torch.cat([OBJECT, SMALL_OBJECT])
ONES = torch.ones(1, *PIXELS)


def pictures(model, batch: int = 1, references: int = 1, steps: int = STEPS, size=SIZE) -> tuple[Trajectory, Trajectory]:
    """Trajectories of the main picture and of the reference."""
    return (
        random_trajectory(model, EXCEPTIONAL, seed=1, batch=batch, size=size, steps=steps),
        random_trajectory(model, EXCEPTIONAL, seed=2, batch=references, size=size, steps=steps),
    )


def edited(model, main, reference, object_mask=OBJECT, region=REGION, end_percent=INJECTED / STEPS, mode="intended"):
    """The node itself, as a graph runs it."""
    inputs = {"object_mask": object_mask, "region": region, "end_percent": end_percent, "mode": mode}
    return CompositeAttentionNode.EXECUTE_NORMALIZED(model=model, main=main, reference=reference, conditioning=EXCEPTIONAL, **inputs)[0]


def start_of(main: Trajectory, batch: int = 1) -> torch.Tensor:
    return noise(6, batch, *main.latents.shape[-2:]) * (1 + main.sigmas[0] ** 2).sqrt()


def ours(model, main: Trajectory, batch: int = 1, steps: int = STEPS, **options):
    return sample_from(model, start_of(main, batch), main.sigmas[: steps + 1], TARGET, NEGATIVE, cfg=CFG, **options)


# TF-ICON, written out


def areas(mask: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """(rows, N), bool: tokens of which at least half is covered."""
    height, width = (side // cells for side, cells in zip(mask.shape[1:], grid, strict=True))
    return reduce(mask, "b (h down) (w across) -> b (h w)", "mean", down=height, across=width) >= 0.5


def products(pair: tuple[torch.Tensor, torch.Tensor], rows: int) -> torch.Tensor:
    query, key = pair
    return (query @ key.mT * query.shape[-1] ** -0.5).expand(rows, -1, -1, -1)


def composite_map(site, own, main, across, reference, masks) -> torch.Tensor:
    """(rows, heads, N, N): one softmax over logits that are written block by block. Pairs are queries and keys (1 or rows, heads, N, d);
    `main` None is a background of the target's own, `across` None a map without the object's rows and columns."""
    rows = len(own[0])
    logits = products(own, rows).clone()
    objects, regions = (areas(mask, site.grid).expand(rows, -1) for mask in masks)
    for row in range(rows):
        outside = (~regions[row]).nonzero()[:, 0]
        on_object = objects[row].nonzero()[:, 0]
        if main is not None:
            logits[row, :, outside[:, None], outside] = products(main, rows)[row, :, outside[:, None], outside]
        if across is None or not len(on_object):
            continue
        cross_map = products(across, rows)[row]
        logits[row, :, :, on_object] = cross_map[:, :, on_object]
        logits[row, :, on_object, :] = cross_map.mT[:, on_object, :]
        logits[row, :, on_object[:, None], on_object] = products(reference, rows)[row, :, on_object[:, None], on_object]
    return logits.softmax(dim=-1)


def light_map(site, own, main, reference, masks) -> torch.Tensor:
    """One map of queries and of keys that are each taken token by token from one of three pictures."""
    objects, regions = (areas(mask, site.grid)[:, None, :, None] for mask in masks)
    return maps(*(torch.where(objects, r, torch.where(regions, g, m)) for g, m, r in zip(own, main, reference, strict=True)))


def keeping(stored: dict):
    """Plain self-attention that keeps its queries and keys."""

    def attention(site, query, key, value):
        stored[site] = query, key
        return maps(query, key) @ value

    return attention


def tf_icon(model, main, reference, masks=(OBJECT, REGION), *, light: bool = False, steps: int = STEPS, batch: int = 1):
    """The paper's edit: both pictures at the target's own noise level, main queries on reference keys, the first `INJECTED` steps."""
    x = start_of(main, batch)
    for index, (sigma, sigma_next) in enumerate(pairwise(main.sigmas[: steps + 1])):
        of_main, of_reference = {}, {}
        predict(model, main.latents[index], sigma, EXCEPTIONAL, attn1=keeping(of_main))
        predict(model, reference.latents[index], sigma, EXCEPTIONAL, attn1=keeping(of_reference))

        def compose(site, query, key, value, m=of_main, r=of_reference):
            own = query, key
            if light:
                return light_map(site, own, m[site], r[site], masks) @ value
            return composite_map(site, own, m[site], (m[site][0], r[site][1]), r[site], masks) @ value

        positive = predict(model, x, sigma, TARGET, attn1=compose if index < INJECTED else None)
        x = step(x, guided(predict(model, x, sigma, NEGATIVE), positive, CFG), sigma, sigma_next)
    return x


OBJECT_KEYS, ADVANCED_LATE, ONE_STORE, MINIMUM, OWN_BACKGROUND = "restricted keys", "latents", "one store", "minimum", "background's tau"


def released(
    model, main, reference, masks=(OBJECT, REGION), *, tau: float, without: str = ""
) -> Callable[[int, torch.Tensor], torch.Tensor]:
    """The target's guided prediction in each step, in the official code's order, with its solver of order 2 in the variance-preserving
    scale: every stream keeps one store, which an evaluation overwrites. The first two evaluations are made stream by stream, all later ones in the order main, cross, reference,
    target. The reference moves on only in its own evaluation, so that the cross pass before it shows where it was.

    The official cross pass has four rows, twice the main picture's and twice the reference's. Keys, values and queries of its
    self-attention all come from the reference's rows, and what is stored is theirs: one row says the same. `without` is a quirk
    that is left out.
    """
    sigmas, count, order = main.sigmas, main.steps, 2
    scale, least = (1 + sigmas**2).sqrt(), 0 if without == MINIMUM else order
    objects_until = max(least, int(tau * count + 1 - order))
    background_until = max(least, int((tau if without == OWN_BACKGROUND else 0.4) * count + 1 - order))
    store = {"main": {}, "reference": {}, "cross": {}}

    def only_the_object(site, query, key, value):
        store["cross"][site] = query, key
        objects, regions = (areas(mask, site.grid) for mask in masks)
        seen = torch.where(objects.any(dim=1, keepdim=True), objects, regions)
        seen = torch.ones_like(seen) if without == OBJECT_KEYS else seen
        bias = torch.zeros(seen.shape, dtype=torch.float64).masked_fill(~seen, float("-inf"))
        return maps(query, key, bias[:, None, None]) @ value

    def evaluate(name: str, now: int, label: int) -> None:
        trajectory = main if name == "main" else reference
        shown = trajectory.latents[now] / scale[now] * scale[label]
        predict(model, shown, sigmas[label], EXCEPTIONAL, attn1=only_the_object if name == "cross" else keeping(store[name]))

    def compose(index: int):
        def attention(site, query, key, value):
            stored = {name: maps_of[site] for name, maps_of in store.items() if maps_of}
            background = stored["main"] if index < background_until else None
            across = stored["cross"] if index < objects_until else None
            return composite_map(site, (query, key), background, across, stored["reference"], masks) @ value

        return attention if index < max(background_until, objects_until) else None

    def evaluate_streams(index: int) -> None:
        if index == 0 and without == ONE_STORE:
            for name in store:
                evaluate(name, 0, 0)
        elif index == (1 if without == ONE_STORE else 0):
            for name in ("main", "reference"):
                for early in range(order):
                    evaluate(name, early, early)
            for early in range(order):
                evaluate("cross", order - 1, early)
        elif index >= order:
            evaluate("main", index, index)
            evaluate("cross", index if without == ADVANCED_LATE else index - 1, index)
            evaluate("reference", index, index)

    def predicted(index: int, x: torch.Tensor) -> torch.Tensor:
        evaluate_streams(index)
        positive = predict(model, x.float(), sigmas[index], TARGET, attn1=compose(index))
        return guided(predict(model, x.float(), sigmas[index], NEGATIVE), positive, CFG)

    return predicted


def in_ddim_steps(predicted, main: Trajectory, steps: int, batch: int = 1) -> torch.Tensor:
    x = start_of(main, batch)
    for index, (sigma, sigma_next) in enumerate(pairwise(main.sigmas[: steps + 1])):
        x = step(x, predicted(index, x), sigma, sigma_next)
    return x


# Whole edits


def test_the_papers_maps_are_the_method_written_out(model):
    """Pictures of unequal sides, two of them with a place of their own for one reference."""
    main, reference = pictures(model, batch=2)
    masks = OBJECTS, REGIONS
    theirs, light = (tf_icon(model, main, reference, masks, light=light, steps=INJECTED + 1, batch=2) for light in (False, True))
    require_close(ours(edited(model, main, reference, *masks), main, 2, INJECTED + 1), theirs, light)


def test_light_is_one_attention_of_composed_queries_and_keys(model):
    main, reference = pictures(model, references=2)
    masks = OBJECTS, REGIONS
    theirs, papers = (tf_icon(model, main, reference, masks, light=light, steps=INJECTED + 1, batch=2) for light in (True, False))
    require_close(ours(edited(model, main, reference, *masks, mode="light"), main, 2, INJECTED + 1), theirs, papers)


RELEASED_STEPS = 10


def ours_released(model, tau: float, steps: int, batch: int = 1, masks=(OBJECT, REGION)):
    main, reference = pictures(model, batch, batch, RELEASED_STEPS)
    patched = edited(model, main, reference, *masks, end_percent=tau, mode="released code")
    return ours(patched, main, batch, steps)


@pytest.mark.parametrize(("kind", "tau", "steps"), [("sd1", 0.2, 4), ("sd1", 0.7, 7), ("sd1", 0.4, 4), ("sd2v", 0.4, 4), ("sdxl", 0.4, 4)])
def test_the_released_codes_order_is_the_method_written_out(model, tau, steps):
    """To a step after the last that composes, of ten. A tau_A below, at and above the 0.4 at which the background's part ends."""
    masks, (main, reference) = (OBJECTS, REGIONS), pictures(model, 2, 2, RELEASED_STEPS)
    theirs = in_ddim_steps(released(model, main, reference, masks, tau=tau), main, steps, batch=2)
    require_close(ours_released(model, tau, steps, 2, masks), theirs, ours(model, main, 2, steps))


QUIRKS = [
    (OBJECT_KEYS, 0.4, 2),
    (ADVANCED_LATE, 0.4, 3),
    (ONE_STORE, 0.4, 2),
    (MINIMUM, 0.1, 2),
    (OWN_BACKGROUND, 0.2, 3),
    (OWN_BACKGROUND, 0.7, 4),
]


@pytest.mark.parametrize(("quirk", "tau", "steps"), QUIRKS)
def test_every_quirk_of_the_released_code_counts(sd1, quirk, tau, steps):
    trajectories = pictures(sd1, steps=RELEASED_STEPS)
    theirs, other = (
        in_ddim_steps(released(sd1, *trajectories, tau=tau, without=without), trajectories[0], steps) for without in ("", quirk)
    )
    require_close(ours_released(sd1, tau, steps), theirs, other)


@pytest.mark.parametrize("other", ["mode", "background"])
def test_with_background_preservations_released_mode_the_whole_released_loop_comes_out(sd1, other):
    """All steps of DPM-Solver++, with both pictures sampled from their noise as the official code does; with either node in its own order it
    does not."""
    sigmas, tau_b = uniform_time_sigmas(sd1, RELEASED_STEPS), 0.8
    start = {name: noise(seed, 1, *SIZE) * (1 + sigmas[0] ** 2).sqrt() for name, seed in (("main", 21), ("reference", 22))}
    passed = {name: released_stream(sd1, x, sigmas, EXCEPTIONAL) for name, x in start.items()}
    made = model_fingerprint(sd1), conditioning_fingerprint(EXCEPTIONAL)
    main, reference = (Trajectory(latents, sigmas, "recorded", *made) for latents, _ in passed.values())
    outside = 1 - reduce(REGION, "b (h down) (w across) -> b 1 h w", "mean", down=8, across=8).double()
    background = main.latents, passed["main"][1][:2], outside, tau_b
    theirs = released_multistep(released(sd1, main, reference, tau=0.4), start_of(main), sigmas, background)[-1]

    def whole(mode: str, kept: str) -> torch.Tensor:
        model = edited(sd1, main, reference, end_percent=0.4, mode=mode)
        inputs = {"main": main, "region": REGION, "end_percent": tau_b, "feather": 0, "mode": kept}
        return ours(BackgroundPreservationNode.EXECUTE_NORMALIZED(model=model, **inputs)[0], main, steps=RELEASED_STEPS, sampler=MULTISTEP)

    apart = whole("released code", "every step") if other == "background" else whole("intended", "released code")
    require_close(whole("released code", "released code"), theirs, apart)


def test_the_masks_are_of_every_kind():
    """On every grid tokens outside and inside, on fine ones a gap, one object lost on coarse ones; nearest cells would not do."""
    for grid in ((8, 16), (4, 8), (2, 4), (1, 2)):
        objects, regions = areas(OBJECTS, grid), areas(REGIONS, grid)
        assert regions.any(dim=1).all() and not regions.all(dim=1).any()
        assert objects.any(dim=1).tolist() == [True, grid[0] >= 4]
        assert grid[0] < 4 or bool((regions & ~objects).any(dim=1).all())
    assert not torch.equal(areas(OBJECTS, (8, 16)), OBJECTS[:, ::8, ::8].flatten(1) >= 0.5)


# Masks at their limits


def keeping_layout(model, source: Trajectory):
    """Free-Prompt-Editing in all layers: the target attends with the source's maps."""
    layers = {"layers": "custom", "custom_layers": f"0-{len(all_layers(require_unet(model))) - 1}"}
    inputs = {"strength": 1.0, "start_percent": 0.0, "end_percent": INJECTED / STEPS, "layers": layers}
    return ReplaceSelfAttentionNode.EXECUTE_NORMALIZED(model=model, source=source, source_conditioning=EXCEPTIONAL, **inputs)[0]


@pytest.mark.parametrize("mode", ["intended", "light"])
def test_everything_object_is_the_maps_of_the_reference(model, mode):
    main, reference = pictures(model)
    plain = ours(model, main, steps=2)
    composed = ours(edited(model, main, reference, ONES, ONES, mode=mode), main, steps=2)
    require_close(composed, ours(keeping_layout(model, reference), main, steps=2), plain)


def test_a_region_that_fills_the_picture_leaves_nothing_of_the_main_picture_but_its_questions(sd1):
    main, reference = pictures(sd1)
    theirs, other = (tf_icon(sd1, main, reference, (OBJECT, region), steps=2) for region in (ONES, REGION))
    require_close(ours(edited(sd1, main, reference, OBJECT, ONES), main, steps=2), theirs, other)


def test_of_an_object_outside_the_region_nothing_counts(sd1):
    main, reference = pictures(sd1)
    wide = edited(sd1, main, reference, ONES, REGION)
    assert torch.equal(ours(wide, main, steps=2), ours(edited(sd1, main, reference, REGION, REGION), main, steps=2))


# Nothing else changes


def test_an_end_of_zero_is_the_node_absent(model):
    main, reference = pictures(model)
    for mode in MODES:
        assert edited(model, main, reference, end_percent=0.0, mode=mode) is model


def one_step(model, main: Trajectory, index: int = 1, batch: int = 1, **options) -> list:
    """The calls of one of the run's steps."""
    spied, calls = watched(model)
    sample_from(spied, start_of(main, batch), main.sigmas[index : index + 2], TARGET, NEGATIVE, cfg=CFG, **options)
    return calls


@pytest.mark.parametrize("mode", MODES)
def test_negative_rows_stay_what_they_were(model, mode):
    main, reference = pictures(model)
    (plain,) = one_step(model, main)
    *streams, changed = one_step(edited(model, main, reference, mode=mode), main)
    assert [len(call.x) for call in streams] == [3 if mode == "released code" else 2]
    require_negative_untouched(changed, plain)


@pytest.mark.parametrize("mode", MODES)
def test_every_row_of_a_batch_has_pictures_and_masks_of_its_own(sd1, mode):
    main, reference = pictures(sd1, 2, 2)
    together = one_step(edited(sd1, main, reference, OBJECTS, REGIONS, mode=mode), main, batch=2)[-1].rows(0)[1]
    for row in range(2):
        one = slice(row, row + 1)
        own = [Trajectory(each.latents[:, one], each.sigmas, each.solver, each.model, each.conditioning) for each in (main, reference)]
        spied, calls = watched(edited(sd1, *own, OBJECTS[one], REGIONS[one], mode=mode))
        sample_from(spied, start_of(main, 2)[one], main.sigmas[1:3], TARGET, NEGATIVE, cfg=CFG)
        torch.testing.assert_close(together[one], calls[-1].rows(0)[1], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("size", [(16, 16), (20, 12), (17, 13)])
@pytest.mark.parametrize("mode", MODES)
def test_pictures_of_every_shape_are_edited(sd1, mode, size):
    """Shapes whose grids halve to unequal or odd sides."""
    main, reference = pictures(sd1, size=size)
    masks = (torch.nn.functional.interpolate(mask[None], tuple(8 * side for side in size))[0] for mask in (OBJECT, REGION))
    (plain,), changed = one_step(sd1, main), one_step(edited(sd1, main, reference, *masks, mode=mode), main)[-1]
    require_negative_untouched(changed, plain)


def test_another_nodes_attention_is_kept_where_nothing_is_edited(sd1):
    """A replacement before Graft's: streams and negative rows are computed with it, as oracles are that have it as their own."""

    def replacement(query, key, value, options):
        heads = [part.unflatten(2, (options["n_heads"], -1)).transpose(1, 2) for part in (query, key, value)]
        return (maps(2 * heads[0], heads[1]) @ heads[2]).transpose(1, 2).flatten(2)

    other = sd1.clone()
    for layer in all_layers(require_unet(sd1)):
        other.set_model_attn1_replace(replacement, layer.block, layer.number)
    main, reference = pictures(sd1)
    (plain,) = one_step(other, main)
    stream, changed = one_step(edited(other, main, reference), main)
    assert torch.equal(plain.rows(1)[1], changed.rows(1)[1])
    of_main, of_reference = {}, {}

    def sharp(stored):
        def attention(site, query, key, value):
            stored[site] = query, key
            return maps(2 * query, key) @ value

        return attention

    def compose(site, query, key, value):
        m, r = of_main[site], of_reference[site]
        return composite_map(site, (query, key), m, (m[0], r[1]), r, (OBJECT, REGION)) @ value

    sigma = main.sigmas[1]
    denoised = [
        predict(sd1, each.latents[1], sigma, EXCEPTIONAL, attn1=sharp(stored))
        for each, stored in ((main, of_main), (reference, of_reference))
    ]
    require_close(stream.denoised, torch.cat(denoised))
    theirs = predict(sd1, start_of(main), sigma, TARGET, attn1=compose)
    require_close(changed.rows(0)[1], theirs, plain.rows(0)[1])


# When, and at what cost


@pytest.mark.parametrize(
    ("mode", "end", "rows"), [("intended", 0.6, [2, 2, 2, 0, 0]), ("light", 0.4, [2, 2, 0, 0, 0]), ("intended", 1.0, [2] * 5)]
)
def test_streams_run_inside_the_window_only(sd1, mode, end, rows):
    main, reference = pictures(sd1)
    spied, calls = watched(edited(sd1, main, reference, end_percent=end, mode=mode))
    ours(spied, main)
    assert stream_rows(main, calls) == rows


def stream_rows(main: Trajectory, calls: list) -> list[int]:
    """Rows of streams at each of the schedule's noise levels. The first level's stream may carry the second's label."""
    rows, index = [0] * main.steps, 0
    for call in calls:
        if call.stream:
            rows[index] += len(call.x)
        else:
            index += 1
    return rows


@pytest.mark.parametrize(
    ("tau", "rows"),
    [
        (0.1, [3, 3, 1, 0, 0, 0, 0, 0, 0, 0]),
        (0.4, [3, 3, 3, 0, 0, 0, 0, 0, 0, 0]),
        (0.7, [3, 3, 3, 2, 2, 2, 0, 0, 0, 0]),
        (1.0, [3, 3, 3, 2, 2, 2, 2, 2, 2, 0]),
    ],
)
def test_the_released_code_drops_streams_one_by_one(sd1, tau, rows):
    main, reference = pictures(sd1, steps=RELEASED_STEPS)
    spied, calls = watched(edited(sd1, main, reference, end_percent=tau, mode="released code"))
    ours(spied, main, steps=RELEASED_STEPS)
    assert stream_rows(main, calls) == rows


@pytest.mark.parametrize(("mode", "stream_count"), [("intended", 8 * 2), ("light", 8 * 2), ("released code", 7 * 3)])
def test_the_whole_method_takes_at_most_101_rows_in_twenty_steps(sd1, mode, stream_count):
    """40 for both inversions, 40 for the guided run, the rest for streams; the background is preserved for nothing."""
    model, calls = watched(sd1)
    sigmas = UniformTimeScheduler.EXECUTE_NORMALIZED(model=model, steps=20)[0]
    main, reference = (invert(model, EXCEPTIONAL, noise(seed, 1, *SIZE), sigmas, "dpmpp_2m", 1) for seed in (50, 51))
    assert sum(len(call.x) for call in calls) == 40
    masks = {"object_mask": OBJECT, "region": REGION}
    given = {"domain": "cross-domain", "noise_seed": 3}
    no_noise, levels, latent = ComposeNoise.EXECUTE_NORMALIZED(model=model, main=main, reference=reference, **masks, **given).result
    patched = CompositeAttentionNode.EXECUTE_NORMALIZED(
        model=model, main=main, reference=reference, conditioning=EXCEPTIONAL, **masks, end_percent=0.4, mode=mode
    )[0]
    patched = BackgroundPreservationNode.EXECUTE_NORMALIZED(model=patched, main=main, region=masks["region"], end_percent=0.8, feather=0)[0]
    assert sum(len(call.x) for call in calls) == 40
    guider = make_guider(patched, TARGET, NEGATIVE, 5.0)
    SamplerCustomAdvanced.EXECUTE_NORMALIZED(no_noise, guider, GraftSampler("dpmpp_2m"), levels, latent)
    streams = [call for call in calls if call.stream]
    assert sum(len(call.x) for call in streams) == stream_count
    assert len(streams) == (7 if mode == "released code" else 8)  # one batch per step
    assert sum(len(call.x) for call in calls) == 80 + stream_count <= 101


# Failures


class Broken(Exception):
    pass


@pytest.mark.parametrize("error", [comfy.model_management.InterruptProcessingException, Broken])
@pytest.mark.parametrize("stream", [False, True], ids=["in the target", "in the streams"])
@pytest.mark.parametrize("mode", ["intended", "released code"])
def test_nothing_is_left_after_a_run_that_did_not_finish(sd1, mode, stream, error):
    main, reference = pictures(sd1)
    patched = edited(sd1, main, reference, mode=mode)
    whole, before, runs = ours(patched, main, steps=2), snapshot(patched), []
    failing = patched.clone()

    def fail(executor, x, sigma, *args, **kwargs):
        engine = args[3][RUN_KEY]
        runs.append(engine)
        if bool(engine.writing) == stream and len(runs) > 2:
            raise error
        return executor(x, sigma, *args, **kwargs)

    failing.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "test", fail)
    with pytest.raises(error):
        ours(failing, main, steps=2)
    engine = runs[0]
    assert not engine.run.taps and not engine.run.denoised and not engine.writing and not engine.active and engine.tapped_at is None
    assert snapshot(patched) == before and RUN_KEY not in failing.model_options["transformer_options"]
    assert torch.equal(ours(patched, main, steps=2), whole)


def test_a_cached_model_gives_the_same_bits_again_for_other_pictures_between(sd1):
    """Masks on grids are found anew in every run."""
    main, reference = pictures(sd1, 2, 2)
    patched = edited(sd1, main, reference, OBJECTS, REGIONS, mode="released code")
    first = ours(patched, main, 2, 2)
    ours(edited(sd1, main, reference, OBJECTS.flip(0), REGIONS.flip(0), mode="released code"), main, 2, 2)
    assert torch.equal(ours(patched, main, 2, 2), first)


# Refusals and notes

REFUSED = {
    "object masks": ({"object_mask": ONES.repeat(3, 1, 1)}, {}, r"^object_mask: it holds 3, the sampled batch 1"),
    "regions": ({"region": ONES.repeat(3, 1, 1)}, {}, r"^region: it holds 3, the sampled batch 1"),
    "main pictures": ({}, {"batch": 2}, r"^main: it holds 2 pictures, the sampled batch 1"),
    "references": ({}, {"references": 2}, r"^reference: it holds 2 pictures, the sampled batch 1"),
}


@pytest.mark.parametrize("mode", MODES)
def test_no_gradient_is_kept_of_anything(monkeypatch, mode):
    """Even where the caller asks for gradients of everything: neither of the result nor of what is kept of the streams."""
    kept, tap = [], WritePass._tap

    def watch(run: WritePass, *args) -> None:
        tap(run, *args)
        kept.extend(tensor for tensors in run.run.taps.values() for tensor in tensors)

    monkeypatch.setattr(WritePass, "_tap", watch)
    with torch.inference_mode(False), torch.enable_grad():
        with torch.no_grad():
            model = make_model("sd1")
        model.model.diffusion_model.requires_grad_(True)
        main, reference = pictures(model)
        result = ours(
            edited(model, main, reference, OBJECT.clone(), REGION.clone(), mode=mode), main, steps=1, sampler=GraftSampler("dpmpp_2m")
        )
    assert not result.requires_grad and kept and not any(tensor.requires_grad for tensor in kept)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", REFUSED)
def test_batches_that_do_not_pair_up_are_refused_by_the_inputs_name(sd1, case, mode):
    masks, batches, message = REFUSED[case]
    main, reference = pictures(sd1, **batches)
    spied, calls = watched(edited(sd1, main, reference, **masks, mode=mode))
    with pytest.raises(GraftError, match=message):
        ours(spied, main)
    assert not calls


@pytest.mark.parametrize("which", ["main", "reference"])
def test_a_picture_of_another_size_is_refused_by_its_name(sd1, which):
    given = dict(zip(("main", "reference"), pictures(sd1), strict=True))
    given[which] = random_trajectory(sd1, EXCEPTIONAL, size=(16, 16))
    spied, calls = watched(edited(sd1, **given))
    with pytest.raises(GraftError, match=rf"^{which}: its latents are \(4, 16, 16\).*\(4, 8, 16\)"):
        sample_from(spied, noise(6, 1, *SIZE), schedule(sd1, STEPS), TARGET, NEGATIVE)
    assert not calls


@pytest.mark.parametrize(("kind", "side", "tokens"), [("sd1", 5, "16 x 8"), ("sdxl", 8, "8 x 4")])
@pytest.mark.parametrize("mode", MODES)
def test_an_object_that_no_grid_holds_is_refused(model, side, tokens, mode):
    """SDXL's finest self-attention is on half of the latent's grid: a cell is a quarter of a token there."""
    speck, whole = box(32, 32 + side, 64, 64 + side), box(32, 48, 64, 80)
    main, reference = pictures(model, references=2)
    spied, calls = watched(edited(model, main, reference, torch.cat([whole, speck]), mode=mode))
    with pytest.raises(GraftError, match=rf"^object_mask: what it shows is too small for the {tokens} cells"):
        sample_from(spied, start_of(main, 2), main.sigmas[:2], TARGET, NEGATIVE)
    assert not calls
    main, reference = pictures(model)
    sample_from(edited(model, main, reference, whole, REGION, mode=mode), start_of(main), main.sigmas[:2], TARGET, NEGATIVE)


def test_one_reference_cannot_see_two_objects_of_its_own_in_the_released_cross_pass(sd1):
    """What the cross pass shows depends on the mask, so that a mask for each picture needs a reference for each."""
    main, reference = pictures(sd1, 2, 1)
    spied, calls = watched(edited(sd1, main, reference, OBJECTS, REGIONS, mode="released code"))
    with pytest.raises(GraftError, match=r"^reference: .*2"):
        ours(spied, main, 2)
    assert not calls


@pytest.mark.parametrize("mode", ["intended", "light"])
def test_a_run_that_starts_after_the_window_says_that_nothing_is_composed(sd1, mode, caplog):
    main, reference = pictures(sd1)
    late = sample_from(
        edited(sd1, main, reference, end_percent=0.2, mode=mode), main.latents[2], main.sigmas[2:], TARGET, NEGATIVE, cfg=CFG
    )
    assert torch.equal(late, sample_from(sd1, main.latents[2], main.sigmas[2:], TARGET, NEGATIVE, cfg=CFG))
    (noted,) = (entry.getMessage() for entry in caplog.records if entry.name == "graft")
    assert noted.startswith("Graft: CompositeAttention does nothing in this run")
    assert f"the run those from {float(main.sigmas[2]):.4g} to" in noted
    caplog.clear()
    sample_from(edited(sd1, main, reference, end_percent=0.0, mode=mode), main.latents[2], main.sigmas[2:], TARGET, NEGATIVE, cfg=CFG)
    assert not [entry for entry in caplog.records if entry.name == "graft"]


def test_the_prompt_is_named_as_the_input_it_came_through(sd1, caplog):
    main, reference = pictures(sd1)
    inputs = {"object_mask": OBJECT, "region": REGION, "end_percent": 0.4, "mode": "intended"}
    with pytest.raises(GraftError, match=r"^conditioning: a stream needs one prompt, got 2"):
        CompositeAttentionNode.EXECUTE_NORMALIZED(model=sd1, main=main, reference=reference, conditioning=[*TARGET, *NEGATIVE], **inputs)
    other = CompositeAttentionNode.EXECUTE_NORMALIZED(model=sd1, main=main, reference=reference, conditioning=prompt(5), **inputs)[0]
    ours(other, main)
    noted = [entry.getMessage() for entry in caplog.records if entry.name == "graft"]
    assert noted == [
        f"Graft: conditioning is not the prompt the {name} was made with; the {name} is replayed under another prompt"
        for name in ("main", "reference")
    ]


def test_the_edit_touches_every_self_attention(model):
    (edit,) = plan_of(edited(model, *pictures(model))).edits
    assert edit.layers == all_layers(require_unet(model))
