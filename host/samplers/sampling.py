"""Graft's own sampler and inverter, and how trajectories are made with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import comfy.model_management
import comfy.model_patcher
import comfy.patcher_extension
import comfy.sample
import comfy.samplers
import torch
from comfy.patcher_extension import WrappersMP
from torch import Tensor
from tqdm.auto import tqdm

from ...inversion import solvers
from ...inversion.mixing import Mixing
from ...inversion.solvers import Denoiser, Solver, Step, StepHook
from ...inversion.trajectory import Trajectory
from ..engine.fingerprints import conditioning_fingerprint, model_fingerprint, require_made_with
from ..engine.noise_levels import noise_parts
from ..engine.pictures import between_nodes, for_vae
from ..engine.plan import RUN_KEY, require_unedited
from ..engine.requirements import (
    mixing_of,
    require_channels,
    require_descending,
    require_finite,
    require_one_prompt,
)
from ..errors import GraftError
from ..families.attention import Hook
from .guided import sample, unguided

RECORD_KEY = "graft_record"


class NoFreshNoise:
    """A NOISE for latents that are noisy already, at noise level `sigma`: what mixed with them leaves them as they are.

    Of x' = alpha x + beta n that is n = (1 - alpha) / beta x: nothing where noise is added, the latents themselves in flows.
    """

    seed = 0

    def __init__(self, model, sigma: float) -> None:
        alpha, beta = noise_parts(model.get_model_object("model_sampling"), sigma)
        self.part = (1 - alpha) / beta
        self.into_sampler = model.model.process_latent_in

    def generate_noise(self, latent: dict) -> Tensor:
        return self.part * self.into_sampler(latent["samples"]).to("cpu")


class GraftSampler(comfy.samplers.KSAMPLER):
    """A SAMPLER that runs one of Graft's solvers from noise to picture and gives step operators their turn."""

    serves: frozenset[Hook] = frozenset({"step"})

    def __init__(self, solver: Solver) -> None:
        super().__init__(self._run)
        self.solver = solver

    @torch.no_grad()  # as the host's own samplers
    def _run(self, model, x: Tensor, sigmas: Tensor, extra_args: dict, callback=None, disable=None) -> Tensor:
        if len(sigmas) > 1:  # a sampler without steps has nothing to do
            require_descending(sigmas)
        engine = extra_args["model_options"]["transformer_options"].get(RUN_KEY)

        with _reporting(callback, sigmas, disable) as report:

            def after_step(x_next: Tensor, step: Step) -> Tensor:
                report(step)
                return x_next if engine is None else engine.after_step(x_next, step)

            return self.solve(model, x, sigmas, extra_args, after_step)

    def solve(self, model, x: Tensor, sigmas: Tensor, extra_args: dict, after_step: StepHook) -> Tensor:
        """From `x` at the first noise level to the last, with `model` as the host gives it to its own samplers."""
        return solvers.sample(self.solver, denoiser(model, extra_args), x, sigmas, after_step)


class Inverter(comfy.samplers.Sampler):
    """A sampler that runs a solver from picture to noise along ascending sigmas and keeps what it passes."""

    def __init__(self, solver: Solver, iterations: int, mixing: Mixing) -> None:
        self.solver, self.iterations, self.mixing = solver, iterations, mixing
        self.latents: list[Tensor] = []

    @torch.no_grad()  # as the host's own samplers
    def sample(self, model_wrap, sigmas, extra_args, callback, noise, latent_image=None, denoise_mask=None, disable_pbar=False) -> Tensor:
        self.latents = [latent_image]

        def shown(told: dict) -> None:
            if callback is not None:
                callback(told["i"], told["denoised"], told["x"], len(sigmas) - 1)

        with _reporting(shown, sigmas, disable_pbar) as report:

            def after_step(x_next: Tensor, step: Step) -> Tensor:
                report(step)
                self.latents.append(x_next)
                return x_next

            denoise = denoiser(model_wrap, extra_args)
            return solvers.invert(self.solver, denoise, latent_image, sigmas, after_step, self.iterations, self.mixing)


def denoiser(model, extra_args: dict) -> Denoiser:
    return lambda x, sigma: model(x, sigma * x.new_ones(len(x)), **extra_args)


@contextmanager
def _reporting(callback, sigmas: Tensor, disable: bool | None) -> Iterator[Callable[[Step], None]]:
    """Progress in the console and, by ComfyUI's callback, in the editor, with previews."""
    with tqdm(total=len(sigmas) - 1, disable=disable) as bar:

        def report(step: Step) -> None:
            bar.update()
            if callback is not None:
                callback({"i": step.index, "x": step.x, "denoised": step.denoised, "sigma": step.sigma, "sigma_hat": step.sigma})

        yield report


def invert(model, conditioning: list, latent: Tensor, sigmas: Tensor, solver: Solver, iterations: int) -> Trajectory:
    """The trajectory of clean `latent` (B, C, h, w), in the VAE's space, under `conditioning` without guidance.

    `sigmas` (S + 1) descend as schedulers give them. Makes S model calls, for DDIM S times `iterations`.
    """
    require_descending(sigmas)
    require_one_prompt(conditioning, "conditioning", "an inversion")
    require_unedited(model)
    mixing = mixing_of(model)
    require_channels(model, latent, "vae", "connect the model's own VAE")
    inverter = Inverter(solver, iterations, mixing)
    _sample_unguided(model, conditioning, torch.zeros_like(latent), latent, inverter, sigmas.flip(0))
    return Trajectory(
        latents=torch.stack([x.cpu() for x in reversed(inverter.latents)]),
        sigmas=sigmas.float().cpu(),
        solver=solver,
        model=model_fingerprint(model),
        conditioning=conditioning_fingerprint(conditioning),
        mixing=mixing,
    )


def reconstruct(model, conditioning: list, trajectory: Trajectory) -> Tensor:
    """(B, C, h, w), in the VAE's space: the trajectory's solver run back from its noisiest latents without guidance."""
    require_unedited(model)
    require_one_prompt(conditioning, "conditioning", "a reconstruction")
    mixing_of(model)
    require_channels(model, trajectory.clean, "trajectory", "use the model it was made with")
    if trajectory.solver not in solvers.SOLVERS:
        raise GraftError(
            f"trajectory: it was {trajectory.solver}, not inverted, so there is nothing to retrace; connect one from Invert Image"
        )
    require_made_with(model_fingerprint(model), trajectory, "trajectory")
    noisiest = for_vae(model, trajectory.latents[0])
    noise = NoFreshNoise(model, float(trajectory.sigmas[0])).generate_noise({"samples": noisiest})
    return _sample_unguided(model, conditioning, noise, noisiest, GraftSampler(trajectory.solver), trajectory.sigmas)


def _sample_unguided(model, conditioning: list, noise: Tensor, latent: Tensor, sampler, sigmas: Tensor) -> Tensor:
    """Runs `sampler` from `latent` under `noise` and with the one conditioning, one row per call and picture."""
    made = sample(unguided(model, conditioning), noise, latent, sampler, sigmas, seed=0)
    return require_finite("model", made, "what it predicts")


def generate(guider, noise, latent: dict, sampler, sigmas: Tensor) -> dict:
    """A generation as SamplerCustomAdvanced runs it; returns its LATENT."""
    require_descending(sigmas)
    latent = latent.copy()
    sizes = latent.pop("downscale_ratio_spacial", None), latent.pop("downscale_ratio_temporal", None)
    latent["samples"] = comfy.sample.fix_empty_latent_channels(guider.model_patcher, latent["samples"], *sizes)
    require_channels(guider.model_patcher, latent["samples"], "latent_image", "connect one that was made for this model")
    start = noise.generate_noise(latent)
    if start.shape != latent["samples"].shape:
        raise GraftError(
            f"noise: it is {tuple(start.shape)}, the latent_image {tuple(latent['samples'].shape)}; connect noise that is made for the latent"
        )
    start = require_finite("noise", start, "what it generates")
    samples = sample(guider, start, latent["samples"], sampler, sigmas, noise.seed, latent.get("noise_mask"))
    require_finite("guider", samples, "what its model predicts")
    latent["samples"] = between_nodes(samples)
    return latent


def record(guider, noise, latent: dict, sampler, sigmas: Tensor, bottlenecks: bool = False) -> tuple[dict, Trajectory]:
    """Runs a generation; returns its LATENT and the trajectory of what the model was shown.

    Every noise level the sampler asks about is kept, the last look where it asks twice; with `bottlenecks` also what the
    middle block gave for the positive prompt.
    """
    if "positive" not in guider.original_conds:
        raise GraftError(
            f"guider: it has no positive prompt, only {', '.join(guider.original_conds)}; connect a CFG Guider or a Basic Guider"
        )
    mixing = mixing_of(guider.model_patcher)
    require_descending(sigmas)
    require_unedited(guider.model_patcher)
    positive = [(entry.get("cross_attn"), entry) for entry in guider.original_conds["positive"]]
    if bottlenecks:
        require_one_prompt(positive, "guider", "content")
    seen: dict[float, Tensor] = {}
    h: dict[float, Tensor] = {}

    def keep_latents(executor, x, timestep, *args, **kwargs):
        # A copy even on the CPU: samplers may go on to change the latents they have shown.
        seen[float(timestep[0])] = x.to("cpu", copy=True)
        h.pop(float(timestep[0]), None)
        return executor(x, timestep, *args, **kwargs)

    def keep_bottleneck(data: dict) -> dict:
        """The middle_block_after_patch. The first look of a denoise call is guidance's own; other nodes may ask again."""
        options = data["transformer_options"]
        order, sigma = options["cond_or_uncond"], float(options["sigmas"][0])
        if 0 in order and sigma not in h:
            h[sigma] = data["h"].chunk(len(order))[order.index(0)].to("cpu", copy=True)
        return data

    before = guider.model_options
    guider.model_options = comfy.model_patcher.create_model_options_clone(before)
    if bottlenecks:
        patches = guider.model_options["transformer_options"].setdefault("patches", {})
        patches["middle_block_after_patch"] = [*patches.get("middle_block_after_patch", ()), keep_bottleneck]
    comfy.patcher_extension.add_wrapper_with_key(
        WrappersMP.PREDICT_NOISE, RECORD_KEY, keep_latents, guider.model_options, is_model_options=True
    )
    try:
        latent = generate(guider, noise, latent, sampler, sigmas)
    finally:
        guider.model_options = before
    # The host hands out pictures: of a flow that stops above 0 it has divided the noise's share away.
    kept, _ = noise_parts(guider.model_patcher.get_model_object("model_sampling"), float(sigmas[-1]))
    seen[float(sigmas[-1])] = kept * guider.model_patcher.model.process_latent_in(latent["samples"]).cpu()
    levels = sorted(seen, reverse=True)
    trajectory = Trajectory(
        latents=torch.stack([seen[level] for level in levels]),
        sigmas=torch.tensor(levels),
        solver="recorded",
        model=model_fingerprint(guider.model_patcher),
        conditioning=conditioning_fingerprint(positive),
        bottlenecks=torch.stack([h[level] for level in levels[:-1]]) if bottlenecks else None,
        mixing=mixing,
    )
    return latent, trajectory
