"""A real server for the end-to-end tests: one per test session, with the pack loaded."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TINY_FAMILIES = Path(__file__).resolve().parent / "tiny_families"
TOOLS = Path(__file__).resolve().parents[2] / "tools"
if str(TOOLS) not in sys.path:
    sys.path.insert(0, str(TOOLS))

NOT_RUN = "browser test not run"


def pytest_terminal_summary(terminalreporter) -> None:
    """Says aloud how many tests had no browser: a row of dots and "s" does not."""
    reasons = [report.longrepr[2] for report in terminalreporter.getreports("skipped") if isinstance(report.longrepr, tuple)]
    if unseen := [reason.partition(f"{NOT_RUN}: ")[2] for reason in reasons if NOT_RUN in reason]:
        terminalreporter.section("BROWSER TESTS NOT RUN", sep="!", red=True, bold=True)
        terminalreporter.line(f"{len(unseen)} tests of the editor were not run. {unseen[0]}")


@pytest.fixture(scope="session")
def comfyui() -> Path:
    """The folder of the real ComfyUI that the tests run against."""
    if "COMFYUI_PATH" not in os.environ:
        pytest.fail("COMFYUI_PATH is not set. Run the tests with: python quickstart.py test")
    return Path(os.environ["COMFYUI_PATH"])


@pytest.fixture(scope="session")
def server(comfyui: Path):
    """A running HostServer with Graft in it, which shows what it samples as `serve` does; `server.client` queues prompts, `server.address` is
    for browsers. A node of the tests' own brings small models of the families that templates load."""
    from hosting.host_server import HEADLESS_FLAGS, LIVE_PREVIEWS, PACK, PACK_NAME, ServerOptions, running_server

    packs = (PACK_NAME, PACK), ("tiny_families", TINY_FAMILIES)
    options = ServerOptions(comfyui, packs=packs, flags=(*HEADLESS_FLAGS, LIVE_PREVIEWS), seconds_to_start=900)  # beside busy workers
    with running_server(options) as running:
        yield running


@pytest.fixture(scope="session")
def object_info(server) -> dict:
    """The server's reply about all node classes."""
    return server.client.object_info()


@pytest.fixture(scope="session")
def editor(server) -> Iterator:
    """An Editor, ComfyUI's own page in a browser, on the server."""
    from pictures.screenshot import NoBrowser, running_editor

    with contextlib.ExitStack() as cleanup:
        try:
            running = cleanup.enter_context(running_editor(server.address))
        except NoBrowser as problem:
            if "CI" in os.environ:
                raise
            pytest.skip(f"{NOT_RUN}: {problem}")
        yield running


@pytest.fixture
def stand_in_host(tmp_path: Path):
    """Makes trees that have ComfyUI's landmarks and nothing behind them; their main.py does what a test wants."""

    def make(folder: Path | None = None, version: str = "0.30.0", main: str = "") -> Path:
        folder = folder or tmp_path / "host"
        (folder / "comfy").mkdir(parents=True)
        for name in ("nodes.py", "execution.py", "requirements.txt", "comfy/cli_args.py"):
            (folder / name).write_text("", encoding="utf-8")
        (folder / "main.py").write_text(main, encoding="utf-8")
        (folder / "comfyui_version.py").write_text(f'__version__ = "{version}"\n', encoding="utf-8")
        return folder

    return make


@pytest.fixture(scope="session")
def pip(tmp_path_factory) -> list[str]:
    """The command that runs pip, made once and not once per test."""
    from hosting import host_tooling

    return host_tooling.find_pip(tmp_path_factory.mktemp("cache"))
