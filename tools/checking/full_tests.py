"""A pytest plugin: what a run with `--full` does besides. Tests marked `full` take long, and run with it only; the run says how many it
left out. Properties are tried on new examples with it, and without on the same as ever, so that what passed once passes again."""

from __future__ import annotations

import pytest
from hypothesis import settings

LEFT_OUT = pytest.StashKey[int]()
FROM_WORKER = "graft_left_out"
"""What a worker of pytest-xdist calls the number in what it hands to its controller."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run the tests that take long, too")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "full: takes long; runs with --full only")
    config.stash[LEFT_OUT] = 0
    settings.register_profile("same examples", derandomize=True)
    if not config.getoption("--full"):
        settings.load_profile("same examples")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--full"):
        return
    long = [item for item in items if item.get_closest_marker("full")]
    items[:] = [item for item in items if not item.get_closest_marker("full")]
    config.hook.pytest_deselected(items=long)
    config.stash[LEFT_OUT] = len(long)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput[FROM_WORKER] = session.config.stash[LEFT_OUT]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error) -> None:
    # Every worker collects all tests.
    node.config.stash[LEFT_OUT] = max(node.config.stash[LEFT_OUT], getattr(node, "workeroutput", {}).get(FROM_WORKER, 0))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if left_out := config.stash[LEFT_OUT]:
        terminalreporter.line(f"{left_out} tests that take long were left out; --full runs them.")
