"""What the methods cost: as shipped, their network's rows alone, and the papers' procedures as their code runs them.

    python tools bench --comfyui PATH [METHOD ...] [--device cpu|cuda] [--rounds N] [--quick] [--write]
    python tools bench --comfyui PATH --profile [METHOD ...]        where their time goes

On a CPU the miniature and a random network in SD1.5's shape; on CUDA random networks in the shapes of SD1.5, SD2.1, SDXL and Flux, in both
half precisions. Everything takes its turn in every round, and ratios are taken round by round, so that they hold when the machine's
speed drifts. Prints a table and JSON; --write puts table, JSON and plot into docs/.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from hosting.pack import load_host, load_pack

from benchmark.document import DOCUMENT, insert


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", metavar="METHOD")
    parser.add_argument("--comfyui", type=Path)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--network", action="append", help="of those of the device; by default all")
    parser.add_argument("--rounds", type=int, help="by default as many as the network needs")
    parser.add_argument("--quick", action="store_true", help="small networks of every kind, once: whether it all works")
    parser.add_argument("--profile", action="store_true", help="which operators take the time, instead of the table")
    parser.add_argument("--write", action="store_true", help=f"into {DOCUMENT.parent.name}/")
    options = parser.parse_args()
    load_host(options.comfyui, cpu=options.device == "cpu")
    load_pack()
    import comfy.utils
    import torch

    from benchmark import networks, profiling, results
    from benchmark.comparing import compare
    from benchmark.methods import METHODS

    comfy.utils.set_progress_bar_enabled(False)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: there is no CUDA device")
    if unknown := set(options.methods) - METHODS.keys():
        parser.error(f"no method is called {', '.join(sorted(unknown))}; there are {', '.join(METHODS)}")
    makers = networks.quick() if options.quick else networks.on_cuda() if options.device == "cuda" else networks.on_processor()
    chosen = [METHODS[name] for name in options.methods or METHODS]
    found = []
    with torch.inference_mode():
        for name in options.network or makers:
            subject = makers[name]()
            rounds = options.rounds or (1 if options.quick else subject.rounds)
            for method in chosen:
                if not method.serves(subject):
                    continue
                print(f"{subject.name}: {method.title} ...", file=sys.stderr, flush=True)
                if options.profile:
                    print(profiling.table(subject, method), end="\n\n", flush=True)
                else:
                    found.append(compare(subject, method, rounds))
    if options.profile:
        return
    print(results.table(found))
    report = results.as_json(found)
    print(json.dumps(report))
    if options.write:
        write(report, results.table(found), results.plot(found), options.device)


def write(report: dict, table: str, plot: str, device: str) -> None:
    """Puts the results where the document has those of this device."""
    picture = f"![How many times faster](benchmark_{device}.svg)"
    insert(device, report, plot, f"Measured on {report['date']} on {report['machine']}.\n\n{picture}\n\n{table}")


if __name__ == "__main__":
    main()
