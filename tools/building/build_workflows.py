"""Build the shipped workflows and blueprints from their descriptions, or check that they are up to date.

    python tools build_workflows                 write workflows/*.json and subgraphs/*.json, and the thumbnails that are borrowed
    python tools build_workflows --check         fail if a file differs from its description or from the live schema
    python tools build_workflows --thumbnails [NAME ...]    also run what the embedded model can run, or these, and write workflows/*.jpg

The schema is asked of a server: of --url, or of one started for it (--comfyui or COMFYUI_PATH; about ten seconds).
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import os
import pkgutil
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import workflow_descriptions.blueprints
from graph import Graph, ObjectInfo, check, to_prompt, to_workflow
from hosting import host_source
from hosting.host_client import HostClient
from hosting.host_server import PACK, ServerOptions, running_server
from hosting.quickstart_error import QuickstartError, reporting
from PIL import Image
from showing.demo_report import natural_order
from showing.demo_workflows import Workflow, files_needed

FOLDER = PACK / "workflows"
SHELF = "more"
"""The folder within it of the workflows that the template browser does not list; thumbnails are all in one place."""
BLUEPRINTS = PACK / "subgraphs"
THUMBNAIL_WIDTH = 512
GAP = 4  # pixels between the pictures of a thumbnail


def descriptions() -> list[Graph]:
    """Every described workflow. ValueError if two have one title."""
    modules = [
        importlib.import_module(f"workflow_descriptions.{module.name}") for module in pkgutil.iter_modules(workflow_descriptions.__path__)
    ]
    graphs = [graph for module in modules if hasattr(module, "graphs") for graph in module.graphs()]
    titles = [graph.title for graph in graphs]
    for title in titles:
        if titles.count(title) > 1:
            raise ValueError(f"Two workflows have the title {title!r}.")
    return graphs


def blueprints() -> list[Graph]:
    """Every described blueprint, as the editor keeps them: a workflow of nothing but the one subgraph."""
    graphs = []
    for subgraph in workflow_descriptions.blueprints.blueprints():
        graphs.append(Graph(subgraph.title, subgraph.description))
        graphs[-1].add(subgraph)
    return graphs


def write(graphs: Sequence[Graph], object_info: ObjectInfo, folder: Path = FOLDER) -> list[Path]:
    """Write the workflows into `folder`, named by their titles; returns the files."""
    written = []
    for graph in graphs:
        written.append(file_of(graph, folder))
        written[-1].parent.mkdir(parents=True, exist_ok=True)
        written[-1].write_text(as_text(to_workflow(graph, object_info)), encoding="utf-8", newline="\n")
    return written


def file_of(graph: Graph, folder: Path = FOLDER) -> Path:
    """Where a workflow or a blueprint is kept."""
    shelf = folder / SHELF if folder == FOLDER and not workflow_descriptions.is_listed(graph.title) else folder
    return shelf / f"{graph.title}.json"


def named(title: str) -> Path:
    """The file of the workflow of this title. ValueError if there is none, or two."""
    (path,) = (path for path in files() if path.stem == title)
    return path


def files(folder: Path = FOLDER) -> list[Path]:
    """All workflows that there are, listed ones and others."""
    return sorted(folder.rglob("*.json"))


def as_text(workflow: Mapping) -> str:
    """The text of a workflow's file: the same for the same workflow."""
    return json.dumps(workflow, indent=1, ensure_ascii=False) + "\n"


def complaints(graphs: Sequence[Graph], object_info: ObjectInfo, folder: Path = FOLDER) -> list[str]:
    """What is wrong with the files in `folder`: differing, undescribed, or not accepted by the live schema."""
    found = []
    for path in files(folder):
        if path.stem not in {graph.title for graph in graphs}:
            found.append(f"{path.name}: it has no description.")
        found += [f"{path.name}: {complaint}" for complaint in check(_to_check(path), object_info)]
    for graph in graphs:
        path = file_of(graph, folder)
        if not path.is_file():
            found.append(f"{path.name}: it has not been built.")
        elif path.read_text(encoding="utf-8") != as_text(to_workflow(graph, object_info)):
            found.append(f"{path.name}: it differs from its description; run python tools build_workflows.")
    return found


def _to_check(path: Path) -> dict:
    """A workflow; of a blueprint only what is in it, as its own node waits for links."""
    workflow = json.loads(path.read_text(encoding="utf-8"))
    return {**workflow, "nodes": []} if path.parent == BLUEPRINTS else workflow


def thumbnail_complaints(graphs: Sequence[Graph], folder: Path = FOLDER) -> list[str]:
    """A complaint for each workflow whose thumbnail is not in `folder`, or is not that of the workflow it borrows from, and for
    each thumbnail of no workflow."""
    unknown = sorted({path.stem for path in folder.glob("*.jpg")} - {graph.title for graph in graphs})
    found = [f"{title}.jpg: no workflow is called so; delete it." for title in unknown]
    for graph in graphs:
        path, lender = folder / f"{graph.title}.jpg", folder / f"{_copied_from(graph)}.jpg"
        if not path.is_file():
            found.append(f"{graph.title}: it has no thumbnail; run python tools build_workflows --thumbnails.")
        elif not lender.is_file() or path.read_bytes() != lender.read_bytes():
            found.append(f"{graph.title}: its thumbnail differs from that of {graph.thumbnail_of}; run python tools build_workflows.")
    return found


def _copied_from(graph: Graph) -> str:
    """The title of the workflow whose thumbnail a workflow has: its own, unless it borrows one and picks no pictures for it."""
    return graph.title if graph.thumbnail else graph.thumbnail_of or graph.title


def borrow_thumbnails(graphs: Sequence[Graph], folder: Path = FOLDER) -> list[Path]:
    """Copy the thumbnails in `folder` to the workflows that borrow them; returns the files that this changed."""
    files = []
    for graph in graphs:
        path, lender = folder / f"{graph.title}.jpg", folder / f"{_copied_from(graph)}.jpg"
        if lender.is_file() and not (path.is_file() and path.read_bytes() == lender.read_bytes()):
            files.append(Path(shutil.copyfile(lender, path)))
    return files


def write_thumbnails(graphs: Sequence[Graph], client: HostClient, folder: Path = FOLDER) -> list[Path]:
    """Run the workflows that need no file of the user's, and write a thumbnail for each; returns the files.

    Raises PromptFailed if a workflow fails, QuickstartError if it shows no pictures.
    """
    object_info = client.object_info()
    files = []
    for graph in graphs:
        workflow = to_workflow(graph, object_info)
        if graph.thumbnail_of or files_needed(Workflow(graph.title, workflow), object_info):
            continue
        pictures = result_pictures(workflow, client, object_info)
        for shown in [graph, *(other for other in graphs if other.thumbnail_of == graph.title and other.thumbnail)]:
            files.append(folder / f"{shown.title}.jpg")
            thumbnail(chosen(pictures, shown.thumbnail)).save(files[-1], quality=88)
    return files


def result_pictures(workflow: Mapping, client: HostClient, object_info: ObjectInfo) -> dict[str, list[Image.Image]]:
    """Run a workflow and fetch its pictures: one list (a batch) for each Save or Preview node, by its title."""
    prompt = to_prompt(workflow, object_info)
    result = client.run(prompt)
    shown = {prompt[node]["_meta"]["title"]: result.images(node) for node in result.outputs if result.images(node)}
    return {title: [Image.open(io.BytesIO(client.view(file))).convert("RGB") for file in files] for title, files in shown.items()}


def chosen(pictures: Mapping[str, list[Image.Image]], titles: Sequence[str] | None = None) -> list[list[Image.Image]]:
    """Those of these titles, by default the first two."""
    # Only nodes that were given a number are meant to be seen: "1 input", "2 result".
    titles = titles or sorted((title for title in pictures if title[:1].isdigit()), key=natural_order)[:2]
    if not titles or not set(titles) <= pictures.keys():
        raise QuickstartError(
            f"A thumbnail wants the pictures {', '.join(titles or ('1 ...', '2 ...'))}; the workflow shows {', '.join(pictures) or 'none'}."
        )
    return [pictures[title] for title in titles]


def thumbnail(pictures: Sequence[Sequence[Image.Image]], width: int = THUMBNAIL_WIDTH) -> Image.Image:
    """One picture, `width` pixels wide: a column for each list, a row for each item of a batch (input | result)."""
    rows = list(zip(*pictures, strict=False))
    side = (width - GAP * (len(pictures) - 1)) // len(pictures)
    heights = [max(round(side * picture.height / picture.width) for picture in row) for row in rows]
    sheet = Image.new("RGB", (width, sum(heights) + GAP * (len(rows) - 1)), "white")
    top = 0
    for row, height in zip(rows, heights, strict=True):
        for column, picture in enumerate(row):
            scaled = picture.resize((side, round(side * picture.height / picture.width)), Image.Resampling.BICUBIC)
            sheet.paste(scaled, (column * (width - side) // max(1, len(row) - 1), top))
        top += height + GAP
    return sheet


@contextlib.contextmanager
def client_of(options: argparse.Namespace) -> Iterator[HostClient]:
    """A client of the server that the command line names, or of one that runs for the length of the `with` block."""
    if options.url:
        yield HostClient(options.url)
        return
    if options.comfyui is None:
        raise QuickstartError(f"Say where ComfyUI is with --comfyui or {host_source.VARIABLE}, or name a running server with --url.")
    with running_server(ServerOptions(Path(options.comfyui))) as server:
        yield server.client


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--check", action="store_true", help="write nothing, fail if a file is out of date")
    action.add_argument(
        "--thumbnails", nargs="*", metavar="NAME", help="also run the workflows of the embedded model, or those named, and write thumbnails"
    )
    parser.add_argument("--url", help="a running server with the pack")
    parser.add_argument("--comfyui", default=os.environ.get(host_source.VARIABLE), help="ComfyUI's folder")
    options = parser.parse_args()
    graphs = descriptions()
    with client_of(options) as client:
        object_info = client.object_info()
        written = [] if options.check else [*write(graphs, object_info), *write(blueprints(), object_info, BLUEPRINTS)]
        if options.thumbnails is not None:
            written += write_thumbnails(
                [graph for graph in graphs if {graph.title, graph.thumbnail_of} & set(options.thumbnails or [graph.title])], client
            )
        if not options.check:
            written += borrow_thumbnails(graphs)
        found = complaints(graphs, object_info) + complaints(blueprints(), object_info, BLUEPRINTS) + thumbnail_complaints(graphs)
    for path in written:
        print(path.relative_to(PACK))
    for complaint in found:
        print(complaint, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(reporting(main))
