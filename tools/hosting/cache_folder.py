"""Where the tools keep what they fetched and built, and how two of them stay out of each other's way there."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from hosting.quickstart_error import QuickstartError

VARIABLE = "GRAFT_CACHE"


def cache_folder() -> Path:
    """The folder named by GRAFT_CACHE, else Graft's own folder among the user's caches. It need not exist."""
    if os.environ.get(VARIABLE):
        return Path(os.environ[VARIABLE]).expanduser().absolute()
    home = Path.home()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "graft" / "cache"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "graft"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "graft"


def require_space(folder: Path, gigabytes: float, purpose: str) -> None:
    """Raise QuickstartError if the disk of `folder` has less than that many GB (10^9 bytes) free."""
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free / 1e9
    if free < gigabytes:
        raise QuickstartError(
            f"Too little disk space for {purpose}: {folder} has {free:.1f} GB free and about {gigabytes:g} GB are needed. "
            f"Free some, or set {VARIABLE} to a folder on a larger disk."
        )


@contextlib.contextmanager
def locked(cache: Path) -> Iterator[None]:
    """Hold the cache for writing; a second process waits. The system lets go of the lock when its holder ends, however it ends."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("a+b") as file:
        if sys.platform == "win32":
            import msvcrt
            import time

            file.seek(0)
            while True:
                with contextlib.suppress(OSError):
                    msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
                    break
                time.sleep(0.5)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield
