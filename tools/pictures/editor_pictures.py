"""Take the pictures of the editor that README and docs show: docs/images/*.png.

    python tools editor_pictures [NAME ...] [--url http://127.0.0.1:8188]

Without --url a server is started for it (--comfyui or COMFYUI_PATH). Needs the Python package playwright and a Chromium, Chrome or Edge.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from building import build_workflows
from hosting.host_server import PACK, PACK_NAME, ServerOptions, running_server
from PIL import Image

from pictures.screenshot import Editor, running_editor

FOLDER = PACK / "docs" / "images"
WIDTH = 1600  # pixels, at most
COLOURS = 256


@dataclass(frozen=True)
class View:
    """A workflow once it has run, what is in one of its subgraphs, the page with the help of a node of this class, or the workflow as a form;
    in a language of the editor's."""

    workflow: str
    form: bool = False
    enter: str | None = None
    help: str | None = None
    language: str = "en"


VIEWS = {
    "remove_object": View("Try 1 Remove Object (miniature)"),
    "remove_object_inside": View("Try 1 Remove Object (miniature)", enter="Remove Object"),
    "freecompose_miniature": View("FreeCompose removal (miniature)"),
    "tf_icon_miniature": View("TF-ICON into an ink drawing (miniature)"),
    "specref_miniature": View("SpecRef (miniature)"),
    "prompt_to_prompt_miniature": View("Prompt-to-Prompt (miniature)"),
    "unnaturalness_map_miniature": View("Unnaturalness Map (miniature)"),
    "free_prompt_editing_miniature": View("Free-Prompt-Editing (miniature)"),
    "injectfusion_miniature": View("InjectFusion faces (miniature)"),
    "app_view": View("Try 4 Place Object Into Picture (miniature)", form=True),
    "help": View("Free-Prompt-Editing (miniature)", help="GraftReplaceSelfAttention"),
    "editor_zh": View("Free-Prompt-Editing (miniature)", language="zh"),
}
TEMPLATES = "template_browser"
NAMES = (*VIEWS, TEMPLATES)


def take(editor: Editor, name: str, path: Path, *, run: bool = True) -> None:
    """Take one of the pictures; without `run` nothing is seen in the viewers. RuntimeError if the workflow fails."""
    if name == TEMPLATES:
        window = editor.show_templates(PACK_NAME, "Object")
        editor.settle()
        window.screenshot(path=path)
        editor.page.keyboard.press("Escape")
        return
    view = VIEWS[name]
    with editor.in_tab({"Comfy.Locale": view.language}) as seen:
        seen.open(json.loads(build_workflows.named(view.workflow).read_text(encoding="utf-8")))
        if view.help:
            seen.show_help(view.help)
            seen.page.screenshot(path=path)
            return
        if view.form:
            seen.show_form()
        if view.enter:
            seen.enter(view.enter)
        elif run and seen.run()["status"]["status_str"] != "success":
            raise RuntimeError(f"{view.workflow} failed.")
        if view.form:
            seen.settle()
            seen.page.screenshot(path=path)
            return
        seen.take_picture(path)  # at full size: the editor leaves texts out where they would be small


def small_size(picture: Image.Image) -> tuple[int, int]:
    width = min(WIDTH, picture.width)
    return width, round(picture.height * width / picture.width)


def shrink(path: Path) -> None:
    """Make a picture and its file small."""
    with Image.open(path) as picture:
        small = picture.convert("RGB").resize(small_size(picture), Image.Resampling.LANCZOS)
    small.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, kmeans=3).save(path, optimize=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"by default all: {', '.join(NAMES)}")
    parser.add_argument("--url", help="a running server with the pack; one is started otherwise")
    parser.add_argument("--comfyui", type=Path, default=os.environ.get("COMFYUI_PATH"), help="ComfyUI's folder")
    options = parser.parse_args()
    if options.url is None and options.comfyui is None:
        parser.error("give --url, or --comfyui (or COMFYUI_PATH)")
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"no picture is called {', '.join(sorted(unknown))}")
    with contextlib.ExitStack() as cleanup:
        address = options.url or cleanup.enter_context(running_server(ServerOptions(Path(options.comfyui)))).address
        editor = cleanup.enter_context(running_editor(address))
        for name in options.names or NAMES:
            take(editor, name, FOLDER / f"{name}.png")
            shrink(FOLDER / f"{name}.png")
            print(f"docs/images/{name}.png", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
