"""One server, started here for the length of the run."""

from __future__ import annotations

import contextlib

from hosting import pack
from hosting.host_server import ServerOptions, running_server
from hosting.quickstart_error import QuickstartError

from .job import Job, Outcome, WorkerLost
from .server_worker import ServerWorker


class OwnServer:
    """A worker with a server that it started and ends."""

    def __init__(self, name: str, options: ServerOptions, silence: float):
        self.name = name
        self._cleanup = contextlib.ExitStack()
        try:
            server = self._cleanup.enter_context(running_server(options))
            self.object_info = server.client.object_info()
            self._worker = ServerWorker(name, server.address, pack.version(), server.base_directory, silence)
            self._cleanup.callback(self._worker.close)
        except (QuickstartError, OSError, WorkerLost) as error:
            self._cleanup.close()
            raise WorkerLost(str(error)) from error

    def submit(self, job: Job) -> Outcome:
        return self._worker.submit(job)

    def close(self) -> None:
        with contextlib.suppress(OSError, QuickstartError):
            self._cleanup.close()


class Local:
    """A back end of one worker. Where its server is lost, another one is started."""

    size = 1

    def __init__(self, options: ServerOptions, silence: float = 60.0):
        self._options, self._silence = options, silence
        self._first: OwnServer | None = None

    def object_info(self) -> dict:
        """The nodes of its server, which is started for the question and kept for the first row."""
        self._first = self.open(0)
        return self._first.object_info

    def open(self, slot: int) -> OwnServer:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        return OwnServer("local", self._options, self._silence)

    def close(self) -> None:
        if self._first is not None:
            self._first.close()
