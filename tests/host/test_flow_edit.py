"""Flow Edit on the host's own flow models, against FlowEdit's loop written out with a call of the host per prediction."""

from dataclasses import replace
from itertools import pairwise

import comfy.model_management
import comfy.samplers
import pytest
import torch
from graft.host.errors import GraftError
from graft.host.samplers import latent_optimization
from graft.host.samplers.flow_edit import DISTILLED, GUIDED, FlowEdit, edit_by_flow, settings_for
from graft.host.samplers.guided import Prompts
from graft.host.samplers.latent_optimization import Optimization, optimize
from graft.optimization.descent import RELEASED_CELLS, RELEASED_FACTOR, Descent
from tiny_models import make_model, snapshot, watched
from tiny_models import noise as unet_latent
from tiny_models import prompt as unet_prompt
from tiny_transformers import FAMILIES, latent, make_transformer, prompt, with_references
from torch.nn.functional import adaptive_avg_pool2d

KINDS = [name for name in FAMILIES if name != "cosmos predict 2"]
"""Flows in the host's own sense: Cosmos-Predict2 calls its noise added."""
SEED = 11
SHORT = FlowEdit(steps=5, edited=4, source_guidance=1.5, guidance=4.0)
PLAIN = replace(SHORT, source_guidance=1.0, guidance=1.0)
BOX = torch.zeros(1, 96, 64)
BOX[:, 16:64, 16:48] = 1


def picture(name: str, batch: int = 1) -> torch.Tensor:
    """A clean latent in the VAE's space."""
    return latent(name, 21, batch) * 2


def prompts(name: str) -> Prompts:
    return Prompts(*(prompt(name, seed) for seed in (1, 2, 3)))


def ours(model, name: str, settings: FlowEdit = SHORT, *, batch: int = 1, seed: int = SEED) -> torch.Tensor:
    """In sampler space."""
    edited = edit_by_flow(model, prompts(name), picture(name, batch), seed, settings)
    return model.model.process_latent_in(edited)


class Look(comfy.samplers.Sampler):
    """Asks the model once about `x`."""

    def __init__(self, x: torch.Tensor, sigma: float) -> None:
        self.x, self.sigma = x, sigma

    def sample(self, model_wrap, sigmas, extra_args, callback, noise, latent_image=None, denoise_mask=None, disable_pbar=False):
        self.denoised = model_wrap(self.x, self.x.new_full((len(self.x),), self.sigma), **extra_args)
        return latent_image


def velocity(model, x: torch.Tensor, sigma: float, positive: list, negative: list, guidance: float) -> torch.Tensor:
    """v as the host predicts it, without anything of Graft's on the model."""
    guider, look = comfy.samplers.CFGGuider(model), Look(x, sigma)
    guider.set_conds(positive, negative)
    guider.set_cfg(guidance)
    guider.sample(torch.zeros_like(x), x, look, torch.tensor([sigma, 0.0]), disable_pbar=True, seed=0)
    return (x - look.denoised) / sigma


def told(conditioning: list, guidance: float) -> list:
    return [[states, {**options, "guidance": guidance}] for states, options in conditioning]


def written_out(model, name: str, settings: FlowEdit = SHORT, *, batch: int = 1) -> torch.Tensor:
    """FlowEdit, Algorithm 1, with a mask on the update."""
    target, source, negative = prompts(name)
    guidance, source_guidance = settings.guidance, settings.source_guidance
    if name == "flux":  # It takes its guidance as a number.
        target, source, guidance, source_guidance = told(target, guidance), told(source, source_guidance), 1.0, 1.0
    x = model.model.process_latent_in(picture(name, batch))
    levels = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "simple", settings.steps).tolist()
    levels = levels[settings.steps - settings.edited :]
    noises = torch.Generator().manual_seed(SEED)
    weights = torch.ones(1) if settings.mask is None else adaptive_avg_pool2d(settings.mask[:, None], x.shape[-2:])
    weights = weights[:, :, None] if settings.mask is not None and FAMILIES[name].frames else weights
    z, last = x.clone(), settings.edited - settings.plain
    for step, (t, t_next) in enumerate(pairwise(levels)):
        if step < last:
            total = torch.zeros_like(x)
            for _ in range(settings.draws):
                e = torch.randn(x.shape, generator=noises)
                x_t = (1 - t) * x + t * e
                total += velocity(model, z + x_t - x, t, target, negative, guidance)
                total -= velocity(model, x_t, t, source, negative, source_guidance)
            z = z + weights * (t_next - t) * total / settings.draws
        else:
            if step == last:
                e = torch.randn(x.shape, generator=noises)
                z = z + t * (e - x)  # z + x_t - x
            z = z + (t_next - t) * velocity(model, z, t, target, negative, guidance)
            z = weights * z + (1 - weights) * ((1 - t_next) * x + t_next * e)
    return z


@pytest.mark.parametrize("name", KINDS)
def test_it_is_the_papers_loop_on_every_family(name, transformer):
    model = transformer(name)
    torch.testing.assert_close(ours(model, name), written_out(model, name), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "changes",
    [
        {"draws": 3},
        {"plain": 2},
        {"plain": 2, "mask": BOX},
        {"mask": BOX},
        {"mask": BOX / 2},
        {"edited": 5},
        {"source_guidance": 1.0},
        {"guidance": 1.0},
        {"guidance": 1.0, "source_guidance": 1.0},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["flux2", "qwen image"])
def test_every_setting_is_the_loops(name, changes, transformer):
    model, settings = transformer(name), replace(SHORT, **changes)
    torch.testing.assert_close(ours(model, name, settings), written_out(model, name, settings), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["flux2", "qwen image", "z image"])
def test_a_batch_is_edited_picture_by_picture(name, transformer):
    model = transformer(name)
    torch.testing.assert_close(ours(model, name, batch=2), written_out(model, name, batch=2), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("guidances", "rows"), [((1.0, 1.0), 2), ((1.5, 4.0), 4), ((1.0, 4.0), 3), ((1.5, 1.0), 3)], ids=["distilled", "guided", "one", "other"]
)
@pytest.mark.parametrize("name", ["flux2", "qwen image"])
def test_it_costs_its_rows_and_no_more(name, guidances, rows, transformer):
    """Two a step, or four where both prompts are guided; in plain steps the target's alone."""
    source, target = guidances
    spied, calls = watched(transformer(name))
    settings = replace(SHORT, source_guidance=source, guidance=target, draws=2, plain=1)
    ours(spied, name, settings)
    assert sum(len(call.x) for call in calls) == 3 * 2 * rows + (2 if target != 1 else 1)


def test_guidance_that_a_model_is_told_costs_no_rows(transformer):
    spied, calls = watched(transformer("flux"))
    ours(spied, "flux")
    assert sum(len(call.x) for call in calls) == SHORT.edited * 2


@pytest.mark.parametrize("name", ["flux", "qwen image", "anima"])
def test_outside_the_mask_every_bit_stays(name, transformer):
    model, given = transformer(name), picture(name)
    edited = edit_by_flow(model, prompts(name), given, SEED, replace(SHORT, mask=BOX, plain=1))
    cells = adaptive_avg_pool2d(BOX[:, None], given.shape[-2:]).expand(1, FAMILIES[name].channels, -1, -1)
    inside = (cells > 0).reshape(given.shape)
    assert torch.equal(edited[~inside], given[~inside])
    assert bool((edited[inside] != given[inside]).all())


@pytest.mark.parametrize("name", ["flux2", "z image"])
def test_the_same_prompts_change_nothing(name, transformer):
    model, same = transformer(name), prompt(name, 1)
    edited = edit_by_flow(model, Prompts(same, same, prompt(name, 3)), picture(name), SEED, PLAIN)
    torch.testing.assert_close(edited, picture(name), rtol=1e-4, atol=1e-4)


def test_no_shift_moves_as_optimize_latent_does(transformer, monkeypatch):
    """One step of today's Delta Denoising Score at the same noise level under the same noise, whose difference counts alpha = 1 - t
    times as much, per cell and in the other direction."""
    model, given = transformer("flux2"), picture("flux2")
    x = model.model.process_latent_in(given)
    walked = ours(model, "flux2", replace(SHORT, edited=1, source_guidance=SHORT.guidance, shift=0.0)) - x
    t = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "simple", SHORT.steps)[-2]
    monkeypatch.setattr(latent_optimization, "drawn_levels", lambda *_: torch.stack([t, torch.zeros(())]))
    settings = Optimization(1, guidance=SHORT.guidance, descent=Descent("sgd", 1.0), scale=1.0)
    descended = model.model.process_latent_in(optimize(model, prompts("flux2"), given, SEED, settings)) - x
    per_cell = RELEASED_FACTOR / RELEASED_CELLS
    torch.testing.assert_close(walked, descended * t / ((1 - t) * per_cell), rtol=1e-3, atol=1e-4)


def test_reference_pictures_of_the_prompt_are_shown(transformer):
    """Edit models take their references with the prompt; in Flow Edit, too."""
    name = "qwen image edit"
    shown = prompts(name)._replace(positive=with_references(prompt(name, 1), [latent(name, 5)]))
    model = transformer(name)
    edited = edit_by_flow(model, shown, picture(name), SEED, PLAIN)
    assert not torch.equal(edited, edit_by_flow(model, prompts(name), picture(name), SEED, PLAIN))


def test_the_seed_is_the_edits(transformer):
    model = transformer("flux2")
    assert torch.equal(ours(model, "flux2"), ours(model, "flux2"))
    assert not torch.equal(ours(model, "flux2"), ours(model, "flux2", seed=12))


def test_an_interrupt_leaves_the_model_clean(transformer):
    model = transformer("flux2")
    expected, before = ours(model, "flux2"), snapshot(model)
    interrupted, calls = watched(model)

    def stop(executor, *args, **kwargs):
        if len(calls) == 5:
            comfy.model_management.interrupt_current_processing()
        return executor(*args, **kwargs)

    interrupted.add_wrapper_with_key("apply_model", "stop", stop)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        ours(interrupted, "flux2")
    assert snapshot(model) == before
    assert torch.equal(ours(model, "flux2"), expected)


# Settings


def test_released_settings_are_found_by_the_model_in_hand():
    found = {name: settings_for(make_transformer(name, device="meta")) for name in FAMILIES}
    assert (found["flux"].steps, found["flux"].edited, found["flux"].source_guidance, found["flux"].guidance) == (28, 24, 1.5, 5.5)
    assert (found["sd3.5"].steps, found["sd3.5"].edited, found["sd3.5"].source_guidance, found["sd3.5"].guidance) == (50, 33, 3.5, 13.5)
    assert found["flux schnell"] == DISTILLED
    assert all(found[name] == GUIDED for name in ("flux2", "qwen image", "z image", "krea 2", "anima", "chroma"))


# Refusals


def refused(model, message: str, settings: FlowEdit = SHORT, name: str = "flux2", given=None) -> None:
    spied, calls = watched(model)
    with pytest.raises(GraftError, match=message):
        edit_by_flow(spied, prompts(name), picture(name) if given is None else given, SEED, settings)
    assert not calls


def test_models_that_are_no_flow_are_refused_and_told_what_to_take():
    spied, calls = watched(make_model("sd1"))
    with pytest.raises(GraftError, match=r"^model: BaseModel is no flow model.*take Replace Self-Attention or Optimize Latent instead"):
        edit_by_flow(spied, Prompts(*(unet_prompt(seed) for seed in range(3))), unet_latent(0), SEED, SHORT)
    assert not calls


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"edited": 6}, r"^edited_steps: 6 of 5 steps"),
        ({"edited": 0}, r"^edited_steps: 0 of 5 steps"),
        ({"plain": 4}, r"^plain_steps: 4 of 4 edited steps leave none"),
        ({"mask": torch.ones(1, 64, 64)}, r"^mask: it is 64 x 64 pixels, the latent 8 x 12 cells"),
        ({"mask": BOX.expand(3, -1, -1)}, r"^mask: it holds 3, the latent_image 1 pictures"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes, message, transformer):
    refused(transformer("flux2"), message, replace(SHORT, **changes))


def test_latents_of_films_and_of_other_families_are_refused(transformer):
    film = torch.zeros(1, 16, 3, 12, 8)
    refused(transformer("qwen image"), r"^latent_image: its latent has 3 frames", name="qwen image", given=film)
    refused(transformer("flux2"), r"^latent_image: its latents have 16 channels, this model's have 128", given=latent("flux", 0))
