"""What work takes: seconds, memory, the network's rows in it; and those rows alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

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


@dataclass
class Rows:
    """How many rows a network was asked for, and of how many it computed the decoder alone."""

    whole: int = 0
    decoders: int = 0


@contextmanager
def counted(network) -> Iterator[Rows]:
    """The rows that the network computes meanwhile."""
    counts = {"encoded": 0, "decoded": 0}

    def count(name: str):
        def hook(_, inputs) -> None:
            counts[name] += len(inputs[0])

        return hook

    ends = ("encoded", _first_part(network)), ("decoded", network.output_blocks[0][0] if isinstance(network, UNetModel) else None)
    hooks = [part.register_forward_pre_hook(count(name)) for name, part in ends if part is not None]
    rows = Rows()
    try:
        yield rows
    finally:
        for hook in hooks:
            hook.remove()
        rows.whole, rows.decoders = counts["encoded"], max(0, counts["decoded"] - counts["encoded"])


def _first_part(network):
    """The module that every row passes first."""
    return network.input_blocks[0][0] if isinstance(network, UNetModel) else network.img_in


@dataclass
class RowsAlone:
    """Has the network compute the rows of every call once more, just after it, with nothing around them: so that both meet the machine
    in the same state."""

    network: Any
    seconds: float = 0.0
    largest: tuple[tuple, dict] = ((), {})
    """What the call with the most rows was given."""
    _encoded: list[int] = field(default_factory=list)

    @contextmanager
    def beside(self) -> Iterator[None]:
        hooks = (
            _first_part(self.network).register_forward_pre_hook(lambda _, inputs: self._encoded.append(len(inputs[0]))),
            self.network.register_forward_hook(self._again, with_kwargs=True),
        )
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _again(self, _, inputs: tuple, named: dict, __) -> None:
        # A call may compute fewer rows than it was given.
        encoded, self._encoded = self._encoded, []
        for rows in encoded:
            args, kwargs = tuple(_of(part, rows) for part in inputs), {name: _of(part, rows) for name, part in named.items()}
            kwargs["transformer_options"] = {}
            if not self.largest[0] or rows > len(self.largest[0][0]):
                self.largest = args, kwargs
            self.seconds += seconds(lambda args=args, kwargs=kwargs: self.network.forward(*args, **kwargs))
        self._encoded = []

    def largest_again(self) -> None:
        """The call with the most rows."""
        args, kwargs = self.largest
        self.network.forward(*args, **kwargs)


def _of(part: Any, rows: int) -> Any:
    return part[:rows] if isinstance(part, torch.Tensor) and part.dim() else part
