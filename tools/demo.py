"""Run the workflows that the embedded model can run through the real server, and show what comes out while it comes."""

from __future__ import annotations

import argparse
import contextlib
import sys
import webbrowser
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hosting import machine
from hosting.host_server import PACK, HostServer, ServerOptions, running_server, sees_accelerator
from hosting.quickstart_error import QuickstartError, reporting
from showing import demo_page
from showing.demo_report import Report
from showing.demo_run import run_all
from showing.demo_workflows import shipped_workflows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--comfyui", type=Path, required=True)
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "gpu"))
    parser.add_argument("--port", type=int)
    parser.add_argument("--output", type=Path, default=PACK / "output" / "demo")
    parser.add_argument("--workflows", type=Path, default=PACK / "workflows", help="folder of the workflows")
    parser.add_argument(
        "--all", action="store_true", help="run those that show the methods in depth, too: sweeps, grids, inversions and more"
    )
    options = parser.parse_args()
    workflows = shipped_workflows(options.workflows)
    if not workflows:
        raise QuickstartError(f"There is no workflow in {options.workflows}.")
    page = options.output / "index.html"
    opened = []

    def show(report: Report) -> None:
        demo_page.write(report, options.output)
        if not opened and any(workflow.status == "passed" for workflow in report.workflows):
            opened.append(page)
            print(f"The page, which fills as workflows end: {page}", flush=True)
            if sys.stdout.isatty():
                webbrowser.open(page.absolute().as_uri())

    print("Starting the server ...", flush=True)
    with running_servers(options.comfyui, options.device, options.port) as servers:
        report = run_all(servers, workflows, options.output, everything=options.all, show=show)
    failed = [workflow.name for workflow in report.workflows if workflow.status == "failed"]
    print(f"\nPictures and numbers: {page}")
    if failed:
        print(f"Failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


@contextlib.contextmanager
def running_servers(comfyui: Path, device: str, port: int | None) -> Iterator[list[HostServer]]:
    """One server on an accelerator; on the CPU as many as the machine has room for, which share its threads."""
    if device == "auto":
        device = "gpu" if sees_accelerator(Path(sys.executable)) else "cpu"
    number = machine.workers() if device == "cpu" else 1
    threads = max(1, machine.cores() // number)
    starting = [
        running_server(ServerOptions(comfyui, device=device, port=None if others else port, threads=threads)) for others in range(number)
    ]
    with contextlib.ExitStack() as cleanup, ThreadPoolExecutor(number) as together:
        yield list(together.map(cleanup.enter_context, starting))


if __name__ == "__main__":
    sys.exit(reporting(main))
