"""The stream engine: runs a model's plan beside one sampling run.

Each denoise call is two passes, both batched by ComfyUI itself: first the streams (what edits read of them is kept), then the target
(its edits read that). All of it is put in place for one denoise call, and gone when the call ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from ...attention.self_attention import Region
from ..errors import GraftError
from ..families.table import family_of
from ..naming import named
from .features import FEATURES_KEY, Asked, KeptFeatures, asked
from .fingerprints import conditioning_fingerprint
from .masks import PerGrid
from .neighbours import check_host, check_neighbours, whole_picture
from .passes import ReadPass, WritePass
from .plan import Plan, RunningEdit
from .sampling_run import GUIDED, PLAIN, Run
from .stream import Stream
from .streams import batches, with_own_control
from .windows import Window


class Engine:
    """The edits of one sampling run, and the streams that they look at."""

    def __init__(self, plan: Plan, guider, sampler, sigmas: Tensor, shape: torch.Size) -> None:
        self.plan, self.hooks = plan, plan.hooks
        self.run = Run(guider, sampler, sigmas, shape)
        self.family = family_of(self.run.model)
        self.resident = guider.model_options["transformer_options"]
        self.features: KeptFeatures | None = self.resident.get(FEATURES_KEY)
        self.active: tuple[RunningEdit, ...] = ()
        self.writing: tuple[tuple[Stream, slice], ...] = ()
        self.tapped_at: float | None = None
        self.regions: PerGrid[Region] = PerGrid()
        self.checked = False
        self._require_hooks()
        check_host(self.run)
        self.edits = tuple(self._begun())
        for edit, running in zip(plan.edits, self.edits, strict=True):
            running.name = type(edit).__name__
        self.streams = tuple(dict.fromkeys(stream for edit in self.edits for stream in edit.streams))
        self.prompts = [with_own_control(stream.conditioning) for stream in self.streams]
        levels = sigmas[:-1].tolist()
        check_neighbours(self.run, self.edits, self.streams, levels, "h" in self.hooks)
        for stream in self.streams:
            with named(next(node for running, (_, node) in zip(self.edits, plan.placed(), strict=True) if stream in running.streams)):
                self._check_stream(stream, levels)
        for running in self.edits:
            if levels and running.windows and all(window.misses(levels) for window in running.windows):
                self._note_missed(running.name, running.windows, levels)
        if self.features is not None:
            self.features.begin()

    def _begun(self) -> Iterator[RunningEdit]:
        """Every edit's part in this run; an error of one names the node that put it on the model."""
        for edit, node in self.plan.placed():
            with named(node):
                yield edit.begin(self.run)

    def _require_hooks(self) -> None:
        """Raises `GraftError` for edits of what this kind of network has not."""
        for edit, node in self.plan.placed():
            if missing := edit.hooks - self.family.hooks:
                with named(node):
                    raise GraftError(
                        f"model: {type(edit).__name__} needs {' and '.join(sorted(missing))} of a network, which {type(self.run.model.model).__name__} "
                        "does not have; connect the model that the edit was made for"
                    )

    def _note_missed(self, edit: str, windows: tuple[Window, ...], levels: list[float]) -> None:
        highest, lowest = max(window.highest for window in windows), min(window.lowest for window in windows)
        highest = min(highest, float(self.run.model_sampling.sigma_max))
        self.run.note(
            f"{edit} does nothing in this run: its window holds the noise levels {highest:.4g} to {lowest:.4g}, the run those from "
            f"{levels[0]:.4g} to {levels[-1]:.4g}; change its start_percent or end_percent, or the part of the schedule that is sampled"
        )

    def _check_stream(self, stream: Stream, levels: list[float]) -> None:
        trajectory, name = stream.trajectory, stream.name
        self.run.require_fits(trajectory, name)
        needed = [sigma for sigma in levels if any(stream in edit.streams_at(sigma) for edit in self.edits)]
        self.run.require_reaches(trajectory, name, needed)
        if stream not in self.run.negatives and trajectory.conditioning != conditioning_fingerprint(stream.conditioning):
            self.run.note(f"{stream.prompt_name} is not the prompt the {name} was made with; the {name} is replayed under another prompt")

    def denoise(self, executor: Callable, model, conds: list, x: Tensor, timestep: Tensor, model_options: dict) -> list[Tensor]:
        """The CALC_COND_BATCH wrapper."""
        run = self.run
        names = [self._name_of(cond) for cond in conds]
        run.guided = frozenset(index for index, name in enumerate(names) if name in GUIDED)
        run.plain = frozenset(index for index, name in enumerate(names) if name == PLAIN)
        run.sigma = float(timestep[0])
        active = tuple(edit for edit in self.edits if edit.active_at(run.sigma))
        self.active = active
        try:
            if not active:
                self.drop_taps()
            elif run.guided or run.plain:
                self._run_streams(executor, model, x, timestep, model_options)
            listener = self._listener()
            options = self._reporting(model_options, listener, x) if listener else model_options
            denoised = run.two_predictions.of(lambda listed: executor(model, listed, x, timestep, options), conds, sorted(run.guided))
            if listener:
                listener.note_left_out()
            return denoised
        finally:
            self.active = ()

    def _name_of(self, cond: list | None) -> str | None:
        """Under which name the guider keeps a conditioning, which another node may have copied."""
        known = {name: self.run.guider.conds[name] for name in (*GUIDED, PLAIN) if name in self.run.guider.conds}
        asked = [entry.get("uuid") for entry in cond or ()]
        return next((name for name, one in known.items() if one is cond or [entry.get("uuid") for entry in one] == asked), None)

    def _listener(self) -> ReadPass | None:
        """Who hears of the target's call. The first of a run shows what other nodes make of the latent and its tokens, even if no
        edit is active yet."""
        first, self.checked = not self.checked, True
        if not self.active and not first:
            return None
        checks = first and any(edit.changes for edit in self.edits)
        return ReadPass(self.run, self.active, self.regions, checks)

    def _reporting(self, model_options: dict, listener: ReadPass | WritePass, x: Tensor) -> dict:
        """The options of a call in which the network reports to `listener`."""
        model_options = whole_picture(model_options, x.shape[-2:])
        hooks = self.hooks if self.active else frozenset()
        options = self.family.connect(model_options["transformer_options"], listener, hooks, self.resident, tuple(x.shape[-2:]))
        return {**model_options, "transformer_options": options}

    def _run_streams(self, executor: Callable, model, x: Tensor, timestep: Tensor, model_options: dict) -> None:
        """Runs every stream that an active edit looks at, in as few batches as they fit in.

        Streams do not depend on the target, so a second call at the same noise level runs none again.
        """
        run = self.run
        if self.tapped_at != run.sigma:
            self.drop_taps()
        wanted = dict.fromkeys(stream for edit in self.active for stream in edit.streams_at(run.sigma))
        missing = [stream for stream in wanted if stream not in run.denoised]
        self.tapped_at = run.sigma
        for members, conditioning in batches(missing, run.conditionings):
            starts = accumulate((stream.trajectory.batch for stream in members), initial=0)
            self.writing = tuple(zip(members, (slice(*ends) for ends in pairwise(starts)), strict=True))
            try:
                rows = torch.cat([self._latents(stream, x.device).to(x) for stream in members])
                labels = torch.cat([timestep.new_full((stream.trajectory.batch,), stream.label(run.sigma)) for stream in members])
                denoised = self._shown(executor, model, conditioning, rows, labels, model_options)
            finally:
                self.writing = ()
            run.denoised |= zip(members, denoised.split([stream.trajectory.batch for stream in members]), strict=True)

    def _shown(self, executor: Callable, model, conditioning: dict, rows: Tensor, labels: Tensor, model_options: dict) -> Tensor:
        """What the model makes of the streams' `rows`: looked at while they are run, or once more where that was kept."""
        listener = WritePass(self.run, self.active, self.writing, self.family)
        kept = self._kept(listener, rows, model_options)
        shown = None if kept is None else self.features.find(kept, rows.device)
        if shown is not None:
            return listener.again(shown)
        (denoised,) = executor(model, [[conditioning]], rows, labels, self._reporting(model_options, listener, rows))
        if self.family.layers and not listener.heard:
            raise GraftError(
                "model: another node has kept the network from computing what Graft's edits look at; remove nodes that skip the network"
            )
        if kept is not None:
            self.features.keep(kept, listener.shown(denoised))
        return denoised

    def _kept(self, listener: WritePass, rows: Tensor, model_options: dict) -> Asked | None:
        """What a call of streams is kept as; None if it is not."""
        streams = [stream for stream, _ in listener.members]
        if self.features is None or any(edit.computes_stream(stream) for edit in self.active for stream in streams):
            return None
        return asked(self.run, streams, listener.parts, rows, model_options)

    def _latents(self, stream: Stream, device) -> Tensor:
        if stream.trajectory.nearest(stream.label(self.run.sigma)) is None:
            self.run.note("the sampler asks for noise levels that the trajectory has no latents at; they are interpolated")
        return stream.latents(self.run.sigma).to(device)

    def drop_taps(self) -> None:
        self.run.drop_taps()
        self.tapped_at = None

    def end(self) -> None:
        """The run has ended, or failed."""
        self.drop_taps()
        if self.features is not None:
            self.features.report()
        for ((_, options),) in self.prompts:
            if options.get("control") is not None:
                options["control"].cleanup()

    # What Graft's samplers ask for.

    def injected_levels(self) -> list[float]:
        """The noise levels, descending, at which a second prediction is wanted: none without an edit of h."""
        return self.run.injected_levels() if "h" in self.hooks else []

    def after_step(self, x: Tensor, step) -> Tensor:
        for edit in self.edits:
            x = edit.after_step(x, step)
        return x
