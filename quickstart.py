#!/usr/bin/env python3
"""Graft from one command. Needs Python 3.10 to 3.13 and nothing else.

demo      see what it does, on a page that fills as the workflows that need no files of yours are run (output/demo)
serve     ComfyUI with Graft in it, in your browser
showcase  every task on photographs with your checkpoints, beside image-to-image and inpainting (output/showcase)
batch     any workflow over a manifest: thousands of pictures, on this machine, on servers or on a Ray cluster
test      lint, contracts and all tests (other arguments go to pytest)
evaluate  measure the methods on the miniature again; tables and contact sheets go to docs/
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

OLDEST, NEWEST = (3, 10), (3, 13)
PASSED_ON = ("showcase", "batch", "test", "evaluate")
TOOLS = Path(__file__).absolute().parent / "tools"


def arguments(command_line=None):
    """The parsed command line; `rest` is what follows "--"."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--comfyui", type=Path, metavar="PATH", help="use this ComfyUI instead of looking for one or getting one")
    common.add_argument("--use-current-python", action="store_true", help="use the environment of this Python instead of an own one")
    common.add_argument("--torch-backend", metavar="BACKEND", help="which build of torch uv installs, e.g. cpu, cu130, auto")
    running = argparse.ArgumentParser(add_help=False)
    running.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto", help="where models run (default: auto)")
    running.add_argument("--port", type=int, help="port of the server (default: a free one)")
    commands = parser.add_subparsers(dest="command", required=True, metavar="demo | serve | showcase | batch | test | evaluate")
    demo = commands.add_parser("demo", parents=[common, running], help="run the workflows, write pictures and a report")
    demo.add_argument("--output", type=Path, metavar="FOLDER", help="where to write (default: output/demo)")
    demo.add_argument(
        "--all", action="store_true", help="run those that show the methods in depth, too: sweeps, grids, inversions and more"
    )
    commands.add_parser("serve", parents=[common, running], help="start ComfyUI with Graft and print its address")
    showcase = "--checkpoint FILE [FILE ...]; showcase --help lists what else there is"
    commands.add_parser("showcase", parents=[common, running], add_help=False, help=showcase)
    batch = "WORKFLOW --manifest FILE --output FOLDER; batch --help lists what else there is"
    commands.add_parser("batch", parents=[common, running], add_help=False, help=batch)
    commands.add_parser("test", parents=[common], help="run lint, contracts and tests")
    commands.add_parser("evaluate", parents=[common], help="measure the methods on the miniature; names of experiments and --count follow")
    options, rest = parser.parse_known_args(command_line)
    if rest and options.command not in PASSED_ON:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    options.rest = [word for word in rest if word != "--"]
    return options


def require_python():
    """Raise QuickstartError outside the versions that ComfyUI and torch have packages for."""
    from hosting.quickstart_error import QuickstartError

    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        raise QuickstartError(
            "Graft needs Python {}.{} to {}.{}, this is {}.{}. Start quickstart.py with another one, e.g. python3.12 quickstart.py.".format(
                *OLDEST, *NEWEST, *sys.version_info[:2]
            )
        )


def run(options):
    """Prepare the host, then become the tool for the command, in the host's environment. Returns the exit code."""
    require_python()
    from hosting import host_install

    choices = {"comfyui": options.comfyui, "use_current_python": options.use_current_python, "development": options.command == "test"}
    if options.torch_backend:
        choices["torch_backend"] = options.torch_backend
    host = host_install.prepare(host_install.Choices(**choices))
    print(f"ComfyUI {host.version} at {host.comfyui}", flush=True)
    command = [str(host.python), str(TOOLS / SCRIPTS[options.command]), "--comfyui", str(host.comfyui), *tool_arguments(options, host)]
    if os.name == "nt":
        return subprocess.call(command)
    os.execv(command[0], command)  # so that signals reach the tool itself


SCRIPTS = {
    "demo": "demo.py",
    "serve": "serve.py",
    "showcase": "showcase.py",
    "batch": "run_batch.py",
    "test": "checks.py",
    "evaluate": "evaluate.py",
}


def tool_arguments(options, host):
    """What of the command line concerns the tool."""
    if options.command in ("test", "evaluate"):
        return options.rest
    words = ["--device", options.device] + (["--port", str(options.port)] if options.port is not None else [])
    if options.command == "demo" and options.output:
        words += ["--output", str(options.output.absolute())]
    if options.command == "demo" and options.all:
        words.append("--all")
    if options.command in ("serve", "batch") and not host.own:
        words += ["--models", str(host.comfyui / "models")]  # the user's own checkpoints, read where they are
    return words + options.rest


if __name__ == "__main__":
    sys.path.insert(0, str(TOOLS))
    if sys.version_info < OLDEST:  # too old to read the tools themselves
        sys.exit("Graft needs Python {}.{} to {}.{}.".format(*OLDEST, *NEWEST))
    from hosting.quickstart_error import reporting

    sys.exit(reporting(lambda: run(arguments())))
