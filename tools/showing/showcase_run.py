"""Runs the cases of the showcase on a server, each in every way, and notes what it took."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from graph import Graph, to_prompt, to_workflow
from hosting.host_client import Prompt, PromptFailed
from hosting.host_server import HostServer

from showing import given_pictures
from showing.demo_report import file_stem
from showing.showcase_cases import Case
from showing.showcase_graphs import RESULT, WAYS, Loader, Settings

LONGEST_RUN = 4 * 3600.0  # seconds
SECONDS_BETWEEN_LOOKS = 0.1
MIB = 2**20
LOADING = frozenset({"CheckpointLoaderSimple", "GraftLoadMiniature", "LoadImage", "SaveImage"})
"""Nodes whose seconds are not the way's own."""


@dataclass(frozen=True)
class Outcome:
    """A case done in one way: its picture, seconds without loading and saving, most MiB seen in use; or what went wrong."""

    way: str
    picture: Path | None = None
    seconds: float = 0.0
    peak_mib: int = 0
    failure: str = ""


@dataclass(frozen=True)
class Shown:
    """A case, the pictures that went in, by title, and what came of it."""

    case: Case
    given: tuple[tuple[str, Path], ...] = ()
    outcomes: tuple[Outcome, ...] = field(default=())


def run_case(server: HostServer, case: Case, load_model: Loader, settings: Settings, folder: Path) -> Shown:
    """Run a case in all ways that it can be done; the pictures are left in `folder`. A failure is an outcome, not an exception."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [server.client.upload_image(path).filename for path in case.pictures]
    given: tuple[tuple[str, Path], ...] = ()
    outcomes = []
    for way, describe in WAYS.items():
        if (graph := describe(case, load_model, settings)) is None:
            continue
        try:
            prompt = _prompt(server, graph, names)
            given = given or tuple(given_pictures.fetch(server.client, prompt, folder))
            outcomes.append(_run(server, prompt, way, folder / f"{file_stem(way)}.png"))
        except (PromptFailed, ValueError) as error:
            said = [line for line in str(error).splitlines()[:2] if not line.startswith("  File ")]
            outcomes.append(Outcome(way, failure=" ".join(said)))
    return Shown(case, given, tuple(outcomes))


def warm_up(server: HostServer, case: Case, load_model: Loader, settings: Settings) -> None:
    """Have the model loaded and its kernels chosen, so that the first way does not pay for the others."""
    names = [server.client.upload_image(path).filename for path in case.pictures]
    graph = WAYS["image-to-image"](case, load_model, Settings(settings.size, steps=1))
    if graph is not None:
        server.client.run(_prompt(server, graph, names), seconds=LONGEST_RUN)


def _prompt(server: HostServer, graph: Graph, pictures: Sequence[str]) -> Prompt:
    """The graph with these files in its Load Image nodes, in their order. ValueError if there are more or fewer."""
    object_info = server.client.object_info()
    prompt = to_prompt(to_workflow(graph, object_info), object_info)
    loaders = [
        node for _, node in sorted(prompt.items(), key=lambda entry: int(str(entry[0]).split(":")[0])) if node["class_type"] == "LoadImage"
    ]
    for node, picture in zip(loaders, pictures, strict=True):
        node["inputs"]["image"] = picture
    return prompt


def _run(server: HostServer, prompt: Prompt, way: str, path: Path) -> Outcome:
    with _peak_memory(server) as peak:
        result = server.client.run(prompt, seconds=LONGEST_RUN)
    saved = next(node for node in result.outputs if prompt[node]["_meta"]["title"] == RESULT)
    path.write_bytes(server.client.view(result.images(saved)[0]))
    aside = sum(seconds for node, seconds in result.node_seconds.items() if prompt[node]["class_type"] in LOADING)
    return Outcome(way, path, result.seconds - aside, max(peak) // MIB)


@contextlib.contextmanager
def _peak_memory(server: HostServer) -> Iterator[list[int]]:
    """Bytes in use, looked at ten times a second: of the accelerator, by whomever, or of the server's processes on a CPU."""
    seen, over = [memory_in_use(server)], threading.Event()

    def look() -> None:
        while not over.wait(SECONDS_BETWEEN_LOOKS):
            with contextlib.suppress(OSError, psutil.Error):
                seen.append(memory_in_use(server))

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def memory_in_use(server: HostServer) -> int:
    """Bytes that the server holds now."""
    device = server.client.get_json("/system_stats")["devices"][0]
    if device["type"] != "cpu":
        return device["vram_total"] - device["vram_free"]
    parent = psutil.Process(server.process.pid)
    return sum(process.memory_info().rss for process in (parent, *parent.children(recursive=True)))
