"""Open a workflow in the real editor, in a headless browser: report what is wrong with it and take its picture.

    python tools screenshot workflows/NAME.json picture.png [--url http://127.0.0.1:8188]

Without --url a server is started for it (--comfyui or COMFYUI_PATH). Needs the Python package playwright and a Chromium, Chrome or Edge.
Exits with 1 if the editor misses a node or logs an error that it does not log for an empty page.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graph.drawing import bounds
from hosting.host_server import ServerOptions, running_server
from playwright.sync_api import Browser, ConsoleMessage, Error, Locator, Page, Playwright, Route, TimeoutError, sync_playwright

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
# Settings of the page alone; the server's user keeps theirs. Greetings, warnings about model files and overlays stay away,
# and a double click stays one when a busy machine takes long between its halves, or between press and release.
SETTINGS = {
    "Comfy.TutorialCompleted": True,
    "Comfy.Minimap.Visible": False,
    "Comfy.Graph.CanvasInfo": False,
    "Comfy.Graph.CanvasMenu": False,
    "Comfy.Workflow.ShowMissingModelsWarning": False,
    "Comfy.Workflow.Persist": False,
    "Comfy.VueNodes.Enabled": False,
    "Comfy.Pointer.DoubleClickTime": 10_000,  # milliseconds
    "Comfy.Pointer.ClickBufferTime": 10_000,
}
FREE_PLACE = (900, 900)  # pixels of the page, where the canvas is seen
BESIDE = (950, 900)  # also free, and too far away for a double click with FREE_PLACE
PATIENCE = 120_000  # milliseconds for anything the page is waited for; a busy machine takes its time
CLICKS = 6  # attempts at a double click
LONGEST_SIDE = 6000  # pixels of a screenshot; beyond it the graph is shrunk


@dataclass(frozen=True)
class Opened:
    """What the editor says about a workflow: node types it lacks, errors it logged beyond those of an empty page, its own prompt."""

    missing_types: tuple[str, ...]
    errors: tuple[str, ...]
    prompt: Mapping[str, Any] = field(repr=False)


class Editor:
    """ComfyUI's own page in a browser tab, with SETTINGS and others of its own. Get one from `running_editor`."""

    def __init__(self, page: Page, address: str, settings: Mapping[str, Any] | None = None):
        self.page, self.address = page, address
        page.set_default_timeout(PATIENCE)
        self._errors: list[str] = []
        page.on("console", self._listen)
        page.on("pageerror", lambda error: self._errors.append(str(error)))
        page.route("**/api/settings", lambda route: _with_settings(route, {**SETTINGS, **(settings or {})}))
        page.goto(address)
        page.wait_for_function("window.app?.extensionManager && window.app.graph && window.app.canvas")
        # The page first opens a workflow of its own, whose model files are missing too.
        self.settle()
        self._load({"nodes": [], "links": [], "groups": [], "version": 0.4})
        self._usual_errors = frozenset(self._errors)

    def open(self, workflow: Mapping[str, Any]) -> Opened:
        """Load a workflow as if its file had been dropped on the page."""
        self._errors.clear()
        self._load(workflow)
        return self._report()

    def show_templates(self, pack: str, words: str) -> Locator:
        """Open the template browser, choose a pack in it and look for something; the browser's window."""
        self.page.locator(".templates-tab-button").click()
        window = self.page.get_by_role("dialog").filter(has=self.page.get_by_placeholder("Search ..."))
        window.get_by_text(re.compile(f"^{re.escape(pack)}$", re.IGNORECASE)).first.click()
        window.get_by_placeholder("Search ...").fill(words)
        return window

    def open_template(self, pack: str, title: str) -> Opened:
        """Look for a template in the template browser, and click on it."""
        self._errors.clear()
        window = self.show_templates(pack, title)
        active = self.page.evaluate_handle("() => app.extensionManager.workflow.activeWorkflow")
        window.get_by_test_id(f"template-workflow-{title}").click()
        self.page.wait_for_function("before => app.extensionManager.workflow.activeWorkflow !== before", arg=active)
        self.settle()
        return self._report()

    def add_node(self, name: str) -> None:
        """Look for a node in the search that a double click on the canvas opens, and click on it."""
        graph = self.saved()
        right = bounds(graph)[2] if graph["nodes"] else 0
        self.page.evaluate(
            "([x, right]) => { app.canvas.ds.scale = 1; app.canvas.ds.offset = [x - right, 0] }", [FREE_PLACE[0] - 400, right]
        )
        search = self.show_node_search()
        search.fill(name)
        self.found_node(name).click()
        search.wait_for(state="hidden")
        self.page.mouse.click(*BESIDE)  # the new node follows the pointer until it is put down
        self.page.wait_for_function("count => app.graph._nodes.length > count", arg=len(graph["nodes"]))

    def tooltip_of(self, title: str, name: str, end: str = "Input") -> str:
        """What the editor says of an input or "Output" of the node of this title while the pointer rests on its socket."""
        x, y = self.page.evaluate(
            """([title, name, end]) => {
                const node = app.graph._nodes.find(node => node.title === title)
                app.canvas.ds.scale = 1
                app.canvas.centerOnNode(node)
                const [x, y] = app.canvas.ds.convertOffsetToCanvas(node[`get${end}Pos`](node[`find${end}Slot`](name)))
                const box = app.canvas.canvas.getBoundingClientRect()
                return [x + box.left, y + box.top]
            }""",
            [title, name, end],
        )
        self.page.mouse.move(x + 40, y + 200)
        self.page.mouse.move(x, y, steps=3)
        shown = self.page.locator(".node-tooltip")
        shown.wait_for()
        return shown.inner_text()

    def show_node_search(self) -> Locator:
        """Open the search by a double click; by another, as anyone would, where the page did not take the first for one. The field to type in."""
        search = self.page.get_by_role("search")
        for _ in range(CLICKS):
            self.page.mouse.dblclick(*FREE_PLACE)
            with contextlib.suppress(TimeoutError):
                search.wait_for(timeout=PATIENCE / CLICKS)
                break
        return search.get_by_role("textbox").or_(search.get_by_role("combobox")).first

    def found_node(self, name: str) -> Locator:
        """The node of this name among what the search has found."""
        return self.page.get_by_test_id("result-item").filter(has=self.page.get_by_text(name, exact=True)).first

    def complaints(self) -> tuple[list[str], list[int]]:
        """What the editor says is wrong with the open workflow, and the ids of the nodes that it rings in red."""
        said = self.page.locator(".p-toast-message, [data-testid=error-overlay]").all_inner_texts()
        return said, self.page.evaluate("() => app.graph._nodes.filter(node => node.has_errors).map(node => Number(node.id))")

    def saved(self) -> dict:
        """The open workflow as the editor would save it."""
        return self.page.evaluate("() => app.graph.serialize()")

    @contextlib.contextmanager
    def in_tab(self, settings: Mapping[str, Any]) -> Iterator[Editor]:
        """Another tab of the same browser, with other settings, for the length of a `with` block."""
        page = self.page.context.browser.new_page(viewport=self.page.viewport_size)
        try:
            yield Editor(page, self.address, settings)
        finally:
            page.close()

    def show_help(self, kind: str) -> str:
        """Select the node of this class, press the button for its help, and read what the panel shows."""
        self.page.evaluate(
            """kind => {
                const node = app.graph._nodes.find(node => node.type === kind)
                app.canvas.deselectAll()
                app.canvas.ds.scale = 1
                app.canvas.centerOnNode(node)
                app.canvas.selectNode(node)
            }""",
            kind,
        )
        self.page.get_by_test_id("info-button").click()
        shown = self.page.locator(".node-help-content .markdown-content")
        shown.wait_for()
        self.settle()
        return shown.inner_text()

    def connect(self, origin: str, output: str, target: str, input_: str) -> None:
        """Link two nodes, by their titles and the names of output and input."""
        self.page.evaluate(
            """([origin, output, target, input]) => {
                const node = title => app.graph._nodes.find(node => node.title === title)
                node(origin).connect(node(origin).findOutputSlot(output), node(target), node(target).findInputSlot(input))
            }""",
            [origin, output, target, input_],
        )

    def set_widget(self, title: str, widget: str, value: Any) -> None:
        """Set a widget of the node of this title."""
        self.page.evaluate(
            """([title, name, value]) => {
                app.graph._nodes.find(node => node.title === title).widgets.find(widget => widget.name === name).value = value
            }""",
            [title, widget, value],
        )

    def set_widgets(self, kind: str, widget: str, value: Any) -> None:
        """Set a widget of all nodes of a class in the open graph; for a subgraph the class is its title."""
        self.page.evaluate(
            """([kind, name, value]) => {
                for (const node of app.graph._nodes.filter(node => [node.type, node.subgraph?.name].includes(kind)))
                    node.widgets.find(widget => widget.name === name).value = value
            }""",
            [kind, widget, value],
        )

    def run(self, seconds: float = 300) -> dict:
        """Press Run and wait for the end: the server's history entry. TimeoutError of playwright after `seconds`."""
        self.press_run()
        return self.wait_for_end(seconds)

    def show_form(self) -> None:
        """Show the open workflow as a form, as the editor's view of apps does, or as a graph again."""
        self.page.evaluate("() => app.extensionManager.command.execute('Comfy.ToggleLinear')")

    def press_run(self) -> None:
        """Press Run, of the graph or of the form, and listen to what becomes of it."""
        self.page.evaluate(
            """async () => {
                window.graftEnd = null;
                window.graftProgress = [];
                window.graftPreviews = {};
                window.graftPrompt = (await app.graphToPrompt()).output;
                for (const name of ['execution_success', 'execution_error', 'execution_interrupted'])
                    app.api.addEventListener(name, event => { window.graftEnd = event.detail.prompt_id });
                app.api.addEventListener('progress_state', event => { window.graftProgress = Object.values(event.detail.nodes) });
                window.graftCount ??= event => {
                    const node = event.detail.nodeId;
                    window.graftPreviews[node] = (window.graftPreviews[node] ?? 0) + (event.detail.blob.size > 0);
                };
                app.api.addEventListener('b_preview_with_metadata', window.graftCount);
            }"""
        )
        form = self.page.get_by_test_id("linear-run-button").get_by_role("button", name="Run")
        self.page.get_by_test_id("queue-button").or_(form).locator("visible=true").first.click()

    def seen_at_work(self) -> dict[str, tuple[int, int]]:
        """Of the nodes of the last run that count steps, by the id in the prompt: their steps, and the pictures that came of them on the way."""
        return self.page.evaluate(
            """() => Object.fromEntries(window.graftProgress
                .filter(node => node.max > 1).map(node => [node.node_id, [node.max, window.graftPreviews[node.node_id] ?? 0]]))"""
        )

    def wait_for_progress(self, kind: str, seconds: float = 120) -> None:
        """Wait until a node of this class, inside a subgraph or not, is at work and has done a step."""
        self.page.wait_for_function(
            """kind => (window.graftProgress ?? []).some(node => node.value > 0 && window.graftPrompt[node.node_id]?.class_type === kind)""",
            arg=kind,
            timeout=seconds * 1000,
        )

    def press_cancel(self) -> None:
        """Press the button beside Run, as soon as there is something to cancel."""
        self.page.get_by_role("button", name="Cancel current run").click()

    def wait_for_end(self, seconds: float = 300) -> dict:
        """Wait for the end of what `press_run` began: the server's history entry."""
        self.page.wait_for_function("() => window.graftEnd", timeout=seconds * 1000, polling=200)
        return self.page.evaluate("async () => (await (await app.api.fetchApi(`/history/${window.graftEnd}`)).json())[window.graftEnd]")

    def enter(self, title: str) -> None:
        """Look into the subgraph of this title, as a click on its node's corner does. What is seen is then its picture."""
        self.page.evaluate(
            """title => {
                const node = app.graph._nodes.find(node => node.title === title && node.isSubgraphNode())
                app.canvas.openSubgraph(node.subgraph, node)
            }""",
            title,
        )
        self.settle()

    def take_picture(self, path: Path, zoom: float = 1.0) -> None:
        """Save a PNG of the whole graph that is seen and nothing else; `zoom` in pixels of the picture per pixel of the editor."""
        left, top, right, bottom = bounds(
            self.page.evaluate("() => (app.canvas.subgraph ?? app.graph)[app.canvas.subgraph ? 'asSerialisable' : 'serialize']()")
        )
        zoom = min(zoom, LONGEST_SIDE / max(right - left, bottom - top))
        before = self.page.viewport_size
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
        self.page.set_viewport_size(before)

    def _report(self) -> Opened:
        missing = self.page.evaluate(
            """() => [app.graph, ...app.graph.subgraphs.values()]
                .flatMap(graph => graph.nodes.map(node => node.last_serialization?.type ?? node.type))
                .filter(type => !(type in LiteGraph.registered_node_types))"""
        )
        # The page asks for the size of model files that are missing; not to reach them says nothing about the workflow.
        usual = (*self._usual_errors, *model_addresses(self.saved()))
        errors = tuple(error for error in self._errors if not any(known in error for known in usual))
        prompt = self.page.evaluate("async () => (await app.graphToPrompt()).output")
        return Opened(tuple(sorted(set(missing))), errors, prompt)

    def _load(self, workflow: Mapping[str, Any]) -> None:
        self.page.evaluate("async (workflow) => { await app.loadGraphData(workflow, true, true, null) }", workflow)
        self.settle()

    def settle(self) -> None:
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


def model_addresses(workflow: Mapping[str, Any]) -> frozenset[str]:
    """Where the workflow says that its models are to be had."""
    nodes = [
        *workflow["nodes"],
        *(node for subgraph in (workflow.get("definitions") or {}).get("subgraphs", []) for node in subgraph["nodes"]),
    ]
    return frozenset(model["url"] for node in nodes for model in node.get("properties", {}).get("models", []))


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


def browser_on_path() -> bool:
    """Whether there is surely a browser; another may still be found where it is usually installed."""
    return any(map(shutil.which, BROWSERS))


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


def _with_settings(route: Route, settings: Mapping[str, Any]) -> None:
    if route.request.method != "GET":
        return route.continue_()
    reply = route.fetch()
    return route.fulfill(response=reply, json={**reply.json(), **settings})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workflow", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--url", help="a running server with the pack; one is started otherwise")
    parser.add_argument("--comfyui", type=Path, default=os.environ.get("COMFYUI_PATH"), help="ComfyUI's folder")
    parser.add_argument("--zoom", type=float, default=1.0, help="pixels of the picture per pixel of the editor")
    parser.add_argument("--enter", metavar="TITLE", help="look into the subgraph of this title")
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
        if options.enter:
            editor.enter(options.enter)
        editor.take_picture(options.picture, options.zoom)
    for kind in opened.missing_types:
        print(f"missing node: {kind}", file=sys.stderr)
    for error in opened.errors:
        print(f"new error: {error}", file=sys.stderr)
    return 1 if opened.missing_types or opened.errors else 0


if __name__ == "__main__":
    sys.exit(main())
