"""The server and its client, against the real ComfyUI; only core nodes are used."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hosting.host_client import HostClient, Progress, PromptFailed
from hosting.host_server import ServerOptions, free_port, running_server
from hosting.quickstart_error import QuickstartError
from PIL import Image

TOOLS = Path(__file__).resolve().parents[2] / "tools"


def picture_prompt(size: int = 64, color: int = 0xFF0000, batch: int = 1) -> dict:
    return {
        "1": {"class_type": "EmptyImage", "inputs": {"width": size, "height": size, "batch_size": batch, "color": color}},
        "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "test"}, "_meta": {"title": "result"}},
    }


def is_alive(address: str) -> bool:
    try:
        HostClient(address).get_json("/system_stats", seconds=2)
    except OSError:
        return False
    return True


def wait_until(condition, seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.1)
    return condition()


def test_a_prompt_comes_back_with_its_pictures(server):
    result = server.client.run(picture_prompt(color=0x00FF00, batch=2))
    images = [Image.open(io.BytesIO(server.client.view(file))) for file in result.images("3")]
    assert [image.size for image in images] == [(64, 64), (64, 64)]
    assert all(image.getpixel((5, 5)) == (255, 0, 255) for image in images)  # ImageInvert of green
    assert (server.output_directory / result.images("3")[0].filename).is_file()


def test_progress_rises_and_names_the_node_at_work(server):
    seen: list[Progress] = []
    server.client.run(picture_prompt(color=0x123456), seen.append)
    fractions = [progress.fraction for progress in seen]
    assert fractions == sorted(fractions)
    assert 0 <= fractions[0] < fractions[-1] <= 1
    assert seen[-1].node == "result (SaveImage)"


def test_a_repeated_prompt_is_served_from_the_cache_with_the_same_outputs(server):
    first = server.client.run(picture_prompt(color=0xABCDEF))
    second = server.client.run(picture_prompt(color=0xABCDEF))
    assert set(first.node_seconds) == {"1", "2", "3"}
    assert not second.node_seconds
    assert second.cached == {"1", "2", "3"}
    assert second.images("3") == first.images("3")


def test_an_uploaded_picture_is_what_the_graph_reads(server, tmp_path):
    path = tmp_path / "blue.png"
    Image.new("RGB", (16, 16), (0, 0, 255)).save(path)
    stored = server.client.upload_image(path)
    prompt = {
        "1": {"class_type": "LoadImage", "inputs": {"image": stored.filename}},
        "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
    }
    (image,) = server.client.run(prompt).images("2")
    assert image.folder == "temp"
    assert Image.open(io.BytesIO(server.client.view(image))).getpixel((3, 3)) == (0, 0, 255)


def test_a_refused_prompt_names_node_and_input(server):
    prompt = picture_prompt()
    del prompt["1"]["inputs"]["width"]
    with pytest.raises(PromptFailed, match=r"EmptyImage #1: Required input is missing \(width"):
        server.client.run(prompt)


def test_one_invalid_output_among_valid_ones_fails_the_prompt(server):
    """ComfyUI itself runs the valid rest and reports success."""
    prompt = picture_prompt(color=0x010203)
    prompt["4"] = {"class_type": "SaveImage", "inputs": {"filename_prefix": "test"}, "_meta": {"title": "broken"}}
    with pytest.raises(PromptFailed, match=r"broken \(SaveImage\)"):
        server.client.run(prompt)
    assert server.client.run(picture_prompt()).images("3")  # and the server is free for the next one


def test_an_error_inside_a_node_names_the_node_and_the_exception(server):
    prompt = picture_prompt(size=64)
    prompt["1"] = {"class_type": "LoadImage", "inputs": {"image": server.client.upload_image(b"not a picture", "broken.png").filename}}
    with pytest.raises(PromptFailed, match=r"LoadImage #1 failed with UnidentifiedImageError: "):
        server.client.run(prompt)


def test_a_prompt_that_takes_too_long_is_interrupted(server):
    with pytest.raises(PromptFailed, match="did not finish within 0 s"):
        server.client.run(picture_prompt(color=0x777777), seconds=0.0)
    assert wait_until(lambda: not server.client.get_json("/queue")["queue_running"])


def test_a_pack_that_cannot_be_imported_stops_the_start(comfyui, tmp_path):
    (tmp_path / "__init__.py").write_text("raise RuntimeError('the pack is broken')", encoding="utf-8")
    options = ServerOptions(comfyui, device="cpu", packs=(("broken_pack", tmp_path),), seconds_to_start=900)
    with pytest.raises(QuickstartError, match=r"(?s)could not load the pack broken_pack.*the pack is broken"), running_server(options):
        pass


HOLDER = """
import sys
sys.path.insert(0, {tools!r})
from pathlib import Path
from hosting.host_server import ServerOptions, running_server
from hosting.quickstart_error import reporting
def hold():
    with running_server(ServerOptions(Path({comfyui!r}), device="cpu", packs=(), port={port}, seconds_to_start=900)) as server:
        print(server.base_directory, flush=True)
        server.process.wait()
sys.exit(reporting(hold))
"""

STAND_IN = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")
port = next(word for word in sys.argv if word.startswith("--port=")).partition("=")[2]
HTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()
"""
ENDINGS = ["SIGTERM"] if os.name == "nt" else ["SIGINT", "SIGTERM", "SIGKILL"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_server_is_gone_when_its_holder_is_ended(comfyui, stand_in_host, ending):
    """Ctrl-C with the real server; the other ways, which differ on the holder's side only, with a small one."""
    ending = getattr(signal, ending)
    comfyui = comfyui if ending is signal.SIGINT else stand_in_host(main=STAND_IN)
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    script = HOLDER.format(tools=str(TOOLS), comfyui=str(comfyui), port=port)
    restore = (lambda: signal.signal(signal.SIGINT, signal.default_int_handler)) if os.name != "nt" else None
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, preexec_fn=restore) as holder:
        base = Path(holder.stdout.readline().strip())
        assert is_alive(address)
        holder.send_signal(ending)
        holder.wait(timeout=60)
    assert wait_until(lambda: not is_alive(address))
    if os.name != "nt" and ending is not signal.SIGKILL:
        assert not base.exists()  # it could still clean up after itself
    shutil.rmtree(base, ignore_errors=True)


@pytest.mark.skipif(os.name == "nt", reason="process groups are POSIX; Windows ends the tree by taskkill")
def test_children_of_the_command_are_gone_with_it(tmp_path):
    from hosting import leash

    pid_file = tmp_path / "pid"
    grandchild = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    child = (
        "import pathlib, subprocess, sys, time\n"
        f"process = subprocess.Popen([sys.executable, '-c', {grandchild!r}])\n"
        f"pathlib.Path({str(pid_file)!r}).write_text(str(process.pid))\n"
        "time.sleep(600)"
    )
    process = leash.start([sys.executable, "-c", child])
    assert wait_until(lambda: pid_file.exists() and pid_file.read_text())
    pid = int(pid_file.read_text())
    leash.let_go(process)
    assert wait_until(lambda: not _runs(pid), seconds=5)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process end with its parent")
def test_a_command_ends_with_a_leash_that_is_killed(tmp_path):
    """Ray, for one, kills what its workers have started, the leash first."""
    from hosting import leash

    pid_file = tmp_path / "pid"
    child = f"import os, pathlib, time; pathlib.Path({str(pid_file)!r}).write_text(str(os.getpid())); time.sleep(600)"
    process = leash.start([sys.executable, "-c", child])
    assert wait_until(lambda: pid_file.exists() and pid_file.read_text())
    process.kill()
    process.wait()
    assert wait_until(lambda: not _runs(int(pid_file.read_text())), seconds=10)


def _runs(pid: int) -> bool:
    """Whether the process exists and is no zombie that nobody has reaped yet."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return bool(state) and not state.startswith("Z")
