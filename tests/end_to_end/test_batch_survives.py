"""Batches that are killed, starved of disk and left hanging: each row ends exactly once, as pictures or as an error."""

from __future__ import annotations

import os
import random
import subprocess
import threading
import time
from pathlib import Path

import psutil
import pytest
from batch.local import Local
from batch.record import NAME, latest, read
from batch.run import Choices, run
from batch.servers import Servers
from hosting.host_server import ServerOptions
from hosting.quickstart_error import QuickstartError
from PIL import Image

from .batch_runs import EDIT, below, command, digests, ended, miniature_edits, servers_below, start

ROWS = 40
LONGEST = 900.0


def quiet(text: str) -> None:
    """Says nothing."""


def test_a_full_disk_stops_the_run_and_room_lets_it_go_on(tmp_path, server):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("only root may mount a small disk")
    try:
        choices = Choices(EDIT, miniature_edits(tmp_path / "m.jsonl", 6, steps=2), disk / "out")
        with pytest.raises(QuickstartError, match="is full"):
            run(choices, lambda: Servers([server.address]), quiet)
        before = digests(disk / "out")
        assert len(before) < 6 and not list((disk / "out").rglob("*.part"))
        subprocess.run(["mount", "-o", "remount,size=16m", str(disk)], check=True)
        assert run(choices, lambda: Servers([server.address]), quiet) == 0
        after = digests(disk / "out")
        assert len(after) == 6 and after.items() >= before.items()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def suspend(server: psutil.Process, output: Path, rows: int) -> None:
    """Stop a server as soon as so many rows have ended: it holds its connections and says nothing."""

    def watch() -> None:
        while ended(output) < rows:
            time.sleep(0.02)
        server.suspend()

    threading.Thread(target=watch, daemon=True).start()


def test_a_server_that_hangs_is_lost_and_its_row_runs_when_it_is_back(tmp_path, server):
    (hanging,) = servers_below(server.process.pid)
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        if text.startswith("Lost the worker"):
            hanging.resume()

    output = tmp_path / "out"
    suspend(hanging, output, rows=2)
    try:
        choices = Choices(EDIT, miniature_edits(tmp_path / "m.jsonl", 4, steps=2), output)
        assert run(choices, lambda: Servers([server.address], silence=4.0), say) == 0
    finally:
        hanging.resume()
    assert any(line.startswith("Lost the worker") for line in said)
    assert len(digests(output)) == 4
    assert max(entry["attempts"] for entry in read(output / NAME)) > 1


@pytest.mark.full
def test_a_server_of_ours_that_hangs_is_replaced(tmp_path, comfyui):
    output = tmp_path / "out"

    class Watched(Local):
        """Its first server hangs after two rows."""

        stopped: psutil.Process | None = None

        def open(self, slot: int):
            before = set(servers_below(os.getpid()))
            worker = super().open(slot)
            if (started := set(servers_below(os.getpid())) - before) and self.stopped is None:
                (self.stopped,) = started
                suspend(self.stopped, output, rows=2)
            return worker

    backend, said = Watched(ServerOptions(comfyui, device="cpu"), silence=8.0), []
    assert run(Choices(EDIT, miniature_edits(tmp_path / "m.jsonl", 4, steps=2), output), lambda: backend, said.append) == 0
    assert backend.stopped is not None and not backend.stopped.is_running()
    assert any(line.startswith("Lost the worker local") for line in said)
    assert len(digests(output)) == 4
    assert max(entry["attempts"] for entry in read(output / NAME)) > 1


@pytest.mark.full
def test_killed_twenty_times_at_random_moments_a_run_ends_complete(tmp_path, comfyui, server):
    rows, output, log = miniature_edits(tmp_path / "m.jsonl", ROWS, steps=4, poison=17), tmp_path / "out", tmp_path / "log"
    words = command(comfyui, rows, output, "--servers", server.address)
    luck = random.Random(0)
    for _ in range(20):
        with start(words, log) as process:
            if luck.random() < 0.5:  # else wherever it is: starting, reading the record, waiting for the server
                wait_for(output, ended(output) + 1, process, log)
            time.sleep(luck.uniform(0.0, 1.5))
            process.kill()
    assert 0 < ended(output) < ROWS
    assert start(words, log).wait(LONGEST) == 1, log.read_text()  # 1: the poison row
    found = digests(output)
    assert len(found) == ROWS and [row_id for row_id, digest in found.items() if digest == "failed"] == ["edit 17"]
    assert "no such layers" in latest(output / NAME)["edit 17"]["error"]
    assert not list(output.rglob("*.part"))
    pictures = [path for path in output.rglob("*") if path.suffix in (".png", ".jpg")]
    assert len(pictures) == (ROWS - 1) * 5  # three of each row, two thumbnails
    for path in pictures:
        with Image.open(path) as picture:
            picture.load()


def wait_for(output: Path, rows: int, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + LONGEST
    while ended(output) < rows:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


@pytest.mark.full
def test_a_ray_cluster_runs_rows_on_real_servers_and_replaces_a_worker_that_is_killed(tmp_path, comfyui, server):
    """One worker and five rows; two, forty rows and all that can go wrong below."""
    output, log = tmp_path / "ray", tmp_path / "log"
    rows = miniature_edits(tmp_path / "m.jsonl", 5, steps=2, poison=1)
    with start(command(comfyui, rows, output, "--ray", "--workers", "1"), log) as process:
        wait_for(output, 2, process, log)
        for actor in below(process.pid, "ray::ServerActor"):
            actor.kill()
        assert process.wait(LONGEST) == 1, log.read_text()
    assert "Lost the worker" in log.read_text()
    alone = tmp_path / "alone"
    assert run(Choices(EDIT, rows, alone), lambda: Servers([server.address]), quiet) == 1
    assert digests(output) == digests(alone) and len(digests(alone)) == 5


@pytest.mark.full
def test_two_ray_workers_a_killed_worker_a_killed_driver_a_poison_row_and_a_hanging_server(tmp_path, comfyui, server):
    output, log = tmp_path / "ray", tmp_path / "log"
    rows = miniature_edits(tmp_path / "m.jsonl", ROWS, steps=2, poison=23)
    words = command(comfyui, rows, output, "--ray", "--workers", "2", "--silence", "8")
    with start(words, log) as process:
        wait_for(output, 6, process, log)
        below(process.pid, "ray::ServerActor")[0].kill()
        wait_for(output, 12, process, log)
        process.kill()
    with start(words, log) as process:
        wait_for(output, 18, process, log)
        servers_below(process.pid)[0].suspend()
        assert process.wait(LONGEST) == 1, log.read_text()
    assert log.read_text().count("Lost the worker") == 2, log.read_text()  # the killed one, the hanging one
    found = digests(output)
    assert len(found) == ROWS and [row_id for row_id, digest in found.items() if digest == "failed"] == ["edit 23"]
    assert len({entry["worker"] for entry in read(output / NAME)}) == 2
    alone = tmp_path / "alone"
    assert run(Choices(EDIT, rows, alone), lambda: Servers([server.address]), quiet) == 1
    assert found == digests(alone)
