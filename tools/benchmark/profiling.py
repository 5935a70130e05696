"""Where the time of a method goes, operator by operator, as shipped and by the paper's procedure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from .methods import Method
from .networks import Subject

SHOWN = 8


def operators(work: Callable[[], Any]) -> dict[str, float]:
    """Seconds that each operator took itself, without what it calls."""
    activities = [ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * torch.cuda.is_available()]
    with profile(activities=activities, acc_events=True) as profiled:  # else it warns of cycles that there are not
        work()
    times = "self_device_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
    return {event.key.removeprefix("aten::"): getattr(event, times) / 1e6 for event in profiled.key_averages()}


def table(subject: Subject, method: Method) -> str:
    """The operators that take most on either side, once everything was computed before."""
    sides = {"shipped": lambda: method.prepare(subject).run(), "naive": lambda: method.procedure(subject)}
    for work in sides.values():
        work()
    found = {side: operators(work) for side, work in sides.items()}
    names = sorted(set().union(*found.values()), key=lambda name: -max(one.get(name, 0.0) for one in found.values()))
    rows = [[f"`{name}`", *(f"{one.get(name, 0.0):.2f}" for one in found.values())] for name in names[:SHOWN]]
    rows.append(["all", *(f"{sum(one.values()):.2f}" for one in found.values())])
    lines = [[f"{method.title}, {subject.name}", "shipped, s", "naive, s"], ["---"] * 3, *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
