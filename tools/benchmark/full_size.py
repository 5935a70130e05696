"""Runs shipped workflows at full size in the real server, with random weights, and says what they took.

    python tools full_size --comfyui PATH [WORKFLOW ...] [--side 256] [--steps 5] [--checkpoint FILE]

What comes out means nothing; that it comes out, how long it takes and how much memory, does. Prints JSON. Without --checkpoint a
random one is made and thrown away; a FILE that does not exist is made and kept.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from graph import to_prompt
from hosting import host_folder
from hosting.host_client import Prompt, PromptFailed, RunResult
from hosting.host_server import PACK, HostServer, ServerOptions, running_server
from hosting.pack import load_host, load_pack
from hosting.quickstart_error import QuickstartError, reporting
from PIL import Image
from showing.demo_workflows import Workflow, shipped_workflows

from benchmark import random_checkpoint

WORKFLOWS = ("SpecRef 1 cat to dog", "InjectFusion SD2.1")
STEPS = 5
"""The fewest in which InjectFusion injects more than once."""
LONGEST_RUN = 4 * 3600.0  # seconds


@dataclass(frozen=True)
class Settings:
    """What every workflow runs with: names of files on the server, side of the picture in pixels, steps of every schedule and
    iterations of every optimisation."""

    checkpoint: str
    picture: str
    adapter: str
    side: int
    steps: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workflows", nargs="*", metavar="WORKFLOW", default=WORKFLOWS, help=f"names; by default {', '.join(WORKFLOWS)}")
    parser.add_argument("--comfyui", type=Path, required=True)
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "gpu"))
    parser.add_argument("--side", type=int, default=256, help="pixels")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--checkpoint", type=Path, metavar="FILE")
    parser.add_argument("--kind", choices=sorted(random_checkpoint.KINDS), default="sd15", help="of the checkpoint that is made")
    parser.add_argument("--output", type=Path, default=PACK / "output" / "full_size", help="where the pictures go")
    options = parser.parse_args()
    workflows = {workflow.name: workflow for workflow in shipped_workflows(PACK / "workflows")}
    if unknown := set(options.workflows) - workflows.keys():
        parser.error(f"no workflow is called {', '.join(sorted(unknown))}; there are {', '.join(workflows)}")
    load_host(options.comfyui, cpu=True)
    load_pack()
    with tempfile.TemporaryDirectory(prefix="graft-") as folder:
        checkpoint = options.checkpoint or Path(folder) / f"random_{options.kind}.safetensors"
        if not checkpoint.exists():
            print(f"Writing {checkpoint} ...", file=sys.stderr, flush=True)
            random_checkpoint.write(checkpoint, options.kind)
        adapter = Path(folder) / "random_adapter.safetensors"
        random_checkpoint.write(adapter, random_checkpoint.ADAPTER)
        runs = []
        for name in options.workflows:
            print(f"Running {name} ...", file=sys.stderr, flush=True)
            # Each in a server of its own: time and memory are then its own too.
            with running_server(ServerOptions(options.comfyui, device=options.device)) as server:
                runs.append(run(server, workflows[name], checkpoint, adapter, options.side, options.steps, options.output))
        report = {
            "comfyui": host_folder.version(options.comfyui),
            "checkpoint_mib": checkpoint.stat().st_size // 2**20,
            "side": options.side,
            "steps": options.steps,
            "runs": runs,
        }
    print(json.dumps(report, indent=2))


def run(server: HostServer, workflow: Workflow, checkpoint: Path, adapter: Path, side: int, steps: int, output: Path) -> dict[str, Any]:
    """Run a workflow to its end and check its pictures, which are left below `output`. QuickstartError says what went wrong."""
    for file, folder in ((checkpoint, "checkpoints"), (adapter, "controlnet")):
        place(file, server.base_directory / "models" / folder)
    picture = server.client.upload_image(drawing(side), "full_size.png").filename
    try:
        prompt = to_prompt(workflow.graph, server.client.object_info())
        prompt = at_full_size(prompt, Settings(checkpoint.name, picture, adapter.name, side, steps))
        result = server.client.run(prompt, seconds=LONGEST_RUN)
        pictures = checked_pictures(server, result, side, output / workflow.name)
    except (PromptFailed, ValueError) as error:
        raise QuickstartError(f"{workflow.name}: {error}") from error
    log = server.log.read_text(encoding="utf-8", errors="replace")
    if "invalid value encountered in cast" in log:  # numpy's warning when the host turns what is not finite into bytes
        raise QuickstartError(f"{workflow.name}: a picture has values that are not finite.")
    return {
        "workflow": workflow.name,
        "model_type": "".join(re.findall(r"model_type (\w+)", log)[:1]),
        "seconds": round(result.seconds, 1),
        "seconds_by_node": {f"{prompt[node]['class_type']} #{node}": round(time, 1) for node, time in result.node_seconds.items()},
        "peak_memory_mib": peak_memory(server.process),
        "pictures": pictures,
    }


def at_full_size(prompt: Prompt, settings: Settings) -> Prompt:
    """The prompt with these files, this picture in every Load Image, this size and these steps; links stay as they are.

    ValueError if the workflow loads no checkpoint, for then it has no full size.
    """
    square = {"width": settings.side, "height": settings.side}
    constants = {
        "CheckpointLoaderSimple": {"ckpt_name": settings.checkpoint},
        "ControlNetLoader": {"control_net_name": settings.adapter},
        "LoadImage": {"image": settings.picture},
        "ImageScale": square,
        "GraftFitPicture": {"size": settings.side},
        "ResizeImageMaskNode": {f"resize_type.{name}": settings.side for name in ("width", "height", "longer_size")},
        "EmptyLatentImage": square,
        "BasicScheduler": {"steps": settings.steps},
        "GraftUniformTimeScheduler": {"steps": settings.steps},
        "KSampler": {"steps": settings.steps},
        "GraftOptimizeLatent": {"stage.iterations": settings.steps},
        "GraftUnnaturalnessMap": {"draws": settings.steps},
    }
    if not any(node["class_type"] == "CheckpointLoaderSimple" for node in prompt.values()):
        raise ValueError("The workflow loads no checkpoint.")

    def changed(node: dict) -> dict:
        new = constants.get(node["class_type"], {})
        inputs = {name: value if isinstance(value, list) else new.get(name, value) for name, value in node["inputs"].items()}
        return {**node, "inputs": inputs}

    return {number: changed(node) for number, node in prompt.items()}


def drawing(side: int) -> bytes:
    """A scene of the miniature's world as PNG, transparent where its object is: Load Image makes that its mask."""
    from graft.miniature.scenes.rendering import render
    from graft.miniature.scenes.scene import Scene, Thing

    rendering = render(Scene("meadow", things=(Thing("teapot", "yellow"),)), side)
    layers = np.dstack([rendering.picture, 1 - rendering.objects[0]])
    content = io.BytesIO()
    Image.fromarray(np.uint8(255 * layers + 0.5)).save(content, "PNG")
    return content.getvalue()


def place(file: Path, folder: Path) -> None:
    """Make a large file appear in a folder, which is made if need be: by a link, where that is not allowed by a copy."""
    folder.mkdir(parents=True, exist_ok=True)
    for way in (os.symlink, os.link, shutil.copyfile):
        with contextlib.suppress(OSError):
            way(file.absolute(), folder / file.name)
            return
    raise QuickstartError(f"Could not put {file} into {folder}.")


def checked_pictures(server: HostServer, result: RunResult, side: int, folder: Path) -> list[dict[str, Any]]:
    """Fetch all pictures into `folder` and describe them. ValueError if none was saved, one is uniform or a saved one has another size."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    found = []
    for number, image in enumerate(image for node in result.outputs for image in result.images(node)):
        path = folder / f"{number}-{image.filename}"
        path.write_bytes(server.client.view(image))
        picture = Image.open(path).convert("RGB")
        saved, mean, deviation = image.folder == "output", round(float(np.mean(picture)), 1), round(float(np.std(picture)), 1)
        if saved and picture.size != (side, side):
            raise ValueError(f"{image.filename} has {picture.width} x {picture.height} pixels instead of {side} x {side}.")
        if deviation < 1:
            raise ValueError(f"{image.filename} is uniform.")
        found.append({"file": str(path), "size": picture.size, "saved": saved, "mean": mean, "deviation": deviation})
    if not any(picture["saved"] for picture in found):
        raise ValueError("No picture was saved.")
    return found


def peak_memory(process: subprocess.Popen) -> int | None:
    """MiB that the largest among a process and its descendants has had resident at most; mapped pages of the checkpoint count.

    None where the system keeps no such number (macOS).
    """
    parent = psutil.Process(process.pid)
    peaks = [_peak_bytes(member) for member in (parent, *parent.children(recursive=True))]
    return max(peaks) // 2**20 or None


def _peak_bytes(process: psutil.Process) -> int:
    status = Path(f"/proc/{process.pid}/status")
    if status.is_file():
        kibibytes = re.search(r"^VmHWM:\s+(\d+) kB", status.read_text(), re.MULTILINE)
        return 1024 * int(kibibytes.group(1)) if kibibytes else 0
    return getattr(process.memory_info(), "peak_wset", 0)


if __name__ == "__main__":
    sys.exit(reporting(main))
