"""ComfyUI with Graft in it, until Ctrl-C."""

from __future__ import annotations

import argparse
import sys
import webbrowser
from pathlib import Path

from hosting.cache_folder import cache_folder
from hosting.host_server import LIVE_PREVIEWS, ServerOptions, log_tail, running_server
from hosting.quickstart_error import QuickstartError, reporting


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--comfyui", type=Path, required=True)
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "gpu"))
    parser.add_argument("--port", type=int)
    parser.add_argument("--models", type=Path, help="a models folder to use instead of the one in the base directory")
    options = parser.parse_args()

    base = cache_folder() / "serve"  # stays, so that workflows, settings and pictures are there the next time
    database = (base / "user" / "comfyui.db").as_posix()
    flags = [f"--database-url=sqlite:///{database}", "--disable-api-nodes", "--disable-auto-launch", LIVE_PREVIEWS]
    models = options.models if options.models and options.models.is_dir() else base / "models"
    flags.append(f"--models-directory={models}")
    print("Starting ComfyUI ...", flush=True)
    choices = ServerOptions(options.comfyui, device=options.device, port=options.port, base_directory=base, flags=tuple(flags))
    with running_server(choices) as server:
        print(f"\n  {server.address}\n")
        print("Graft's workflows are in the template browser (Templates in the bar on the left, then graft).")
        print(f"Models: {models}\nPictures, settings and log: {base}\nStop with Ctrl-C.", flush=True)
        if sys.stdout.isatty():
            webbrowser.open(server.address)
        code = server.process.wait()
        raise QuickstartError(f"ComfyUI ended by itself (exit code {code}). The end of its log:\n{log_tail(server.log)}")


if __name__ == "__main__":
    sys.exit(reporting(main))
