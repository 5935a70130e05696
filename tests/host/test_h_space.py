"""InjectFusion in the real host against its loop written out, with two whole predictions per step and nothing of Graft's engine."""

import logging
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import pairwise

import comfy.model_management
import comfy.samplers
import pytest
import torch
from comfy.model_management import load_models_gpu
from comfy.patcher_extension import WrappersMP
from comfy.sample import prepare_noise
from comfy_extras.nodes_freelunch import FreeU_V2
from comfy_extras.nodes_hypertile import HyperTile
from comfy_extras.nodes_tomesd import TomePatchModel
from graft.host.engine.plan import RUN_KEY
from graft.host.errors import GraftError
from graft.host.samplers.asymmetric_sampler import AsymmetricSampler, Intervals
from graft.host.samplers.sampling import GraftSampler, record
from graft.hspace.asymmetric_step import boosted_step, per_picture_noise
from graft.hspace.calibration import regularised
from graft.hspace.schedules import adapted_gamma, gammas, pixel_sigma
from graft.hspace.slerp import mix
from graft.inversion.trajectory import Trajectory
from graft.nodes.h_space import NODES, AsymmetricSamplerNode, MixHSpaceNode, RecordContent
from test_stream_batches import Push
from tiny_models import (
    GivenNoise,
    empty_like,
    make_guider,
    make_model,
    noise,
    prompt,
    random_trajectory,
    sample,
    schedule,
    snapshot,
    watched,
)
from torch import Tensor
from written_out import guided, require_close, step

STEPS, CFG, GAMMA = 5, 3.0, 0.5
CONTENT, TARGET, NEGATIVE = prompt(1), prompt(2), prompt(3)
INJECTED = 3
"""Of five ddim_uniform steps of SD those at timestep 400 or above."""


def content(model, **options):
    return random_trajectory(model, CONTENT, seed=1, steps=STEPS, **options)


def mixed(model, trajectory=None, gamma: float = GAMMA, adapt: bool = False, course: str = "constant", mixing: str = "slerp", **inputs):
    """The node itself, as a graph runs it."""
    trajectory = content(model) if trajectory is None else trajectory
    preset = {"preset": "custom", "gamma": gamma}
    inputs = {"preset": preset, "adapt_to_steps": adapt, "course": course, "mixing": mixing, **inputs}
    return MixHSpaceNode.EXECUTE_NORMALIZED(model=model, content=trajectory, content_conditioning=CONTENT, **inputs)[0]


def asymmetric(omega: float = 0.0, boost: int = 0, edit: int = 400, regularise: bool = True, **inputs) -> AsymmetricSampler:
    preset = {"preset": "custom", "edit_timestep": edit, "boost_timestep": boost, "omega": omega, "regularise": regularise}
    inputs = {"timesteps": "the model's", "injections": "grid", "boosts": "every step", **inputs}
    return AsymmetricSamplerNode.EXECUTE_NORMALIZED(preset=preset, **inputs)[0]


def ours(model, sampler: AsymmetricSampler | None = None, **options) -> Tensor:
    return sample(model, TARGET, NEGATIVE, cfg=CFG, sampler=sampler or asymmetric(), steps=STEPS, **options)


# The method


def predicted(model, x: Tensor, sigma: Tensor, conditioning: list, change=None) -> Tensor:
    """The network's prediction for one prompt; `change` is shown its bottleneck."""

    def patch(data: dict) -> dict:
        return data if change is None else {**data, "h": change(data["h"])}

    states, options = conditioning[0]
    real, extra = model.model, {"c_crossattn": states}
    if real.adm_channels:
        extra["y"] = real.encode_adm(pooled_output=options["pooled_output"], width=8 * x.shape[-1], height=8 * x.shape[-2])
    extra = {name: part.expand(len(x), *part.shape[1:]) for name, part in extra.items()}
    return real.apply_model(x, sigma.expand(len(x)), transformer_options={"patches": {"middle_block_after_patch": [patch]}}, **extra)


def bottleneck(model, x: Tensor, sigma: Tensor, conditioning: list) -> Tensor:
    kept = []
    predicted(model, x, sigma, conditioning, lambda h: kept.append(h.clone()) or h)
    return kept[0]


def inject_fusion(
    model, trajectory, omega: float = 0.0, boost: int = 0, gamma: float = GAMMA, start=None, sigmas=None, dt_lambda: float = 1.0
) -> Tensor:
    """Algorithm 2 of the paper in sampler space."""
    load_models_gpu([model])  # the network may still carry the LoRA that another clone was sampled with
    sampling = model.model.model_sampling
    sigmas = schedule(model, STEPS) if sigmas is None else sigmas
    edit, boosting, early = (float(sampling.sigma(torch.tensor(t))) for t in (400, boost, 950))
    x = (noise(0) if start is None else start) * sigmas[0]
    generators = [torch.Generator().manual_seed(8 + picture) for picture in range(len(x))]
    for sigma, sigma_next in pairwise(sigmas):
        plain = guided(*(predicted(model, x, sigma, prompt) for prompt in (NEGATIVE, TARGET)), CFG)
        if sigma >= edit:
            injected = bottleneck(model, trajectory.at(float(sigma)), sigma, CONTENT)
            edited = predicted(model, x, sigma, TARGET, partial(mix, content=injected, gamma=gamma))
            edited = guided(predicted(model, x, sigma, NEGATIVE), edited, CFG)
            if omega:
                x = x + (regularised(edited, plain) - plain) - omega * (edited - plain)
                plain = edited = guided(*(predicted(model, x, sigma, prompt) for prompt in (NEGATIVE, TARGET)), CFG)
            direction = dt_lambda if sigma >= early and not omega else 1.0
            x = edited + sigma_next * direction * (x - plain) / sigma
        elif boost and sigma <= boosting:
            x = boosted_step(x, plain, per_picture_noise(x, generators), sigma, sigma_next)
        else:
            x = step(x, plain, sigma, sigma_next)
    return model.model.process_latent_out(x)


def plainly(model, **options) -> Tensor:
    return sample(model, TARGET, NEGATIVE, cfg=CFG, sampler=GraftSampler("ddim"), steps=STEPS, **options)


@pytest.mark.parametrize("omega", [0.0, 0.3])
def test_mixing_is_the_papers_algorithm_with_whole_predictions(model, omega):
    """eps- and v-prediction; only rows of the positive prompt are edited."""
    expected = inject_fusion(model, content(model), omega)
    require_close(ours(mixed(model), asymmetric(omega)), expected, plainly(model))


def test_boosting_adds_the_noise_of_ddim_with_eta_1_in_the_last_steps(sd1):
    expected = inject_fusion(sd1, content(sd1), boost=300)
    require_close(ours(mixed(sd1), asymmetric(boost=300)), expected, ours(mixed(sd1)))


EARLY = (990, 978, 958, 937, 500, 100)
"""Timesteps of a run, three of which are at 950 or above."""


def levels_at(model, timesteps) -> Tensor:
    sampling = model.get_model_object("model_sampling")
    return torch.stack([*(sampling.sigma(torch.tensor(float(timestep))) for timestep in timesteps), torch.tensor(0.0)])


def content_at(model, sigmas: Tensor) -> Trajectory:
    latents = torch.stack([noise(100 + level) * (1 + sigma**2).sqrt() for level, sigma in enumerate(sigmas)])
    return replace(content(model), sigmas=sigmas, latents=latents)


@pytest.mark.parametrize("kind", ["sd1", "sd2v"])
def test_the_direction_is_scaled_at_950_and_above(model):
    """dt_lambda of the released scripts, made larger to be seen; where there is calibration it does nothing."""
    sigmas = levels_at(model, EARLY)
    trajectory = content_at(model, sigmas)

    def run(omega: float, direction: float) -> Tensor:
        sampler = asymmetric(omega, early_direction=direction)
        return sample(mixed(model, trajectory), TARGET, NEGATIVE, cfg=CFG, sampler=sampler, sigmas=sigmas)

    require_close(run(0.0, 0.9), inject_fusion(model, trajectory, sigmas=sigmas, dt_lambda=0.9), run(0.0, 1.0))
    assert torch.equal(run(0.3, 0.9), run(0.3, 1.0))


@pytest.mark.parametrize("edit", [400, 970])
def test_the_direction_is_scaled_in_steps_that_inject_nothing_too(sd1, edit):
    """The scaled steps are those of the grid, whatever is injected in them."""
    sigmas = levels_at(sd1, EARLY)
    trajectory = content_at(sd1, sigmas)
    sampler = asymmetric(edit=edit, early_direction=0.9)
    ours = sample(mixed(sd1, trajectory, gamma=1e-6), TARGET, NEGATIVE, cfg=CFG, sampler=sampler, sigmas=sigmas)
    theirs = inject_fusion(sd1, trajectory, gamma=0.0, sigmas=sigmas, dt_lambda=0.9)
    require_close(ours, theirs, sample(sd1, TARGET, NEGATIVE, cfg=CFG, sampler=GraftSampler("ddim"), sigmas=sigmas))


def test_in_long_runs_only_steps_of_the_grid_are_scaled(sd1):
    """Of a hundred steps five are at 950 or above and three of them on the grid."""
    sampling, sigmas = sd1.get_model_object("model_sampling"), levels_at(sd1, torch.linspace(999, 0, 100).tolist())
    early = Intervals().early(sampling, sigmas)
    assert early.tolist()[:6] == [True, False, True, False, True, False] and int(early.sum()) == 3
    assert int(Intervals(injections="every step").early(sampling, sigmas).sum()) == 5


def test_noise_of_boosting_is_not_the_noise_of_the_start(sd1):
    drawn = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "graft.host.samplers.asymmetric_sampler.boosted_step",
            lambda x, denoised, fresh, *levels: drawn.append(fresh) or boosted_step(x, denoised, fresh, *levels),
        )
        ours(mixed(sd1), asymmetric(boost=300))
    first = drawn[0]
    assert not torch.equal(first, prepare_noise(torch.zeros(first.shape), 7))
    assert float(first.std()) == pytest.approx(1, abs=0.1)


def test_gamma_0_is_the_node_absent_and_the_sampler_plain_ddim(model):
    assert mixed(model, gamma=0.0) is model
    assert torch.equal(ours(model, asymmetric(0.3)), plainly(model))


def test_omega_1_without_regularisation_is_plain_ddim(sd1):
    require_close(ours(mixed(sd1), asymmetric(1.0, regularise=False)), plainly(sd1), ours(mixed(sd1)))


def test_content_that_is_the_original_itself_changes_nothing(sd1):
    """Recorded in the original's own run, at guidance 1: the angle is zero, where the released code divides by it."""
    guider = make_guider(sd1, TARGET, cfg=1.0)
    sigmas = schedule(sd1, STEPS)
    _, own = record(guider, GivenNoise(noise(0)), empty_like(noise(0)), GraftSampler("ddim"), sigmas)
    inputs = {"preset": {"preset": "custom", "gamma": GAMMA}, "adapt_to_steps": False, "course": "constant", "mixing": "slerp"}
    edited = MixHSpaceNode.EXECUTE_NORMALIZED(model=sd1, content=own, content_conditioning=TARGET, **inputs)[0]
    for omega in (0.0, 0.3):
        result = sample(edited, TARGET, cfg=1.0, sampler=asymmetric(omega), sigmas=sigmas)
        require_close(result, sample(sd1, TARGET, cfg=1.0, sampler=GraftSampler("ddim"), sigmas=sigmas))


def test_the_contents_h_is_what_its_own_run_computed(model):
    """Recorded in a guided run, by the rows of its positive prompt."""
    computed, sigmas = {}, schedule(model, STEPS)

    def look(data: dict) -> dict:
        options = data["transformer_options"]
        rows = data["h"].chunk(len(options["cond_or_uncond"]))
        computed[float(options["sigmas"][0])] = rows[options["cond_or_uncond"].index(0)].clone()
        return data

    looked_at = model.clone()
    looked_at.set_model_patch(look, "middle_block_after_patch")
    guider = make_guider(looked_at, CONTENT, NEGATIVE, CFG)
    _, trajectory = record(guider, GivenNoise(noise(5)), empty_like(noise(5)), GraftSampler("ddim"), sigmas)
    edited, tapped = mixed(model, trajectory), {}

    def keep(executor, *args):
        result = executor(*args)
        run = args[-1]["transformer_options"][RUN_KEY].run
        tapped.update((run.sigma, h) for (tap, *_), (h, *_) in run.taps.items() if tap == "h")
        return result

    edited.add_wrapper_with_key(WrappersMP.CALC_COND_BATCH, "test", keep)
    ours(edited)
    assert list(tapped) == sigmas[:INJECTED].tolist()
    for sigma, h in tapped.items():
        torch.testing.assert_close(h, computed[sigma], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [(16, 16), (8, 16)])
def test_content_recorded_with_its_h_costs_no_row_and_is_the_same(model, size):
    start, sigmas, inputs = (
        noise(5, 1, *size),
        schedule(model, STEPS),
        {"noise": GivenNoise(noise(5, 1, *size)), "sampler": GraftSampler("ddim")},
    )
    guider = make_guider(model, CONTENT, NEGATIVE, CFG)
    before = guider.model_options
    kept, latent = RecordContent.EXECUTE_NORMALIZED(guider=guider, sigmas=sigmas, latent_image=empty_like(start), **inputs).args
    plain_latent, replayed = record(guider, inputs["noise"], empty_like(start), inputs["sampler"], sigmas)
    assert torch.equal(latent["samples"], plain_latent["samples"]) and guider.model_options is before
    spied, calls = watched(mixed(model, kept))
    result = ours(spied, start=noise(0, 1, *size))
    assert [len(call.x) for call in calls] == [3] * INJECTED + [2] * (STEPS - INJECTED) and not any(call.stream for call in calls)
    require_close(result, ours(mixed(model, replayed), start=noise(0, 1, *size)), plainly(model, start=noise(0, 1, *size)))


def test_recorded_content_survives_a_file_and_is_replayed_at_other_levels(sd1, tmp_path):
    guider, sigmas = make_guider(sd1, CONTENT, NEGATIVE, CFG), schedule(sd1, STEPS)
    _, made = record(guider, GivenNoise(noise(5)), empty_like(noise(5)), GraftSampler("ddim"), sigmas, bottlenecks=True)
    made.save(tmp_path / "content.safetensors")
    loaded = type(made).load(tmp_path / "content.safetensors")
    assert torch.equal(loaded.bottlenecks, made.bottlenecks) and len(made.bottlenecks) == STEPS
    assert loaded.bottleneck_at(0.0) is None and loaded.bottleneck_at(float(sigmas[0]) * 0.9) is None
    spied, calls = watched(mixed(sd1, made))
    sample(spied, TARGET, NEGATIVE, cfg=CFG, sampler=asymmetric(), sigmas=0.95 * sigmas)
    assert any(call.stream for call in calls)


@pytest.mark.parametrize(
    ("positive", "message"),
    [
        ([*CONTENT, *TARGET], r"^guider: content needs one prompt, got 2 combined"),
        ([[CONTENT[0][0], {**CONTENT[0][1], "start_percent": 0.5}]], r"^guider: content runs at every noise level"),
    ],
)
def test_content_of_several_prompts_or_a_part_of_the_run_is_refused(sd1, positive, message):
    guider = make_guider(sd1, positive, NEGATIVE)
    with pytest.raises(GraftError, match=message):
        record(guider, GivenNoise(noise(5)), empty_like(noise(5)), GraftSampler("ddim"), schedule(sd1, STEPS), bottlenecks=True)


@pytest.mark.parametrize("course", ["decreasing", "increasing"])
def test_gamma_follows_its_course_and_the_number_of_injections(sd1, course, monkeypatch):
    used = []
    monkeypatch.setattr("graft.host.edits.h_space.mix", lambda h, content, gamma, *_: used.append(gamma) or mix(h, content, gamma))
    ours(mixed(sd1, gamma=0.3, adapt=True, course=course))
    assert used == gammas(adapted_gamma(0.3, INJECTED), INJECTED, course)


# Masks and batches


@pytest.mark.usefixtures("faint_masks")
def test_a_full_mask_is_no_mask_and_one_of_nothing_plain_ddim(sd1):
    ones = torch.ones(1, 128, 128)
    whole = ours(mixed(sd1))
    require_close(ours(mixed(sd1, mask=ones)), whole, plainly(sd1))
    require_close(ours(mixed(sd1, mask=1e-30 * ones)), plainly(sd1), whole)


def test_a_soft_mask_of_any_size_is_averaged_over_cells(sd1):
    shown, start = [], noise(0, 1, 24, 16)
    mask = torch.linspace(0, 1, 192)[None, :, None].expand(1, 192, 128)
    edited = mixed(sd1, content(sd1, size=(24, 16)), mask=mask)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("graft.host.edits.h_space.mix", lambda h, content, gamma, mixing, mask: shown.append(mask) or h)
        ours(edited, start=start)
    expected = mask.unflatten(1, (3, 64)).unflatten(3, (2, 64)).mean(dim=(2, 4))[:, None]
    torch.testing.assert_close(shown[0], expected, rtol=1e-4, atol=1e-4)


def test_every_picture_of_a_batch_has_its_own_content_mask_and_noise(sd1):
    """Alone with the seed that its place in the batch gives it."""
    both, start = content(sd1, batch=2), noise(0, 2)
    masks = torch.stack([torch.ones(128, 128), torch.linspace(0, 1, 128).expand(128, 128)])
    boosted = asymmetric(0.3, boost=300)
    together = ours(mixed(sd1, both, mask=masks), boosted, start=start)
    for row in range(2):
        own = type(both)(both.latents[:, row : row + 1], both.sigmas, both.solver, both.model, both.conditioning)
        alone = ours(mixed(sd1, own, mask=masks[row : row + 1]), boosted, start=start[row : row + 1], seed=7 + row)
        require_close(together[row : row + 1], alone)


def test_one_content_serves_a_whole_batch(sd1):
    together = ours(mixed(sd1), start=noise(0).expand(2, -1, -1, -1))
    require_close(together, ours(mixed(sd1)).expand(2, -1, -1, -1), plainly(sd1))


# When


@pytest.mark.parametrize(("steps", "count"), [(10, 6), (20, 12), (30, 18), (40, 24), (50, 30), (100, 30), (500, 30), (1000, 30)])
def test_steps_of_the_hosts_schedule_at_which_content_is_injected(sd1, steps, count):
    sampling = sd1.model.model_sampling
    injected = Intervals(400, 200).injected(sampling, schedule(sd1, steps))
    assert int(injected.sum()) == count
    if steps == 100:
        assert int(Intervals(400, 200, injections="every step").injected(sampling, schedule(sd1, steps)).sum()) == 60


def test_the_papers_timesteps_are_noise_levels(sd1):
    """Its 400 is Stable Diffusion's 568, its 200 Stable Diffusion's 261."""
    sampling, sigmas = sd1.model.model_sampling, schedule(sd1, 50)
    injected = Intervals(400, 200, "the paper's").injected(sampling, sigmas)
    boosted = Intervals(400, 200, "the paper's").boosted(sampling, sigmas)
    assert torch.equal(injected, sigmas[:-1] >= pixel_sigma(400)) and torch.equal(boosted, sigmas[:-1] <= pixel_sigma(200))
    for timestep, own in ((400, 568), (200, 261)):
        assert float(sampling.timestep(torch.tensor(pixel_sigma(timestep)))) == pytest.approx(own, abs=1)


def test_boosting_on_the_grid_only_is_rare_in_long_runs(sd1):
    sampling, sigmas = sd1.model.model_sampling, schedule(sd1, 500)
    assert int(Intervals(400, 200, boosts="grid").boosted(sampling, sigmas).sum()) < 12
    assert int(Intervals(400, 200).boosted(sampling, sigmas).sum()) >= 100
    assert not Intervals(400, 0).boosted(sampling, sigmas).any()


# The shared decoder


@contextmanager
def counting(model):
    """How many rows the first block of the encoder and of the decoder compute."""
    network, rows = model.model.diffusion_model, {"encoder": 0, "decoder": 0}

    def counter(name: str):
        def count(_, inputs) -> None:
            rows[name] += len(inputs[0])

        return count

    parts = {"encoder": network.input_blocks[0][0], "decoder": network.output_blocks[0][0]}
    hooks = [part.register_forward_pre_hook(counter(name)) for name, part in parts.items()]
    try:
        yield rows
    finally:
        for hook in hooks:
            hook.remove()


@pytest.mark.parametrize(("omega", "encoder", "decoder"), [(0.0, 2, 3), (0.3, 4, 5)])
def test_the_encoder_runs_once_for_plain_and_edited_rows(sd1, omega, encoder, decoder):
    """Per injected step, with one row more for content that is replayed."""
    with counting(sd1) as rows:
        ours(mixed(sd1), asymmetric(omega))
    others = 2 * (STEPS - INJECTED)
    assert rows == {"encoder": INJECTED * (encoder + 1) + others, "decoder": INJECTED * (decoder + 1) + others}


def test_fifty_guided_steps_cost_at_most_121_evaluations(sd1):
    """Of recorded content without calibration. 0.675 of SD1.5's multiplications are in its decoder."""
    sigmas = schedule(sd1, 50)
    _, kept = record(make_guider(sd1, CONTENT), GivenNoise(noise(5)), empty_like(noise(5)), GraftSampler("ddim"), sigmas, bottlenecks=True)
    with counting(sd1) as rows:
        sample(mixed(sd1, kept), TARGET, NEGATIVE, cfg=CFG, sampler=asymmetric(), sigmas=sigmas)
    assert rows == {"encoder": 100, "decoder": 130}
    assert 0.325 * rows["encoder"] + 0.675 * rows["decoder"] < 121


def apart(model) -> object:
    """A clone in which another node works on the network as a whole, so that no decoder is shared."""
    clone = model.clone()
    clone.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "test", lambda executor, *args, **kwargs: executor(*args, **kwargs))
    return clone


def require_shared_equals_whole(model, caplog, **options) -> None:
    run = partial(sample, cfg=CFG, sampler=asymmetric(), steps=STEPS, **options)
    with caplog.at_level(logging.WARNING, logger="graft"), counting(model) as rows:
        shared = run(model)
    assert rows["decoder"] == rows["encoder"] + INJECTED and "takes longer" not in caplog.text
    with caplog.at_level(logging.WARNING, logger="graft"):
        whole = run(apart(model))
    assert "edited rows are computed as a whole" in caplog.text
    torch.testing.assert_close(shared, whole, rtol=1e-5, atol=1e-5 * float(whole.abs().max()))


def test_a_shared_decoder_is_two_whole_evaluations(model, caplog):
    require_shared_equals_whole(mixed(model), caplog, positive=TARGET, negative=NEGATIVE)


def test_a_shared_decoder_with_freeu_is_two_whole_evaluations(caplog):
    """FreeU changes h in place and replaces skips, in the decoder's first blocks."""
    model = make_model("sd1", channel_mult=[1, 2, 4, 4])
    patched = FreeU_V2.execute(model, 1.3, 1.4, 0.9, 0.2)[0]
    require_shared_equals_whole(mixed(patched), caplog, positive=TARGET, negative=NEGATIVE)
    assert not torch.allclose(ours(mixed(patched)), ours(mixed(model)), rtol=0.1)


def test_a_shared_decoder_with_hypertile_is_two_whole_evaluations(sd1, caplog):
    """It asks in every layer how large the latents are."""
    patched = HyperTile.execute(sd1, 32, 2, 0, False)[0]
    require_shared_equals_whole(mixed(patched), caplog, positive=TARGET, negative=NEGATIVE)
    assert not torch.allclose(ours(mixed(patched)), ours(mixed(sd1)), rtol=0.1)


def test_a_shared_decoder_with_token_merging_is_two_whole_evaluations(sd1, caplog, monkeypatch):
    """It draws the tokens it keeps anew in every layer: here always the same ones."""
    patched = TomePatchModel.execute(sd1, 0.3)[0]
    assert ours(mixed(patched)).isfinite().all()
    monkeypatch.setattr(torch, "randint", lambda _, size, **options: torch.zeros(size, dtype=torch.int64))
    require_shared_equals_whole(mixed(patched), caplog, positive=TARGET, negative=NEGATIVE)
    assert not torch.allclose(ours(mixed(patched)), ours(mixed(sd1)), rtol=0.1)


def test_patches_of_the_second_decoder_are_told_its_rows_and_what_the_encoder_left(sd1):
    """As many as they are shown, what another node's patch wrote down at the first block, and the place among the layers."""
    edited, told, places = mixed(sd1), set(), {}

    def write(h: Tensor, options: dict) -> Tensor:
        options["written"] = True
        return h

    def read(h: Tensor, skip: Tensor, options: dict) -> tuple[Tensor, Tensor]:
        told.add((len(h), len(options["cond_or_uncond"]), len(options["uuids"]), tuple(options["original_shape"]), options["written"]))
        places.setdefault(options["block"], set()).add(options["transformer_index"])
        return h, skip

    edited.set_model_input_block_patch(write)
    edited.set_model_output_block_patch(read)
    ours(edited)
    assert told == {(rows, rows, rows, (rows, 4, 16, 16), True) for rows in (1, 2)}
    assert len(places) == 12 and all(len(indices) == 1 for indices in places.values())


class PushSkips(Push):
    """A ControlNet that adds to the bottleneck and to every skip."""

    def get_control(self, x_noisy, *args):
        part = torch.full((len(x_noisy), 1, 1, 1), self.number)
        return {"input": [], "middle": [part], "output": [part * number / 10 for number in range(12)]}

    def copy(self):
        copied = PushSkips(self.number)
        self.copy_to(copied)
        return copied


def test_a_shared_decoder_with_a_controlnet_is_two_whole_evaluations(sd1, caplog):
    """What it adds is added in place and taken off a list, once."""
    positive = [[TARGET[0][0], {**TARGET[0][1], "control": PushSkips(1.0), "control_apply_to_uncond": False}]]
    require_shared_equals_whole(mixed(sd1), caplog, positive=positive, negative=NEGATIVE)
    run = partial(sample, mixed(sd1), negative=NEGATIVE, cfg=CFG, sampler=asymmetric(), steps=STEPS)
    assert not torch.allclose(run(positive=positive), run(positive=TARGET), rtol=0.1)


def test_a_shared_decoder_with_patches_after_the_middle_block_is_two_whole_evaluations(sd1, caplog):
    edited = mixed(sd1)
    edited.set_model_patch(lambda data: {**data, "h": data["h"] * 1.1}, "middle_block_after_patch")
    edited.set_model_output_block_patch(lambda h, skip, options: (h, skip.mul_(0.9)))
    require_shared_equals_whole(edited, caplog, positive=TARGET, negative=NEGATIVE)


def test_rows_that_do_not_fit_into_one_call_are_computed_apart(sd1, monkeypatch, caplog):
    whole = ours(mixed(sd1))
    monkeypatch.setattr(type(sd1), "get_free_memory", lambda *_: 1)
    with caplog.at_level(logging.WARNING, logger="graft"):
        require_close(ours(mixed(sd1)), whole, plainly(sd1))
    assert "do not fit into memory at once" in caplog.text


def test_several_positive_prompts_are_all_edited(sd1):
    """Two of the same are one."""
    twice = [*TARGET, *[[states.clone(), dict(options)] for states, options in TARGET]]
    require_close(sample(mixed(sd1), twice, NEGATIVE, cfg=CFG, sampler=asymmetric(), steps=STEPS), ours(mixed(sd1)), plainly(sd1))


def test_guidance_of_any_kind_is_applied_to_either_prediction(sd1):
    """A guidance that is not linear, and a node that asks the model once more in every prediction."""
    seen = []

    def rescaled(arguments: dict) -> Tensor:
        x, denoised = arguments["input"], arguments["uncond_denoised"] + CFG * (arguments["cond_denoised"] - arguments["uncond_denoised"])
        return x - denoised / denoised.std() * arguments["cond_denoised"].std()

    def ask_again(arguments: dict) -> Tensor:
        again = comfy.samplers.calc_cond_batch(
            arguments["model"], [arguments["cond"]], arguments["input"], arguments["sigma"], arguments["model_options"]
        )[0]
        seen.append((again, arguments["cond_denoised"]))
        return arguments["denoised"] + 0.5 * (arguments["cond_denoised"] - again)

    patched = sd1.clone()
    patched.set_model_sampler_cfg_function(rescaled)
    patched.set_model_sampler_post_cfg_function(ask_again)
    ours(mixed(patched))
    assert len(seen) == STEPS + INJECTED
    for again, conditional in seen:
        torch.testing.assert_close(again, conditional, rtol=1e-4, atol=1e-4 * float(conditional.abs().max()))
    assert not torch.allclose(seen[0][0], seen[1][0], rtol=1e-2)


# Refusals


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m", GraftSampler("ddim")], ids=["euler", "dpmpp_2m", "graft"])
def test_other_samplers_are_refused_before_the_first_call(sd1, sampler):
    spied, calls = watched(mixed(sd1))
    with pytest.raises(GraftError, match=r"^sampler: MixHSpace needs two predictions per step.*connect Asymmetric Sampler"):
        sample(spied, TARGET, NEGATIVE, sampler=sampler)
    assert not calls


def test_a_run_that_injects_nowhere_is_refused_before_the_first_call(sd1):
    spied, calls = watched(mixed(sd1))
    with pytest.raises(GraftError, match=r"^sigmas: none of the 2 noise levels.*edit_timestep"):
        sample(spied, TARGET, NEGATIVE, sampler=asymmetric(), sigmas=schedule(sd1, STEPS)[-3:])
    assert not calls


@pytest.mark.parametrize(
    ("options", "inputs", "message"),
    [
        ({"size": (8, 16)}, {}, r"^content: its latents are \(4, 8, 16\)"),
        ({"batch": 2}, {}, r"^content: it holds 2 pictures, the sampled batch 1"),
        ({}, {"mask": torch.ones(2, 128, 128)}, r"^mask: it holds 2, the sampled batch 1"),
    ],
)
def test_what_does_not_fit_is_refused_by_the_inputs_name_before_the_first_call(sd1, options, inputs, message):
    spied, calls = watched(mixed(sd1, content(sd1, **options), **inputs))
    with pytest.raises(GraftError, match=message):
        ours(spied)
    assert not calls


@pytest.mark.parametrize(("edit", "boost"), [(200, 400), (400, 400)])
def test_intervals_that_overlap_are_refused(edit, boost):
    with pytest.raises(GraftError, match=rf"^edit_timestep, boost_timestep: {edit} and {boost}"):
        asymmetric(edit=edit, boost=boost)


# Once and again


def test_the_same_graph_gives_the_same_bits_and_leaves_nothing(sd1):
    edited, sampler = mixed(sd1), asymmetric(0.3, boost=300)
    before = snapshot(edited)
    assert torch.equal(ours(edited, sampler), ours(edited, sampler))
    assert snapshot(edited) == before


def test_an_interrupt_between_the_two_predictions_leaves_the_model_usable(sd1):
    edited, calls = mixed(sd1), []
    whole, before, failing = ours(edited), snapshot(edited), edited.clone()

    def fail(executor, *args, **kwargs):
        calls.append(args)
        if len(calls) == 4:
            raise comfy.model_management.InterruptProcessingException
        return executor(*args, **kwargs)

    failing.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, "test", fail)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        ours(failing)
    assert snapshot(edited) == before and RUN_KEY not in failing.model_options["transformer_options"]
    assert torch.equal(ours(edited), whole)


@pytest.mark.parametrize(
    ("preset", "omega", "boost"), [("paper", 0.3, 200), ("released", 0.0, 200), ("released, artistic original", 0.0, 0)]
)
def test_presets_are_the_papers_and_the_released_codes(preset, omega, boost):
    options = {"timesteps": "the model's", "injections": "grid", "boosts": "every step"}
    sampler = AsymmetricSamplerNode.EXECUTE_NORMALIZED(preset={"preset": preset}, **options)[0]
    assert sampler.omega == omega and sampler.regularise and sampler.intervals == Intervals(400, boost)


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.define_schema().node_id)
def test_every_input_and_output_says_what_it_is(node):
    schema = node.define_schema()
    assert all(part.tooltip for part in (*schema.inputs, *schema.outputs))
