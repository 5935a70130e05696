"""The two passes of a denoise call, as the network reports them layer by layer: the streams' is looked at, the target's is edited."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import product
from typing import get_args

import torch
from torch import Tensor

from ...attention.cross_attention import AttentionMap, Term
from ...attention.self_attention import Attend, Plain, Region
from ..families.attention import Attention, Inputs, Site
from ..families.layer import BOTTLENECK, Layer
from ..families.table import Family
from .features import PROJECTED, Part, Shown
from .masks import PerGrid
from .plan import INPUTS, Place, RunningEdit, place_of
from .precedence import Precedence, note_nothing
from .sampling_run import Run
from .shared_decoder import edited_call, tapped_call
from .stream import Stream, Tap

Change = tuple[tuple[RunningEdit, ...], Callable[[Plain], Tensor]]
"""Edits, and what they make of the output that they can ask for."""


@dataclass(frozen=True)
class WritePass:
    """Some streams run in one batch; what active edits read of them is kept."""

    run: Run
    active: tuple[RunningEdit, ...]
    members: tuple[tuple[Stream, slice], ...]
    family: Family
    heard: set[Layer] = field(default_factory=set)
    """The layers that have reported: none if the network was not run."""
    inputs: dict[Layer, Inputs] = field(default_factory=dict)
    """What their queries, keys and values are made of, where these are read."""
    places: dict[Layer, Place] = field(default_factory=dict)
    """Where cross-attention is read."""

    @cached_property
    def parts(self) -> frozenset[Part]:
        """All that active edits read."""
        layers, streams = (*self.family.layers, BOTTLENECK), [stream for stream, _ in self.members]
        asked = product(get_args(Tap), enumerate(streams), layers)
        return frozenset((tap, number, layer) for tap, (number, stream), layer in asked if self._read(tap, stream, layer))

    def _read(self, tap: Tap, stream: Stream, layer: Layer) -> bool:
        return any(edit.reads(tap, stream, layer) for edit in self.active)

    def shown(self, denoised: Tensor) -> Shown:
        """What has been looked at."""
        numbers = {stream: number for number, (stream, _) in enumerate(self.members)}
        taps = {(tap, numbers[stream], layer): tensors for (tap, stream, layer), tensors in self.run.taps.items() if stream in numbers}
        return Shown(taps, self.inputs, self.places, denoised)

    def again(self, shown: Shown) -> Tensor:
        """Looks at it once more, as if the network had reported it; returns what the model made of the streams."""
        taps = dict(shown.taps)
        for layer, inputs in shown.inputs.items():
            wanted = [(tap, number) for tap, number, at in self.parts if at == layer and tap in PROJECTED]
            needed = {part for tap, _ in wanted for part in PROJECTED[tap]}
            projected = {part: self.family.projected(layer, part, inputs[part]) for part in needed}
            for tap, number in wanted:
                taps[tap, number, layer] = tuple(projected[part][self.members[number][1]] for part in PROJECTED[tap])
        for (tap, number, layer), tensors in taps.items():
            stream, _ = self.members[number]
            self.run.taps[tap, stream, layer] = tensors
            if tap == "cross":
                self._watched(shown.places[layer], stream, *tensors)
        return shown.denoised

    def attention_inputs(self, site: Site, inputs: Inputs) -> Inputs:
        self.heard.add(site.layer)
        if any(self._read(tap, stream, site.layer) for tap in PROJECTED for stream, _ in self.members):
            self.inputs[site.layer] = inputs
        query, key, value = inputs
        self._tap("structure", site.layer, query, key)
        self._tap("content", site.layer, key, value)
        return inputs

    def self_attention(self, attention: Attention) -> Tensor:
        (query, key, value), place = attention.inputs, place_of(attention.site)
        self._tap("queries_keys", place.layer, query, key)
        self._tap("keys_values", place.layer, key, value)
        edited = []
        for stream, rows in self.members:
            inputs = place, stream, query[rows], key[rows], value[rows]
            computing = [edit for edit in self.active if edit.computes_stream(stream)]
            changes = [((edit,), _computed(edit.stream_attention, inputs, attention.attending(rows))) for edit in computing]
            if changes:
                attention.site.require_all_tokens(query)
                edited.append((rows, _chained(changes, rows, attention, Precedence(self.run, None))))
        return attention.joined(edited)

    def cross_attention(self, attention: Attention) -> Tensor:
        (query, key, _), place = attention.inputs, place_of(attention.site)
        self._tap("cross", place.layer, query, key)
        self.places[place.layer] = place
        for stream, rows in self.members:
            self._watched(place, stream, query[rows], key[rows])
        return attention.plain

    def _watched(self, place: Place, stream: Stream, query: Tensor, key: Tensor) -> None:
        own = AttentionMap((Term(query, key),), place.heads)
        for edit in self.active:
            if edit.reads("cross", stream, place.layer):
                edit.watch(place, own, stream)

    def network(self, executor, *args, **kwargs) -> Tensor:
        return tapped_call(self._tap_bottleneck, executor, *args, **kwargs)

    def _tap_bottleneck(self, data: dict) -> dict:
        self._tap("h", BOTTLENECK, data["h"])
        return data

    def _tap(self, tap: Tap, layer: Layer, *tensors: Tensor) -> None:
        """Keeps the rows of the streams, where an active edit will read them."""
        for stream, rows in self.members:
            if self._read(tap, stream, layer):
                # In a UNet queries, keys and values are made of one tensor, which is kept once.
                kept = {id(tensor): tensor[rows].clone() for tensor in tensors}
                self.run.taps[tap, stream, layer] = tuple(kept[id(tensor)] for tensor in tensors)


@dataclass(frozen=True)
class ReadPass:
    """The host's own call for the target, which active edits change."""

    run: Run
    active: tuple[RunningEdit, ...]
    regions: PerGrid[Region] = field(default_factory=PerGrid)
    """What is seen of the picture, by edits, grid and rows: the run keeps it."""
    checks: bool = False
    """Whether every layer has to see all tokens, edited or not."""
    applied: set[RunningEdit] = field(default_factory=set)
    left_out: dict[RunningEdit, RunningEdit] = field(default_factory=dict)
    """Edits of what goes in that acted somewhere in this call; and those that somewhere did not, beside one that takes over."""

    def attention_inputs(self, site: Site, inputs: Inputs) -> Inputs:
        if self.checks:
            site.require_all_tokens(inputs[0])
        edited = list(inputs)
        for rows, place in self._places(site):
            changing = self._applied([edit for edit in self.active if edit.works_at(place)])
            if not changing:
                continue
            site.require_all_tokens(inputs[0])
            Precedence(self.run, place, changing)  # says which of them come to nothing
            before = after = tuple(tensor[rows] for tensor in inputs)
            for edit in changing:
                after = edit.attention_inputs(place, *after)
            for index, (old, new) in enumerate(zip(before, after, strict=True)):
                if new is not old:
                    if edited[index] is inputs[index]:
                        edited[index] = inputs[index].clone()
                    edited[index][rows] = new
        return tuple(edited)

    def self_attention(self, attention: Attention) -> Tensor:
        edited = []
        for rows, place in () if attention.imposed else self._places(attention.site):
            working = [edit for edit in self.active if edit.works_at(place)]
            precedence = Precedence(self.run, place, self._applied(working))
            changes = [*self._hiding(working, place, rows, attention), *self._computing(working, place, rows, attention)]
            if changes:
                attention.site.require_all_tokens(attention.inputs[0])
                edited.append((rows, _chained(changes, rows, attention, precedence)))
        if attention.replaced:
            # It may look at what it is shown, as Self-Attention Guidance does, whether edits ask for its output or not.
            _ = attention.plain
            if edited:
                self.run.note("another node replaces self-attention too; where an edit computes it, the edit takes its place")
        return attention.joined(edited)

    def _applied(self, working: list[RunningEdit]) -> list[RunningEdit]:
        """Those of the edits at work that change what goes in, but for those that another one takes over from."""
        inputs = [edit for edit in working if edit.changes & INPUTS]
        for other in working:
            over = [edit for edit in inputs if edit.changes <= other.takes_over]
            self.left_out.update(dict.fromkeys(over, other))
            inputs = [edit for edit in inputs if edit not in over]
        self.applied.update(inputs)
        return inputs

    def note_left_out(self) -> None:
        """Says which edits acted nowhere in this call."""
        for edit, other in self.left_out.items():
            if edit not in self.applied:
                note_nothing(self.run, edit, other.name)

    def _hiding(self, working: list[RunningEdit], place: Place, rows: slice, attention: Attention) -> list[Change]:
        """All edits that hide keys together, as one change."""
        hiding = [edit for edit in working if "mask" in edit.changes]
        if not hiding:
            return []
        query = attention.inputs[0][rows]

        def left() -> Region:
            return attention.region(torch.stack([edit.seen(place, len(query), query.device) for edit in hiding]).all(dim=0))

        region = self.regions.of((*map(id, hiding), place.grid, len(query)), left)
        return [(tuple(hiding), lambda plain: attention.seeing(region, rows))]

    @staticmethod
    def _computing(working: list[RunningEdit], place: Place, rows: slice, attention: Attention) -> list[Change]:
        inputs = place, *(part[rows] for part in attention.inputs)
        return [((edit,), _computed(edit.self_attention, inputs, attention.attending(rows))) for edit in working if "map" in edit.changes]

    def cross_attention(self, attention: Attention) -> Tensor:
        query, key, value = attention.inputs
        # The host repeats a prompt to the length of a longer one; once is enough.
        once = slice(0, self.run.guided_tokens)
        edited = []
        for rows, place in () if attention.imposed else self._places(attention.site):
            if not place.guided:
                continue
            plain = changed = AttentionMap((Term(query[rows], key[rows, once]),), place.heads)
            precedence = Precedence(self.run, place)
            for edit in self.active:
                before, changed = changed, edit.cross_attention(place, changed)
                if changed is not before:
                    precedence.add_map(edit, before, changed)
            for edit in self.active:
                edit.watch(place, changed, None)
            if changed is not plain:
                edited.append((rows, changed.apply(value[rows, once], attention.attending(rows))))
        if edited and attention.replaced:
            self.run.note("another node replaces cross-attention too; on the positive prompt's rows the edit takes its place")
        return attention.joined(edited)

    def network(self, executor, *args, **kwargs) -> Tensor:
        return edited_call(self.run.two_predictions.edited, self.bottleneck, self.run.note, executor, *args, **kwargs)

    def bottleneck(self, h: Tensor) -> Tensor:
        """(rows, C, h, w) of one chunk of edited rows, after all active edits."""
        for edit in self.active:
            h = edit.bottleneck(h)
        return h

    def _places(self, site: Site) -> Iterator[tuple[slice, Place]]:
        """The target's rows that edits may touch, chunk by chunk."""
        for which, rows in site.chunks():
            if which in self.run.guided | self.run.plain:
                yield rows, place_of(site, which in self.run.guided)


def _computed(compute: Callable[..., Tensor], inputs: tuple, attend: Attend) -> Callable[[Plain], Tensor]:
    return lambda plain: compute(*inputs, plain, attend)


def _chained(changes: list[Change], rows: slice, attention: Attention, precedence: Precedence) -> Tensor:
    """The output for `rows` after all `changes`, each of which can ask for what came out of those before it."""
    outputs: list[Tensor] = []
    asked: set[int] = set()

    def before(count: int) -> Tensor:
        asked.add(count)
        return outputs[count - 1] if count else attention.plain_of(rows)

    for count, (edits, change) in enumerate(changes):
        outputs.append(change(partial(before, count)))
        precedence.add_output(edits, asked=count in asked)
    return outputs[-1]
