"""The stream engine: runs a model's plan beside one sampling run.

Each denoise call is two passes, both batched by ComfyUI itself: first the streams (what edits read of them is tapped),
then the target (its edits read the taps). State lives in one `Run` per sampling run, made in an OUTER_SAMPLE wrapper
and dropped when the run ends, fails or is interrupted.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sized
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import accumulate, pairwise

import comfy.model_patcher
import comfy.sampler_helpers
import torch
from comfy.ldm.modules.attention import optimized_attention
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ...attention.cross_attention import AttentionMap, Term
from ...attention.words import Prompt
from ...inversion.trajectory import Trajectory
from ..errors import GraftError
from ..families.layers import BOTTLENECK, Layer, Layers, attention_layers, is_unet, require_unet
from ..samplers.asymmetric_sampler import AsymmetricSampler
from ..samplers.sampling import GraftSampler
from .fingerprints import conditioning_fingerprint, require_made_with
from .masks import Grid, require_aspect, require_held
from .plan import PLAN_KEY, RUN_KEY, Place, Plan, RunningEdit, Stream, Tap
from .prompts import prompts_of
from .requirements import covers_area
from .shared_decoder import network_call
from .streams import batches, encoded
from .two_predictions import TwoPredictions
from .windows import Window

GUIDED = ("positive", "middle")
"""Names under which guiders keep the conditionings that edits apply to."""

PLAIN = "negative"
"""The name of the conditioning whose rows stay plain, unless an edit says otherwise."""

OF_THE_TARGET = frozenset({"model_conds", "uuid", "control", "control_apply_to_uncond", "gligen", "mask"})
"""Options of the run's negative prompt that are about the target's picture, not about the prompt."""

ABOVE = 1.2
"""A run may start this much noisier than a trajectory, whose first step is extended so far: schedulers differ by less."""

Held = Callable[[Tensor, Grid], Tensor]
"""(mask (rows, H, W), grid) -> (rows, ...), bool: the cells of the grid that are the mask's."""

logger = logging.getLogger("graft")


def carry_out(model, plan: Plan):
    """A clone of `model` that runs `plan` whenever it is sampled."""
    clone = model.clone()
    clone.model_options["transformer_options"][PLAN_KEY] = plan
    if not clone.get_wrappers(WrappersMP.OUTER_SAMPLE, PLAN_KEY):
        clone.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, PLAN_KEY, _outer_sample)
        clone.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, PLAN_KEY, _sampler_sample)
        clone.add_wrapper_with_key(WrappersMP.CALC_COND_BATCH, PLAN_KEY, _calc_cond_batch)
        if is_unet(clone):
            # Other families call patches of this name with other arguments. They can run streams, but no edit of attention.
            clone.set_model_attn1_patch(_attention_inputs)
    if "h" in plan.hooks and not clone.get_wrappers(WrappersMP.DIFFUSION_MODEL, PLAN_KEY):
        clone.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, PLAN_KEY, network_call)
    for hook, compute in (("attn1", Run.self_attention), ("attn2", Run.cross_attention)):
        if hook in plan.hooks:
            _compute_with(clone, hook, compute)
    return clone


class Run:
    """One sampling run of a plan."""

    def __init__(self, plan: Plan, guider, sampler, sigmas: Tensor, shape: torch.Size) -> None:
        self.guider, self.sampler, self.sigmas, self.shape = guider, sampler, sigmas, shape
        self.model = guider.model_patcher
        self.hooks = plan.hooks
        self.sigma = 0.0
        self.edits: tuple[RunningEdit, ...] = ()
        self.streams: tuple[Stream, ...] = ()
        self.conditionings: dict[Stream, dict] = {}
        self.taps: dict[tuple[Tap, Stream, Layer], tuple[Tensor, ...]] = {}
        self.denoised: dict[Stream, Tensor] = {}
        self.tapped_at: float | None = None
        self.writing: tuple[tuple[Stream, slice], ...] = ()
        self.active: tuple[RunningEdit, ...] = ()
        self.guided: frozenset[int] = frozenset()
        self.plain: frozenset[int] = frozenset()
        self.two_predictions = TwoPredictions()
        self._read: dict[tuple, bool] = {}
        self._negatives: set[Stream] = set()
        self._noted: set[str] = set()
        self._check_host(plan)
        self.edits = tuple(edit.begin(self) for edit in plan.edits)
        self.streams = tuple(dict.fromkeys(stream for edit in self.edits for stream in edit.streams))
        levels = sigmas[:-1].tolist()
        for stream in self.streams:
            self._check_stream(stream, levels)
        for edit, running in zip(plan.edits, self.edits, strict=True):
            if levels and running.windows and all(window.misses(levels) for window in running.windows):
                self._note_missed(type(edit).__name__, running.windows, levels)

    def _check_host(self, plan: Plan) -> None:
        if self.model.get_additional_models_with_key("multigpu"):
            raise GraftError("model: Graft's edits do not run on several GPUs at once; remove the multi-GPU node")
        if "context_handler" in self.guider.model_options:
            raise GraftError("model: Graft's edits do not run in context windows; remove the Context Windows node")
        # The host gives every conditioning the areas of every other, so that an area on the negative crops the positive too.
        for name, conditioning in self.guider.conds.items():
            if any(covers_area(entry) for entry in conditioning):
                raise GraftError(
                    f"{name}: Graft's edits cover the whole picture; remove the area from the prompt or use a mask without bounds instead"
                )
        replacements = self.model.model_options["transformer_options"].get("patches_replace", {})
        for hook in plan.hooks & {"attn1", "attn2"}:
            for layer in attention_layers(require_unet(self.model)):
                if not isinstance(replacements.get(hook, {}).get(_key(layer)), Replacement):
                    raise GraftError(
                        f"model: a node after Graft's replaces the attention that Graft edits ({hook} of {layer.block} {layer.number}); "
                        "put that node before Graft's"
                    )

    def _note_missed(self, edit: str, windows: tuple[Window, ...], levels: list[float]) -> None:
        highest, lowest = max(window.highest for window in windows), min(window.lowest for window in windows)
        highest = min(highest, float(self.model.get_model_object("model_sampling").sigma_max))
        self.note(
            f"{edit} does nothing in this run: its window holds the noise levels {highest:.4g} to {lowest:.4g}, the run those from "
            f"{levels[0]:.4g} to {levels[-1]:.4g}; change its start_percent or end_percent, or the part of the schedule that is sampled"
        )

    def _check_stream(self, stream: Stream, levels: list[float]) -> None:
        trajectory, name = stream.trajectory, stream.name
        self.require_fits(trajectory, name)
        needed = [sigma for sigma in levels if any(stream in edit.streams_at(sigma) for edit in self.edits)]
        self.require_reaches(trajectory, name, needed)
        if stream not in self._negatives and trajectory.conditioning != conditioning_fingerprint(stream.conditioning):
            self.note(f"{stream.prompt_name} is not the prompt the {name} was made with; the {name} is replayed under another prompt")

    # What edits ask about the run when they begin.

    @property
    def guidance(self) -> float:
        """The guider's scale, 1 where it compares with no negative. Raises `GraftError` for guiders that mix more than two prompts."""
        if PLAIN not in self.guider.conds:
            return 1.0
        if set(self.guider.conds) - {"positive", PLAIN}:
            raise GraftError(f"guider: it mixes {', '.join(self.guider.conds)}; connect a CFG Guider")
        return float(self.guider.cfg)

    def prompts(self, why: str) -> tuple[Prompt, ...]:
        """The words of the one positive prompt, for all rows or per row. Raises `GraftError` if there are several prompts,
        or one that carries no words; `why` says what needs them."""
        entries = [entry for name in GUIDED for entry in self.guider.conds.get(name, ())]
        if len(entries) != 1:
            raise GraftError(f"positive: {why} needs one prompt, got {len(entries)} combined; connect a single encoded prompt")
        prompts = prompts_of(entries[0]["cross_attn"].shape[1], entries[0], "positive")
        self.require_batch("positive", prompts)
        return prompts

    def require_batch(self, name: str, values: Sized | None) -> None:
        """Raises `GraftError` unless what came through the input `name` is one for all pictures, or one for each."""
        if values is not None and len(values) not in (1, self.shape[0]):
            raise GraftError(
                f"{name}: it holds {len(values)}, the sampled batch {self.shape[0]} pictures; they must agree, or {name} hold one"
            )

    def require_mask(self, name: str, mask: Tensor | None, layers: Layers = frozenset(), held: Held | None = None) -> None:
        """Raises `GraftError` unless a mask (B, H, W), which came through the input `name`, is one for all pictures or one for
        each, and of their aspect. With `layers` it must be there on one of their grids, of which it has the cells that `held`
        says; a note names those on which it has none."""
        if mask is None:
            return
        self.require_batch(name, mask)
        require_aspect(name, mask, self.shape)
        lost = require_held(name, {grid: held(mask, grid) for grid in self.grids(layers)}) if layers else []
        if lost:
            sizes = ", ".join(f"{width} x {height}" for height, width in lost)
            self.note(f"{name}: what it shows is too small for the layers of {sizes} tokens; they stay as they are")

    def grids(self, layers: Layers) -> list[Grid]:
        """The token grids of some of the network's layers, the finest first."""
        levels = attention_layers(require_unet(self.model))
        parts = [2**level for level in sorted({levels[layer] for layer in layers})]
        return [(math.ceil(self.shape[-2] / part), math.ceil(self.shape[-1] / part)) for part in parts]

    def require_fits(self, trajectory: Trajectory, name: str) -> None:
        """Raises `GraftError` unless a trajectory, which came through the input `name`, was made with this model and is of
        pictures of the size and number that are sampled."""
        require_made_with(self.model, trajectory, name)
        if trajectory.latents.shape[2:] != self.shape[1:]:
            raise GraftError(
                f"{name}: its latents are {tuple(trajectory.latents.shape[2:])} (channels, height, width), "
                f"the sampled latent is {tuple(self.shape[1:])}; invert a picture of the size you sample"
            )
        if trajectory.batch not in (1, self.shape[0]):
            raise GraftError(
                f"{name}: it holds {trajectory.batch} pictures, the sampled batch {self.shape[0]}; they must agree, or the {name} hold one"
            )

    def require_reaches(self, trajectory: Trajectory, name: str, levels: list[float]) -> None:
        """Raises `GraftError` if a trajectory, which came through the input `name`, starts far below the highest of the noise levels
        at which it is needed."""
        highest = float(trajectory.sigmas[0])
        if levels and max(levels) > ABOVE * highest:
            raise GraftError(
                f"sigmas: the {name} is needed at noise level {max(levels):.4g}, its trajectory starts at {highest:.4g}; "
                "use the same schedule for both, or Start From Trajectory"
            )

    def negative_of(self, stream: Stream) -> Stream | None:
        """The same pictures under the run's negative prompt; None in a run without one."""
        entries = self.guider.conds.get(PLAIN)
        if entries is None:
            return None
        own = {key: value for key, value in stream.conditioning[0][1].items() if key == "control"}
        options = [{key: value for key, value in entry.items() if key not in OF_THE_TARGET} | own for entry in entries]
        conditioning = [(entry["cross_attn"], kept) for entry, kept in zip(entries, options, strict=True)]
        negative = Stream(stream.trajectory, conditioning, stream.pairing, stream.name, PLAIN)
        self._negatives.add(negative)
        return negative

    def note(self, message: str) -> None:
        """Logs once per run what is approximated or skipped."""
        if message not in self._noted:
            self._noted.add(message)
            logger.warning("Graft: %s", message)

    # The write pass.

    def latents(self, stream: Stream, sigma: float, device) -> Tensor:
        if stream.trajectory.nearest(stream.label(sigma)) is None:
            self.note("the sampler asks for noise levels that the trajectory has no latents at; they are interpolated")
        return stream.latents(sigma).to(device)

    def run_streams(self, executor, model, x: Tensor, timestep: Tensor, model_options: dict) -> None:
        """Runs every stream that an active edit looks at, in as few batches as they fit in.

        Streams do not depend on the target, so a second call at the same noise level runs none again.
        """
        if self.tapped_at != self.sigma:
            self.drop_taps()
        wanted = dict.fromkeys(stream for edit in self.active for stream in edit.streams_at(self.sigma))
        missing = [stream for stream in wanted if stream not in self.denoised]
        self.tapped_at = self.sigma
        for members, conditioning in batches(missing, self.conditionings):
            starts = accumulate((stream.trajectory.batch for stream in members), initial=0)
            self.writing = tuple(zip(members, (slice(*ends) for ends in pairwise(starts)), strict=True))
            try:
                rows = torch.cat([self.latents(stream, self.sigma, x.device).to(x) for stream in members])
                labels = torch.cat([timestep.new_full((stream.trajectory.batch,), stream.label(self.sigma)) for stream in members])
                (denoised,) = executor(model, [[conditioning]], rows, labels, model_options)
            finally:
                self.writing = ()
            self.denoised |= zip(members, denoised.split([stream.trajectory.batch for stream in members]), strict=True)

    def drop_taps(self) -> None:
        self.taps.clear()
        self.denoised.clear()
        self.tapped_at = None

    def _tap(self, tap: Tap, layer: Layer, *tensors: Tensor) -> None:
        """Keeps the rows of the streams being written, where an active edit will read them."""
        for stream, rows in self.writing:
            if self._is_read(tap, stream, layer):
                self.taps[tap, stream, layer] = tuple(tensor[rows].clone() for tensor in tensors)

    def _is_read(self, tap: Tap, stream: Stream, layer: Layer) -> bool:
        asked = self.active, tap, stream, layer
        if asked not in self._read:
            self._read[asked] = any(edit.reads(tap, stream, layer) for edit in self.active)
        return self._read[asked]

    def tapped(self, tap: Tap, stream: Stream, layer: Layer, rows: int) -> tuple[Tensor, ...]:
        """What was kept of a stream at this noise level, for as many target rows."""
        return tuple(tensor.expand(rows, *tensor.shape[1:]) for tensor in self.taps[tap, stream, layer])

    # The bottleneck h.

    def injected_levels(self) -> list[float]:
        """The noise levels, descending, at which the Asymmetric Sampler asks for both predictions: none without an edit of h."""
        if "h" not in self.hooks:
            return []
        injected = self.sampler.intervals.injected(self.model.get_model_object("model_sampling"), self.sigmas)
        return self.sigmas[:-1][injected].tolist()

    def tap_bottleneck(self, data: dict) -> dict:
        """The middle_block_after_patch of the write pass."""
        self._tap("h", BOTTLENECK, data["h"])
        return data

    def bottleneck(self, h: Tensor) -> Tensor:
        """(rows, C, h, w) of one chunk of edited rows, after all active edits."""
        for edit in self.active:
            h = edit.bottleneck(h)
        return h

    # Attention, in both passes. `order` is ComfyUI's `cond_or_uncond`: chunk o holds the rows of conditioning order[o],
    # in whatever order and split the host chose.

    def _chunks(self, options: dict, count: int) -> list[tuple[slice, Place | None]]:
        """The target's rows, chunk by chunk; without a place those that no edit may touch."""
        order = options["cond_or_uncond"]
        size = count // len(order)
        places = [self._place(options, which in self.guided) if which in self.guided | self.plain else None for which in order]
        return [(slice(chunk * size, (chunk + 1) * size), place) for chunk, place in enumerate(places)]

    @staticmethod
    def _place(options: dict, guided: bool = True) -> Place:
        return Place(Layer.of(options), *options["activations_shape"][-2:], options["n_heads"], guided)

    def attention_inputs(self, inputs: tuple[Tensor, Tensor, Tensor], options: dict) -> tuple[Tensor, Tensor, Tensor]:
        """Hidden states (rows, tokens, channels) before their projections to queries, keys and values."""
        if self.writing:
            self._tap("hidden", Layer.of(options), inputs[0])
            return inputs
        if not any(map(_changes_inputs, self.active)):
            return inputs
        _require_all_tokens(inputs[0], options)
        edited = list(inputs)
        for rows, place in self._chunks(options, len(inputs[0])):
            if place is None or any(edit.computes(place) for edit in self.active):
                continue
            before = after = tuple(tensor[rows] for tensor in inputs)
            for edit in self.active:
                after = edit.attention_inputs(place, *after)
            for index, (old, new) in enumerate(zip(before, after, strict=True)):
                if new is not old:
                    if edited[index] is inputs[index]:
                        edited[index] = inputs[index].clone()
                    edited[index][rows] = new
        return tuple(edited)

    def self_attention(self, attention: Attention) -> Tensor:
        query, key, value = attention.inputs
        edited = []
        if self.writing:
            place = self._place(attention.options)
            self._tap("queries_keys", place.layer, query, key)
            self._tap("keys_values", place.layer, key, value)
            for stream, rows in self.writing:
                inputs = place, stream, query[rows], key[rows], value[rows]
                changes = [partial(edit.stream_attention, *inputs) for edit in self.active if edit.computes_stream(stream)]
                edited += self._chained(changes, rows, attention)
        else:
            for rows, place in self._chunks(attention.options, len(query)):
                inputs = place, query[rows], key[rows], value[rows]
                changes = [partial(edit.self_attention, *inputs) for edit in self.active if place is not None and edit.computes(place)]
                edited += self._chained(changes, rows, attention)
        if edited and attention.before is not None:
            self.note("another node replaces self-attention too; where an edit computes it, the edit takes its place")
        return attention.plain_but(edited)

    def _chained(self, changes: list[Callable], rows: slice, attention: Attention) -> list[tuple[slice, Tensor]]:
        """The output for `rows` after all `changes`, each of which can ask for what came out of those before it."""
        if not changes:
            return []
        _require_all_tokens(attention.inputs[0], attention.options)
        outputs: list[Tensor] = []
        asked: set[int] = set()

        def before(count: int) -> Tensor:
            asked.add(count)
            return outputs[count - 1] if count else attention.plain[rows]

        for count, change in enumerate(changes):
            outputs.append(change(partial(before, count), attention.attend))
        if not asked.issuperset(range(1, len(changes))):
            self.note("two edits compute the same self-attention; the later one takes the place of the earlier")
        return [(rows, outputs[-1])]

    def cross_attention(self, attention: Attention) -> Tensor:
        query, key, value = attention.inputs
        options, heads = attention.options, attention.options["n_heads"]
        if self.writing:
            place = self._place(options)
            self._tap("cross", place.layer, query, key)
            for stream, rows in self.writing:
                own = AttentionMap((Term(query[rows], key[rows]),), heads)
                for edit in self.active:
                    edit.watch(place, own, stream)
            return attention.plain
        # The host repeats a prompt to the length of a longer one; once is enough.
        once = slice(0, self.guided_tokens)
        edited = []
        for rows, place in self._chunks(options, len(query)):
            if place is None or not place.guided:
                continue
            plain = changed = AttentionMap((Term(query[rows], key[rows, once]),), heads)
            for edit in self.active:
                changed = edit.cross_attention(place, changed)
            for edit in self.active:
                edit.watch(place, changed, None)
            if changed is not plain:
                edited.append((rows, changed.apply(value[rows, once], attention.attend)))
        if edited and attention.before is not None:
            self.note("another node replaces cross-attention too; on the positive prompt's rows the edit takes its place")
        return attention.plain_but(edited)

    @property
    def guided_tokens(self) -> int | None:
        """Length of the positive prompt's text states, which the host repeats to the length of the negative's; None if there
        are several."""
        lengths = {entry["cross_attn"].shape[1] for name in GUIDED for entry in self.guider.conds.get(name, ())}
        return lengths.pop() if len(lengths) == 1 else None

    def after_step(self, x: Tensor, step) -> Tensor:
        for edit in self.edits:
            x = edit.after_step(x, step)
        return x


@dataclass(frozen=True)
class Attention:
    """One attention layer at work: projected queries, keys and values (rows, tokens, channels) and the host's options."""

    inputs: tuple[Tensor, Tensor, Tensor]
    options: dict
    before: object | None

    @cached_property
    def plain(self) -> Tensor:
        """What would be computed without Graft, for all rows."""
        return self.attend(*self.inputs) if self.before is None else self.before(*self.inputs, self.options)

    def plain_but(self, edited: list[tuple[slice, Tensor]]) -> Tensor:
        """The same with other output for some rows, which are not computed for nothing."""
        if not edited:
            return self.plain
        parts, start = [], 0
        for rows, changed in [*edited, (slice(len(self.inputs[0]), None), None)]:
            if start < rows.start:
                parts.append(self._unedited(slice(start, rows.start)))
            if changed is not None:
                parts.append(changed)
            start = rows.stop
        return torch.cat(parts)

    def _unedited(self, rows: slice) -> Tensor:
        """What another node computes has to be shown all rows, and what an edit asked for is there for all."""
        if self.before is not None or "plain" in vars(self):
            return self.plain[rows]
        return self.attend(*(part[rows] for part in self.inputs))

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """The host's own attention."""
        options = self.options
        return optimized_attention(
            query, key, value, options["n_heads"], attn_precision=options["attn_precision"], transformer_options=options
        )


def _require_all_tokens(query: Tensor, options: dict) -> None:
    rows, *_, height, width = options["activations_shape"]
    if query.shape[:2] != (rows, height * width):
        raise GraftError(
            f"model: another node has self-attention see {query.shape[0]} rows of {query.shape[1]} tokens instead of {rows} of {height * width}, "
            "and Graft edits them; remove that node (Token Merging, HyperTile)"
        )


@dataclass(frozen=True)
class Replacement:
    """An attn1 or attn2 replacement that hands the layer to the run, and to what was there `before` outside of runs."""

    compute: object
    before: object | None

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, options: dict) -> Tensor:
        attention = Attention((query, key, value), options, self.before)
        run: Run | None = options.get(RUN_KEY)
        return attention.plain if run is None or not run.active else self.compute(run, attention)


def _changes_inputs(edit: RunningEdit) -> bool:
    return type(edit).attention_inputs is not RunningEdit.attention_inputs


def _key(layer: Layer) -> tuple[str, int, int]:
    return layer.block, layer.number, layer.index


def _compute_with(clone, hook: str, compute) -> None:
    """Has Graft compute this attention in every layer of `clone`, around what other nodes put there before."""
    for layer in attention_layers(require_unet(clone)):
        present = clone.model_options["transformer_options"].get("patches_replace", {}).get(hook, {})
        before = present.get(_key(layer), present.get(_key(layer)[:2]))
        if not isinstance(before, Replacement):
            clone.set_model_patch_replace(Replacement(compute, before), hook, *_key(layer))


def _outer_sample(executor, noise, latent_image, sampler, sigmas, *args, **kwargs):
    guider = executor.class_obj
    plan: Plan = guider.model_options["transformer_options"][PLAN_KEY]
    if "step" in plan.hooks and not isinstance(sampler, GraftSampler):
        names = ", ".join(sorted({type(edit).__name__ for edit in plan.edits if "step" in edit.hooks}))
        raise GraftError(f"sampler: {names} works between steps, which only the Graft Sampler node lets it do; connect Graft Sampler")
    if "h" in plan.hooks and not isinstance(sampler, AsymmetricSampler):
        names = ", ".join(sorted({type(edit).__name__ for edit in plan.edits if "h" in edit.hooks}))
        raise GraftError(
            f"sampler: {names} needs two predictions per step, which only the Asymmetric Sampler node makes; connect Asymmetric Sampler"
        )
    run = Run(plan, guider, sampler, sigmas, latent_image.shape)
    before = guider.model_options
    guider.model_options = comfy.model_patcher.create_model_options_clone(before)
    guider.model_options["transformer_options"][RUN_KEY] = run
    # Listed among the guider's conditionings while models are loaded, so that a stream's own ControlNet is loaded too.
    listed = {f"graft {number}": stream for number, stream in enumerate(run.streams)}
    guider.conds.update({name: comfy.sampler_helpers.convert_cond(stream.conditioning) for name, stream in listed.items()})
    try:
        return executor(noise, latent_image, sampler, sigmas, *args, **kwargs)
    finally:
        guider.model_options = before
        run.drop_taps()


def _sampler_sample(executor, guider, sigmas, extra_args, callback, noise, latent_image=None, *args, **kwargs):
    run: Run = extra_args["model_options"]["transformer_options"][RUN_KEY]
    for number, stream in enumerate(run.streams):
        guider.conds.pop(f"graft {number}", None)
        run.conditionings[stream] = encoded(guider, stream, noise, latent_image, extra_args.get("seed"))
    return executor(guider, sigmas, extra_args, callback, noise, latent_image, *args, **kwargs)


def _calc_cond_batch(executor, model, conds, x, timestep, model_options):
    run: Run | None = model_options["transformer_options"].get(RUN_KEY)
    if run is None:
        return executor(model, conds, x, timestep, model_options)
    known = {name: run.guider.conds[name] for name in (*GUIDED, PLAIN) if name in run.guider.conds}
    names = [next((name for name, one in known.items() if one is cond), None) for cond in conds]
    run.guided = frozenset(index for index, name in enumerate(names) if name in GUIDED)
    run.plain = frozenset(index for index, name in enumerate(names) if name == PLAIN)
    run.sigma = float(timestep[0])
    run.active = tuple(edit for edit in run.edits if edit.active_at(run.sigma))
    try:
        if not run.active:
            run.drop_taps()
        elif run.guided or run.plain:
            run.run_streams(executor, model, x, timestep, model_options)
        return run.two_predictions.of(lambda listed: executor(model, listed, x, timestep, model_options), conds, sorted(run.guided))
    finally:
        run.active = ()


def _attention_inputs(query: Tensor, key: Tensor, value: Tensor, options: dict):
    """The attn1_patch."""
    run: Run | None = options.get(RUN_KEY)
    if run is None or not run.active:
        return query, key, value
    return run.attention_inputs((query, key, value), options)
