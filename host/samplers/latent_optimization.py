"""Optimising a latent by Delta Denoising Score, as one more sampler of the host's.

Every iteration noises the source and the latent alike and asks the model what it sees in either: the source's rows are a
stream, the latent's are the target. No gradient goes through the model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import comfy.model_management
import comfy.samplers
import torch
from torch import Tensor
from tqdm.auto import tqdm

from ...attention.masks import on_cells
from ...optimization.dds import dds_gradient, score_difference
from ...optimization.descent import ADAM, Descent, descend
from ..edits.key_value_mask import MaskKeysAndValues
from ..edits.self_attention import ReplaceKeysAndValues
from ..engine.engine import Engine
from ..engine.fingerprints import conditioning_fingerprint, model_fingerprint
from ..engine.masks import require_aspect
from ..engine.noise_levels import level_at, noise_parts, require_picture_latent, require_timesteps
from ..engine.plan import RUN_KEY, Edit, RunningEdit, RunningOnBothPrompts, plan_of
from ..engine.run import carry_out
from ..engine.sampling_run import Run
from ..engine.stream import Stream
from ..errors import GraftError
from ..families.attention import Hook
from ..families.layer import Layers
from .guided import Prompts, guided, sample
from .perceptual import Masks, PerceptualLoss


class NoisedSource:
    """The source picture under the noise that was drawn last: what its stream shows the model.

    It has of a `Trajectory` what streams ask of one. The latent that is optimised takes its noise and its iteration from here.
    """

    def __init__(self, model, conditioning: list, latent: Tensor, sigmas: Tensor, seed: int) -> None:
        self.sampling = model.get_model_object("model_sampling")
        self.clean = model.model.process_latent_in(latent.float())
        self.latents, self.sigmas = self.clean[None], sigmas.max()[None]
        self.model, self.conditioning = model_fingerprint(model), conditioning_fingerprint(conditioning)
        self.generator = torch.Generator().manual_seed(seed)
        self.noise = torch.zeros_like(self.clean)
        self.iteration = 0

    @property
    def batch(self) -> int:
        return len(self.clean)

    def draw(self, iteration: int) -> None:
        """New noise; the same seed draws the same on every device."""
        self.iteration = iteration
        self.noise = torch.randn(self.clean.shape, generator=self.generator)

    def noised(self, latent: Tensor, sigma: float) -> Tensor:
        """(B, C, h, w): a clean latent under the noise drawn last."""
        return self.sampling.noise_scaling(torch.tensor(sigma), self.noise.to(latent), latent)

    def at(self, sigma: float) -> Tensor:
        return self.noised(self.clean, sigma)

    def nearest(self, sigma: float) -> int:
        return 0


@dataclass(frozen=True)
class Iterations:
    """A window that counts iterations of the optimisation, from `first` to before `end`, at whatever noise level they are."""

    source: NoisedSource
    first: int = 0
    end: float = math.inf

    def __contains__(self, sigma: float) -> bool:
        return self.first <= self.source.iteration < self.end

    def misses(self, sigmas: list[float]) -> bool:
        return False  # Any of them may come up in any iteration.


@dataclass(frozen=True, eq=False)
class SourceScore:
    """Has the source's rows run beside the latent's, before iteration `end`."""

    hooks: ClassVar[frozenset[Hook]] = frozenset()

    stream: Stream
    guidance: float | None = None
    """How strongly the source's prompt is followed; None: as the latent's."""
    end: float = math.inf

    def begin(self, run: Run) -> RunningEdit:
        return RunningSourceScore(self, run)


class RunningSourceScore(RunningOnBothPrompts):
    def __init__(self, score: SourceScore, run: Run) -> None:
        super().__init__(score.stream, run)
        self.guidance, self.window = score.guidance, Iterations(score.stream.trajectory, end=score.end)

    def active_at(self, sigma: float) -> bool:
        return sigma in self.window

    def streams_at(self, sigma: float) -> tuple[Stream, ...]:
        if self.guidance is None or not self.active_at(sigma):
            return super().streams_at(sigma)
        return self.streams if self.guidance != 1 else (self.stream,)

    def denoised(self, x: Tensor, sigma: Tensor, model_options: dict) -> Tensor:
        """(B, C, h, w): the guided prediction for the source `x` at `sigma` (B,), by whatever way of guidance the latent's rows get."""
        run, guider = self.run, self.run.guider
        guidance = guider.cfg if self.guidance is None else self.guidance
        rows = self.streams_at(run.sigma)
        conds = [[run.conditionings[stream]] for stream in rows]
        predictions = [run.predicted(stream) for stream in rows]
        if len(rows) == 1:
            conds, predictions = [*conds, None], [*predictions, torch.zeros_like(x)]
        for function in model_options.get("sampler_pre_cfg_function", ()):
            told = {"conds": conds, "conds_out": predictions, "cond_scale": guidance, "timestep": sigma, "input": x, "sigma": sigma}
            predictions = function({**told, "model": guider.inner_model, "model_options": model_options})
        scale = guidance if len(rows) == 2 else 1.0
        return comfy.samplers.cfg_function(guider.inner_model, *predictions, scale, x, sigma, model_options, *conds)


class Editor(Protocol):
    """An edit of the latent's rows that reads the source's, or whose window counts iterations."""

    def edit(self, stream: Stream) -> Edit: ...


@dataclass(frozen=True, eq=False)
class MaskedKeys:
    """From iteration `start` on, the latent's rows cannot see what `mask` (B or 1, H, W) covers."""

    mask: Tensor
    layers: Layers
    start: int
    threshold: float
    interpolation: str

    def edit(self, stream: Stream) -> Edit:
        window = Iterations(stream.trajectory, self.start)
        return MaskKeysAndValues(self.mask, window, self.layers, self.threshold, self.interpolation)


@dataclass(frozen=True, eq=False)
class SourceKeys:
    """Before iteration `end`, the latent's rows read the keys and values of the source's."""

    layers: Layers
    end: int

    def edit(self, stream: Stream) -> Edit:
        return ReplaceKeysAndValues(stream, Iterations(stream.trajectory, end=self.end), self.layers)


class Loss(Protocol):
    """A loss on the latent beside Delta Denoising Score's."""

    every: int
    """Its gradient is asked for in every so many iterations, and counts as often."""

    def gradient(self, latent: Tensor) -> Tensor:
        """Of the loss, at a latent (B, C, h, w) in sampler space."""
        ...


@dataclass(frozen=True)
class Optimization:
    """What one optimisation does. The defaults are FreeCompose's."""

    iterations: int
    guidance: float = 7.5
    descent: Descent = ADAM
    timesteps: tuple[int, int] = (50, 950)
    """From which to which timestep noise levels are drawn: the last two are not, as in the released code."""
    polish: int = 0
    """As many iterations at the end draw from `polish_timesteps`, to settle details."""
    polish_timesteps: tuple[int, int] = (50, 150)
    scale: float = 10.0
    """Weight of Delta Denoising Score's loss beside the others."""
    mask: Tensor | None = None
    """(B or 1, H, W): the gradient of Delta Denoising Score counts `outside` as much where it is 0."""
    outside: float = 1.0
    plateau: float = 0.0


class LatentOptimizer(comfy.samplers.Sampler):
    """A SAMPLER that descends from the latent image, at the noise levels that it is given as a schedule."""

    def __init__(self, source: NoisedSource, settings: Optimization, losses: Sequence[Loss]) -> None:
        self.source, self.settings, self.losses = source, settings, losses

    def sample(self, model_wrap, sigmas, extra_args, callback, noise, latent_image=None, denoise_mask=None, disable_pbar=False) -> Tensor:
        model_options = extra_args["model_options"]
        engine: Engine = model_options["transformer_options"][RUN_KEY]
        (source_score,) = (edit for edit in engine.edits if isinstance(edit, RunningSourceScore))
        clean = self.source.clean = self.source.clean.to(noise)
        weights = _weights(self.settings, clean)
        levels, total = sigmas.tolist(), self.settings.iterations

        def gradient(latent: Tensor, iteration: int) -> Tensor:
            comfy.model_management.throw_exception_if_processing_interrupted()
            self.source.draw(iteration)
            engine.drop_taps()
            level = levels[iteration]
            sigma = clean.new_full((len(clean),), level)
            denoised = model_wrap(self.source.noised(latent, level), sigma, **extra_args)
            source_denoised = source_score.denoised(self.source.at(level), sigma, model_options)
            alpha, noise_scale = noise_parts(self.source.sampling, level)
            difference = score_difference(latent, clean, denoised, source_denoised, alpha, noise_scale)
            result = dds_gradient(difference, weights, self.settings.scale)
            for loss in self.losses:
                if iteration % loss.every == 0:
                    result = result + loss.every * loss.gradient(latent)
            return result

        with tqdm(total=total, disable=disable_pbar) as bar:

            def report(latent: Tensor, iteration: int) -> None:
                bar.update()
                if callback is not None:
                    callback(iteration, latent, latent, total)

            return descend(clean, self.settings.descent, total, gradient, report, self.settings.plateau)


def drawn_levels(sampling, settings: Optimization, seed: int) -> Tensor:
    """(iterations + 1,): a noise level for each iteration, and 0 for the picture at the end."""
    generator = torch.Generator().manual_seed(seed)
    polish = min(settings.polish, settings.iterations)
    spans = (settings.timesteps, settings.iterations - polish), (settings.polish_timesteps, polish)
    drawn = torch.cat([torch.randint(low, high - 1, (count,), generator=generator) for (low, high), count in spans])
    return torch.cat([level_at(sampling, drawn), torch.zeros(1)])


def optimize(
    model,
    prompts: Prompts,
    latent: Tensor,
    seed: int,
    settings: Optimization,
    editors: Sequence[Editor] = (),
    losses: Sequence[tuple[PerceptualLoss, Masks]] = (),
) -> Tensor:
    """`latent` (B, C, h, w), in the VAE's space, optimised from what the source's prompt says it shows to what the
    positive one says.

    Runs as any sampling does: two rows of the source and two of the latent per picture and iteration. Each of `losses` keeps the
    look under masks, which have weights.
    """
    _check(model, latent, settings, [mask for _, masks in losses for mask, _ in masks])
    sampling = model.get_model_object("model_sampling")
    sigmas = drawn_levels(sampling, settings, seed)
    source = NoisedSource(model, prompts.source_conditioning, latent, sigmas, seed)
    stream = Stream(source, prompts.source_conditioning, name="latent_image", prompt_name="source_conditioning")
    plan = plan_of(model).with_edit(SourceScore(stream))
    for editor in editors:
        plan = plan.with_edit(editor.edit(stream))
    guider = guided(carry_out(model, plan), prompts, settings.guidance)
    sampler = LatentOptimizer(source, settings, [loss.prepare(model, latent, masks) for loss, masks in losses])
    made = sample(guider, torch.zeros_like(latent), latent, sampler, sigmas, seed)
    if not bool(made.isfinite().all()):
        raise GraftError("learning_rate: the latent ran away and is no longer finite; lower learning_rate, guidance or prompt_weight")
    return made


def _weights(settings: Optimization, latent: Tensor) -> Tensor | float:
    """(B or 1, 1, h, w) of the gradient: 1 where the mask covers a cell, `outside` where it covers none."""
    if settings.mask is None:
        return 1.0
    return settings.outside + (1 - settings.outside) * on_cells(settings.mask, latent)


def kept_outside(mask: Tensor | None, latent: Tensor, edited: Tensor) -> Tensor:
    """`edited` where `mask` (B or 1, H, W) covers anything of a cell, else `latent` to the bit: on its way to the sampler's space and
    back a latent may lose one."""
    return edited if mask is None else torch.where(on_cells(mask, latent) > 0, edited.to(latent), latent)


def _check(model, latent: Tensor, settings: Optimization, masks: Sequence[Tensor]) -> None:
    """Raises `GraftError` for what cannot be optimised, before the model is loaded."""
    require_picture_latent(model, latent, "latent_image")
    require_timesteps("timestep", settings.timesteps)
    if settings.polish:
        require_timesteps("polish_timestep", settings.polish_timesteps)
    for mask in masks if settings.mask is None else (settings.mask, *masks):
        require_aspect("mask", mask, latent.shape)
        if len(mask) not in (1, len(latent)):
            raise GraftError(f"mask: it holds {len(mask)}, the latent_image {len(latent)} pictures; they must agree, or mask hold one")
