"""Measures methods on the miniature and writes docs/evaluation.md, its JSON and a contact sheet per experiment.

    python tools/evaluate.py --comfyui PATH [EXPERIMENT ...] [--count N] [--output FOLDER]

Without names every experiment runs. Each is deterministic by its seeds.
"""

from __future__ import annotations

import argparse
import importlib
import time
from pathlib import Path

from hosting.pack import ROOT, load_host, load_pack

EXPERIMENTS = (
    "judge",
    "generation",
    "round_trip",
    "free_prompt_editing",
    "prompt_to_prompt",
    "specref",
    "tf_icon",
    "composite_memory",
    "removal",
    "harmonisation",
    "unnaturalness",
    "injectfusion",
)
COMMAND = "python quickstart.py evaluate"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiments", nargs="*", metavar="EXPERIMENT", help=", ".join(EXPERIMENTS))
    parser.add_argument("--comfyui", type=Path, help="ComfyUI's folder; COMFYUI_PATH by default")
    parser.add_argument("--count", type=int, help="pictures per experiment, instead of each one's own number")
    parser.add_argument("--output", type=Path, help="folder to write to; docs by default")
    arguments = parser.parse_args()
    if unknown := set(arguments.experiments) - set(EXPERIMENTS):
        parser.error(f"no experiment is called {', '.join(sorted(unknown))}; there are {', '.join(EXPERIMENTS)}")
    if arguments.count and not arguments.output:
        parser.error("--count makes other tables than those in docs; say with --output where to write them")
    load_host(arguments.comfyui)
    load_pack()
    import torch
    from evaluation.laboratory import Laboratory
    from evaluation.report import write

    tables, sheets = [], []
    with torch.inference_mode():
        laboratory = Laboratory()
        for name in arguments.experiments or EXPERIMENTS:
            started = time.time()
            options = {"count": arguments.count} if arguments.count else {}
            new_tables, new_sheets = importlib.import_module(f"evaluation.{name}").run(laboratory, **options)
            tables, sheets = tables + new_tables, sheets + new_sheets
            print(f"{name}: {time.time() - started:.0f} s", flush=True)
            for table in new_tables:
                for row in table.rows:
                    print("  ", row, flush=True)
    write(arguments.output or ROOT / "docs", tables, sheets, COMMAND)


if __name__ == "__main__":
    main()
