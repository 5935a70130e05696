"""Cores of a machine for one process each, so that workers do not take turns on all of them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import IO


def claim_cores(count: int) -> list[IO]:
    """Pin this process, and what it starts, to cores that no other process has claimed, as long as it lives.

    Returns the open files that are the claim. Where the system cannot pin, or has too few free cores, nothing is pinned.
    """
    if count < 1 or not hasattr(os, "sched_setaffinity"):
        return []
    claimed: dict[int, IO] = {}
    for core in sorted(os.sched_getaffinity(0)):
        if len(claimed) == count:
            break
        if (claim := _claim(core)) is not None:
            claimed[core] = claim
    if len(claimed) < count:
        for claim in claimed.values():
            claim.close()
        return []
    os.sched_setaffinity(0, claimed)
    return list(claimed.values())


def _claim(core: int) -> IO | None:
    """A locked file that stands for a core; the system lets go of it when the process ends, however it ends."""
    import fcntl

    file = (Path(tempfile.gettempdir()) / f"graft-core-{core}").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file
