"""How the bookkeeping grows: many rows on workers that only wait, and what a finished run costs to take up again.

    python tools scale [--rows N] [--workers N] [--ray N] [--finished] [--folder FOLDER]

Runs the real manifest reader, scheduler, record and outputs; the workers' one picture is made once. Prints the numbers as JSON.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from .addresses import Input
from .filling import Filling
from .identity import workflow_digest
from .job import File, Job, Outcome
from .manifest import open_manifest
from .page import Page
from .plan import plan
from .progress import Progress
from .record import DONE, NAME, Record, Result, line_of
from .run import Choices, Rows
from .scheduler import Scheduler
from .todo import Todo
from .workflow import Workflow

PROMPT = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": 0}, "_meta": {"title": "Plain"}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}, "_meta": {"title": "result"}},
}


class Waiting:
    """A worker that waits and gives back what it was given."""

    def __init__(self, name: str, seconds: float, files: tuple[File, ...]):
        self.name, self._seconds, self._files = name, seconds, files

    def submit(self, job: Job) -> Outcome:
        if self._seconds:
            time.sleep(self._seconds)
        return Outcome(self._files, {}, self._seconds, {"host": "0", "pack": "0", "models": {}})

    def close(self) -> None:
        """There is nothing to let go of."""


class WaitingThreads:
    """Workers in this process: what is measured is the driver alone."""

    def __init__(self, size: int, seconds: float, files: tuple[File, ...]):
        self.size, self._seconds, self._files = size, seconds, files

    def open(self, slot: int) -> Waiting:
        return Waiting(f"waiting-{slot}", self._seconds, self._files)


class WaitingActors(WaitingThreads):
    """Workers in Ray actors, a process each: the driver with what Ray adds to it."""

    def open(self, slot: int):
        import ray

        from .ray_cluster import RayWorker

        actor = ray.remote(ActorThatWaits).options(num_cpus=0).remote(slot, self._seconds, self._files)
        return RayWorker(actor, seconds_to_start=600.0)


class ActorThatWaits(Waiting):
    """What runs in such a process."""

    def __init__(self, slot: int, seconds: float, files: tuple[File, ...]):
        super().__init__(f"ray-{slot}", seconds, files)

    def ready(self) -> str:
        return self.name


def write_manifest(path: Path, rows: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            file.write(f'{{"id": "row-{number:07}", "Plain.color": {number % 0x1000000}, "notes": {{"set": "{number % 7}"}}}}\n')


def write_record(folder: Path, rows: int) -> None:
    """The manifest and the record of a finished run, a line and a file per row as a real one has them; without the pictures."""
    write_manifest(folder / "manifest.jsonl", rows)
    flow, manifest = _workflow(), open_manifest(folder / "manifest.jsonl")
    filling = Filling.of(flow, manifest)
    about = {"worker": "waiting-0", "ended": "2026-01-01T00:00:00+00:00", "versions": {"host": "0", "pack": "0", "models": {}}}
    (folder / "out").mkdir()
    with (folder / "out" / NAME).open("wb") as file:
        for _, row in manifest.rows():
            picture = {"path": f"{row.id}/result.png", "bytes": 72, "digest": "0" * 32, "saved": True}
            result = Result(row.id, DONE, flow.digest, filling.digest(row), files=(picture,), notes=dict(row.notes), **about)
            file.write(line_of(result))


def measured_run(folder: Path, backend: WaitingThreads, rows: int) -> dict[str, float]:
    """Run what is left of a manifest of `rows` rows in a folder; what it took."""
    flow = _workflow()
    choices = Choices(folder / "workflow.json", folder / "manifest.jsonl", folder / "out")
    if not choices.manifest.exists():
        write_manifest(choices.manifest, rows)
    started, cpu = time.monotonic(), time.process_time()
    manifest = open_manifest(choices.manifest)
    record = Record(choices.output)
    planned, problems = plan(manifest, Filling.of(flow, manifest), record.states(), retry_failed=False)
    if planned is None:
        raise SystemExit(f"{problems[0]}")
    looked = time.monotonic()
    taken = {
        "rows": planned.total,
        "to run": len(planned.places),
        "resume (s)": looked - started,
        "resume, processor (s)": time.process_time() - cpu,
    }
    if planned.places:
        cpu = time.process_time()
        page, progress = Page(choices.output, "scale"), Progress(planned.total, planned.done)
        kept = Rows(choices, manifest, flow, record, page, progress, planned.sources)
        Scheduler(backend, Todo(planned.waiting()), kept.prepare, kept.finish).run()
        seconds, processor = time.monotonic() - looked, time.process_time() - cpu
        taken |= {"rows a second": len(planned.places) / seconds, "driver, processor per row (ms)": 1000 * processor / len(planned.places)}
    record.close()
    size = (choices.output / NAME).stat().st_size
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {**taken, "record (MB)": size / 1e6, "memory at most (MB)": memory / 1e6}


def _workflow() -> Workflow:
    inputs: Mapping[str, list[Input]] = {"Plain.color": [Input((("1", "color"),), "INT", least=0, most=0xFFFFFF)]}
    return Workflow(workflow_digest(PROMPT), PROMPT, inputs, {})


def _picture() -> File:
    content = io.BytesIO()
    Image.new("RGB", (16, 16), "gray").save(content, "PNG")
    return File("result.png", content.getvalue())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=200, help="threads that wait")
    parser.add_argument("--ray", type=int, default=0, help="actors that wait, instead of threads")
    parser.add_argument("--seconds", type=float, default=0.0, help="how long they wait per row")
    parser.add_argument("--pictures", action="store_true", help="with a picture per row: a million small files")
    parser.add_argument(
        "--finished", action="store_true", help="takes up a finished run, whose record is written first, instead of running"
    )
    parser.add_argument("--folder", type=Path, help="goes on in this folder instead of a new one that is removed")
    parser.add_argument("--comfyui", help=argparse.SUPPRESS)
    options = parser.parse_args()
    files = (_picture(),) if options.pictures else ()
    with tempfile.TemporaryDirectory(prefix="graft-scale-") as made:
        if options.ray:
            import ray

            from .ray_cluster import TOOLS

            ray.init("local", log_to_driver=False, include_dashboard=False, runtime_env={"env_vars": {"PYTHONPATH": str(TOOLS)}})
        kind = WaitingActors if options.ray else WaitingThreads
        backend = kind(options.ray or options.workers, options.seconds, files)
        folder = options.folder or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        if options.finished and not (folder / "out").exists():
            write_record(folder, options.rows)
        found = measured_run(folder, backend, options.rows)
        print(
            json.dumps({"workers": backend.size, "actors": bool(options.ray), **{name: round(value, 4) for name, value in found.items()}})
        )


if __name__ == "__main__":
    main()
