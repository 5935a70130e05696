"""The nodes around trajectories, run as a graph runs them, against diffusers' schedulers and core's own sampling node."""

import comfy.model_sampling
import comfy.samplers
import folder_paths
import pytest
import torch
from comfy_extras.nodes_custom_sampler import Noise_RandomNoise, SamplerCustomAdvanced
from diffusers import DDIMInverseScheduler
from einops import reduce, repeat
from graft.host.engine.fingerprints import model_fingerprint
from graft.host.engine.noise_levels import percent_at
from graft.host.engine.plan import Plan
from graft.host.engine.run import carry_out
from graft.host.errors import GraftError
from graft.host.inspection.captions import Scale, strips
from graft.host.samplers.sampling import GraftSampler
from graft.inversion.trajectory import Trajectory, TrajectoryError
from graft.nodes import inversion
from tiny_models import make_guider, make_model, prompt, sample, schedule, watched

PROMPT, NEGATIVE = prompt(0), prompt(3)
PICTURES = torch.rand(2, 128, 128, 3, generator=torch.Generator().manual_seed(5))


class BlockVAE:
    """A stand-in with a VAE's interface: 8 x 8 blocks to their mean, as three channels and a fourth that is empty."""

    channels = 4

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        means = reduce(pixels, "b (h down) (w across) c -> b c h w", "mean", down=8, across=8)
        return torch.cat([means, means.new_zeros(len(means), self.channels - 3, *means.shape[2:])], dim=1)

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        return repeat(latent[:, :3], "b c h w -> b (h down) (w across) c", down=8, across=8)


VAE = BlockVAE()


def run(node, **inputs):
    return node.EXECUTE_NORMALIZED(**inputs)


def inverted(
    model, *, steps: int = 4, solver: str = "DDIM", iterations: int = 1, image=PICTURES, vae=VAE, sigmas=None, conditioning=PROMPT
):
    sigmas = schedule(model, steps) if sigmas is None else sigmas
    inputs = {"model": model, "vae": vae, "image": image, "conditioning": conditioning, "sigmas": sigmas}
    return run(inversion.InvertImage, **inputs, solver=solver, iterations=iterations)


@pytest.fixture(scope="session")
def gentle():
    """A model whose noise depends little on the latent, as a trained one's does from one step to the next."""
    model = make_model("sd1")
    model.model.diffusion_model.out[-1].weight *= 0.003
    yield model


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    """Output, input and temporary files go to a folder of the test's own."""
    for kind in ("output", "input", "temp"):
        (tmp_path / kind).mkdir()
        monkeypatch.setattr(folder_paths, f"{kind}_directory", str(tmp_path / kind))
    return tmp_path


# Invert Image


def test_invert_image_is_the_papers_recursion_as_diffusers_computes_it(built):
    """Latent of c, label of t, from a clean picture: DDIMInverseScheduler around the bare network."""
    model = built("sd1")
    trajectory, latent = inverted(model, steps=5).result
    scheduler = DDIMInverseScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, clip_sample=False, steps_offset=1)
    scheduler.set_timesteps(5)
    x = model.model.process_latent_in(latent["samples"])
    for level, timestep in zip(reversed(range(5)), scheduler.timesteps, strict=True):
        output = model.model.diffusion_model(x, timestep.float().expand(2), context=PROMPT[0][0].expand(2, -1, -1), transformer_options={})
        x = scheduler.step(output, timestep, x).prev_sample
        torch.testing.assert_close(trajectory.scaled_to_picture(level), x, rtol=2e-3, atol=2e-3)


def test_invert_image_gives_the_pictures_at_every_level_and_their_latent(model):
    trajectory, latent = inverted(model).result
    assert torch.equal(latent["samples"], VAE.encode(PICTURES))
    assert torch.equal(trajectory.clean, model.model.process_latent_in(latent["samples"]))
    assert torch.equal(trajectory.sigmas, schedule(model, 4))
    assert trajectory.latents.shape == (5, 2, 4, 16, 16) and bool(trajectory.latents.isfinite().all())
    assert trajectory.model == model_fingerprint(model)


def test_pictures_of_a_batch_are_inverted_as_they_would_be_alone(model):
    together = inverted(model, iterations=2).result[0]
    for row in range(2):
        alone = inverted(model, iterations=2, image=PICTURES[row : row + 1]).result[0]
        error = (together.latents[:, row : row + 1] - alone.latents).abs().amax(dim=(1, 2, 3, 4))
        assert bool((error < 1e-2 * (1 + alone.sigmas)).all())


def test_an_alpha_channel_is_left_out(sd1):
    alpha = torch.cat([PICTURES, torch.rand(2, 128, 128, 1)], dim=-1)
    assert torch.equal(inverted(sd1, image=alpha).result[0].latents, inverted(sd1).result[0].latents)


@pytest.mark.parametrize(("solver", "iterations", "calls_per_step"), [("DDIM", 1, 1), ("DDIM", 3, 3), ("DPM-Solver++ 2M", 3, 1)])
def test_inverting_costs_one_row_per_picture_step_and_iteration(sd1, solver, iterations, calls_per_step):
    spied, calls = watched(sd1)
    inverted(spied, solver=solver, iterations=iterations)
    assert len(calls) == 4 * calls_per_step
    assert all(call.order == [0] and len(call.x) == 2 for call in calls)


@pytest.mark.parametrize("sigmas", [torch.tensor([0.0, 1.0, 14.0]), torch.tensor([14.0]), torch.tensor([])])
def test_a_schedule_that_does_not_fall_is_refused(sd1, sigmas):
    spied, calls = watched(sd1)
    with pytest.raises(GraftError, match=r"^sigmas: "):
        inverted(spied, sigmas=sigmas)
    assert not calls


def test_a_model_with_edits_is_refused(sd1):
    class Operator:
        hooks = frozenset({"step"})

    spied, calls = watched(carry_out(sd1, Plan((Operator(),))))
    with pytest.raises(GraftError, match=r"^model: it already carries Graft edits"):
        inverted(spied)
    assert not calls


def test_a_vae_of_another_family_is_refused_with_both_numbers(sd1):
    wide = BlockVAE()
    wide.channels = 16
    spied, calls = watched(sd1)
    with pytest.raises(GraftError, match=r"^vae: its latents have 16 channels, this model's have 4"):
        inverted(spied, vae=wide)
    assert not calls


def test_models_that_start_from_pictures_are_refused_by_name(sd1):
    class FromPictures(comfy.model_sampling.ModelSamplingDiscreteFlow, comfy.model_sampling.IMG_TO_IMG_FLOW):
        pass

    sigmas = schedule(sd1, 3)
    sd1.add_object_patch("model_sampling", FromPictures())
    with pytest.raises(GraftError, match=r"^model: BaseModel makes pictures of pictures, not of noise"):
        inverted(sd1, sigmas=sigmas)


# Reconstruct and Start From Trajectory


def reconstructed(model, trajectory):
    return run(inversion.Reconstruct, model=model, vae=VAE, trajectory=trajectory, conditioning=PROMPT)


def test_fixed_point_inversion_round_trips_far_better_than_the_usual_one(gentle):
    usual, fixed = (reconstructed(gentle, inverted(gentle, steps=10, iterations=count).result[0]) for count in (1, 5))
    assert fixed[2] > usual[2] + 8
    assert fixed[2] > 50
    assert float((fixed[0] - VAE.decode(VAE.encode(PICTURES))).abs().max()) < 0.02


def test_reconstruct_reports_every_picture_in_decibels(gentle):
    trajectory = inverted(gentle).result[0]
    image, latent, decibels, *_ = (output := reconstructed(gentle, trajectory)).result
    error = (image - VAE.decode(gentle.model.process_latent_out(trajectory.clean)).clamp(0, 1)).double().square()
    expected = -10 * torch.log10(error.mean(dim=(1, 2, 3)))
    assert decibels == pytest.approx(float(expected.mean()), abs=1e-3)
    assert torch.equal(image, VAE.decode(latent["samples"]).clamp(0, 1))
    shown = ", ".join(f"{value:.1f}" for value in expected.tolist())
    assert output.ui.as_dict()["text"][0] == f"{shown} dB (4 steps)"


def test_reconstruct_runs_the_solver_the_trajectory_was_made_with(gentle):
    for solver, core in (("DDIM", "euler"), ("DPM-Solver++ 2M", "dpmpp_2m")):
        trajectory = inverted(gentle, solver=solver).result[0]
        ours = reconstructed(gentle, trajectory)[1]["samples"]
        start = gentle.model.process_latent_out(trajectory.latents[0])
        theirs = sample(gentle, PROMPT, cfg=1.0, sampler=core, sigmas=trajectory.sigmas, start=torch.zeros_like(start), latent=start)
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


def test_starting_from_a_trajectory_gives_the_sampler_its_latents_and_levels(model):
    trajectory = inverted(model).result[0]
    start, sigmas, latent = run(inversion.StartFromTrajectory, model=model, trajectory=trajectory, skip=0.0).result
    spied, calls = watched(model)
    SamplerCustomAdvanced.execute(start, make_guider(spied, PROMPT, NEGATIVE), GraftSampler("ddim"), sigmas, latent)
    assert [call.sigma for call in calls] == trajectory.sigmas[:-1].tolist()
    torch.testing.assert_close(calls[0].rows(0)[0], trajectory.latents[0], rtol=1e-6, atol=1e-6)


def test_a_recorded_trajectory_is_not_reconstructed(sd1):
    recorded = Trajectory(torch.zeros(2, 1, 4, 16, 16), torch.tensor([1.0, 0.0]), "recorded", "m", "c")
    with pytest.raises(GraftError, match=r"^trajectory: it was recorded, not inverted"):
        run(inversion.Reconstruct, model=sd1, trajectory=recorded, vae=VAE, conditioning=PROMPT)


@pytest.mark.parametrize(("skip", "left"), [(0.0, 4), (0.5, 2), (0.74, 2), (0.75, 1), (0.99, 1)])
def test_skipping_leaves_out_the_noisiest_steps_and_keeps_the_last(sd1, skip, left):
    trajectory = inverted(sd1).result[0]
    _, sigmas, latent = run(inversion.StartFromTrajectory, model=sd1, trajectory=trajectory, skip=skip).result
    assert torch.equal(sigmas, trajectory.sigmas[4 - left :])
    torch.testing.assert_close(sd1.model.process_latent_in(latent["samples"]), trajectory.latents[4 - left])


@pytest.mark.parametrize("node", [inversion.StartFromTrajectory, inversion.Reconstruct])
def test_a_trajectory_with_other_channels_is_refused_with_both_numbers(sd1, node):
    other = Trajectory(torch.zeros(2, 1, 16, 16, 16), torch.tensor([1.0, 0.0]), "ddim", "m", "c")
    inputs = {"skip": 0.0} if node is inversion.StartFromTrajectory else {"vae": VAE, "conditioning": PROMPT}
    with pytest.raises(GraftError, match=r"^trajectory: its latents have 16 channels, this model's have 4"):
        run(node, model=sd1, trajectory=other, **inputs)


# Record Trajectory


def test_record_trajectory_generates_what_cores_sampling_node_does(model):
    inputs = Noise_RandomNoise(11), make_guider(model, PROMPT, NEGATIVE), comfy.samplers.sampler_object("euler"), schedule(model, 4)
    latent = {"samples": torch.zeros(2, 4, 16, 16), "downscale_ratio_spacial": 8, "batch_index": [3, 5]}
    theirs = SamplerCustomAdvanced.execute(*inputs, latent)[0]
    names = ("noise", "guider", "sampler", "sigmas")
    trajectory, ours = run(inversion.RecordTrajectory, **dict(zip(names, inputs, strict=True)), latent_image=latent).result
    assert torch.equal(ours["samples"], theirs["samples"])
    assert ours["batch_index"] == [3, 5] and "downscale_ratio_spacial" not in ours
    assert "downscale_ratio_spacial" in latent
    assert trajectory.batch == 2 and trajectory.steps == 4
    assert torch.equal(trajectory.clean, model.model.process_latent_in(ours["samples"]))


# Files


def saved(trajectory, prefix: str = "graft") -> str:
    """The name under which the node says it saved the trajectory, which it hands on."""
    output = run(inversion.SaveTrajectory, trajectory=trajectory, filename_prefix=prefix)
    assert output[0] is trajectory
    return output.ui.as_dict()["text"][0]


def test_a_saved_trajectory_is_loaded_by_the_name_it_was_given(sd1, folders):
    trajectory = inverted(sd1).result[0]
    first, second = saved(trajectory), saved(trajectory)
    assert (first, second) == ("graft_00001.trajectory.safetensors", "graft_00002.trajectory.safetensors")
    assert (folders / "output" / "trajectories" / first).is_file()
    options = inversion.LoadTrajectory.define_schema().inputs[1].options
    assert options == [first, second]
    assert inversion.LoadTrajectory.validate_inputs(file=first) is True
    assert inversion.LoadTrajectory.validate_inputs(file=None) is True  # the host's word for a linked name
    loaded = run(inversion.LoadTrajectory, model=sd1, file=first)[0]
    assert torch.equal(loaded.latents, trajectory.latents) and torch.equal(loaded.sigmas, trajectory.sigmas)


def test_a_file_of_another_model_is_refused(sd1):
    name = saved(inverted(sd1).result[0])
    with pytest.raises(TrajectoryError, match="another model"):
        run(inversion.LoadTrajectory, model=make_model("sd1", seed=1), file=name)


def test_a_truncated_file_is_refused(sd1, folders):
    name = saved(inverted(sd1).result[0])
    path = folders / "output" / "trajectories" / name
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(TrajectoryError, match="cannot be read"):
        run(inversion.LoadTrajectory, model=sd1, file=name)


@pytest.mark.parametrize("name", ["missing.trajectory.safetensors", "../outside.trajectory.safetensors", ""])
def test_names_that_lead_nowhere_or_outside_are_refused(sd1, folders, name):
    trajectory = inverted(sd1).result[0]
    trajectory.save(folders / "outside.trajectory.safetensors")
    assert "neither output/trajectories nor the input folder" in inversion.LoadTrajectory.validate_inputs(file=name)
    with pytest.raises(GraftError, match=r"^file: "):
        run(inversion.LoadTrajectory, model=sd1, file=name)


def test_a_file_that_changed_is_read_again(sd1, folders):
    name = saved(inverted(sd1).result[0])
    before = inversion.LoadTrajectory.fingerprint_inputs(file=name)
    assert inversion.LoadTrajectory.fingerprint_inputs(file=name) == before
    path = folders / "output" / "trajectories" / name
    path.unlink()
    inverted(sd1, steps=5).result[0].save(path)
    assert inversion.LoadTrajectory.fingerprint_inputs(file=name) != before


# Show Trajectory


@pytest.mark.parametrize(("stages", "shown"), [(2, [0, 4]), (3, [0, 2, 4]), (50, [0, 1, 2, 3, 4])])
def test_show_trajectory_goes_evenly_from_noise_to_picture(sd1, stages, shown):
    trajectory = inverted(sd1).result[0]
    output = run(inversion.ShowTrajectory, model=sd1, vae=VAE, trajectory=trajectory, stages=stages)
    expected = torch.cat([VAE.decode(sd1.model.process_latent_out(trajectory.scaled_to_picture(level)[:1])) for level in shown]).clamp(0, 1)
    assert torch.equal(output[0][:, : 2 * expected.shape[1] : 2, ::2], expected)  # twice as large, to have room for words
    assert len(output.ui.as_dict()["images"]) == len(shown)


def test_every_stage_says_its_noise_level(sd1):
    """Below each stage what is written out here, over a bar that is as full as the run has gone."""
    trajectory = inverted(sd1).result[0]
    seen = run(inversion.ShowTrajectory, model=sd1, vae=VAE, trajectory=trajectory, stages=3)[0]
    percent = [percent_at(sd1.get_model_object("model_sampling"), float(trajectory.sigmas[index])) for index in (0, 2, 4)]
    texts = [f"sigma {trajectory.sigmas[index]:.3g}\n{100 * done:.0f} % of the run" for index, done in zip((0, 2, 4), percent, strict=True)]
    assert texts[-1] == "sigma 0\n100 % of the run" and percent[0] < percent[1] < percent[2]
    part = torch.linspace(0, 1, 256)[:, None].expand(-1, 3)
    bars = [torch.where(part <= done, 0.3, 0.85) for done in percent]
    expected = strips(seen.shape[2], texts, [Scale("noise", "picture", bar) for bar in bars])
    assert torch.equal(seen[:, -expected.shape[1] :], expected)


# All of them


@pytest.mark.parametrize("node", inversion.NODES, ids=lambda node: node.__name__)
def test_every_input_and_output_says_what_it_is(node):
    schema = node.define_schema()
    assert schema.node_id == "Graft" + schema.display_name.replace(" ", "")
    assert schema.category == "Graft/inversion" and schema.description
    assert all(part.tooltip for part in [*schema.inputs, *schema.outputs])
