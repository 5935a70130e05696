"""What a second worker brings, and what a row costs besides its edit: one manifest on one worker of a Ray cluster, then on all of them.

    python tools throughput WORKFLOW --manifest FILE [--workers N]

The same servers run both times, each pinned to a core where it has no GPU. Prints the numbers as JSON.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

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


def timed(workflow: Path, manifest: Path, output: Path, workers: list[RayWorker]) -> dict[str, float]:
    """Rows a second of a run without its start, seconds of a worker per row, and how many of them the host had the row."""
    lent = Lent(workers)
    if run(Choices(workflow, manifest, output), lambda: lent, say=lambda text: None):
        raise SystemExit("Rows failed.")
    elapsed = time.monotonic() - lent.opened
    entries = latest(output / NAME).values()
    return {
        "rows a second": len(entries) / elapsed,
        "worker per row (s)": elapsed * len(workers) / len(entries),
        "host per row (s)": sum(entry["seconds"] for entry in entries) / len(entries),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workflow", type=Path)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--comfyui", type=Path, required=True)
    options = parser.parse_args()
    cluster = RayCluster(LOCAL, ServerOptions(options.comfyui, device="cpu", seconds_to_start=900.0), workers=options.workers)
    workers: list[RayWorker] = []
    try:
        workers += [cluster.open(slot) for slot in range(cluster.size)]
        with tempfile.TemporaryDirectory(prefix="graft-throughput-") as made:
            one = timed(options.workflow, options.manifest, Path(made) / "one", workers[:1])
            all_of_them = timed(options.workflow, options.manifest, Path(made) / "all", workers)
    finally:
        for worker in workers:
            worker.close()
        cluster.close()
    ratio = all_of_them["rows a second"] / one["rows a second"]
    overhead = 1 - one["host per row (s)"] / one["worker per row (s)"]
    print(json.dumps({"one worker": one, f"{len(workers)} workers": all_of_them, "ratio": ratio, "overhead (%)": 100 * overhead}, indent=1))


if __name__ == "__main__":
    main()
