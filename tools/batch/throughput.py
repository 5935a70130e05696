"""What a second worker brings, and what a row costs besides its edit: one manifest on one worker of a Ray cluster and on all of them, in turn.

    python tools throughput WORKFLOW --manifest FILE [--workers N] [--rounds N]

The same servers run all of it, each pinned to a core where it has no GPU. Prints the numbers as JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from hosting.host_server import ServerOptions

from .job import Job, Outcome
from .ray_cluster import LOCAL, RayCluster, RayWorker
from .record import NAME, latest
from .run import Choices, run


class Kept:
    """A worker that outlives the run that it is lent to."""

    def __init__(self, worker: RayWorker):
        self.name, self._worker = worker.name, worker

    def submit(self, job: Job) -> Outcome:
        return self._worker.submit(job)

    def close(self) -> None:
        """It is ended with its cluster."""


class Lent:
    """The first workers of a cluster, as a back end that leaves them as they are."""

    def __init__(self, workers: list[RayWorker]):
        self._workers, self.size = workers, len(workers)
        self.opened = 0.0
        """When the first was asked for: from then on rows are run."""

    def object_info(self) -> dict:
        return self._workers[0].object_info()

    def open(self, slot: int) -> Kept:
        self.opened = self.opened or time.monotonic()
        return Kept(self._workers[slot])

    def close(self) -> None:
        """Its cluster goes on."""


@dataclass(frozen=True)
class Timed:
    """rows that so many workers ended in `elapsed` seconds, the start left out; the hosts had them for `host` seconds in all, and got
    `processor` seconds of a core for them."""

    workers: int
    rows: int = 0
    elapsed: float = 0.0
    host: float = 0.0
    processor: float = 0.0

    def __add__(self, other: Timed) -> Timed:
        sums = (getattr(self, name) + getattr(other, name) for name in ("rows", "elapsed", "host", "processor"))
        return Timed(self.workers, *sums)

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.rows / self.elapsed

    @property
    def overhead(self) -> float:
        """Part of the workers' time in which the host had no row: files, record, metrics and the way there and back."""
        return 1 - self.host / (self.workers * self.elapsed)

    @property
    def share(self) -> float:
        """Part of the cores that the hosts got, which are pinned to one each: what is missing others had, or nobody."""
        return self.processor / (self.workers * self.elapsed)


def timed(workflow: Path, manifest: Path, output: Path, workers: list[RayWorker]) -> Timed:
    """A run of the whole manifest on these workers."""
    lent, before = Lent(workers), _processor_of_hosts()
    if run(Choices(workflow, manifest, output), lambda: lent, say=lambda text: None):
        raise SystemExit("Rows failed.")
    elapsed = time.monotonic() - lent.opened
    entries = latest(output / NAME).values()
    spent = _processor_of_hosts() - before
    return Timed(len(workers), len(entries), elapsed, sum(entry["seconds"] for entry in entries), spent)


def _processor_of_hosts() -> float:
    """Seconds of the processor that all servers below this process have had."""
    spent = 0.0
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if any(word.startswith("--base-directory=") for word in process.cmdline()):
                times = process.cpu_times()
                spent += times.user + times.system
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workflow", type=Path)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3, help="in turn, so that what else the machine does meets both")
    parser.add_argument("--comfyui", type=Path, required=True)
    options = parser.parse_args()
    cluster = RayCluster(LOCAL, ServerOptions(options.comfyui, device="cpu", seconds_to_start=900.0), workers=options.workers)
    workers: list[RayWorker] = []
    try:
        workers += [cluster.open(slot) for slot in range(cluster.size)]
        one, every = Timed(1), Timed(len(workers))
        with tempfile.TemporaryDirectory(prefix="graft-throughput-") as made:
            for number in range(options.rounds):
                one += timed(options.workflow, options.manifest, Path(made) / f"one {number}", workers[:1])
                every += timed(options.workflow, options.manifest, Path(made) / f"all {number}", workers)
    finally:
        for worker in workers:
            worker.close()
        cluster.close()
    for found in (one, every):
        rates = {"rows a second": found.rate, "overhead (%)": 100 * found.overhead, "share of the cores (%)": 100 * found.share}
        print(json.dumps({name: round(value, 4) for name, value in {**asdict(found), **rates}.items()}))
    ratio = every.rate / one.rate
    print(json.dumps({"ratio": round(ratio, 3), "ratio at equal shares": round(ratio * one.share / every.share, 3)}))


if __name__ == "__main__":
    main()
