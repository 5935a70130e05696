"""What streams showed, kept from run to run: who turns a knob and runs again need not run the streams of the same picture again.

Streams do not depend on the target. So what a call of streams showed is the same, to the bit, whenever the same streams are run
together by the same network among the same neighbours; all of that is the key.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from ...inversion.trajectory import Trajectory
from ..families.attention import Inputs
from ..families.layer import Layer
from .fingerprints import SHOWN_BESIDE
from .plan import PLAN_KEY, RUN_KEY, Place
from .prompts import PROMPTS_KEY
from .sampling_run import Run
from .stream import Stream, Tap

FEATURES_KEY = "graft_features"
MIB = 2**20

Where = Literal["device", "host memory"]

Part = tuple[Tap, int, Layer]
"""A tap of the stream with this number among those of the call."""

PROJECTED: dict[Tap, tuple[int, int]] = {"queries_keys": (0, 1), "keys_values": (1, 2)}
"""Taps of what a UNet's layer projects, and which of queries, keys and values they are."""

UNDERSTOOD = frozenset({"cross_attn", "pooled_output", PROMPTS_KEY, *SHOWN_BESIDE})
"""Options of a prompt that its fingerprint knows of, or that no network is shown."""

logger = logging.getLogger("graft")


@dataclass(frozen=True)
class Shown:
    """What one call of streams showed, at one noise level.

    Where the rows that a layer projects are smaller than the taps of their projections, `inputs` holds them, for all rows, and the
    taps are projected anew: the same rows in the same batch, so to the same bits.
    """

    taps: Mapping[Part, tuple[Tensor, ...]]
    inputs: Mapping[Layer, Inputs]
    places: Mapping[Layer, Place]
    """Of the layers whose cross-attention was looked at."""
    denoised: Tensor

    def smallest(self) -> Shown:
        """With the smaller of taps and inputs at each layer."""
        taps, inputs = dict(self.taps), {}
        for layer, made_of in self.inputs.items():
            projections = {part: tensors for part, tensors in taps.items() if part[2] == layer and part[0] in PROJECTED}
            if _bytes(made_of) < _bytes(tensor for tensors in projections.values() for tensor in tensors):
                copies = {id(tensor): tensor.clone() for tensor in made_of}
                inputs[layer] = tuple(copies[id(tensor)] for tensor in made_of)
                taps = {part: tensors for part, tensors in taps.items() if part not in projections}
        return replace(self, taps=taps, inputs=inputs)

    def moved(self, move: Callable[[Tensor], Tensor]) -> Shown:
        """Every tensor once, however often it is named."""
        found = {id(tensor): tensor for tensor in self.tensors()}
        moved = {number: move(tensor) for number, tensor in found.items()}
        taps, inputs = (
            {name: tuple(moved[id(tensor)] for tensor in tensors) for name, tensors in named.items()} for named in (self.taps, self.inputs)
        )
        return Shown(taps, inputs, self.places, moved[id(self.denoised)])

    def tensors(self) -> Iterator[Tensor]:
        for tensors in (*self.taps.values(), *self.inputs.values()):
            yield from tensors
        yield self.denoised

    @property
    def size(self) -> int:
        """Bytes."""
        return _bytes(self.tensors())


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum({id(tensor): tensor.numel() * tensor.element_size() for tensor in tensors}.values())


@dataclass(frozen=True)
class Asked:
    """A call of streams: the `key` that says which, and the `parts` that are read of it."""

    key: tuple
    parts: frozenset[Part]
    trajectories: tuple[Trajectory, ...]


def asked(run: Run, streams: list[Stream], parts: frozenset[Part], x: Tensor, options: dict) -> Asked | None:
    """The call that runs `streams` in rows like `x`, among the model's `options`; None if what it shows cannot be kept: of latents that
    are drawn anew, or under a prompt with parts that cannot be told apart (ControlNets, hooks)."""
    entries = [entry for stream in streams for _, entry in stream.conditioning]
    drawn_anew = any(not isinstance(stream.trajectory, Trajectory) for stream in streams)
    if drawn_anew or not all(name in UNDERSTOOD or isinstance(value, SIMPLE) for entry in entries for name, value in entry.items()):
        return None
    prompts = tuple(_surroundings({name: value for name, value in entry.items() if name not in UNDERSTOOD}) for entry in entries)
    weights = run.fingerprint, run.model.patches_uuid, Same(run.model.model), _surroundings(run.model.object_patches)
    rows = tuple(x.shape[1:]), x.dtype, x.device
    key = tuple(stream.identity for stream in streams), prompts, run.sigma, rows, weights, _surroundings(options)
    return Asked(key, parts, tuple(stream.trajectory for stream in streams))


SIMPLE = (str, int, float, bool, type(None))


@dataclass(frozen=True, eq=False)
class Same:
    """An object as a part of a key: equal to itself alone, and alive as long as the key."""

    object: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.object is other.object

    def __hash__(self) -> int:
        return id(self.object)


def _surroundings(options: Any) -> Any:
    """What other nodes and the host have put around the network, comparable: values by value, functions by being the same."""
    match options:
        case dict():
            own = {PLAN_KEY, RUN_KEY, FEATURES_KEY}
            return tuple((name, _surroundings(value)) for name, value in options.items() if name not in own)
        case list() | tuple():
            return tuple(map(_surroundings, options))
        case Tensor() if options.dim() <= 1:
            return tuple(options.flatten().tolist())
    return options if isinstance(options, SIMPLE) else Same(options)


@dataclass
class Entry:
    shown: Shown
    parts: frozenset[Part]
    size: int
    used: int
    """The run that looked at it last."""
    trajectories: frozenset[int] = field(default_factory=frozenset)


class KeptFeatures:
    """What calls of streams showed, within a `budget` of bytes, on the device or in host memory.

    What no run looks at any more makes room first. What the present run itself has looked at stays: of a run that does not fit, as
    many steps as fit are kept, and the next run need not compute these.
    """

    def __init__(self, where: Where, budget: int) -> None:
        self.where, self.budget, self.run = where, budget, 0
        self.entries: dict[tuple, Entry] = {}
        self.answered = self.calls = 0
        self._copies = Copies()
        self._alive: dict[int, weakref.ref] = {}

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(entry.size for entry in self.entries.values())

    def begin(self) -> None:
        """A run begins."""
        self.run, self.answered, self.calls = self.run + 1, 0, 0

    def find(self, asked: Asked, device: torch.device) -> Shown | None:
        """What the call showed, on the device, if all that is read of it was kept."""
        self.calls += 1
        entry = self.entries.get(asked.key)
        if entry is None or not asked.parts <= entry.parts:
            return None
        self.answered, entry.used = self.answered + 1, self.run
        return entry.shown.moved(partial(self._copies.back, device=device))

    def keep(self, asked: Asked, shown: Shown) -> None:
        """Keeps what a call showed, if there is room."""
        shown = shown.smallest()
        self.entries.pop(asked.key, None)
        size = shown.size
        for key, entry in sorted(self.entries.items(), key=lambda kept: kept[1].used):
            if self.size + size <= self.budget or entry.used == self.run:
                break
            del self.entries[key]
        if self.size + size > self.budget:
            return
        if self.where == "host memory":
            shown = shown.moved(self._copies.out)
        for trajectory in asked.trajectories:
            self._follow(trajectory)
        self.entries[asked.key] = Entry(shown, asked.parts, size, self.run, frozenset(map(id, asked.trajectories)))

    def _follow(self, trajectory: Trajectory) -> None:
        """What it showed is dropped with the trajectory."""
        number, store = id(trajectory), weakref.ref(self)

        def gone(_) -> None:
            if (kept := store()) is not None:
                kept.forget(number)

        self._alive.setdefault(number, weakref.ref(trajectory, gone))

    def forget(self, trajectory: int) -> None:
        """Drops what the trajectory with this id showed."""
        self._alive.pop(trajectory, None)
        self.entries = {key: entry for key, entry in self.entries.items() if trajectory not in entry.trajectories}

    def report(self) -> None:
        """Says what a run found, and what is kept now."""
        if self.calls:
            logger.info(
                "Graft: Keep Features answered %d of %d calls of streams; %d are kept, %.1f of %d MiB in %s",
                self.answered,
                self.calls,
                len(self.entries),
                self.size / MIB,
                self.budget / MIB,
                "the device's memory" if self.where == "device" else "host memory",
            )


class Copies:
    """Copies between a CUDA device and pinned host memory, beside what the device computes. On other devices they are plain."""

    def __init__(self) -> None:
        self._beside: dict[torch.device, torch.cuda.Stream] = {}

    def out(self, tensor: Tensor) -> Tensor:
        if tensor.device.type != "cuda":
            return tensor.to("cpu")
        beside = self._stream(tensor.device)
        kept = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        with torch.cuda.stream(beside):
            kept.copy_(tensor, non_blocking=True)
        tensor.record_stream(beside)
        return kept

    def back(self, kept: Tensor, device: torch.device) -> Tensor:
        if device.type != "cuda" or kept.device == device:
            return kept.to(device)
        beside = self._stream(device)
        with torch.cuda.stream(beside):
            tensor = kept.to(device, non_blocking=True)
        torch.cuda.current_stream(device).wait_stream(beside)
        tensor.record_stream(torch.cuda.current_stream(device))
        return tensor

    def _stream(self, device: torch.device) -> torch.cuda.Stream:
        """Which begins after all that the device has been given to do so far."""
        beside = self._beside.setdefault(device, torch.cuda.Stream(device))
        beside.wait_stream(torch.cuda.current_stream(device))
        return beside


def with_kept_features(model, where: Where, budget: int):
    """A clone of a ModelPatcher whose runs keep what their streams show, within `budget` bytes."""
    clone = model.clone()
    clone.model_options["transformer_options"][FEATURES_KEY] = KeptFeatures(where, budget)
    return clone
