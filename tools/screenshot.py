"""Open a workflow in the real editor, in a headless browser: report what is wrong with it and take its picture.

    python tools/screenshot.py workflows/NAME.json picture.png [--url http://127.0.0.1:8188]

Without --url a server is started for it (--comfyui or COMFYUI_PATH). Needs the Python package playwright and a Chromium, Chrome or Edge.
Exits with 1 if the editor misses a node or logs an error that it does not log for an empty page.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from host_server import ServerOptions, running_server
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Playwright, Route, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHANNELS = ("chrome", "msedge")
BROWSER_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# Settings of the page alone; the server's user keeps theirs. Greetings, warnings about model files and overlays stay away.
SETTINGS = {
    "Comfy.TutorialCompleted": True,
    "Comfy.Minimap.Visible": False,
    "Comfy.Graph.CanvasInfo": False,
    "Comfy.Graph.CanvasMenu": False,
    "Comfy.Workflow.ShowMissingModelsWarning": False,
    "Comfy.Workflow.Persist": False,
    "Comfy.VueNodes.Enabled": False,
}
MARGIN = 40  # pixels of the editor around the graph
TITLE = 30  # height of a node's title bar
LONGEST_SIDE = 6000  # pixels of a screenshot; beyond it the graph is shrunk


@dataclass(frozen=True)
class Opened:
    """What the editor says about a workflow: node types it lacks, errors it logged beyond those of an empty page, its own prompt."""

    missing_types: tuple[str, ...]
    errors: tuple[str, ...]
    prompt: Mapping[str, Any] = field(repr=False)


class Editor:
    """ComfyUI's own page in a browser tab. Get one from `running_editor`."""

    def __init__(self, page: Page, address: str):
        self.page = page
        self._errors: list[str] = []
        page.on("console", self._listen)
        page.on("pageerror", lambda error: self._errors.append(str(error)))
        page.route("**/api/settings", _with_settings)
        page.goto(address)
        page.wait_for_function("window.app?.extensionManager && window.app.graph && window.app.canvas", timeout=60_000)
        # The page first opens a workflow of its own, whose model files are missing too.
        self._settle()
        self._load({"nodes": [], "links": [], "groups": [], "version": 0.4})
        self._usual_errors = frozenset(self._errors)

    def open(self, workflow: Mapping[str, Any]) -> Opened:
        """Load a workflow as if its file had been dropped on the page."""
        self._errors.clear()
        self._load(workflow)
        missing = self.page.evaluate(
            "() => app.graph._nodes.map(node => node.last_serialization?.type ?? node.type).filter(type => !(type in LiteGraph.registered_node_types))"
        )
        prompt = self.page.evaluate("async () => (await app.graphToPrompt()).output")
        return Opened(tuple(sorted(set(missing))), tuple(error for error in self._errors if error not in self._usual_errors), prompt)

    def saved(self) -> dict:
        """The open workflow as the editor would save it."""
        return self.page.evaluate("() => app.graph.serialize()")

    def run(self, seconds: float = 300) -> dict:
        """Press Run and wait for the end: the server's history entry. TimeoutError of playwright after `seconds`."""
        self.page.evaluate(
            """() => {
                window.graftEnd = null;
                for (const name of ['execution_success', 'execution_error', 'execution_interrupted'])
                    app.api.addEventListener(name, event => { window.graftEnd = event.detail.prompt_id });
            }"""
        )
        self.page.get_by_test_id("queue-button").click()
        self.page.wait_for_function("() => window.graftEnd", timeout=seconds * 1000, polling=200)
        return self.page.evaluate("async () => (await (await app.api.fetchApi(`/history/${window.graftEnd}`)).json())[window.graftEnd]")

    def take_picture(self, path: Path, zoom: float = 1.0) -> None:
        """Save a PNG of the whole open graph and nothing else; `zoom` in pixels of the picture per pixel of the editor."""
        left, top, right, bottom = _bounds(self.saved())
        zoom = min(zoom, LONGEST_SIDE / max(right - left, bottom - top))
        self.page.set_viewport_size({"width": math.ceil((right - left) * zoom), "height": math.ceil((bottom - top) * zoom)})
        with self._only_canvas():
            self.page.evaluate(
                """async ([left, top, zoom]) => {
                    app.canvas.deselectAll?.();
                    app.canvas.resize();
                    app.canvas.ds.scale = zoom;
                    app.canvas.ds.offset = [-left, -top];
                    app.canvas.setDirty(true, true);
                    await new Promise(done => setTimeout(done, 500));
                }""",
                [left, top, zoom],
            )
            self.page.screenshot(path=path)

    def _load(self, workflow: Mapping[str, Any]) -> None:
        self.page.evaluate("async (workflow) => { await app.loadGraphData(workflow, true, true, null) }", workflow)
        self._settle()

    def _settle(self) -> None:
        """Wait until the page has asked for all it wants; it looks for model files and pictures a moment after loading."""
        self.page.wait_for_load_state("networkidle")
        self.page.wait_for_timeout(500)

    @contextlib.contextmanager
    def _only_canvas(self) -> Iterator[None]:
        """Menus, side bars and dialogs out of sight; text fields lie above the canvas and stay."""
        style = self.page.add_style_tag(
            content="""
            body * { visibility: hidden }
            canvas#graph-canvas, .dom-widget, .dom-widget * { visibility: visible }
            """
        )
        try:
            yield
        finally:
            style.evaluate("element => element.remove()")

    def _listen(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._errors.append(f"{message.text} ({message.location.get('url', '')})")


@contextlib.contextmanager
def running_editor(address: str) -> Iterator[Editor]:
    """An Editor on the server at `address` for the length of a `with` block. RuntimeError if there is no browser."""
    with sync_playwright() as playwright:
        browser = launch_browser(playwright)
        try:
            yield Editor(browser.new_page(viewport={"width": 1600, "height": 1000}), address)
        finally:
            browser.close()


class NoBrowser(RuntimeError):
    """There is no Chromium, Chrome or Edge to be found."""


def launch_browser(playwright: Playwright) -> Browser:
    """A Chromium or Chrome on PATH, else Chrome or Edge where they are usually installed. Raises NoBrowser if there is none."""
    if found := next(filter(None, map(shutil.which, BROWSERS)), None):
        return playwright.chromium.launch(executable_path=found, args=list(BROWSER_FLAGS))
    for channel in CHANNELS:
        with contextlib.suppress(Error):
            return playwright.chromium.launch(channel=channel, args=list(BROWSER_FLAGS))
    raise NoBrowser(
        f"No browser found. Install Chromium or Chrome; looked on PATH for {', '.join(BROWSERS)}, and for installed Chrome and Edge."
    )


def _with_settings(route: Route) -> None:
    if route.request.method != "GET":
        return route.continue_()
    reply = route.fetch()
    return route.fulfill(response=reply, json={**reply.json(), **SETTINGS})


def _bounds(workflow: Mapping[str, Any]) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of nodes and groups with a margin, pixels of the editor."""
    boxes = [(*node["pos"], *node["size"]) for node in workflow["nodes"]]
    boxes = [(x, y - TITLE, width, height + TITLE) for x, y, width, height in boxes] + [
        tuple(group["bounding"]) for group in workflow["groups"]
    ]
    return (
        min(x for x, *_ in boxes) - MARGIN,
        min(y for _, y, *_ in boxes) - MARGIN,
        max(x + width for x, _, width, _ in boxes) + MARGIN,
        max(y + height for _, y, _, height in boxes) + MARGIN,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workflow", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--url", help="a running server with the pack; one is started otherwise")
    parser.add_argument("--comfyui", type=Path, default=os.environ.get("COMFYUI_PATH"), help="ComfyUI's folder")
    parser.add_argument("--zoom", type=float, default=1.0, help="pixels of the picture per pixel of the editor")
    parser.add_argument("--run", action="store_true", help="run the workflow first, so that its pictures are seen")
    options = parser.parse_args()
    if options.url is None and options.comfyui is None:
        parser.error("give --url, or --comfyui (or COMFYUI_PATH)")
    with contextlib.ExitStack() as cleanup:
        address = options.url or cleanup.enter_context(running_server(ServerOptions(Path(options.comfyui)))).address
        editor = cleanup.enter_context(running_editor(address))
        opened = editor.open(json.loads(options.workflow.read_text(encoding="utf-8")))
        if options.run:
            editor.run()
        editor.take_picture(options.picture, options.zoom)
    for kind in opened.missing_types:
        print(f"missing node: {kind}", file=sys.stderr)
    for error in opened.errors:
        print(f"new error: {error}", file=sys.stderr)
    return 1 if opened.missing_types or opened.errors else 0


if __name__ == "__main__":
    sys.exit(main())
