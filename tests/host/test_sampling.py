"""Graft's sampler against the host's own samplers, step operators, and recordings of what a model was shown."""

from dataclasses import dataclass, field
from itertools import pairwise

import comfy.model_management
import comfy.samplers
import pytest
import torch
from graft.host.engine.plan import Plan, RunningEdit
from graft.host.engine.run import carry_out
from graft.host.errors import GraftError
from graft.host.samplers.sampling import GraftSampler, invert, record
from graft.inversion.solvers import Step
from graft.nodes.sampling import GraftSamplerNode
from tiny_models import GivenNoise, empty_like, make_guider, noise, prompt, sample, schedule, snapshot, watched

SOURCE, TARGET, NEGATIVE = prompt(1), prompt(2), prompt(3)
EMPTY = torch.zeros(1, 4, 16, 16)

AT_LEVELS = ("ddim", "dpmpp_2m")
"""Solvers that ask at the schedule's own levels; the midpoint asks between them."""


@pytest.mark.parametrize(("solver", "core"), [("DDIM", "euler"), ("DPM-Solver++ 2M", "dpmpp_2m")])
@pytest.mark.parametrize("scheduler", ["ddim_uniform", "karras"])
def test_graft_sampler_is_the_hosts_sampler_of_that_solver(model, solver, core, scheduler):
    sigmas = schedule(model, 6, scheduler)
    ours = sample(model, TARGET, NEGATIVE, cfg=2.0, sampler=GraftSamplerNode.EXECUTE_NORMALIZED(solver=solver)[0], sigmas=sigmas)
    theirs = sample(model, TARGET, NEGATIVE, cfg=2.0, sampler=core, sigmas=sigmas)
    assert float((ours - theirs).abs().max()) < 1e-3 * float(theirs.abs().max())


@pytest.mark.parametrize("solver", AT_LEVELS)
def test_progress_and_preview_are_reported_once_per_step(sd1, solver):
    reported = []
    sigmas = schedule(sd1, 4)
    spied, calls = watched(sd1)
    sample(spied, TARGET, cfg=1.0, sampler=GraftSampler(solver), sigmas=sigmas, callback=lambda *report: reported.append(report))
    assert [(step, total) for step, _, _, total in reported] == [(0, 4), (1, 4), (2, 4), (3, 4)]
    for (_, denoised, x, _), call in zip(reported, calls, strict=True):
        assert torch.equal(x, call.x) and torch.equal(denoised, call.denoised)


# Step operators


@dataclass(frozen=True, eq=False)
class Halve:
    """Halves the latent and notes what it was given."""

    hooks = frozenset({"step"})

    name: str
    log: list = field(default_factory=list)

    def begin(self, run) -> RunningEdit:
        halve = RunningEdit()
        halve.after_step = self.after_step
        return halve

    def after_step(self, x, step: Step):
        self.log.append((self.name, step, x.clone()))
        return x / 2


def operated(model, *operators) -> object:
    return carry_out(model, Plan(operators))


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m"])
def test_step_operators_refuse_a_stock_sampler_before_the_first_call(sd1, sampler):
    spied, calls = watched(operated(sd1, Halve("halve")))
    with pytest.raises(GraftError, match=r"sampler: Halve works between steps.*connect Graft Sampler"):
        sample(spied, TARGET, NEGATIVE, sampler=sampler)
    assert not calls


@pytest.mark.parametrize("solver", AT_LEVELS)
def test_a_step_operator_has_its_turn_after_every_step_and_its_latent_goes_on(sd1, solver):
    halve, sigmas = Halve("halve"), schedule(sd1, 4)
    spied, calls = watched(operated(sd1, halve))
    result = sample(spied, TARGET, NEGATIVE, sampler=GraftSampler(solver), sigmas=sigmas)
    assert [(step.index, float(step.sigma), float(step.sigma_next)) for _, step, _ in halve.log] == [
        (index, float(sigmas[index]), float(sigmas[index + 1])) for index in range(4)
    ]
    for (_, step, arrived), call in zip(halve.log[:-1], calls[1:], strict=True):
        assert torch.equal(call.rows(0)[0], arrived / 2)
        assert step.x.shape == step.denoised.shape == arrived.shape
    torch.testing.assert_close(result, sd1.model.process_latent_out(halve.log[-1][2] / 2), rtol=0, atol=0)


def test_step_operators_run_in_the_order_they_were_chained(sd1):
    log = []
    sample(operated(sd1, Halve("first", log), Halve("second", log)), TARGET, cfg=1.0, sampler=GraftSampler("ddim"), steps=2)
    assert [name for name, _, _ in log] == ["first", "second"] * 2
    assert torch.equal(log[1][2], log[0][2] / 2)


# Recordings


def recording(model, sampler="euler", steps: int = 4, cfg: float = 4.0, start=None, scheduler: str = "ddim_uniform"):
    start = noise(0) if start is None else start
    sampler = comfy.samplers.sampler_object(sampler) if isinstance(sampler, str) else sampler
    guider = make_guider(model, TARGET, NEGATIVE, cfg)
    latent, trajectory = record(guider, GivenNoise(start), empty_like(start), sampler, schedule(model, steps, scheduler))
    return latent["samples"], trajectory


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m"])
def test_a_recording_is_the_plain_generation_and_what_the_model_was_shown(model, sampler):
    before = snapshot(model)
    plain, calls = watched(model)
    generated = sample(plain, TARGET, NEGATIVE, sampler=sampler, steps=4, start=noise(0, batch=2))
    samples, trajectory = recording(model, sampler, start=noise(0, batch=2))
    assert torch.equal(samples, generated)
    assert torch.equal(trajectory.sigmas, schedule(model, 4))
    for latents, call in zip(trajectory.latents, calls, strict=False):
        assert torch.equal(latents, call.rows(0)[0])
    assert torch.equal(trajectory.clean, model.model.process_latent_in(samples))
    assert trajectory.batch == 2 and trajectory.solver == "recorded"
    assert snapshot(model) == before


def test_where_a_sampler_looks_twice_the_last_look_is_kept(sd1):
    plain, calls = watched(sd1)
    sample(plain, TARGET, NEGATIVE, sampler="heun", steps=4)
    _, trajectory = recording(sd1, "heun")
    last = {call.sigma: call.rows(0)[0] for call in calls}
    assert all(torch.equal(trajectory.at(sigma), x) for sigma, x in last.items())


def test_a_recording_survives_a_sampler_that_overwrites_its_latents(sd1):
    def overwriting(model, x, sigmas, extra_args=None, callback=None, disable=None):
        x = x.clone()
        for sigma, sigma_next in pairwise(sigmas):
            denoised = model(x, sigma * x.new_ones(len(x)), **extra_args)
            x += (sigma_next - sigma) * (x - denoised) / sigma
        return x

    _, ours = recording(sd1, comfy.samplers.KSAMPLER(overwriting))
    _, theirs = recording(sd1, "euler")
    torch.testing.assert_close(ours.latents, theirs.latents, rtol=1e-4, atol=1e-3)


def test_a_recording_leaves_its_guider_as_it_was(sd1):
    guider = make_guider(sd1, TARGET, NEGATIVE)
    options = guider.model_options
    record(guider, GivenNoise(noise(0)), empty_like(EMPTY), comfy.samplers.sampler_object("euler"), schedule(sd1, 2))
    assert guider.model_options is options is sd1.model_options


def test_a_guider_without_a_positive_prompt_is_refused_before_the_first_call(sd1):
    spied, calls = watched(sd1)
    guider = comfy.samplers.CFGGuider(spied)
    guider.inner_set_conds({"other": TARGET})
    with pytest.raises(GraftError, match=r"^guider: it has no positive prompt, only other"):
        record(guider, GivenNoise(noise(0)), empty_like(EMPTY), comfy.samplers.sampler_object("euler"), schedule(sd1, 2))
    assert not calls


@pytest.mark.parametrize("sigmas", [torch.tensor([0.0, 1.0, 14.0]), torch.tensor([14.0]), torch.tensor([14.0, 1.0, 1.0, 0.0])])
def test_schedules_that_do_not_fall_are_refused_before_the_first_call(sd1, sigmas):
    spied, calls = watched(sd1)
    with pytest.raises(GraftError, match=r"^sigmas: .*falls from noise to picture"):
        record(make_guider(spied, TARGET), GivenNoise(noise(0)), empty_like(EMPTY), comfy.samplers.sampler_object("euler"), sigmas)
    with pytest.raises(GraftError, match=r"^sigmas: .*falls from noise to picture"):
        invert(spied, TARGET, noise(0), sigmas, "ddim", 1)
    assert not calls


def test_edited_models_are_neither_recorded_nor_inverted(sd1):
    spied, calls = watched(operated(sd1, Halve("halve")))
    with pytest.raises(GraftError, match=r"^model: it already carries Graft edits"):
        recording(spied)
    with pytest.raises(GraftError, match=r"^model: it already carries Graft edits"):
        invert(spied, TARGET, noise(0), schedule(sd1, 3), "ddim", 1)
    assert not calls


@pytest.mark.parametrize(
    "run", [recording, lambda model: invert(model, TARGET, noise(0), schedule(model, 4), "ddim", 1)], ids=["record", "invert"]
)
def test_an_interrupt_leaves_the_model_clean_and_usable(sd1, run, monkeypatch):
    whole, before = run(sd1), snapshot(sd1)

    def interrupt(*_):
        raise comfy.model_management.InterruptProcessingException

    monkeypatch.setattr("latent_preview.prepare_callback", lambda *_: interrupt)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        run(sd1)
    monkeypatch.undo()
    assert snapshot(sd1) == before
    again = run(sd1)
    assert torch.equal(*((one[1] if isinstance(one, tuple) else one).latents for one in (whole, again)))
