"""The time-uniform schedule against TF-ICON's own numbers, core's scheduler, and there and back along it."""

import comfy.model_sampling
import pytest
import torch
from comfy_extras.nodes_custom_sampler import SamplerCustomAdvanced
from graft.host.samplers.sampling import GraftSampler, invert, reconstruct
from graft.host.samplers.schedules import uniform_time_sigmas
from graft.inversion.solvers import SOLVERS
from graft.nodes.inversion import StartFromTrajectory
from graft.nodes.sampling import UniformTimeScheduler
from tiny_models import make_guider, make_model, noise, prompt, schedule, watched

TWENTY_STEPS = [
    *(14.6146, 10.9073, 8.3072, 6.4477, 5.0924, 4.0861, 3.3251, 2.7391, 2.2797, 1.9132),
    *(1.6156, 1.3696, 1.1629, 0.9860, 0.8319, 0.6952, 0.5712, 0.4557, 0.3437, 0.2255, 0.0292),
]
"""Of the official code's times 1, 0.95005, ..., 0.001, as sqrt(1 - alpha_bar) / sqrt(alpha_bar) by its noise schedule."""
PROMPT = prompt(0)


def test_twenty_steps_are_tf_icons(model):
    sigmas = UniformTimeScheduler.EXECUTE_NORMALIZED(model=model, steps=20)[0]
    torch.testing.assert_close(sigmas, torch.tensor(TWENTY_STEPS), rtol=1e-4, atol=5e-5)


@pytest.mark.parametrize("steps", [1, 7, 50])
def test_it_is_cores_normal_schedule_of_one_step_more_without_its_zero(model, steps):
    torch.testing.assert_close(uniform_time_sigmas(model, steps), schedule(model, steps + 1, "normal")[:-1])


def test_it_follows_the_models_own_noise_levels(sd1):
    class Harder(comfy.model_sampling.ModelSamplingDiscrete, comfy.model_sampling.EPS):
        pass

    sampling = Harder(zsnr=True)
    sd1.add_object_patch("model_sampling", sampling)
    sigmas = uniform_time_sigmas(sd1, 3)
    torch.testing.assert_close(sigmas, sampling.sigmas[[999, 666, 333, 0]])


# There and back


@pytest.fixture(scope="module")
def gentle():
    """A model whose noise depends little on the latent, as a trained one's does from one step to the next."""
    with torch.inference_mode():
        model = make_model("sd1")
        model.model.diffusion_model.out[-1].weight *= 0.003
    return model


def error(model, solver: str, steps: int, iterations: int = 1) -> float:
    """The largest difference that inversion and reconstruction leave, of latents about 0.2 in size."""
    clean = 0.2 * noise(1)
    trajectory = invert(model, PROMPT, clean, uniform_time_sigmas(model, steps), solver, iterations)
    assert torch.equal(trajectory.clean, model.model.process_latent_in(clean))
    return float((reconstruct(model, PROMPT, trajectory) - clean).abs().max())


def test_a_picture_taken_as_the_lowest_level_comes_back(gentle):
    assert error(gentle, "ddim", 10, iterations=3) < 0.02


def test_dpm_solver_comes_closer_with_more_steps_by_its_second_order(gentle):
    assert error(gentle, "dpmpp_2m", 20) < 0.4 * error(gentle, "dpmpp_2m", 10)


@pytest.mark.parametrize("solver", SOLVERS)
def test_starting_from_a_trajectory_samples_its_reconstruction(gentle, solver):
    sigmas = uniform_time_sigmas(gentle, 6)
    trajectory = invert(gentle, PROMPT, 0.2 * noise(1), sigmas, solver, 1)
    start, levels, latent = StartFromTrajectory.EXECUTE_NORMALIZED(model=gentle, trajectory=trajectory, skip=0.0).result
    spied, calls = watched(gentle)
    sampled = SamplerCustomAdvanced.execute(start, make_guider(spied, PROMPT, cfg=1.0), GraftSampler(solver), levels, latent)[0]
    assert torch.equal(sampled["samples"], reconstruct(gentle, PROMPT, trajectory))
    if solver != "midpoint":  # It asks between the levels.
        assert [call.sigma for call in calls] == sigmas[:-1].tolist()


def test_inversion_with_dpm_solver_asks_at_every_level_but_the_noisiest(gentle):
    """As TF-ICON's does: from the picture at the lowest level on, with no step of another solver."""
    sigmas = uniform_time_sigmas(gentle, 6)
    spied, calls = watched(gentle)
    invert(spied, PROMPT, noise(1), sigmas, "dpmpp_2m", 1)
    assert [call.sigma for call in calls] == sigmas.flip(0)[:-1].tolist()
    assert torch.equal(calls[0].x, gentle.model.process_latent_in(noise(1)))


def test_every_input_and_output_says_what_it_is():
    schema = UniformTimeScheduler.define_schema()
    assert schema.node_id == "Graft" + schema.display_name.replace(" ", "")
    assert all(part.tooltip for part in [*schema.inputs, *schema.outputs])
