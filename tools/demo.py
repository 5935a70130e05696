"""Run every workflow that the embedded model can run through the real server, and show what came out."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import graph
from hosting import host_folder, pack
from hosting.host_client import Prompt, PromptFailed, RunResult
from hosting.host_server import PACK, HostServer, ServerOptions, running_server
from hosting.progress_bar import ProgressBar
from hosting.quickstart_error import QuickstartError, reporting
from showing import demo_metrics
from showing.demo_report import Picture, Report, WorkflowReport, file_stem, natural_order
from showing.demo_workflows import Workflow, files_needed, shipped_workflows, unknown_types


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--comfyui", type=Path, required=True)
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "gpu"))
    parser.add_argument("--port", type=int)
    parser.add_argument("--output", type=Path, default=PACK / "output" / "demo")
    parser.add_argument("--workflows", type=Path, default=PACK / "workflows", help="folder of the workflows")
    parser.add_argument("--measure", action=argparse.BooleanOptionalAction, default=True, help="time the methods after the workflows")
    options = parser.parse_args()
    workflows = shipped_workflows(options.workflows)
    if not workflows:
        raise QuickstartError(f"There is no workflow in {options.workflows}.")
    print("Starting the server ...", flush=True)
    with running_server(ServerOptions(options.comfyui, device=options.device, port=options.port)) as server:
        report = run_all(server, workflows, options.output)
        report.write(options.output)
        if options.measure:
            print("Measuring what the methods cost ...", flush=True)
            replace(report, measurements=demo_metrics.measure(server, options.device)).write(options.output)
    failed = [workflow.name for workflow in report.workflows if workflow.status == "failed"]
    print(f"\nPictures and numbers: {options.output / 'index.html'}")
    if failed:
        print(f"Failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def run_all(server: HostServer, workflows: list[Workflow], output: Path) -> Report:
    """Run the workflows one after the other and save their pictures below `output`; a failing one does not stop the next."""
    object_info = server.client.object_info()
    done = []
    for number, workflow in enumerate(workflows, start=1):
        bar = ProgressBar(f"[{number}/{len(workflows)}] {workflow.name}")
        done.append(run_one(server, workflow, object_info, output, bar))
        bar.close(_verdict(done[-1]))
    device = server.client.get_json("/system_stats")["devices"][0]["name"]
    return Report(pack.version(), host_folder.version(server.comfyui), device, tuple(done))


def _verdict(report: WorkflowReport) -> str:
    if report.status == "passed":
        return f"{report.seconds:.1f} s"
    return f"skipped: {report.reason}" if report.status == "skipped" else f"FAILED\n{report.reason}"


def run_one(server: HostServer, workflow: Workflow, object_info: dict[str, dict], output: Path, bar: ProgressBar) -> WorkflowReport:
    """Run one workflow, unless it needs files of the user's. Its failure is part of the report, not an exception."""
    unknown = unknown_types(workflow, object_info)
    if unknown:
        return WorkflowReport(workflow.name, "failed", reason=f"The server does not know {', '.join(unknown)}.")
    needed = files_needed(workflow, object_info)
    if needed:
        return WorkflowReport(workflow.name, "skipped", reason=f"needs files of yours ({', '.join(needed)})")
    try:
        prompt = graph.to_prompt(workflow.graph, object_info)
        result = server.client.run(prompt, lambda progress: bar.show(progress.fraction, progress.node))
    except (PromptFailed, ValueError, KeyError) as error:
        return WorkflowReport(workflow.name, "failed", workflow.description, reason=f"{type(error).__name__}: {error}")
    metrics, texts = _texts(prompt, result)
    drawing = output / workflow.name / "graph.svg"
    pictures = _save_pictures(server, prompt, result, output, workflow.name)
    drawing.write_text(graph.to_svg(workflow.graph, object_info), encoding="utf-8")
    closeness = demo_metrics.against_truth({picture.title: output / picture.file for picture in pictures})
    if closeness:
        metrics["PSNR against the ground truth (dB)"] = closeness
    return WorkflowReport(
        workflow.name,
        "passed",
        workflow.description,
        seconds=result.seconds,
        node_seconds={f"{_title(prompt, node)} #{node}": round(seconds, 4) for node, seconds in result.node_seconds.items()},
        pictures=pictures,
        metrics=metrics,
        texts=texts,
        graph=drawing.relative_to(output).as_posix(),
    )


def _save_pictures(server: HostServer, prompt: Prompt, result: RunResult, output: Path, name: str) -> tuple[Picture, ...]:
    """Fetch what the Save and Preview nodes made, in the order of their titles ("1 input", "2 result", "3 ground truth")."""
    folder = output / name
    shutil.rmtree(folder, ignore_errors=True)  # pictures of an earlier run
    folder.mkdir(parents=True)
    pictures = []
    for node in sorted(result.outputs, key=lambda node: natural_order(_title(prompt, node))):
        images = result.images(node)
        for index, image in enumerate(images, start=1):
            title = _title(prompt, node) + (f" ({index})" if len(images) > 1 else "")
            stem = file_stem(title)
            path = folder / f"{stem}{Path(image.filename).suffix}"
            if path.exists():  # two nodes of the same title
                path = folder / f"{stem}-{file_stem(node)}{path.suffix}"
            path.write_bytes(server.client.view(image))
            pictures.append(Picture(title, path.relative_to(output).as_posix()))
    return tuple(pictures)


def _texts(prompt: Prompt, result: RunResult) -> tuple[dict, dict[str, str]]:
    """What text nodes showed, by title: JSON objects and numbers as metrics, everything else as it is."""
    metrics, texts = {}, {}
    for node in sorted(result.outputs, key=lambda node: natural_order(_title(prompt, node))):
        for text in result.texts(node):
            try:
                metrics[_title(prompt, node)] = json.loads(text)
            except ValueError:
                texts[_title(prompt, node)] = text
    return metrics, texts


def _title(prompt: Prompt, node: str) -> str:
    entry = prompt.get(node, {})
    return entry.get("_meta", {}).get("title") or entry.get("class_type", node)


if __name__ == "__main__":
    sys.exit(reporting(main))
