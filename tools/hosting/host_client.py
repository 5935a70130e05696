"""What the tools ask of a running ComfyUI: queue a prompt, follow it, fetch what it made."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from hosting.host_events import EventStream

Prompt = dict[str, dict[str, Any]]


class PromptFailed(Exception):
    """The server refused the prompt or a node failed; the text names the node, its class and the reason."""


class PromptTimedOut(PromptFailed):
    """The prompt took longer than it may and was interrupted."""


@dataclass(frozen=True)
class StoredFile:
    """A file on the server, as its nodes report it; `folder` is "output", "temp" or "input"."""

    filename: str
    subfolder: str = ""
    folder: str = "output"


@dataclass(frozen=True)
class Progress:
    """Where a running prompt is: nodes finished of all nodes, and the step of the node at work (steps is 0 if it counts none)."""

    node: str
    nodes_done: int
    nodes: int
    step: int = 0
    steps: int = 0

    @property
    def fraction(self) -> float:
        """Share of the prompt that is done, 0 to 1, every node counted alike."""
        within = self.step / self.steps if self.steps else 0.0
        return min(1.0, (self.nodes_done + within) / max(1, self.nodes))


@dataclass(frozen=True)
class RunResult:
    """A finished prompt: wall time from queueing to the end, seconds per node that ran, ui outputs per node, nodes served from cache."""

    prompt_id: str
    seconds: float
    node_seconds: dict[str, float]
    outputs: dict[str, dict[str, list]]
    cached: frozenset[str] = field(default_factory=frozenset)

    def images(self, node: str) -> list[StoredFile]:
        """Pictures that the node saved or previewed, in batch order."""
        return _stored(self.outputs.get(node, {}).get("images", []))

    def files(self, node: str) -> list[StoredFile]:
        """All files that the node saved or showed: pictures, then of other kinds."""
        shown = self.outputs.get(node, {})
        others = [entry for kind, entries in shown.items() if kind != "images" and isinstance(entries, list) for entry in entries]
        return self.images(node) + _stored(entry for entry in others if isinstance(entry, dict) and "filename" in entry)

    def texts(self, node: str) -> list[str]:
        """Lines of text that the node showed."""
        return [str(text) for text in self.outputs.get(node, {}).get("text", [])]


class HostClient:
    """Talks to one server, e.g. `HostClient("http://127.0.0.1:8188")`. Proxy settings of the environment are ignored: it is local.

    patience: how many seconds an answer may take.
    """

    def __init__(self, address: str, patience: float = 60.0):
        self.address, self._patience = address.rstrip("/"), patience
        self.client_id = uuid.uuid4().hex
        self._session = requests.Session()
        self._session.trust_env = False
        self._events: EventStream | None = None

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Keep one event stream open for all prompts that are run meanwhile, instead of one for each."""
        with EventStream(self.address, self.client_id) as self._events:
            try:
                yield
            finally:
                self._events = None

    def get_json(self, path: str, seconds: float | None = None) -> Any:
        """GET `path` (with leading slash) and parse it. Errors: requests.RequestException."""
        reply = self._session.get(self.address + path, timeout=seconds or self._patience)
        reply.raise_for_status()
        return reply.json()

    def object_info(self) -> dict[str, dict]:
        """The live schema of every node class, keyed by class name."""
        return self.get_json("/object_info")

    def upload_image(self, picture: Path | bytes, name: str | None = None) -> StoredFile:
        """Put a picture into the server's input folder; `name` is required for bytes. Replaces a file of the same name."""
        content = picture if isinstance(picture, bytes) else picture.read_bytes()
        name = name or picture.name
        reply = self._session.post(
            self.address + "/upload/image", files={"image": (name, content)}, data={"overwrite": "true"}, timeout=self._patience
        )
        reply.raise_for_status()
        stored = reply.json()
        return StoredFile(stored["name"], stored.get("subfolder", ""), stored.get("type", "input"))

    def view(self, file: StoredFile) -> bytes:
        """The bytes of a file on the server."""
        query = {"filename": file.filename, "subfolder": file.subfolder, "type": file.folder}
        reply = self._session.get(self.address + "/view", params=query, timeout=self._patience)
        reply.raise_for_status()
        return reply.content

    def interrupt(self) -> None:
        """Stop the prompt that is running, if any."""
        self._session.post(self.address + "/interrupt", timeout=self._patience).raise_for_status()

    def forget(self, prompt_id: str) -> None:
        """Take a finished prompt out of the server's history, which otherwise keeps ten thousand."""
        self._session.post(self.address + "/history", json={"delete": [prompt_id]}, timeout=self._patience).raise_for_status()

    def queue(self, prompt: Prompt, workflow: Mapping | None = None) -> str:
        """Queue an API prompt, with the `workflow` that the editor would send along, and return its id. Raises PromptFailed on any error of any
        node.

        The server runs the valid outputs of a prompt whose other outputs are invalid and calls that a success; here it is a
        failure, and what was queued is taken back.
        """
        body = {"prompt": prompt, "client_id": self.client_id}
        if workflow is not None:
            body["extra_data"] = {"extra_pnginfo": {"workflow": workflow}}
        reply = self._session.post(self.address + "/prompt", json=body, timeout=self._patience)
        answer = reply.json()
        if reply.status_code != 200 or answer.get("node_errors"):
            if "prompt_id" in answer:
                self._session.post(self.address + "/queue", json={"delete": [answer["prompt_id"]]}, timeout=self._patience)
                self.interrupt()
            raise PromptFailed(_refusal(answer, prompt))
        return answer["prompt_id"]

    def run(
        self,
        prompt: Prompt,
        on_progress: Callable[[Progress], None] = lambda progress: None,
        seconds: float = 1800.0,
        workflow: Mapping | None = None,
    ) -> RunResult:
        """Queue a prompt, with the `workflow` that the editor would send along, and wait for its end.

        Raises PromptFailed when a node fails, when the run is interrupted, and when it takes longer than `seconds` (PromptTimedOut, it
        is then interrupted); ConnectionError when the server goes away, and OSError when it has said nothing for as long as the
        client is patient and does not answer for as long.
        """
        with contextlib.nullcontext(self._events) if self._events else EventStream(self.address, self.client_id) as events:
            started = time.monotonic()
            prompt_id = self.queue(prompt, workflow)
            follower = _Follower(prompt, prompt_id, on_progress)
            while not follower.finished:
                remaining = started + seconds - time.monotonic()
                event = events.next(min(remaining, self._patience)) if remaining > 0 else None
                if event is not None:
                    follower.take(event)
                elif remaining <= self._patience:
                    self.interrupt()
                    raise PromptTimedOut(f"The prompt did not finish within {seconds:.0f} s and was interrupted.")
                elif self.get_json(f"/history/{prompt_id}"):
                    break  # its last event was lost on the way
            elapsed = time.monotonic() - started
        outputs = self.get_json(f"/history/{prompt_id}").get(prompt_id, {}).get("outputs", {})
        return RunResult(prompt_id, elapsed, follower.node_seconds, outputs, frozenset(follower.cached))


class _Follower:
    """Turns the server's events about one prompt into progress, times and errors."""

    def __init__(self, prompt: Prompt, prompt_id: str, on_progress: Callable[[Progress], None]):
        self.prompt, self.prompt_id, self.on_progress = prompt, prompt_id, on_progress
        self.node_seconds: dict[str, float] = {}
        self.cached: set[str] = set()
        self.finished = False
        self._node: str | None = None
        self._since = time.monotonic()

    def take(self, event: dict) -> None:
        """Digest one event; raises PromptFailed for a node's error or an interruption."""
        data = event.get("data", {})
        if data.get("prompt_id") != self.prompt_id:
            return
        kind = event["type"]
        if kind == "execution_cached":
            self.cached.update(data["nodes"])
        elif kind == "executing":
            self._enter(data["node"])
        elif kind == "progress":
            self._report(int(data["value"]), int(data["max"]))
        elif kind == "execution_error":
            raise PromptFailed(_execution_error(data, self.prompt))
        elif kind == "execution_interrupted":
            raise PromptFailed(f"The prompt was interrupted at {_name(data['node_id'], self.prompt)}.")

    def _enter(self, node: str | None) -> None:
        now = time.monotonic()
        if self._node is not None:
            self.node_seconds[self._node] = self.node_seconds.get(self._node, 0.0) + now - self._since
        self._node, self._since = node, now
        # "executing nothing" is sent after the history is written, unlike execution_success.
        self.finished = node is None
        if node is not None:
            self._report(0, 0)

    def _report(self, step: int, steps: int) -> None:
        done = len(self.cached | (self.node_seconds.keys() - {self._node}))
        self.on_progress(Progress(_name(self._node, self.prompt), done, len(self.prompt), step, steps))


def _stored(entries: Iterable[dict]) -> list[StoredFile]:
    return [StoredFile(entry["filename"], entry.get("subfolder", ""), entry.get("type", "output")) for entry in entries]


def _name(node: str | None, prompt: Prompt) -> str:
    entry = prompt.get(str(node), {})
    title, kind = entry.get("_meta", {}).get("title"), entry.get("class_type", "unknown node")
    return f"{title} ({kind})" if title and title != kind else f"{kind} #{node}"


def _execution_error(data: dict, prompt: Prompt) -> str:
    trace = "".join(data.get("traceback", [])[-3:]).rstrip()
    kind = data["exception_type"].rpartition(".")[2]  # a pack's begins with the path of its folder
    return f"{_name(data['node_id'], prompt)} failed with {kind}: {data['exception_message'].strip()}\n{trace}"


def _refusal(answer: dict, prompt: Prompt) -> str:
    """One line per invalid input, else the server's own sentence."""
    lines = []
    for node, report in (answer.get("node_errors") or {}).items():
        for error in report["errors"]:
            where = error.get("extra_info", {}).get("input_name", "")
            lines.append(f"{_name(node, prompt)}: {error['message']} ({where or 'no input'}: {error['details']})")
    general = answer.get("error") or {}
    if not lines and general:
        lines = [f"{general.get('message', general)}: {general.get('details', '')}"]
    return "The server refused the prompt.\n" + "\n".join(lines)
