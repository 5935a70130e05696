"""Cases of the evaluation as a manifest, so that a batch runs them: on this machine, on servers or on a cluster; then measured as experiments are.

    python tools cases CHANGE [--count N] > cases.jsonl
    python quickstart.py batch WORKFLOW --manifest cases.jsonl --output FOLDER --ray
    python tools cases CHANGE --measure FOLDER

WORKFLOW is one with the node Miniature Scene, which draws scenes of one thing that the miniature was not trained on. The numbers are those of the
experiment that is about the change: success by the judge, and what should have stayed.
"""

from __future__ import annotations

import argparse
import json
from itertools import islice
from pathlib import Path

from hosting.pack import load_host, load_pack

CHANGES = ("recolour", "change ground", "replace", "remove")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("change", choices=CHANGES)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--measure", type=Path, metavar="FOLDER", help="of a batch of these cases")
    parser.add_argument("--comfyui", type=Path, help="ComfyUI's folder; COMFYUI_PATH by default")
    options = parser.parse_args()
    load_pack()
    if options.measure:
        load_host(options.comfyui)
        from evaluation.batched import measured
        from evaluation.laboratory import Laboratory

        print(json.dumps(measured(Laboratory(), options.change, options.measure)))
        return
    from evaluation.drawn_cases import cases

    for case in islice(cases(options.change), options.count):
        print(json.dumps(case.row()))


if __name__ == "__main__":
    main()
