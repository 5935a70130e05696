"""TF-ICON's composite self-attention, as the stream engine runs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ...attention.composite_attention import Areas, QueryKey, compose_queries_and_keys, composite_attention, token_areas
from ...attention.masks import token_mask
from ...attention.self_attention import Attend, Plain, Region
from ..engine.masks import PerGrid
from ..engine.plan import Place, RunningEdit
from ..engine.sampling_run import Run
from ..engine.stream import Stream, Tap
from ..engine.windows import Window
from ..errors import GraftError
from ..families.attention import Hook
from ..families.layer import Layer, Layers
from .composition import CELL_SHARE, released_window

Mode = Literal["intended", "light", "released"]
"""The paper's maps; one ordinary attention of composed queries and keys; the released code with its cross pass and its order."""

RELEASED_BACKGROUND = 0.4
"""Until here the released code composes the background's attention, whatever its tau_A."""


@dataclass(frozen=True, eq=False)
class CompositeAttention:
    """The target attends as the main picture does outside a region, as the reference does on its object, and between the two
    as their queries and keys say together (Lu et al., TF-ICON, ICCV 2023, section 3.3).

    `object_mask` and `region` (B or 1, H, W) are those of the placed reference. It begins with the first step and stops at the
    part `end` of the schedule, tau_A.
    """

    hooks: ClassVar[frozenset[Hook]] = frozenset({"attn1"})

    main: Stream
    reference: Stream
    object_mask: Tensor
    region: Tensor
    end: float
    layers: Layers
    mode: Mode = "intended"

    def begin(self, run: Run) -> RunningEdit:
        run.require_mask("region", self.region)
        run.require_mask("object_mask", self.object_mask, self.layers, lambda _, grid: self.on(grid, self.object_mask.device)[0])
        kinds = {"intended": RunningCompositeAttention, "light": RunningLightAttention, "released": RunningReleasedAttention}
        return kinds[self.mode](self, run)

    def on(self, grid: tuple[int, int], device) -> tuple[Tensor, Tensor]:
        """Object and region on a token grid, (B or 1, N), bool, the object within the region."""
        given = (self.object_mask, self.region)
        object_mask, region = (token_mask(mask.to(device), grid, CELL_SHARE, "area").flatten(1) for mask in given)
        return object_mask & region, region


class RunningCompositeAttention(RunningEdit):
    tap: ClassVar[Tap] = "queries_keys"
    changes = frozenset({"map"})

    def __init__(self, edit: CompositeAttention, run: Run) -> None:
        self.edit, self.run = edit, run
        self.main, self.reference = edit.main, edit.reference
        self.streams = (self.main, self.reference)
        self.windows = (Window.of_percent(run.model, 0.0, edit.end),)
        self._masks: PerGrid[tuple[Tensor, Tensor]] = PerGrid()
        self._areas: PerGrid[Sequence[Areas]] = PerGrid()

    def reads(self, tap: Tap, stream: Stream, layer: Layer) -> bool:
        return tap == self.tap and stream in self.streams and layer in self.edit.layers

    def works_at(self, place: Place) -> bool:
        return place.guided and place.layer in self.edit.layers

    def self_attention(self, place: Place, query: Tensor, key: Tensor, value: Tensor, plain: Plain, attend: Attend) -> Tensor:
        return self.compose(place, QueryKey(query, key), value, attend)

    def compose(self, place: Place, target: QueryKey, value: Tensor, attend: Attend) -> Tensor:
        main, reference = self.tapped(self.main, place, value), self.tapped(self.reference, place, value)
        return composite_attention(target, value, main, reference, self.areas(place, value), place.heads, attend)

    def tapped(self, stream: Stream, place: Place, value: Tensor) -> QueryKey:
        return QueryKey(*self.run.tapped(self.tap, stream, place.layer, len(value)))

    def masks(self, place: Place, value: Tensor) -> tuple[Tensor, Tensor]:
        """Object and region on the layer's grid."""
        return self._masks.of(place.grid, lambda: self.edit.on(place.grid, value.device))

    def areas(self, place: Place, value: Tensor, background_only: bool = False) -> Sequence[Areas]:
        """The areas of the layer's grid; with `background_only` the object belongs to the gap."""

        def found() -> Sequence[Areas]:
            object_mask, region = self.masks(place, value)
            return token_areas(object_mask & (not background_only), region, value.dtype)

        return self._areas.of((place.grid, background_only), found)


class RunningLightAttention(RunningCompositeAttention):
    def compose(self, place: Place, target: QueryKey, value: Tensor, attend: Attend) -> Tensor:
        main, reference = self.tapped(self.main, place, value), self.tapped(self.reference, place, value)
        composed = compose_queries_and_keys(target, main, reference, *self.masks(place, value))
        return attend(composed.query, composed.key, value)


class RunningReleasedAttention(RunningCompositeAttention):
    """The released code's order: at least two steps, the background until a part of its own, the first step with the attention
    of the second, and a cross map from a pass in which the reference sees nothing but its object."""

    def __init__(self, edit: CompositeAttention, run: Run) -> None:
        super().__init__(edit, run)
        masks, references = max(len(edit.object_mask), len(edit.region)), edit.reference.trajectory.batch
        if masks not in (1, references):
            raise GraftError(
                f"reference: it holds {references} pictures, object_mask and region {masks}; the released code's cross pass shows a "
                "reference its own object alone, so connect a reference for every mask, or choose another mode"
            )
        self.main, self.reference = (replace(stream, pairing="TF-ICON") for stream in (edit.main, edit.reference))
        self.cross = replace(edit.reference, pairing="TF-ICON cross")
        self.streams = (self.main, self.reference, self.cross)
        self._objects: PerGrid[Region] = PerGrid()
        self.background, self.object = self.windows = tuple(
            released_window(edit.main.trajectory, part) for part in (RELEASED_BACKGROUND, edit.end)
        )

    def streams_at(self, sigma: float) -> tuple[Stream, ...]:
        background = (self.main,) if sigma in self.background else ()
        return (*background, *((self.reference, self.cross) if sigma in self.object else ()))

    def computes_stream(self, stream: Stream) -> bool:
        return stream == self.cross

    def stream_attention(
        self, place: Place, stream: Stream, query: Tensor, key: Tensor, value: Tensor, plain: Plain, attend: Attend
    ) -> Tensor:
        shown = self._objects.of((place.grid, len(query)), lambda: self._object(place, query))
        return shown.attend(plain, query, key, value, attend)

    def _object(self, place: Place, query: Tensor) -> Region:
        """Every token sees the object alone; where a grid is too coarse for it, the region it lies in."""
        object_mask, region = self.masks(place, query)
        seen = torch.where(object_mask.any(dim=1, keepdim=True), object_mask, region).expand(len(query), -1)
        return Region.of(torch.ones_like(seen), seen)

    def compose(self, place: Place, target: QueryKey, value: Tensor, attend: Attend) -> Tensor:
        at = self.run.sigma
        main = self.tapped(self.main, place, value) if at in self.background else target
        if at not in self.object:
            return composite_attention(target, value, main, target, self.areas(place, value, background_only=True), place.heads, attend)
        reference, cross = self.tapped(self.reference, place, value), self.tapped(self.cross, place, value)
        return composite_attention(target, value, main, reference, self.areas(place, value), place.heads, attend, cross)
