"""Prompt-to-Prompt's local blend, as the stream engine runs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ...attention.cross_attention import AttentionMap
from ...attention.masks import blend_mask, on_cells
from ...inversion.solvers import Step, ddim_step, noise_prediction
from ..engine.plan import Place, RunningEdit
from ..engine.prompts import prompts_of
from ..engine.sampling_run import Run
from ..engine.stream import Stream, Tap
from ..engine.windows import Window
from ..families.attention import Hook
from ..families.layer import Layer, Layers
from .word_maps import WordMaps, token_groups

Background = Literal["the source's own step", "the source's trajectory"]


@dataclass(frozen=True, eq=False)
class BlendWords:
    """Words whose places in the source and in the target may change (`source`, `target`), and words whose places may
    not. They count as looked at above a part of the highest attention: `threshold`, `subtract_threshold`."""

    source: str
    target: str
    subtract_source: str
    subtract_target: str
    threshold: float
    subtract_threshold: float
    map_layers: Layers


@dataclass(frozen=True, eq=False)
class LocalBlend:
    """Outside a mask the target is replaced by the source after every step inside the window.

    The mask is `mask` (B or 1, H, W), soft if it is, else found from `words`.
    """

    stream: Stream
    window: Window
    words: BlendWords | None
    mask: Tensor | None
    background: Background

    @property
    def hooks(self) -> frozenset[Hook]:
        return frozenset({"step"}) if self.mask is not None else frozenset({"step", "attn2"})

    def begin(self, run: Run) -> RunningEdit:
        return RunningLocalBlend(self, run)


class RunningLocalBlend(RunningEdit):
    def __init__(self, edit: LocalBlend, run: Run) -> None:
        self.edit, self.run, self.windows = edit, run, (edit.window,)
        run.require_mask("mask", edit.mask)
        self.guidance = run.guidance if edit.background == "the source's own step" else None
        self.negative = None if self.guidance in (None, 1.0) else run.negative_of(edit.stream)
        self.streams = (edit.stream,) if self.negative is None else (edit.stream, self.negative)
        self.source_maps = self.target_maps = None
        if edit.mask is None:
            words = edit.words
            states, options = edit.stream.conditioning[0]
            sources = prompts_of(states.shape[1], options, "source_conditioning")
            run.require_batch("source_conditioning", sources)
            targets = run.prompts("Local Blend")
            of_source = [(words.source, "source_words"), (words.subtract_source, "subtract_source_words")]
            of_target = [(words.target, "target_words"), (words.subtract_target, "subtract_target_words")]
            self.source_maps = WordMaps(words.map_layers, token_groups(sources, of_source))
            self.target_maps = WordMaps(words.map_layers, token_groups(targets, of_target))

    def active_at(self, sigma: float) -> bool:
        return self.source_maps is not None or super().active_at(sigma)

    def streams_at(self, sigma: float) -> tuple[Stream, ...]:
        blending = sigma in self.edit.window
        source = self.source_maps is not None or (blending and self.guidance is not None)
        return (*(self.streams[:1] if source else ()), *(self.streams[1:] if blending else ()))

    def reads(self, tap: Tap, stream: Stream, layer: Layer) -> bool:
        maps = self.source_maps
        return maps is not None and stream == self.edit.stream and maps.reads(tap, layer)

    def watch(self, place: Place, attention: AttentionMap, stream: Stream | None) -> None:
        maps = self.target_maps if stream is None else self.source_maps if stream == self.edit.stream else None
        if maps is not None:
            maps.add(place.layer, place.grid, self.run.sigma, attention)

    def after_step(self, x: Tensor, step: Step) -> Tensor:
        if float(step.sigma) not in self.edit.window:
            return x
        mask = self.mask(x)
        # lerp returns either end bit for bit where the mask is 0 or 1.
        return torch.lerp(self._source_after(step).to(x), x, mask)

    def mask(self, x: Tensor) -> Tensor:
        """(B or 1, 1, h, w) in [0, 1]: where the target stays."""
        if self.edit.mask is not None:
            return on_cells(self.edit.mask, x)
        size = x.shape[-2:]
        words = self.edit.words
        # A prompt that is limited to later steps has not been looked at yet.
        looked_at = [maps.mean for maps in (self.source_maps, self.target_maps) if maps.mean is not None]
        changed = self._any(looked_at, 0, size, words.threshold, pool=True)
        subtracted = self._any(looked_at, 1, size, words.subtract_threshold, pool=False)
        return (changed & ~subtracted)[:, None].to(x)

    @staticmethod
    def _any(maps: list[Tensor], group: int, size: torch.Size, threshold: float, pool: bool) -> Tensor:
        """(B or 1, h, w), bool: where the group of words is looked at in any of the maps."""
        masks = [blend_mask(map_[group], size, threshold, pool) for map_ in maps]
        return masks[0] if len(masks) == 1 else masks[0] | masks[1]

    def _source_after(self, step: Step) -> Tensor:
        """(B or 1, C, h, w): the source at the noise level the step arrived at."""
        stream = self.edit.stream
        if self.guidance is None:
            return stream.trajectory.at(float(step.sigma_next))
        denoised = self.run.predicted(stream)
        if self.negative is not None:
            denoised = torch.lerp(self.run.predicted(self.negative), denoised, self.guidance)
        x = stream.latents(float(step.sigma)).to(denoised)
        return ddim_step(x, noise_prediction(x, denoised, step.sigma), step.sigma, step.sigma_next)
