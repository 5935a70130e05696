"""SpecRef's reference attention, as the stream engine runs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ...attention.cross_attention import AttentionMap
from ...attention.masks import Interpolation, token_mask, word_mask
from ...attention.self_attention import Attend, Plain, Region
from ..engine.masks import Grid, PerGrid
from ..engine.plan import INPUTS, Place, RunningEdit
from ..engine.sampling_run import Run
from ..engine.stream import Stream, Tap
from ..engine.windows import Window
from ..families.attention import Hook
from ..families.layer import Layer, Layers
from .word_maps import WordMaps, token_groups


@dataclass(frozen=True, eq=False)
class ReferenceAttention:
    """SpecRef: inside a region of the target, queries attend to the reference instead of to the target itself.

    The region is `target_mask` (B or 1, H, W), else where the model looks for `target_words` (averaged over the `map_layers`
    and all noise levels so far), else everything. `reference_mask` (B or 1, H, W) limits what is seen of the reference.
    """

    stream: Stream
    window: Window
    layers: Layers
    target_words: str
    map_layers: Layers
    threshold: float
    interpolation: Interpolation
    reference_mask: Tensor | None = None
    target_mask: Tensor | None = None

    @property
    def finds_region(self) -> bool:
        return self.target_mask is None and bool(self.target_words.strip())

    @property
    def hooks(self) -> frozenset[Hook]:
        return frozenset({"attn1", "attn2"}) if self.finds_region else frozenset({"attn1"})

    def begin(self, run: Run) -> RunningEdit:
        return RunningReferenceAttention(self, run)

    def on(self, mask: Tensor, grid: Grid) -> Tensor:
        """(rows, *grid), bool: a mask's tokens."""
        return token_mask(mask, grid, self.threshold, self.interpolation)


class RunningReferenceAttention(RunningEdit):
    tap: ClassVar[Tap] = "keys_values"
    changes = frozenset({"map"})
    ignores = frozenset({"keys", "values"})
    takes_over = INPUTS  # As in the released code: where the reference is looked at, the source's layout is not kept.

    def __init__(self, edit: ReferenceAttention, run: Run) -> None:
        self.edit, self.run, self.streams, self.windows = edit, run, (edit.stream,), (edit.window,)
        run.require_mask("reference_mask", edit.reference_mask, edit.layers, edit.on)
        run.require_mask("target_mask", edit.target_mask, edit.layers, edit.on)
        self._regions: PerGrid[Region] = PerGrid()
        self.maps = None
        if edit.finds_region:
            tokens = token_groups(run.prompts("Reference Attention"), [(edit.target_words, "target_words")])
            self.maps = WordMaps(edit.map_layers, tokens)

    def active_at(self, sigma: float) -> bool:
        return sigma in self.edit.window or (self.maps is not None and sigma > self.edit.window.lowest)

    def streams_at(self, sigma: float) -> tuple[Stream, ...]:
        return self.streams if sigma in self.edit.window else ()

    def reads(self, tap: Tap, stream: Stream, layer: Layer) -> bool:
        return tap == self.tap and stream == self.edit.stream and layer in self.edit.layers

    def watch(self, place: Place, attention: AttentionMap, stream: Stream | None) -> None:
        if stream is None and self.maps is not None:
            self.maps.add(place.layer, place.grid, self.run.sigma, attention)

    def works_at(self, place: Place) -> bool:
        return place.guided and place.layer in self.edit.layers and self.run.sigma in self.edit.window

    def self_attention(self, place: Place, query: Tensor, key: Tensor, value: Tensor, plain: Plain, attend: Attend) -> Tensor:
        keys, values = self.run.tapped(self.tap, self.edit.stream, place.layer, len(query))
        version = None if self.maps is None else self.maps.version
        region = self._regions.of((place.grid, len(query)), lambda: self._region(place, query), version)
        return region.attend(plain, query, keys, values, attend)

    def _region(self, place: Place, query: Tensor) -> Region:
        masks = self._changed(place, query).flatten(1), self._seen(place, query)
        return Region.of(*(mask.expand(len(query), -1) for mask in masks))

    def _changed(self, place: Place, query: Tensor) -> Tensor:
        """m_t: (rows or 1, h, w), bool."""
        edit = self.edit
        if edit.target_mask is not None:
            return edit.on(edit.target_mask.to(query.device), place.grid)
        if self.maps is None:
            return query.new_ones((1, *place.grid)).bool()
        seen = self.maps.mean
        if seen is None:  # In a run's first step some layers come before the first map.
            return query.new_zeros((1, *place.grid)).bool()
        return word_mask(seen[0], place.grid, edit.threshold, edit.interpolation)

    def _seen(self, place: Place, query: Tensor) -> Tensor:
        """m_s: (rows or 1, N), bool."""
        edit = self.edit
        if edit.reference_mask is None:
            return query.new_ones(query.shape[:2]).bool()
        return edit.on(edit.reference_mask.to(query.device), place.grid).flatten(1)
