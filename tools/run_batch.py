"""Any workflow over a manifest, on one server or many; pictures, a record and a page of results go to the output folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from batch.local import Local
from batch.manifest import FORMATS
from batch.ray_cluster import RayCluster
from batch.run import Choices, ServingBackend, run
from batch.servers import Servers
from hosting.host_server import HEADLESS_FLAGS, ServerOptions
from hosting.quickstart_error import reporting

SECONDS_TO_START = 900.0
"""Many workers that start at once share a disk, and the machine's cores."""


def main() -> int:
    options = _parser().parse_args()
    choices = Choices(
        options.workflow,
        options.manifest,
        options.output,
        dict(word.partition("=")[::2] for word in options.input),
        options.format,
        options.retry_failed,
        options.saved_only,
        options.unnaturalness,
        options.seconds,
    )
    return run(choices, lambda: _backend(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, prog="quickstart.py batch")
    parser.add_argument("workflow", type=Path, help="a workflow, as the editor saves it or exports it (API format)")
    parser.add_argument("--manifest", type=Path, required=True, help="JSON lines, a table, a folder of pictures, or a benchmark")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="where pictures, record and page go")
    parser.add_argument("--format", choices=tuple(FORMATS), help="of the manifest (default: seen from its name)")
    parser.add_argument("--input", action="append", default=[], type=_named, metavar="COLUMN=ADDRESS", help='e.g. "prompt=Positive.text"')
    parser.add_argument("--retry-failed", action="store_true", help="run rows again that failed")
    parser.add_argument("--saved-only", action="store_true", help="leave out what Preview nodes show")
    parser.add_argument("--unnaturalness", action="store_true", help="add Graft's map of what looks unnatural, and its mean as a number")
    parser.add_argument("--seconds", type=float, default=1800.0, help="how long a row may take (default: 1800)")
    parser.add_argument("--silence", type=float, default=60.0, help="seconds until a silent server counts as lost (default: 60)")
    where = parser.add_argument_group("where rows run").add_mutually_exclusive_group()
    where.add_argument("--servers", metavar="URL,...", help="ComfyUI servers that run already")
    where.add_argument("--ray", nargs="?", const="local", metavar="ADDRESS", help="a Ray cluster; without an address one on this machine")
    parser.add_argument("--workers", type=int, help="with --ray: how many (default: as many as fit)")
    parser.add_argument("--worker-cpus", type=int, default=1, metavar="N", help="with --ray: CPUs of a worker (default: 1)")
    parser.add_argument("--worker-gpus", type=float, metavar="N", help="with --ray: GPUs of a worker (default: 1 where there are any)")
    parser.add_argument("--comfyui", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "gpu"), help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--models", type=Path, help="folder of the models (default: that of your ComfyUI)")
    return parser


def _named(word: str) -> str:
    name, _, address = word.partition("=")
    if not name or not address:
        raise argparse.ArgumentTypeError(f"{word!r} is not COLUMN=ADDRESS")
    return word


def _backend(options: argparse.Namespace) -> ServingBackend:
    if options.servers:
        return Servers(options.servers.split(","), options.silence)
    models = (f"--models-directory={options.models.absolute()}",) if options.models else ()
    flags = (*HEADLESS_FLAGS, *models)
    server = ServerOptions(options.comfyui, device=options.device, port=options.port, flags=flags, seconds_to_start=SECONDS_TO_START)
    if options.ray:
        return RayCluster(options.ray, server, options.silence, options.workers, options.worker_cpus, options.worker_gpus)
    return Local(server, options.silence)


if __name__ == "__main__":
    sys.exit(reporting(main))
