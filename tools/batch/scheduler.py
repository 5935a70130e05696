"""Hands rows to workers: each pulls its next row when it has ended the last, so that nothing piles up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

from .job import Backend, Job, Outcome, RowFailed, Worker, WorkerLost
from .todo import Todo

ATTEMPTS = 3
"""So many workers may be lost on one row before the row itself is the suspect."""
STARTS = 3
"""So many times in a row a slot may fail to get a worker before it is given up."""


class Prepared(Protocol):
    """A row that can be run."""

    def job(self) -> Job:
        """What goes to the worker. Raises RowFailed if it cannot be made."""
        ...


Prepare = Callable[[int], Prepared]
"""The row at a place."""
Finish = Callable[[Any, Outcome | RowFailed, str, int], None]
"""Takes a prepared row, how it ended, the worker's name and the number of attempts. Called from any thread."""


class NoWorkers(Exception):
    """No slot could get a worker; rows are left."""


class Scheduler:
    """Runs every row of a Todo on the workers of a back end, a thread per worker.

    A lost worker is replaced, and its row given to the next that asks. An exception of `prepare` or `finish` stops the run.
    """

    def __init__(self, backend: Backend, todo: Todo, prepare: Prepare, finish: Finish, warn: Callable[[str], None] = print):
        self._backend, self._todo, self._prepare, self._finish, self._warn = backend, todo, prepare, finish, warn
        self._workers: dict[int, Worker] = {}
        self._errors: list[BaseException] = []
        self._stop = threading.Event()

    def run(self) -> None:
        """Returns when every row has ended. Raises NoWorkers, and what `prepare` or `finish` raised. An interrupt ends workers at once."""
        threads = [threading.Thread(target=self._work, args=(slot,), name=f"worker {slot}") for slot in range(self._backend.size)]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                while thread.is_alive():
                    thread.join(0.5)  # a plain join would keep the interrupt waiting
        except BaseException:
            self._halt()
            raise
        finally:
            for thread in threads:
                thread.join()
        errors = [error for error in self._errors if not isinstance(error, WorkerLost)]
        if errors:
            raise errors[0]
        if self._todo.left():
            raise NoWorkers(str(self._errors[-1]))

    def _halt(self) -> None:
        self._stop.set()
        self._todo.stop()
        for worker in list(self._workers.values()):
            worker.close()

    def _work(self, slot: int) -> None:
        try:
            while not self._stop.is_set() and (taken := self._todo.take(slot)) is not None:
                self._run(slot, *taken)
        except WorkerLost as error:
            self._errors.append(error)
        except BaseException as error:  # whatever it is: the others must stop, and the caller must hear of it
            self._errors.append(error)
            self._halt()
        finally:
            if worker := self._workers.pop(slot, None):
                worker.close()

    def _run(self, slot: int, place: int, lost: int) -> None:
        """Run one row and finish it, or give it back. Raises WorkerLost if no worker is to be had."""
        try:
            worker = self._worker(slot)
        except WorkerLost:
            self._todo.give_back(place, lost)
            raise
        row = self._prepare(place)
        try:
            ending: Outcome | RowFailed = worker.submit(row.job())
        except RowFailed as error:
            if self._stop.is_set():
                return  # it was interrupted, it has not failed
            ending = error
        except WorkerLost as error:
            self._drop(slot)
            if self._stop.is_set():
                return
            self._warn(f"Lost the worker {worker.name}: {error}")
            if lost + 1 < ATTEMPTS:
                self._todo.give_back(place, lost + 1)
                return
            ending = RowFailed(f"{ATTEMPTS} workers were lost at this row, the last so: {error}")
        self._finish(row, ending, worker.name, lost + 1)
        self._todo.ended()

    def _worker(self, slot: int) -> Worker:
        failures = 0
        while slot not in self._workers:
            try:
                self._workers[slot] = self._backend.open(slot)
            except WorkerLost as error:
                failures += 1
                if failures == STARTS or self._stop.is_set():
                    raise
                self._warn(f"No worker {slot} yet: {error}")
        return self._workers[slot]

    def _drop(self, slot: int) -> None:
        if worker := self._workers.pop(slot, None):
            worker.close()
