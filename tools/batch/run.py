"""A batch from the command to its exit code."""

from __future__ import annotations

import contextlib
import errno
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Protocol

from hosting.quickstart_error import QuickstartError

from . import outputs, thumbnails, workflow
from .addresses import Prompt, title_of
from .filling import Filled, Filling, prompt_with
from .identity import workflow_digest
from .job import Backend, Job, Outcome, RowFailed
from .manifest import open_manifest
from .measuring import measured
from .page import KEPT, NAME, Page
from .plan import Plan, plan
from .problems import ManifestError
from .progress import Progress
from .readers import Reader
from .record import DONE, FAILED, Record, Result
from .scheduler import NoWorkers, Scheduler
from .todo import Todo
from .trajectories import Trajectories
from .unnaturalness import digest_with_map, with_map

SEEDS = ("seed", "noise_seed")


class ServingBackend(Backend, Protocol):
    """A back end whose servers can be asked for their nodes."""

    def object_info(self) -> dict: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Choices:
    """What the user said. names: addresses by column. seconds: how long a row may take."""

    workflow: Path
    manifest: Path
    output: Path
    names: Mapping[str, str] = field(default_factory=dict)
    format: str | None = None
    retry_failed: bool = False
    saved_only: bool = False
    unnaturalness: bool = False
    seconds: float = 1800.0


def tell(text: str) -> None:
    """Prints a line at once, so that a log has it whatever becomes of this process."""
    print(text, flush=True)


def run(choices: Choices, backend: Callable[[], ServingBackend], say: Callable[[str], None] = tell) -> int:
    """Run what is not done yet; 1 if any row of the manifest failed, now or before, else 0.

    Raises ManifestError before anything runs, QuickstartError where the disk is full or no worker is to be had: a second call goes on.
    A finished run needs no server and asks for none.
    """
    saved = workflow.load(choices.workflow)
    manifest = open_manifest(choices.manifest, choices.format)
    with contextlib.ExitStack() as cleanup:
        record = Record(choices.output)
        cleanup.callback(record.close)
        kept = choices.output / KEPT / "workflow.json"
        kept.parent.mkdir(exist_ok=True)
        flow = workflow.read(kept)
        servers: ServingBackend | None = None
        if flow is None or not _is_of(flow, saved, choices):
            servers = _open(backend, cleanup, say)
            nodes = servers.object_info()
            flow = workflow.compiled(saved, nodes, choices.names)
            flow = with_map(flow, nodes) if choices.unnaturalness else flow
        planned = _planned(choices, manifest, Filling.of(flow, manifest), record)
        workflow.write(flow, kept)
        say(f"{planned.total} rows: {planned.done} done before, {planned.failed} failed before, {len(planned.places)} to run.")
        failed = planned.failed
        page = Page(choices.output, choices.workflow.stem)
        if planned.places:
            servers = servers or _open(backend, cleanup, say)
            failed += _run(choices, manifest, flow, planned, record, servers, page, say)
        if planned.places or not (choices.output / NAME).exists():
            page.write()
        say(f"Pictures and results: {choices.output / NAME}")
    return 1 if failed else 0


def _is_of(flow: workflow.Workflow, saved: workflow.Saved, choices: Choices) -> bool:
    """Whether a compiled workflow that was kept is what was asked for."""
    wanted = workflow_digest(saved)
    return flow.digest == (digest_with_map(wanted) if choices.unnaturalness else wanted) and flow.names == workflow.names(
        saved, choices.names
    )


def _open(backend: Callable[[], ServingBackend], cleanup: contextlib.ExitStack, say: Callable[[str], None]) -> ServingBackend:
    say("Starting ...")
    opened = backend()
    cleanup.callback(opened.close)
    return opened


def _planned(choices: Choices, manifest: Reader, filling: Filling, record: Record) -> Plan:
    planned, problems = plan(manifest, filling, record.states(), choices.retry_failed)
    if planned is None:
        raise ManifestError(choices.manifest, problems)
    return planned


def _run(
    choices: Choices,
    manifest: Reader,
    flow: workflow.Workflow,
    planned: Plan,
    record: Record,
    servers: ServingBackend,
    page: Page,
    say: Callable[[str], None],
) -> int:
    """Run the planned rows and return how many failed."""
    progress = Progress(planned.total, planned.done + planned.failed)
    rows = Rows(choices, manifest, flow, record, page, progress, planned.sources)
    scheduler = Scheduler(servers, Todo(planned.waiting()), rows.prepare, rows.finish, say)
    try:
        scheduler.run()
    except NoWorkers as error:
        raise QuickstartError(f"No worker is left, rows are: {error}\nStart again to go on where this run stopped.") from None
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise QuickstartError(f"The disk of {choices.output} is full. Make room and start again: what is done stays done.") from None
    finally:
        progress.close()
    return rows.failed


@dataclass(frozen=True)
class PreparedRow:
    """A checked row that goes into its workflow when a worker asks for it. is_shared: other rows to run are of the same picture."""

    filled: Filled
    flow: workflow.Workflow
    choices: Choices
    trajectories: Trajectories
    is_shared: bool

    def job(self) -> Job:
        """The row's prompt and files. Raises RowFailed if a file cannot be read any more."""
        try:
            prompt, uploads = prompt_with(self.flow, self.filled)
            prompt, saved = self.trajectories.shared(prompt, self.is_shared)
        except OSError as error:
            raise RowFailed(str(error)) from None
        return Job(self.filled.id, prompt, {**uploads, **saved}, self.choices.seconds, self.choices.saved_only)


class Rows:
    """Between scheduler, disk and record: makes a job of a row, and a line of the record of how it ended."""

    def __init__(
        self,
        choices: Choices,
        manifest: Reader,
        flow: workflow.Workflow,
        record: Record,
        page: Page,
        progress: Progress,
        sources: Sequence[str],
    ):
        self._choices, self._manifest, self._flow, self._record = choices, manifest, flow, record
        self._page, self._progress = page, progress
        self._filling = Filling.of(flow, manifest)
        self._trajectories = Trajectories(choices.output / KEPT / "trajectories")
        self._shared = {source for source, count in Counter(sources).items() if source and count > 1}
        self._lock = threading.Lock()
        self.failed = 0

    def prepare(self, place: int) -> PreparedRow:
        """The row at a place of the manifest. QuickstartError if it is not what was checked."""
        filled = self._filling.fill(self._manifest.row(place))
        if not isinstance(filled, Filled):
            raise QuickstartError(f"A row is no longer what it was at the start: {filled[0].column}: {filled[0].text}")
        return PreparedRow(filled, self._flow, self._choices, self._trajectories, filled.source in self._shared)

    def finish(self, row: PreparedRow, ending: Outcome | RowFailed, worker: str, attempts: int) -> None:
        """Keep the files of a row and record it. OSError where the disk is full: then the row has not ended."""
        filled, failed = row.filled, isinstance(ending, RowFailed)
        result = Result(
            id=filled.id,
            status=FAILED if failed else DONE,
            workflow=self._flow.digest,
            row=filled.digest,
            worker=worker,
            attempts=attempts,
            ended=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            seed=_seeds(self._flow.prompt, filled),
            notes=dict(filled.notes),
            source=filled.source,
            error=str(ending) if failed else "",
        )
        if not failed:
            result = replace(
                result,
                seconds=round(ending.seconds, 4),
                files=outputs.keep(self._choices.output, filled.id, ending.files),
                versions=dict(ending.versions),
                texts=dict(ending.texts),
                metrics=measured(filled, ending.files),
            )
            self._trajectories.take(ending.trajectories)
            thumbnails.keep(self._choices.output / KEPT / thumbnails.NAME, filled, ending.files)
        self._record.append(result)
        with self._lock:
            self.failed += failed
        self._progress.ended(filled.id, failed)
        self._page.refresh()


def _seeds(prompt: Prompt, filled: Filled) -> dict[str, int]:
    """The seeds of a row's prompt, by `Title.input`."""
    inputs = ((node, name, value) for node, entry in prompt.items() for name, value in entry["inputs"].items() if name in SEEDS)
    found = {f"{title_of(prompt, node)}.{name}": filled.values.get((node, name), value) for node, name, value in inputs}
    return {address: value for address, value in found.items() if isinstance(value, int)}
