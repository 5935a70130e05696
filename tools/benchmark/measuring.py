"""What work takes: seconds, memory, the network's rows in it; and those rows alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from torch._C._profiler import _ExperimentalConfig
from torch.autograd import ProfilerConfig, ProfilerState, _disable_profiler, _enable_profiler, _prepare_profiler
from torch.profiler import ProfilerActivity

MIB = 2**20


def seconds(work: Callable[[], Any]) -> float:
    _wait()
    started = time.perf_counter()
    work()
    _wait()
    return time.perf_counter() - started


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def peak_memory(work: Callable[[], Any], device: torch.device) -> float:
    """MiB allocated at most while it works, beyond what was before."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        work()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - held) / MIB
    # The profiler's own context manager goes on to make a tree of all calls, which takes ten times as long as the work.
    kept = ProfilerConfig(ProfilerState.KINETO, False, True, False, False, False, _ExperimentalConfig())
    _prepare_profiler(kept, {ProfilerActivity.CPU})
    _enable_profiler(kept, {ProfilerActivity.CPU})
    try:
        work()
    finally:
        profiled = _disable_profiler()
    events = [event for event in profiled.events() if event.name() == "[memory]"]
    sizes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    return max(accumulate(sizes), default=0) / MIB


class Call(NamedTuple):
    """What a network was called with, without what others put around it."""

    network: Any
    inputs: tuple
    named: dict

    @staticmethod
    def of(network, inputs: tuple, named: dict, rows: int) -> Call:
        """The first rows of a call: it may compute fewer than it was given."""
        kept = {name: _first(part, rows) for name, part in named.items()}
        return Call(network, tuple(_first(part, rows) for part in inputs), {**kept, "transformer_options": {}})

    def again(self) -> None:
        # Past the module's own call, whose hooks look on.
        self.network.forward(*self.inputs, **self.named)


def _first(part: Any, rows: int) -> Any:
    return part[:rows] if isinstance(part, torch.Tensor) and part.dim() else part


class Rows:
    """The rows that a network computes, and of how many the decoder alone. With `again` every call's rows are computed once more, just
    after it and with nothing around them, in `seconds`: so both meet the machine in the same state. These do not count."""

    def __init__(self, again: bool) -> None:
        self.whole, self.seconds, self._decoded, self._most = 0, 0.0, 0, 0
        self._largest: Call | None = None
        self._again, self._counting = again, True

    @property
    def decoders(self) -> int:
        return max(0, self._decoded - self.whole)

    def largest_again(self) -> None:
        """The call with the most rows."""
        self._largest.again()

    def encode(self, network, inputs: tuple, named: dict, rows: int) -> None:
        self.whole += rows
        call = Call.of(network, inputs, named, rows)
        if rows > self._most:
            self._most, self._largest = rows, call
        if self._again:
            self._counting = False
            self.seconds += seconds(call.again)
            self._counting = True

    def decode(self, _, inputs: tuple) -> None:
        self._decoded += len(inputs[0]) * self._counting


@contextmanager
def counted(network, again: bool = False) -> Iterator[Rows]:
    """The rows that the network computes meanwhile."""
    rows = Rows(again)
    decoder = network.output_blocks[0][0].register_forward_pre_hook(rows.decode) if isinstance(network, UNetModel) else None
    with _after_calls(network, rows.encode):
        yield rows
    if decoder is not None:
        decoder.remove()


@contextmanager
def _after_calls(network, told: Callable[[Any, tuple, dict, int], None]) -> Iterator[None]:
    """Has `told` hear of every call of the network just after it, with the rows that it computed."""
    first = network.input_blocks[0][0] if isinstance(network, UNetModel) else network.img_in
    encoded: list[int] = []

    def after(_, inputs: tuple, named: dict, __) -> None:
        for rows in tuple(encoded):
            told(network, inputs, named, rows)
        encoded.clear()

    hooks = (
        first.register_forward_pre_hook(lambda _, inputs: encoded.append(len(inputs[0]))),
        network.register_forward_hook(after, with_kwargs=True),
    )
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
