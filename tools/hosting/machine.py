"""How much may run at once on this machine."""

from __future__ import annotations

import os

import psutil

MOST_WORKERS = 4
GIGABYTES = 6
"""Memory of a worker: a process of torch's, and a server and a browser that it may start."""


def workers() -> int:
    """How many processes that each compute, with a server each, this machine has room for."""
    return as_many_as_fit(cores(), psutil.virtual_memory().total / 2**30)


def as_many_as_fit(cores: int, gigabytes: float) -> int:
    """The same for a machine with so many cores and so much memory."""
    return max(1, min(cores, int(gigabytes / GIGABYTES), MOST_WORKERS))


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
