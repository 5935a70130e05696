"""A real browser for tests of pages that need no server."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from pictures.screenshot import NoBrowser, launch_browser


def in_browser(look: Callable) -> None:
    """Calls `look` with a browser, in a thread of its own: another test's browser may have its event loop in this one.

    Where there is none the test is skipped, on CI it fails.
    """
    from playwright.sync_api import sync_playwright

    def with_browser() -> None:
        with sync_playwright() as playwright:
            running = launch_browser(playwright)
            look(running)
            running.close()

    with ThreadPoolExecutor(1) as apart:
        try:
            apart.submit(with_browser).result()
        except NoBrowser as problem:
            if "CI" in os.environ:
                raise
            pytest.skip(f"browser test not run: {problem}")
