"""A worker that has a server: puts the row's files there, runs its prompt, fetches what it made."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import requests
from hosting.host_client import HostClient, PromptFailed, PromptTimedOut, RunResult, StoredFile
from showing.demo_report import file_stem, natural_order

from .addresses import title_of
from .job import File, Job, Outcome, RowFailed, WorkerLost
from .trajectories import is_saving
from .versions import Versions

SECONDS_TO_STOP = 15.0
"""How long an interrupted prompt may take to end before its server counts as lost."""
NOT_THE_ROW = ("No space left on device", "OutOfMemoryError", "out of memory")
"""In a node's error: the machine was short of something, another worker may not be."""


class ServerWorker:
    """Submits rows to one server. `folder`: the server's base directory where it is ours, to clear what it no longer needs.

    silence: seconds after which a server that says nothing is asked, and as many until it counts as lost.
    """

    def __init__(self, name: str, address: str, pack: str | None, folder: Path | None = None, silence: float = 60.0):
        self.name = name
        self._client, self._folder = HostClient(address, silence), folder
        self._cleanup = contextlib.ExitStack()
        self._uploaded: dict[str, None] = {}
        self._left: set[Path] = set()
        self._overran = self._running = False
        with _lost_if_silent():
            self._cleanup.enter_context(self._client.listening())
            self._versions = Versions(self._client, pack)

    def submit(self, job: Job) -> Outcome:
        """Run a row. Raises RowFailed or WorkerLost."""
        with _lost_if_silent():
            if self._overran:
                self._wait_until_idle()
            for name, content in job.uploads.items():
                if name not in self._uploaded:
                    self._client.upload_image(content, name)
                    self._uploaded[name] = None
            result = self._run(job)
            files = list(self._named(job, result))
            outcome = Outcome(
                tuple(File(name, self._client.view(stored), stored.folder == "output") for name, stored in files),
                self._texts(job, result),
                result.seconds,
                self._versions.of(job.prompt),
                tuple(self._trajectories(job, result)),
            )
            self._client.forget(result.prompt_id)
            self._clear({stored for _, stored in files}, job)
        return outcome

    def close(self) -> None:
        """Stop listening; the server is somebody else's to end. While a row runs, in another thread, it is interrupted instead."""
        if not self._running:
            self._cleanup.close()
            return
        with contextlib.suppress(requests.RequestException):
            self._client.interrupt()

    def _run(self, job: Job) -> RunResult:
        self._running = True
        try:
            return self._client.run(job.prompt, seconds=job.seconds)
        except PromptTimedOut as error:
            self._overran = True
            raise RowFailed(str(error)) from None
        except PromptFailed as error:
            kind = WorkerLost if any(sign in str(error) for sign in NOT_THE_ROW) else RowFailed
            raise kind(str(error)) from None
        finally:
            self._running = False

    def _wait_until_idle(self) -> None:
        """After a row that took too long: the server may still be at it."""
        deadline = time.monotonic() + SECONDS_TO_STOP
        while self._client.get_json("/queue")["queue_running"]:
            if time.monotonic() > deadline:
                raise WorkerLost("The server goes on with a prompt that was interrupted.")
            time.sleep(0.2)
        self._overran = False

    def _named(self, job: Job, result: RunResult) -> Iterator[tuple[str, StoredFile]]:
        """The files of a run by their names for good: the title of the node that made them, in natural order of the titles."""
        taken: set[str] = set()
        for node in sorted(result.outputs, key=lambda node: (natural_order(title_of(job.prompt, node)), node)):
            stored = [file for file in result.files(node) if file.folder == "output" or not job.saved_only]
            for index, file in enumerate(stored, start=1):
                stem = file_stem(title_of(job.prompt, node)) + (f"-{index}" if len(stored) > 1 else "")
                name = f"{stem}{Path(file.filename).suffix.lower()}"
                if name in taken:  # another node of the same title
                    name = f"{stem}-{file_stem(node)}{Path(file.filename).suffix.lower()}"
                taken.add(name)
                yield name, file

    def _texts(self, job: Job, result: RunResult) -> dict[str, str]:
        shown = {node: "\n".join(result.texts(node)) for node in result.outputs if not is_saving(job.prompt[node])}
        return {title_of(job.prompt, node): text for node, text in shown.items() if text}

    def _trajectories(self, job: Job, result: RunResult) -> Iterator[File]:
        """What the nodes that keep a trajectory wrote."""
        for node in result.outputs:
            if is_saving(job.prompt[node]):
                for name in result.texts(node):
                    content = self._client.view(StoredFile(name, "trajectories"))
                    yield File(job.prompt[node]["inputs"]["filename_prefix"], content)

    def _clear(self, stored: set[StoredFile], job: Job) -> None:
        """Of an own server: remove what the rows before have left. The host's cache may still name what the last row made."""
        if self._folder is None:
            return
        present = {self._folder / file.folder / file.subfolder / file.filename for file in stored}
        present |= {self._folder / "input" / name for name in job.uploads}
        for path in self._left - present:
            path.unlink(missing_ok=True)
            self._uploaded.pop(path.name, None)
        self._left = present


@contextlib.contextmanager
def _lost_if_silent() -> Iterator[None]:
    """Whatever says that the server cannot be reached is a lost worker."""
    try:
        yield
    except (requests.RequestException, OSError) as error:
        raise WorkerLost(f"{type(error).__name__}: {error}") from error
