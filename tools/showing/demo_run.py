"""Runs workflows on servers, as many at once as there are servers, and keeps what they made."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from queue import SimpleQueue
from threading import Lock

import graph
from hosting import host_folder, pack
from hosting.host_client import Progress, Prompt, PromptFailed, RunResult
from hosting.host_server import HostServer
from hosting.progress_bar import ProgressBar

from showing import demo_metrics, given_pictures
from showing.demo_report import Picture, Report, WorkflowReport, file_stem, natural_order
from showing.demo_workflows import Workflow, files_needed, unknown_types
from showing.tasks import task_of

Watch = Callable[[Progress], None]


def run_all(
    servers: Sequence[HostServer],
    workflows: Sequence[Workflow],
    output: Path,
    *,
    everything: bool = True,
    show: Callable[[Report], None] = lambda report: None,
) -> Report:
    """Run the workflows and save their pictures below `output`; a failing one does not stop the next.

    Those that need files of the user's are not run, and those that no list offers only with `everything`. `show` gets the report whenever a
    workflow has ended.
    """
    object_info = servers[0].client.object_info()
    device = servers[0].client.get_json("/system_stats")["devices"][0]["name"]
    reports: list[WorkflowReport | None] = [_not_run(workflow, object_info, everything) for workflow in workflows]
    due = [place for place, report in enumerate(reports) if report is None]
    clock, free = Clock(len(due)), SimpleQueue()
    for server in servers:
        free.put(server)

    def report(waiting: int) -> Report:
        known = tuple(one for one in reports if one is not None)
        return Report(
            pack.version(), host_folder.version(servers[0].comfyui), device, known, waiting, clock.seconds_left() if waiting else None
        )

    def run(place: int) -> int:
        server = free.get()
        try:
            reports[place] = run_one(server, workflows[place], object_info, output, lambda progress: clock.watch(place, progress))
        finally:
            free.put(server)
        return place

    pool = ThreadPoolExecutor(len(servers))
    try:
        for done, future in enumerate(as_completed([pool.submit(run, place) for place in due]), start=1):
            ended = reports[future.result()]
            clock.ended(f"[{done}/{len(due)}] {ended.name} {_verdict(ended)}", future.result())
            show(report(len(due) - done))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # what still runs ends with its server
    return report(0)


class Clock:
    """How far the workflows are, drawn as a bar, and how long the rest will take if it goes on like this."""

    def __init__(self, workflows: int) -> None:
        self._workflows, self._begun = workflows, time.monotonic()
        self._parts: dict[int, float] = {}
        self._bar, self._lock = ProgressBar("Demo"), Lock()

    def watch(self, place: int, progress: Progress) -> None:
        """A workflow has come further."""
        with self._lock:
            self._parts[place] = progress.fraction
            left = self._seconds_left()
            self._bar.show(self._done(), "" if left is None else f"about {left:.0f} s left: {progress.node}")

    def ended(self, line: str, place: int) -> None:
        """A workflow has ended."""
        with self._lock:
            self._parts[place] = 1.0
            self._bar.close(line)

    def seconds_left(self) -> float | None:
        """None before there is anything to say it by."""
        with self._lock:
            return self._seconds_left()

    def _done(self) -> float:
        return sum(self._parts.values()) / max(1, self._workflows)

    def _seconds_left(self) -> float | None:
        done = self._done()
        return (time.monotonic() - self._begun) * (1 - done) / done if done else None


def _not_run(workflow: Workflow, object_info: dict[str, dict], everything: bool) -> WorkflowReport | None:
    """The report of a workflow that there is no use in running; None for others."""
    unknown = unknown_types(workflow, object_info)
    if unknown:
        return WorkflowReport(workflow.name, "failed", task=task_of(workflow), reason=f"The server does not know {', '.join(unknown)}.")
    needed = files_needed(workflow, object_info)
    if needed:
        return WorkflowReport(workflow.name, "skipped", reason=f"needs files of yours ({', '.join(needed)})")
    if not (workflow.listed or everything):
        return WorkflowReport(workflow.name, "skipped", reason="demo --all runs it")
    return None


def _verdict(report: WorkflowReport) -> str:
    return f"{report.seconds:.1f} s" if report.status == "passed" else f"FAILED\n{report.reason}"


def run_one(server: HostServer, workflow: Workflow, object_info: dict[str, dict], output: Path, watch: Watch) -> WorkflowReport:
    """Run one workflow. Its failure is part of the report, not an exception."""
    task = task_of(workflow)
    try:
        prompt = graph.to_prompt(workflow.graph, object_info)
        result = server.client.run(prompt, watch)
    except (PromptFailed, ValueError, KeyError) as error:
        return WorkflowReport(workflow.name, "failed", workflow.description, task, reason=f"{type(error).__name__}: {error}")
    metrics, texts = _texts(prompt, result)
    drawing = output / workflow.name / "graph.svg"
    pictures = _save_pictures(server, prompt, result, output, workflow.name)
    drawing.write_text(graph.to_svg(workflow.graph, object_info), encoding="utf-8")
    closeness = demo_metrics.against_truth({picture.title: output / picture.file for picture in pictures})
    if closeness:
        metrics["PSNR against the ground truth (dB)"] = closeness
    return WorkflowReport(
        workflow.name,
        "passed",
        workflow.description,
        task,
        seconds=result.seconds,
        node_seconds={f"{_title(prompt, node)} #{node}": round(seconds, 4) for node, seconds in result.node_seconds.items()},
        pictures=pictures,
        metrics=metrics,
        texts=texts,
        graph=drawing.relative_to(output).as_posix(),
    )


def _save_pictures(server: HostServer, prompt: Prompt, result: RunResult, output: Path, name: str) -> tuple[Picture, ...]:
    """Fetch what was loaded, then what the Save and Preview nodes made, in the order of their titles ("1 input", "2 result", "3 ground truth")."""
    folder = output / name
    shutil.rmtree(folder, ignore_errors=True)  # pictures of an earlier run
    folder.mkdir(parents=True)
    pictures = [Picture(title, path.relative_to(output).as_posix()) for title, path in given_pictures.fetch(server.client, prompt, folder)]
    for node in sorted(result.outputs, key=lambda node: natural_order(_title(prompt, node))):
        images = result.images(node)
        for index, image in enumerate(images, start=1):
            title = _title(prompt, node) + (f" ({index})" if len(images) > 1 else "")
            stem = file_stem(title)
            path = folder / f"{stem}{Path(image.filename).suffix}"
            if path.exists():  # two nodes of the same title
                path = folder / f"{stem}-{file_stem(node)}{path.suffix}"
            path.write_bytes(server.client.view(image))
            pictures.append(Picture(title, path.relative_to(output).as_posix()))
    return tuple(pictures)


def _texts(prompt: Prompt, result: RunResult) -> tuple[dict, dict[str, str]]:
    """What text nodes showed, by title: JSON objects and numbers as metrics, everything else as it is."""
    metrics, texts = {}, {}
    for node in sorted(result.outputs, key=lambda node: natural_order(_title(prompt, node))):
        for text in result.texts(node):
            try:
                metrics[_title(prompt, node)] = json.loads(text)
            except ValueError:
                texts[_title(prompt, node)] = text
    return metrics, texts


def _title(prompt: Prompt, node: str) -> str:
    entry = prompt.get(node, {})
    return entry.get("_meta", {}).get("title") or entry.get("class_type", node)
