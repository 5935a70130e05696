"""ComfyUI with Graft in it, until Ctrl-C."""

from __future__ import annotations

import argparse
import shutil
import sys
import threading
import webbrowser
import zipfile
from pathlib import Path

from hosting.cache_folder import cache_folder
from hosting.host_server import LIVE_PREVIEWS, ServerOptions, log_tail, running_server
from hosting.quickstart_error import QuickstartError, reporting

from pictures import photographs

CREDIT = "of the package scikit-image, free of copyright (CC0): the cup by Rachel Michetti, the cat by Stefan van der Walt"


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
        threading.Thread(target=_tell_of_photographs, args=(base / "input",), daemon=True).start()
        if sys.stdout.isatty():
            webbrowser.open(server.address)
        code = server.process.wait()
        raise QuickstartError(f"ComfyUI ended by itself (exit code {code}). The end of its log:\n{log_tail(server.log)}")


def add_photographs(folder: Path, cache: Path) -> list[Path]:
    """Put the photographs that `folder` lacks beside the examples; returns the new files, none where they are not to be had."""
    try:
        return [
            Path(shutil.copyfile(made, folder / f"photo_{made.name}"))
            for made in photographs.photographs(cache)
            if not (folder / f"photo_{made.name}").exists()
        ]
    except (QuickstartError, OSError, zipfile.BadZipFile, KeyError, ValueError):
        return []


def _tell_of_photographs(folder: Path) -> None:
    """The server runs already."""
    if added := add_photographs(folder, cache_folder()):
        print(f"Photographs for Load Image: {', '.join(path.name for path in added)} ({CREDIT}).", flush=True)


if __name__ == "__main__":
    sys.exit(reporting(main))
