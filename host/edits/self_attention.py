"""The edits of self-attention, as the stream engine runs them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ...attention.cross_attention import AttentionMap
from ...attention.masks import resized, token_mask, word_mask
from ...attention.self_attention import (
    Attend,
    Inputs,
    Plain,
    Region,
    keep_values_outside,
    replace_keys_and_values,
    replace_queries_and_keys,
)
from ..engine.masks import Grid, PerGrid
from ..engine.plan import Part, Place, RunningEdit, RunningOnBothPrompts
from ..engine.prompts import prompts_of
from ..engine.sampling_run import Run
from ..engine.stream import Stream, Tap
from ..engine.windows import Window
from ..families.attention import Hook
from ..families.layer import Layer, Layers
from .word_maps import WordMaps, token_groups

Side = Literal["source", "target"]
"""The pictures in which the object is told from its background."""


@dataclass(frozen=True, eq=False)
class ReplaceSelfAttention:
    """Free-Prompt-Editing, and Prompt-to-Prompt's control of self-attention: the target attends with the source stream's
    self-attention maps. Outside `mask` (B or 1, H, W) in [0, 1], where there is one, it reads the source's values, too."""

    hooks: ClassVar[frozenset[Hook]] = frozenset()

    stream: Stream
    window: Window
    layers: Layers
    strength: float = 1.0
    mask: Tensor | None = None

    def begin(self, run: Run) -> RunningEdit:
        run.require_mask("mask", self.mask)
        return RunningReplaceSelfAttention(self, run)


class RunningReplaceSelfAttention(RunningEdit):
    def __init__(self, edit: ReplaceSelfAttention, run: Run) -> None:
        self.edit, self.run, self.streams, self.windows = edit, run, (edit.stream,), (edit.window,)
        shared: frozenset[Part] = frozenset({"queries", "keys"})
        self.changes = shared if edit.mask is None else shared | {"values"}
        self.ignores = shared if edit.strength == 1 else frozenset()
        self._inside: PerGrid[Tensor] = PerGrid()
        self.taps: tuple[Tap, ...] = ("structure",) if edit.mask is None else ("structure", "content")

    def reads(self, tap: Tap, stream: Stream, layer: Layer) -> bool:
        return tap in self.taps and stream == self.edit.stream and layer in self.edit.layers

    def works_at(self, place: Place) -> bool:
        return place.guided and place.layer in self.edit.layers

    def attention_inputs(self, place: Place, query: Tensor, key: Tensor, value: Tensor) -> Inputs:
        source = self.run.tapped("structure", self.edit.stream, place.layer, len(query))
        query, key, value = replace_queries_and_keys((query, key, value), *source, self.edit.strength)
        if self.edit.mask is not None:
            _, kept = self.run.tapped("content", self.edit.stream, place.layer, len(query))
            inside = self._inside.of(place.grid, lambda: resized(self.edit.mask.to(value.device), place.grid, "area").flatten(1))
            value = keep_values_outside(value, kept, inside.expand(len(value), -1))
        return query, key, value


@dataclass(frozen=True)
class ObjectWords:
    """Words of the object in the source's prompt and in the target's, and the `threshold` from which a place of their map, brought to
    [0, 1], is the object's. What has a mask needs none."""

    source: str
    target: str
    threshold: float
    map_layers: Layers


@dataclass(frozen=True, eq=False)
class ReplaceKeysAndValues:
    """MasaCtrl: the target keeps its queries and reads the source's keys and values, its positive rows those of the
    source under its own prompt, its negative rows those of the source under the negative prompt.

    Where the object is known in the source and in the target, object reads object and background reads background: by masks
    (B or 1, H, W), else by `words`.
    """

    stream: Stream
    window: Window
    layers: Layers
    source_mask: Tensor | None = None
    target_mask: Tensor | None = None
    words: ObjectWords | None = None

    @property
    def hooks(self) -> frozenset[Hook]:
        if self.words is not None:
            return frozenset({"attn1", "attn2"})
        return frozenset({"attn1"}) if self.masked else frozenset()

    @property
    def masked(self) -> bool:
        return self.words is not None or self.source_mask is not None

    def begin(self, run: Run) -> RunningEdit:
        run.require_mask("source_mask", self.source_mask, self.layers, on_grid)
        run.require_mask("target_mask", self.target_mask, self.layers, on_grid)
        return (RunningMaskedKeysAndValues if self.masked else RunningReplaceKeysAndValues)(self, run)


def on_grid(mask: Tensor, grid: Grid) -> Tensor:
    """(rows, *grid), bool: the object's tokens, as MasaCtrl's released code finds them."""
    return token_mask(mask, grid, 0.5, "nearest")


class RunningKeysAndValues(RunningOnBothPrompts):
    """Looks at the source's keys and values, in its positive and its negative rows."""

    tap: ClassVar[Tap]

    def __init__(self, edit: ReplaceKeysAndValues, run: Run) -> None:
        super().__init__(edit.stream, run)
        self.edit, self.windows = edit, (edit.window,)

    def reads(self, tap: Tap, stream: Stream, layer: Layer) -> bool:
        return tap == self.tap and stream in self.streams and layer in self.edit.layers

    def works_at(self, place: Place) -> bool:
        return place.layer in self.edit.layers

    def source(self, place: Place, rows: int) -> tuple[Tensor, ...]:
        stream = self.edit.stream if place.guided else self.negative
        return self.run.tapped(self.tap, stream, place.layer, rows)


class RunningReplaceKeysAndValues(RunningKeysAndValues):
    tap = "content"
    changes = ignores = frozenset({"keys", "values"})

    def attention_inputs(self, place: Place, query: Tensor, key: Tensor, value: Tensor) -> Inputs:
        return replace_keys_and_values((query, key, value), *self.source(place, len(query)))


class RunningMaskedKeysAndValues(RunningKeysAndValues):
    """The masks of words are those of the present noise level, as far as its layers have been seen: MasaCtrl's automatic ones. Before
    the first map of a level those of the level before hold, and before any map at all everything reads everything; the released code
    has the latter at every level. The negative prompt's rows have the positive's masks."""

    tap = "keys_values"
    changes = frozenset({"map"})
    ignores = frozenset({"keys", "values"})

    def __init__(self, edit: ReplaceKeysAndValues, run: Run) -> None:
        super().__init__(edit, run)
        self.maps: dict[Side, WordMaps] = {}
        if edit.source_mask is None:
            states, options = edit.stream.conditioning[0]
            prompts = prompts_of(states.shape[1], options, "source_conditioning")
            run.require_batch("source_conditioning", prompts)
            self.maps["source"] = WordMaps(edit.words.map_layers, token_groups(prompts, [(edit.words.source, "source_words")]))
        if edit.target_mask is None:
            prompts = run.prompts("Replace Keys and Values with words")
            self.maps["target"] = WordMaps(edit.words.map_layers, token_groups(prompts, [(edit.words.target, "target_words")]))
        self._regions: PerGrid[tuple[Region, Region, bool]] = PerGrid()

    def reads(self, tap: Tap, stream: Stream, layer: Layer) -> bool:
        maps = self.maps.get("source")
        looked_at = maps is not None and stream == self.edit.stream and maps.reads(tap, layer)
        return looked_at or super().reads(tap, stream, layer)

    def watch(self, place: Place, attention: AttentionMap, stream: Stream | None) -> None:
        side = "target" if stream is None else "source" if stream == self.edit.stream else None
        if side in self.maps:
            self.maps[side].add(place.layer, place.grid, self.run.sigma, attention)

    def self_attention(self, place: Place, query: Tensor, key: Tensor, value: Tensor, plain: Plain, attend: Attend) -> Tensor:
        source = self.source(place, len(query))
        if any(maps.latest is None for maps in self.maps.values()):
            return attend(query, *source)
        versions = tuple(maps.version for maps in self.maps.values())
        inside, outside, everywhere = self._regions.of((place.grid, len(query)), lambda: self._regions_on(place.grid, query), versions)
        if everywhere:
            plain = partial(torch.empty_like, query)  # All of it is overwritten.
        around = partial(outside.attend, plain, query, *source, attend)
        return inside.attend(around, query, *source, attend)

    def _regions_on(self, grid: Grid, query: Tensor) -> tuple[Region, Region, bool]:
        """The object's queries with the source's object as keys, and what is left of both; and whether that is every query."""
        sides: tuple[Side, Side] = ("target", "source")
        queries, keys = (self._object(side, grid, query.device).expand(len(query), -1) for side in sides)
        if not keys.any(dim=1).all() or keys.all(dim=1).any():
            name = "source_words" if "source" in self.maps else "source_mask"
            self.run.note(f"{name} is empty or full on a layer's grid; what has nothing to read there keeps its own self-attention")
        left_out = (queries & ~keys.any(dim=1, keepdim=True)) | (~queries & keys.all(dim=1, keepdim=True))
        return Region.of(queries, keys), Region.of(~queries, ~keys), not bool(left_out.any())

    def _object(self, side: Side, grid: Grid, device: torch.device) -> Tensor:
        """(rows or 1, N), bool: the object's tokens in the source or in the target."""
        if side in self.maps:
            return word_mask(self.maps[side].latest[0], grid, self.edit.words.threshold, "nearest").to(device).flatten(1)
        mask = self.edit.source_mask if side == "source" else self.edit.target_mask
        return on_grid(mask.to(device), grid).flatten(1)
