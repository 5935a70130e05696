"""The server's event stream, read from ordinary (synchronous) code."""

from __future__ import annotations

import asyncio
import contextlib
import json
import queue
import threading
from types import TracebackType

import aiohttp

SECONDS_TO_CONNECT = 30.0


class EventStream:
    """Context manager around the websocket of one client id.

    The socket lives in a thread of its own with its own event loop, so that callers may have a running loop themselves (browser
    tests do). Binary frames (previews) are dropped. Entering raises ConnectionError when the server cannot be reached.
    """

    def __init__(self, address: str, client_id: str):
        self._url = f"{address.replace('http', 'ws', 1)}/ws?clientId={client_id}"
        self._events: queue.Queue[dict | Exception] = queue.Queue()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> EventStream:
        self._thread.start()
        if self.next(SECONDS_TO_CONNECT) is None:  # the server greets with its status
            raise ConnectionError(f"No event stream at {self._url} within {SECONDS_TO_CONNECT:.0f} s.")
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself: the server is gone
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(SECONDS_TO_CONNECT)

    def next(self, seconds: float) -> dict | None:
        """The next event {"type", "data"}, or None if none came in time. Raises ConnectionError once the connection is lost."""
        try:
            event = self._events.get(timeout=seconds)
        except queue.Empty:
            return None
        if isinstance(event, Exception):
            raise ConnectionError(f"The server closed the event stream: {event}") from event
        return event

    def _run(self) -> None:
        self._task = self._loop.create_task(self._read())
        try:
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            pass
        finally:
            self._loop.close()

    async def _read(self) -> None:
        try:
            async with aiohttp.ClientSession() as session, session.ws_connect(self._url, max_msg_size=0) as socket:
                async for message in socket:
                    if message.type is aiohttp.WSMsgType.TEXT:
                        self._events.put(json.loads(message.data))
            self._events.put(ConnectionError("closed by the server"))
        except (aiohttp.ClientError, OSError) as error:
            self._events.put(error)
