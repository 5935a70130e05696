"""Start the real ComfyUI with the pack in it, and see to it that it is gone afterwards."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import requests

from hosting import host_folder, leash
from hosting.host_client import HostClient
from hosting.quickstart_error import QuickstartError

PACK = Path(__file__).resolve().parents[2]
PACK_NAME = "graft"
LOOPBACK = "127.0.0.1"
LOG_LINES_SHOWN = 30

# Bitwise repeatable runs, nothing written outside the base directory, no network.
HEADLESS_FLAGS = (
    "--database-url=sqlite:///:memory:",
    "--disable-api-nodes",
    "--disable-auto-launch",
    "--cache-classic",
    "--use-pytorch-cross-attention",
    "--fp32-text-enc",
)
LIVE_PREVIEWS = "--preview-method=auto"
"""The flag by which whatever samples shows the picture as it forms."""


@dataclass(frozen=True)
class ServerOptions:
    """How to start a server.

    comfyui: ComfyUI's folder. python: interpreter whose environment has its requirements. packs: folders linked into
    custom_nodes under the names given. device: "auto" uses an accelerator if torch sees one. port: None takes a free one.
    base_directory: None makes a private one that is removed at the end. threads: CPU threads for torch, None for a modest number;
    OMP_NUM_THREADS of the environment goes before it. seconds_to_start: how long to wait until it answers.
    """

    comfyui: Path
    python: Path = Path(sys.executable)
    packs: tuple[tuple[str, Path], ...] = ((PACK_NAME, PACK),)
    device: Literal["auto", "cpu", "gpu"] = "auto"
    port: int | None = None
    base_directory: Path | None = None
    flags: tuple[str, ...] = HEADLESS_FLAGS
    threads: int | None = None
    seconds_to_start: float = 300.0


@dataclass(frozen=True)
class HostServer:
    """A server that answers. `client` talks to it; `log` is the file with all it printed."""

    address: str
    client: HostClient
    base_directory: Path
    comfyui: Path
    log: Path
    process: subprocess.Popen

    @property
    def output_directory(self) -> Path:
        """Where its Save nodes write."""
        return self.base_directory / "output"


@contextlib.contextmanager
def running_server(options: ServerOptions) -> Iterator[HostServer]:
    """A running server for the length of a `with` block.

    Raises QuickstartError if the port is taken, the server ends or stays silent at start, the pack fails to import in it, or the
    server has ended when the block fails to reach it.
    On the way out - also by an exception, Ctrl-C or the death of this process - the server and its children are ended.
    """
    port = free_port() if options.port is None else require_free(options.port)
    with contextlib.ExitStack() as cleanup:
        base = options.base_directory or Path(cleanup.enter_context(_temporary_folder()))
        log = prepare_base_directory(base, options.packs) / "server.log"
        with log.open("wb") as sink:
            process = leash.start(_command(options, port, base), stdout=sink, stderr=subprocess.STDOUT, env=_environment(options))
        cleanup.callback(leash.let_go, process)
        address = f"http://{LOOPBACK}:{port}"
        server = HostServer(address, HostClient(address), base, options.comfyui, log, process)
        _wait_until_ready(server, options.seconds_to_start)
        _require_packs_loaded(server, options.packs)
        try:
            yield server
        except OSError as error:  # also what requests raises
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(timeout=2)
                raise QuickstartError(f"ComfyUI ended while it was working (exit code {code}). Its log:\n{log_tail(log)}") from error
            raise


def free_port() -> int:
    """A TCP port on the loopback address that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return probe.getsockname()[1]


def require_free(port: int) -> int:
    """The port itself, or QuickstartError if somebody listens on it or it may not be used."""
    with socket.socket() as probe:
        if os.name != "nt":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a closed server's lingering connections do not count
        try:
            probe.bind((LOOPBACK, port))
        except (OSError, OverflowError) as error:
            raise QuickstartError(f"Port {port} is not to be had ({error}). Choose another with --port, or none at all.") from None
    return port


def prepare_base_directory(base: Path, packs: tuple[tuple[str, Path], ...]) -> Path:
    """Create ComfyUI's folders below `base` and a link to each pack; folders and pictures already there stay. Returns `base`."""
    for folder in ("custom_nodes", "models/checkpoints", "input", "output", "temp", "user"):
        (base / folder).mkdir(parents=True, exist_ok=True)
    for name, source in packs:
        link_folder(source, base / "custom_nodes" / name)
    return base


def link_folder(source: Path, link: Path) -> None:
    """Make `link` stand for the folder `source`: a symbolic link, a junction on Windows, where neither is allowed a copy."""
    remove_link(link)
    try:
        if os.name == "nt":
            import _winapi

            _winapi.CreateJunction(str(source), str(link))  # needs no privilege, unlike a symbolic link
        else:
            link.symlink_to(source, target_is_directory=True)
    except OSError:
        shutil.copytree(source, link, ignore=shutil.ignore_patterns(".git", "output", "__pycache__", ".venv"))


def remove_link(link: Path) -> None:
    """Remove what `link_folder` made, never what it points to."""
    if link.is_symlink():
        link.unlink()
    elif os.path.lexists(link):
        try:
            link.rmdir()  # a junction, or an empty folder
        except OSError:
            shutil.rmtree(link)


def log_tail(log: Path, lines: int = LOG_LINES_SHOWN) -> str:
    """The last lines of a server's log."""
    return "\n".join(_log_lines(log)[-lines:])


def _log_lines(log: Path) -> list[str]:
    return re.sub(r"\x1b\[[0-9;]*m", "", log.read_text(encoding="utf-8", errors="replace")).splitlines()  # without colours


@contextlib.contextmanager
def _temporary_folder() -> Iterator[str]:
    folder = tempfile.mkdtemp(prefix="graft-")
    try:
        yield folder
    finally:
        for link in (Path(folder) / "custom_nodes").glob("*"):
            remove_link(link)
        shutil.rmtree(folder, ignore_errors=True)  # Windows may hold the log a moment longer


def _command(options: ServerOptions, port: int, base: Path) -> list[str]:
    flags = host_folder.known_flags(options.comfyui, options.flags)
    if options.device == "cpu" or (options.device == "auto" and not sees_accelerator(options.python)):
        flags.append("--cpu")
    main = options.comfyui / "main.py"
    return [str(options.python), str(main), f"--listen={LOOPBACK}", f"--port={port}", f"--base-directory={base}", *flags]


def sees_accelerator(python: Path) -> bool:
    """Whether torch in that environment can use a GPU; ComfyUI does not start without --cpu where it cannot."""
    question = "import torch; print(torch.cuda.is_available() or torch.backends.mps.is_available() or torch.xpu.is_available())"
    answer = subprocess.run([str(python), "-c", question], capture_output=True, text=True)
    return answer.stdout.strip() == "True"


def _environment(options: ServerOptions) -> dict[str, str]:
    # More threads than this make small networks slower, and starve whoever else uses the machine.
    threads = options.threads or min(4, max(1, (os.cpu_count() or 2) // 2))
    environment = {"OMP_NUM_THREADS": str(threads), "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1", **os.environ}
    environment.pop("PYTHONPATH", None)  # the host must find its own `nodes` and `utils`, not somebody else's
    return environment


def _wait_until_ready(server: HostServer, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise QuickstartError(
                f"ComfyUI ended while it was starting (exit code {server.process.returncode}). The end of its log:\n{log_tail(server.log)}"
            )
        with contextlib.suppress(requests.RequestException):
            server.client.get_json("/system_stats", seconds=5)
            return
        time.sleep(0.1)
    raise QuickstartError(f"ComfyUI did not answer within {seconds:.0f} s. The end of its log:\n{log_tail(server.log)}")


def _require_packs_loaded(server: HostServer, packs: tuple[tuple[str, Path], ...]) -> None:
    """ComfyUI starts all the same when a pack cannot be imported, and says so only in its log."""
    lines = _log_lines(server.log)
    for name, _ in packs:
        path = f"custom_nodes{os.sep}{name}"
        reports = [number for number, line in enumerate(lines) if path in line and not line.lstrip().startswith("File ")]
        if any("(IMPORT FAILED)" in lines[number] for number in reports):
            # The first report comes right after the traceback, if there is one.
            tracebacks = [number for number in range(reports[0]) if lines[number].endswith("Traceback (most recent call last):")]
            reason = "\n".join(lines[max(tracebacks, default=reports[0]) : reports[0] + 1])
            raise QuickstartError(f"ComfyUI started, but could not load the pack {name}:\n{reason}")
