"""Trajectories of flow models: made, retraced, recorded, started from, kept and shown, in every family's own terms."""

import folder_paths
import pytest
import torch
from comfy_extras.nodes_custom_sampler import Noise_RandomNoise, SamplerCustomAdvanced
from comfy_extras.nodes_model_advanced import ModelSamplingAuraFlow, ModelSamplingFlux
from graft.host.engine.fingerprints import conditioning_fingerprint, model_fingerprint
from graft.host.errors import GraftError
from graft.host.samplers.sampling import GraftSampler
from graft.nodes import inversion
from tiny_models import empty_like, make_guider, schedule, watched
from tiny_transformers import FAMILIES, latent, prompt, with_references

SOLVERS = {"DDIM": "ddim", "DPM-Solver++ 2M": "dpmpp_2m", "Midpoint": "midpoint"}
KINDS = ("flux", "qwen image", "z image", "anima", "cosmos predict 2")
"""One of each way of mixing, of each schedule and of each shape of latents."""


class LatentVAE:
    """A stand-in with a VAE's interface: a picture has as many channels as its latent. A VAE for films makes a film of a batch."""

    def __init__(self, name: str) -> None:
        self.latent_dim = 3 if FAMILIES[name].frames else 2
        self.channels = FAMILIES[name].channels

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        latents = pixels.movedim(-1, 1).repeat(1, -(-self.channels // pixels.shape[-1]), 1, 1)[:, : self.channels]
        return latents.movedim(0, 1)[None] if self.latent_dim == 3 else latents

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return latents[:, :3].movedim(1, -1)


def run(node, **inputs):
    return node.EXECUTE_NORMALIZED(**inputs)


def pictures(count: int = 1, height: int = 12, width: int = 8) -> torch.Tensor:
    return torch.rand(count, height, width, 3, generator=torch.Generator().manual_seed(5))


def inverted(model, name: str, *, steps: int = 6, solver: str = "DDIM", iterations: int = 1, image=None, conditioning=None):
    return run(
        inversion.InvertImage,
        model=model,
        vae=LatentVAE(name),
        image=pictures() if image is None else image,
        conditioning=prompt(name, 0) if conditioning is None else conditioning,
        sigmas=schedule(model, steps, "simple"),
        solver=solver,
        iterations=iterations,
    ).result


def reconstructed(model, name: str, trajectory, conditioning=None):
    conditioning = prompt(name, 0) if conditioning is None else conditioning
    return run(inversion.Reconstruct, model=model, vae=LatentVAE(name), trajectory=trajectory, conditioning=conditioning).result


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    for kind in ("output", "input", "temp"):
        (tmp_path / kind).mkdir()
        monkeypatch.setattr(folder_paths, f"{kind}_directory", str(tmp_path / kind))


@pytest.fixture
def gentle(transformer):
    """Gives a family's tiny model whose flow depends little on the latent, as a trained one's does from one step to the next."""

    def made(name: str):
        model = transformer(name)
        calm = model.get_model_object("model_sampling").calculate_denoised

        class Calm(type(model.get_model_object("model_sampling"))):
            def calculate_denoised(self, sigma, model_output, model_input):
                return calm(sigma, 0.05 * model_output, model_input)

        sampling = Calm(model.model.model_config)
        model.add_object_patch("model_sampling", sampling)
        return model

    return made


# Invert Image and Reconstruct


@pytest.mark.parametrize("name", KINDS)
def test_plain_inversion_is_eulers_recursion_written_out(name, transformer):
    """v of the network itself at the level that a step goes to: x += (sigma' - sigma) v(x, sigma')."""
    model = transformer(name)
    spied, calls = watched(model)
    trajectory, clean = inverted(spied, name)
    x = model.model.process_latent_in(clean["samples"])
    levels = trajectory.sigmas.flip(0).tolist()
    assert len(calls) == 6 and all(call.order == [0] for call in calls)
    for index, (call, sigma, sigma_next) in enumerate(zip(calls, levels, levels[1:], strict=False)):
        assert call.sigma == pytest.approx(sigma_next, rel=1e-6)
        velocity = (call.x - call.denoised) / sigma_next
        x = x + (sigma_next - sigma) * velocity
        torch.testing.assert_close(trajectory.latents[5 - index], x, rtol=1e-4, atol=1e-4)
        if trajectory.mixing == "flow":
            torch.testing.assert_close(call.x, trajectory.latents[6 - index])


@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "cosmos predict 2"])
def test_fixed_point_inversion_comes_back_far_better_than_the_usual_one(name, gentle):
    model = gentle(name)
    usual, fixed = (reconstructed(model, name, inverted(model, name, steps=4, iterations=count)[0])[2] for count in (1, 5))
    assert fixed > usual + 8 and fixed > 50


@pytest.mark.parametrize("name", ["flux", "qwen image"])
def test_the_second_order_comes_back_better_than_plain_euler_in_as_many_calls(name, gentle):
    model = gentle(name)
    usual, second = (reconstructed(model, name, inverted(model, name, steps=12, solver=way)[0])[2] for way in ("DDIM", "Midpoint"))
    assert second > usual + 6


@pytest.mark.parametrize("name", FAMILIES)
def test_pictures_of_a_batch_are_inverted_as_they_would_be_alone(name, transformer):
    """Of a VAE for films, too, which would make one film of them."""
    model, both = transformer(name), pictures(2)
    together, clean = inverted(model, name, image=both, steps=3)
    assert together.batch == 2 and together.latents.shape[1:] == clean["samples"].shape == latent(name, 0, batch=2).shape
    for row in range(2):
        alone = inverted(model, name, image=both[row : row + 1], steps=3)[0]
        torch.testing.assert_close(together.latents[:, row : row + 1], alone.latents, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", KINDS)
def test_it_is_finite_up_to_pure_noise(name, solver, transformer):
    trajectory = inverted(transformer(name), name, solver=solver)[0]
    assert bool(trajectory.latents.isfinite().all())
    assert trajectory.solver == SOLVERS[solver]
    assert trajectory.mixing == ("added" if name == "cosmos predict 2" else "flow")


def test_guidance_embeddings_are_the_prompts_own(transformer):
    """Distilled models are told a guidance: the prompt's, or the host's own where it says none."""
    model = transformer("flux")
    trajectories = [
        inverted(model, "flux", conditioning=prompt("flux", 0, **told))[0] for told in ({}, {"guidance": 3.5}, {"guidance": 1.0})
    ]
    assert torch.equal(trajectories[0].latents, trajectories[1].latents)
    assert not torch.equal(trajectories[1].latents, trajectories[2].latents)


@pytest.mark.parametrize("solver", ["DDIM", "Midpoint"])
@pytest.mark.parametrize("name", KINDS)
def test_reconstruct_starts_from_the_noisiest_latents_as_they_are(name, solver, transformer):
    model = transformer(name)
    trajectory = inverted(model, name, solver=solver)[0]
    spied, calls = watched(model)
    reconstructed(spied, name, trajectory)
    torch.testing.assert_close(calls[0].x, trajectory.latents[0], rtol=1e-5, atol=1e-5)


# Start From Trajectory and Record Trajectory


@pytest.mark.parametrize("skip", [0.0, 0.5])
@pytest.mark.parametrize("name", KINDS)
def test_starting_from_a_trajectory_shows_the_model_its_latents(name, skip, transformer):
    """At every level, not only at pure noise: what the host mixes in leaves them as they are."""
    model = transformer(name)
    trajectory = inverted(model, name)[0]
    start, sigmas, noisy = run(inversion.StartFromTrajectory, model=model, trajectory=trajectory, skip=skip).result
    spied, calls = watched(model)
    SamplerCustomAdvanced.execute(start, make_guider(spied, prompt(name, 0)), GraftSampler("ddim"), sigmas, noisy)
    first = trajectory.after(skip)
    torch.testing.assert_close(calls[0].x, trajectory.latents[first], rtol=1e-5, atol=1e-5)
    assert calls[0].sigma == pytest.approx(float(trajectory.sigmas[first]), rel=1e-6)


@pytest.mark.parametrize("stopped", [0, 2], ids=["to the picture", "stopped before"])
@pytest.mark.parametrize("name", KINDS)
def test_a_recorded_generation_is_what_the_model_was_shown(name, stopped, transformer):
    model = transformer(name)
    spied, calls = watched(model)
    sigmas = schedule(model, 6, "simple")[: 7 - stopped]
    inputs = Noise_RandomNoise(11), make_guider(spied, prompt(name, 0), prompt(name, 1)), GraftSampler("ddim"), sigmas
    names = ("noise", "guider", "sampler", "sigmas")
    empty = empty_like(latent(name, 0))
    trajectory, _ = run(inversion.RecordTrajectory, **dict(zip(names, inputs, strict=True)), latent_image=empty).result
    shown = [call.rows(0)[0] for call in calls]
    torch.testing.assert_close(trajectory.latents[:-1], torch.stack(shown), rtol=1e-6, atol=1e-6)
    positive, negative = (calls[-1].rows(row)[1] for row in (0, 1))
    denoised = negative + 4.0 * (positive - negative)
    step = (sigmas[-1] - sigmas[-2]) * (shown[-1] - denoised) / sigmas[-2]
    torch.testing.assert_close(trajectory.latents[-1], shown[-1] + step, rtol=1e-3, atol=1e-3)


# Files and fingerprints


def test_a_saved_trajectory_comes_back_with_its_way_of_mixing(transformer):
    model = transformer("qwen image")
    trajectory = inverted(model, "qwen image")[0]
    name = run(inversion.SaveTrajectory, trajectory=trajectory, filename_prefix="flow").ui.as_dict()["text"][0]
    loaded = run(inversion.LoadTrajectory, model=model, file=name)[0]
    assert torch.equal(loaded.latents, trajectory.latents) and loaded.mixing == "flow"
    assert loaded.latents.shape[3] == 1  # a film of one frame


@pytest.mark.parametrize("name", ["qwen image", "z image", "krea 2"])
def test_shifting_the_schedule_makes_no_other_model_of_it(name, transformer):
    """A trajectory keeps noise levels, and the network is asked the same at each, whatever node shifted them."""
    model = transformer(name)
    shifted = ModelSamplingAuraFlow().patch_aura(model, 3.1)[0]
    assert model_fingerprint(shifted) == model_fingerprint(model)
    trajectory = inverted(shifted, name)[0]
    assert torch.equal(reconstructed(model, name, trajectory)[1]["samples"], reconstructed(shifted, name, trajectory)[1]["samples"])


def test_a_shift_by_picture_size_makes_no_other_model_of_it(transformer):
    model = transformer("flux")
    assert model_fingerprint(ModelSamplingFlux().patch(model, 1.15, 0.5, 1024, 768)[0]) == model_fingerprint(model)


def test_what_a_network_is_shown_beside_the_text_counts_in_a_prompts_fingerprint():
    plain = prompt("flux", 0)
    changed = {
        "guidance": prompt("flux", 0, guidance=2.0),
        "another guidance": prompt("flux", 0, guidance=3.0),
        "reference": with_references(plain, [latent("flux", 0)]),
        "another reference": with_references(plain, [latent("flux", 1)]),
        "mask of padded text": prompt("flux", 0, attention_mask=torch.ones(1, 12)),
    }
    prints = {name: conditioning_fingerprint(conditioning) for name, conditioning in {"plain": plain, **changed}.items()}
    assert len(set(prints.values())) == len(prints)


def test_show_trajectory_shows_every_stage_as_it_is(transformer):
    """A flow's latents have a picture's range at every level, so none is rescaled."""
    model, vae = transformer("qwen image"), LatentVAE("qwen image")
    trajectory = inverted(model, "qwen image")[0]
    shown = run(inversion.ShowTrajectory, model=model, vae=vae, trajectory=trajectory, stages=2)[0]
    stages = [vae.decode(model.model.process_latent_out(trajectory.latents[level]))[:, 0].clamp(0, 1) for level in (0, 6)]
    enlarged = shown.shape[2] // stages[0].shape[2]
    height = stages[0].shape[1] * enlarged
    assert torch.equal(shown[:, :height:enlarged, ::enlarged], torch.cat(stages))


def test_a_vae_of_another_family_is_refused_with_both_numbers(transformer):
    with pytest.raises(GraftError, match=r"^vae: its latents have 128 channels, this model's have 16"):
        run(
            inversion.InvertImage,
            model=transformer("flux"),
            vae=LatentVAE("flux2"),
            image=pictures(),
            conditioning=prompt("flux", 0),
            sigmas=schedule(transformer("flux"), 3, "simple"),
            solver="DDIM",
            iterations=1,
        )
