"""Every task on photographs, with your checkpoints, beside image-to-image and inpainting, on one page that a README can take."""

from __future__ import annotations

import argparse
import contextlib
import functools
import shutil
import sys
import tempfile
import webbrowser
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmark import random_checkpoint
from benchmark.full_size import place
from hosting.cache_folder import cache_folder
from hosting.host_client import PromptFailed
from hosting.host_server import PACK, HostServer, ServerOptions, running_server
from hosting.pack import load_host
from hosting.quickstart_error import QuickstartError, reporting
from pictures.photographs import photographs
from showing import showcase_page
from showing.demo_report import file_stem
from showing.showcase_cases import CASES, Case, known_tasks, of_templates, read
from showing.showcase_graphs import Loader, Settings
from showing.showcase_page import MEANINGLESS, OF_A_DRAWN_WORLD, Section
from showing.showcase_run import Shown, run_case, warm_up
from workflow_descriptions import load_checkpoint, load_miniature

MINIATURE = "miniature"
"""In the place of a checkpoint: the small model that comes with the pack."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="quickstart.py showcase", description=__doc__)
    parser.add_argument("--comfyui", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "gpu"))
    parser.add_argument("--port", type=int)
    parser.add_argument(
        "--checkpoint",
        nargs="+",
        metavar="FILE",
        help=f"SD1.x, SD2.x or SDXL checkpoints, or {MINIATURE}; without any, random weights in SD1.5's shapes, for trying it out",
    )
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help=f"your pictures, with a file {CASES} like docs/examples/{CASES}")
    parser.add_argument("--task", nargs="+", metavar="NAME", help=f"some of: {', '.join(known_tasks())}")
    parser.add_argument("--size", type=int, default=512, help="longer side while the model works, pixels (default: 512; for SDXL 1024)")
    parser.add_argument("--steps", type=int, help="of everything (default: each task's own)")
    parser.add_argument("--seed", type=int, default=3407)
    parser.add_argument("--output", type=Path, default=PACK / "output" / "showcase")
    options = parser.parse_args()
    cases = chosen(cases_of(options.pictures), options.task)
    settings = Settings(options.size, options.seed, options.steps)
    sections: list[Section] = []
    with tempfile.TemporaryDirectory(prefix="graft-") as folder:
        for checkpoint in options.checkpoint or [random_weights(options.comfyui, Path(folder))]:
            note = OF_A_DRAWN_WORLD if checkpoint == MINIATURE else "" if options.checkpoint else MEANINGLESS
            choices = ServerOptions(options.comfyui, device=options.device, port=options.port)
            with running_server(choices) as server:
                sections.append(shown_by(server, checkpoint, cases, settings, options.output, note))
            showcase_page.write(sections, options.output)
    page = options.output / showcase_page.PAGE
    print(f"\nThe page: {page}\nFor a README: {options.output / showcase_page.FRAGMENT}")
    if sys.stdout.isatty():
        webbrowser.open(page.absolute().as_uri())
    return 1 if any(outcome.failure for section in sections for shown in section.shown for outcome in shown.outcomes) else 0


def cases_of(pictures: Path | None) -> list[Case]:
    """The user's, else the photographs', else, where they are out of reach, the pack's own."""
    if pictures is not None:
        return read(pictures / CASES, pictures)
    try:
        (folder,) = {path.parent for path in photographs(cache_folder())}
    except QuickstartError as error:
        print(f"{error}\nThe pack's own pictures are taken instead.", file=sys.stderr)
        return of_templates(PACK / "pictures")
    return read(PACK / "docs" / "examples" / CASES, folder)


def chosen(cases: Sequence[Case], tasks: Sequence[str] | None) -> list[Case]:
    """The cases of some tasks, or all. QuickstartError for a task that has none."""
    if unknown := set(tasks or ()) - {case.task for case in cases}:
        raise QuickstartError(
            f"Nothing is to be done for {', '.join(sorted(unknown))}. There are: {', '.join(case.task for case in cases)}."
        )
    return [case for case in cases if not tasks or case.task in tasks]


def random_weights(comfyui: Path, folder: Path) -> str:
    """A checkpoint of random weights in `folder`."""
    file = folder / "random weights.safetensors"
    print("No checkpoint was named: making one of random weights (2 GiB) ...", flush=True)
    load_host(comfyui, cpu=True)
    random_checkpoint.write(file, "sd15")
    return str(file)


def shown_by(server: HostServer, checkpoint: str, cases: Sequence[Case], settings: Settings, output: Path, note: str = "") -> Section:
    """Run the cases with one model; what is there of an earlier showcase with it goes."""
    name, load_model = model_of(server, checkpoint)
    folder = output / file_stem(name)
    shutil.rmtree(folder, ignore_errors=True)
    device = server.client.get_json("/system_stats")["devices"][0]
    print(f"{name}: loading ...", flush=True)
    with contextlib.suppress(PromptFailed):  # the ways say themselves what fails
        warm_up(server, cases[0], load_model, settings)
    shown = tuple(_told(run_case(server, case, load_model, settings, folder / file_stem(case.task)) for case in cases))
    return Section(name, note, device["name"], "process" if device["type"] == "cpu" else "graphics card", settings, shown)


def model_of(server: HostServer, checkpoint: str) -> tuple[str, Loader]:
    """A model's name, and what loads it; a checkpoint is put where the server finds it. QuickstartError for a file that is not there."""
    if checkpoint == MINIATURE:
        return MINIATURE, load_miniature
    file = Path(checkpoint)
    if not file.is_file():
        raise QuickstartError(f"There is no checkpoint {file}.")
    place(file, server.base_directory / "models" / "checkpoints")
    return file.stem, functools.partial(load_checkpoint, file=file.name)


def _told(shown: Iterator[Shown]) -> Iterator[Shown]:
    for one in shown:
        for outcome in one.outcomes:
            told = f"FAILED: {outcome.failure}" if outcome.failure else f"{outcome.seconds:.1f} s, {outcome.peak_mib} MiB"
            print(f"  {one.case.task}, {outcome.way}: {told}", flush=True)
        yield one


if __name__ == "__main__":
    sys.exit(reporting(main))
