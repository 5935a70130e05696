"""Servers that run already: `--servers URL,...`. Pictures go up by the host's own upload route."""

from __future__ import annotations

import time
from collections.abc import Sequence

import requests
from hosting.host_client import HostClient
from hosting.quickstart_error import QuickstartError

from .job import WorkerLost
from .server_worker import ServerWorker

SECONDS_TO_COME_BACK = 60.0


class Servers:
    """A worker per server. One that is lost is asked again for a while: it may have been started again."""

    def __init__(self, addresses: Sequence[str], silence: float = 60.0, patience: float = SECONDS_TO_COME_BACK):
        self._addresses = [address if "://" in address else f"http://{address}" for address in addresses]
        self._silence, self._patience = silence, patience
        self._opened: set[int] = set()

    @property
    def size(self) -> int:
        return len(self._addresses)

    def object_info(self) -> dict:
        """The nodes of the first server. QuickstartError for one that does not answer."""
        answers = {}
        for address in self._addresses:
            try:
                answers[address] = HostClient(address).object_info()
            except (requests.RequestException, ValueError) as error:
                raise QuickstartError(f"The server {address} does not answer as ComfyUI does: {error}") from None
        return answers[self._addresses[0]]

    def open(self, slot: int) -> ServerWorker:
        deadline = time.monotonic() + (self._patience if slot in self._opened else 0.0)
        self._opened.add(slot)
        while True:
            try:
                return ServerWorker(self._addresses[slot], self._addresses[slot], None, silence=self._silence)
            except WorkerLost:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(1.0)

    def close(self) -> None:
        """The servers go on."""
