"""The stream engine: runs a model's plan beside one sampling run.

Each denoise call is two passes, both batched by ComfyUI itself: first the streams (their hidden states are tapped),
then the target (its edits read the taps). State lives in one `Run` per sampling run, made in an OUTER_SAMPLE wrapper
and dropped when the run ends, fails or is interrupted.
"""

from __future__ import annotations

import logging

import comfy.model_patcher
import comfy.sampler_helpers
import comfy.samplers
import torch
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from .errors import GraftError
from .fingerprints import conditioning_fingerprint, require_made_with
from .layers import Layer
from .plan import PLAN_KEY, RUN_KEY, Edit, Plan, Stream, covers_area
from .sampling import GraftSampler

GUIDED = ("positive", "middle")
"""Names under which guiders keep the conditionings that edits apply to; the negative's rows stay plain."""

ABOVE = 1.2
"""A run may start this much noisier than a trajectory, whose first step is extended so far: schedulers differ by less."""

logger = logging.getLogger("graft")


def carry_out(model, plan: Plan):
    """A clone of `model` that runs `plan` whenever it is sampled."""
    clone = model.clone()
    clone.model_options["transformer_options"][PLAN_KEY] = plan
    if not clone.get_wrappers(WrappersMP.OUTER_SAMPLE, PLAN_KEY):
        clone.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, PLAN_KEY, _outer_sample)
        clone.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, PLAN_KEY, _sampler_sample)
        clone.add_wrapper_with_key(WrappersMP.CALC_COND_BATCH, PLAN_KEY, _calc_cond_batch)
        clone.set_model_attn1_patch(_attention_inputs)
    return clone


class Run:
    """One sampling run of a plan."""

    def __init__(self, plan: Plan, guider, sigmas: Tensor, shape: torch.Size) -> None:
        self.plan, self.guider = plan, guider
        self.conditionings: dict[Stream, list[dict]] = {}
        self.taps: dict[tuple[Stream, Layer], Tensor] = {}
        self.tapped_at: float | None = None
        self.writing: tuple[Stream, ...] = ()
        self.active: tuple[Edit, ...] = ()
        self.guided: frozenset[int] = frozenset()
        self._noted: set[str] = set()
        self._check(float(sigmas[0]), shape)

    def _check(self, first: float, shape: torch.Size) -> None:
        if self.guider.model_patcher.get_additional_models_with_key("multigpu"):
            raise GraftError("model: Graft's edits do not run on several GPUs at once; remove the multi-GPU node")
        if "context_handler" in self.guider.model_options:
            raise GraftError("model: Graft's edits do not run in context windows; remove the Context Windows node")
        # The host gives every conditioning the areas of every other, so that an area on the negative crops the positive too.
        for name, conditioning in self.guider.conds.items():
            if any(covers_area(entry) for entry in conditioning):
                raise GraftError(
                    f"{name}: Graft's edits cover the whole picture; remove the area from the prompt or use a mask without bounds instead"
                )
        for stream in self.plan.streams:
            self._check_stream(stream, first, shape)

    def _check_stream(self, stream: Stream, first: float, shape: torch.Size) -> None:
        trajectory = stream.trajectory
        require_made_with(self.guider.model_patcher, trajectory, "source")
        if trajectory.latents.shape[2:] != shape[1:]:
            raise GraftError(
                f"source: its latents are {tuple(trajectory.latents.shape[2:])} (channels, height, width), "
                f"the sampled latent is {tuple(shape[1:])}; invert a picture of the size you sample"
            )
        if trajectory.batch not in (1, shape[0]):
            raise GraftError(
                f"source: it holds {trajectory.batch} pictures, the sampled batch {shape[0]}; they must agree, or the source hold one"
            )
        highest = float(trajectory.sigmas[0])
        if first > ABOVE * highest and any(edit.stream is stream and first in edit.window for edit in self.plan.edits):
            raise GraftError(
                f"sigmas: sampling starts at noise level {first:.4g}, the source's trajectory at {highest:.4g}; "
                "use the same schedule for both, or Start From Trajectory"
            )
        if trajectory.conditioning != conditioning_fingerprint(stream.conditioning):
            self.note("source_conditioning is not the prompt the source was made with; the source is replayed under another prompt")

    def note(self, message: str) -> None:
        """Logs once per run what is approximated or skipped."""
        if message not in self._noted:
            self._noted.add(message)
            logger.warning("Graft: %s", message)

    def latents(self, stream: Stream, sigma: Tensor) -> Tensor:
        if stream.trajectory.nearest(float(sigma)) is None:
            self.note("the sampler asks for noise levels that the trajectory has no latents at; they are interpolated")
        return stream.trajectory.at(float(sigma)).to(sigma.device)

    def tap_streams(self, executor, model, x: Tensor, timestep: Tensor, model_options: dict) -> None:
        """The write pass: runs every stream that an active edit reads, those with one conditioning in one batch.

        Streams do not depend on the target, so a second call at the same noise level reuses the taps.
        """
        sigma = float(timestep[0])
        if self.tapped_at == sigma:
            return
        self.drop_taps()
        groups: dict[int, list[Stream]] = {}
        for stream in dict.fromkeys(edit.stream for edit in self.active):
            groups.setdefault(id(stream.conditioning), []).append(stream)
        for group in groups.values():
            self.writing = tuple(group)
            try:
                rows = torch.cat([self.latents(stream, timestep[0]).to(x) for stream in self.writing])
                executor(model, [self.conditionings[self.writing[0]]], rows, timestep[:1].expand(len(rows)), model_options)
            finally:
                self.writing = ()
        self.tapped_at = sigma

    def drop_taps(self) -> None:
        self.taps.clear()
        self.tapped_at = None

    def tap(self, layer: Layer, hidden: Tensor) -> None:
        """Keeps the rows of the streams being written, where an active edit will read them."""
        start = 0
        for stream in self.writing:
            rows = slice(start, start + stream.trajectory.batch)
            start = rows.stop
            if any(edit.stream is stream and layer in edit.layers for edit in self.active):
                self.taps[stream, layer] = hidden[rows].clone()

    def edit(self, layer: Layer, inputs: tuple[Tensor, Tensor, Tensor], order: list[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Applies the active edits to the guided chunks. `order` is ComfyUI's `cond_or_uncond`: chunk o holds the rows of
        conditioning order[o], in whatever order and split the host chose."""
        edits = [edit for edit in self.active if layer in edit.layers]
        chunks = [chunk for chunk, conditioning in enumerate(order) if conditioning in self.guided]
        if not edits or not chunks:
            return inputs
        size = len(inputs[0]) // len(order)
        edited = list(inputs)
        for chunk in chunks:
            rows = slice(chunk * size, (chunk + 1) * size)
            before = after = tuple(tensor[rows] for tensor in inputs)
            for edit in edits:
                after = edit.attention_inputs(*after, self.taps[edit.stream, layer].expand(size, -1, -1))
            for index, (old, new) in enumerate(zip(before, after, strict=True)):
                if new is not old:
                    if edited[index] is inputs[index]:
                        edited[index] = inputs[index].clone()
                    edited[index][rows] = new
        return tuple(edited)

    def after_step(self, x: Tensor, step) -> Tensor:
        for operator in self.plan.step_operators:
            x = operator.after_step(x, step, self)
        return x


def _outer_sample(executor, noise, latent_image, sampler, sigmas, *args, **kwargs):
    guider = executor.class_obj
    plan: Plan = guider.model_options["transformer_options"][PLAN_KEY]
    if plan.step_operators and not isinstance(sampler, GraftSampler):
        names = ", ".join(sorted({type(operator).__name__ for operator in plan.step_operators}))
        raise GraftError(f"sampler: {names} works between steps, which only the Graft Sampler node lets it do; connect Graft Sampler")
    run = Run(plan, guider, sigmas, latent_image.shape)
    before = guider.model_options
    guider.model_options = comfy.model_patcher.create_model_options_clone(before)
    guider.model_options["transformer_options"][RUN_KEY] = run
    # Listed among the guider's conditionings while models are loaded, so that a stream's own ControlNet is loaded too.
    listed = {f"graft {number}": stream for number, stream in enumerate(plan.streams)}
    guider.conds.update({name: comfy.sampler_helpers.convert_cond(stream.conditioning) for name, stream in listed.items()})
    try:
        return executor(noise, latent_image, sampler, sigmas, *args, **kwargs)
    finally:
        guider.model_options = before
        run.drop_taps()


def _sampler_sample(executor, guider, sigmas, extra_args, callback, noise, latent_image=None, *args, **kwargs):
    """Encodes the streams' conditionings apart from the target's, which would lend them its areas and ControlNets."""
    run: Run = extra_args["model_options"]["transformer_options"][RUN_KEY]
    for number, stream in enumerate(run.plan.streams):
        guider.conds.pop(f"graft {number}", None)
        conditioning = {"stream": comfy.sampler_helpers.convert_cond(stream.conditioning)}
        batch = slice(0, stream.trajectory.batch)
        image = None if latent_image is None else latent_image[batch]
        encoded = comfy.samplers.process_conds(
            guider.inner_model, noise[batch], conditioning, noise.device, image, None, extra_args.get("seed")
        )
        run.conditionings[stream] = encoded["stream"]
    return executor(guider, sigmas, extra_args, callback, noise, latent_image, *args, **kwargs)


def _calc_cond_batch(executor, model, conds, x, timestep, model_options):
    run: Run | None = model_options["transformer_options"].get(RUN_KEY)
    if run is None:
        return executor(model, conds, x, timestep, model_options)
    sigma = float(timestep[0])
    run.active = tuple(edit for edit in run.plan.edits if sigma in edit.window)
    guided = [run.guider.conds[name] for name in GUIDED if name in run.guider.conds]
    run.guided = frozenset(index for index, cond in enumerate(conds) if any(cond is one for one in guided))
    try:
        if not run.active:
            run.drop_taps()
        elif run.guided:
            run.tap_streams(executor, model, x, timestep, model_options)
        return executor(model, conds, x, timestep, model_options)
    finally:
        run.active = ()


def _attention_inputs(query: Tensor, key: Tensor, value: Tensor, options: dict):
    """The attn1_patch: hidden states (rows, tokens, channels) before their projections."""
    run: Run | None = options.get(RUN_KEY)
    if run is None or not run.active:
        return query, key, value
    layer = Layer.of(options)
    if run.writing:
        run.tap(layer, query)
        return query, key, value
    return run.edit(layer, (query, key, value), options["cond_or_uncond"])
