"""How what a method takes grows, beside what its network's rows alone take: with the picture's size, pictures at once, steps, source pictures.

    python tools growth --comfyui PATH [--axis AXIS ...] [--write]

A random network in SD1.5's layout, a tenth as wide, so that the largest picture takes minutes on two cores; layout is kept from the sources
(Free-Prompt-Editing's edit), each of which gives a part of the layers. Prints a table; --write puts it and a plot into docs/.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date

from hosting.pack import load_host, load_pack

from benchmark.document import DOCUMENT, insert

AXES = {"side": (256, 512, 768, 1024), "batch": (1, 2, 4, 8), "steps": (5, 10, 20, 40), "sources": (1, 2, 4, 8)}
NAMES = {"side": "picture's side (px)", "batch": "pictures at once", "steps": "steps", "sources": "source pictures"}
SIDE, BATCH, STEPS, SOURCES = 256, 1, 5, 1
"""Of the axes that are not varied."""


@dataclass(frozen=True)
class Point:
    """Seconds and MiB beyond the weights: of the edit, and of its network's rows with nothing around them."""

    axis: str
    value: int
    seconds: float
    rows_alone: float
    memory: float
    rows_memory: float

    @property
    def overhead(self) -> float:
        return self.seconds / self.rows_alone

    @property
    def memory_ratio(self) -> float:
        return self.memory / self.rows_memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comfyui")
    parser.add_argument("--axis", action="append", choices=AXES, help="by default all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help=f"into {DOCUMENT.parent.name}/; of all axes only")
    options = parser.parse_args()
    if options.write and options.axis:
        parser.error("--write takes no --axis: the page has all of them")
    load_host(options.comfyui, cpu=True)
    load_pack()
    import comfy.utils
    import torch

    from benchmark.results import machine

    comfy.utils.set_progress_bar_enabled(False)
    points = []
    with torch.inference_mode():
        for axis in options.axis or AXES:
            for value in AXES[axis]:
                points.append(measured(axis, value, options.rounds))
                print(table(points[-1:]).splitlines()[-1], file=sys.stderr, flush=True)
    print(table(points))
    report = {"date": date.today().isoformat(), "machine": machine(), "points": [asdict(point) for point in points]}
    print(json.dumps(report))
    if options.write:
        picture = "![Growth](benchmark_growth.svg)"
        insert("growth", report, plot(points), f"Measured on {report['date']} on {report['machine']}.\n\n{picture}\n\n{table(points)}")


def measured(axis: str, value: int, rounds: int) -> Point:
    """The median round. The first looks at memory and warms up."""
    import torch

    from benchmark.measuring import counted, peak_memory, seconds
    from benchmark.networks import of_random_weights

    sizes = {"side": SIDE, "batch": BATCH, "steps": STEPS, "sources": SOURCES} | {axis: value}
    subject = of_random_weights("sd15", sizes["side"], sizes["steps"], torch.float32, small=True)
    subject = replace(subject, picture=subject.picture.repeat(sizes["batch"], 1, 1, 1))
    run, device, spent = edit(subject, sizes["sources"]), subject.model.load_device, []
    memory = peak_memory(run, device)
    for _ in range(rounds):
        with counted(subject.model.model.diffusion_model, again=True) as rows:
            both = seconds(run)
        spent.append((both - rows.seconds, rows.seconds))
    ours, alone = sorted(spent, key=lambda pair: pair[0] / pair[1])[len(spent) // 2]
    return Point(axis, value, ours, alone, memory, peak_memory(rows.largest_again, device))


def edit(subject, sources: int) -> Callable[[], object]:
    """Samples with the layout of `sources` inversions of the subject's picture, the layers dealt out among them."""
    from graft.host.edits.self_attention import ReplaceSelfAttention
    from graft.host.engine.stream import Stream
    from graft.host.engine.windows import Window
    from graft.host.families.layers import attention_layers
    from graft.host.samplers.sampling import GraftSampler, invert

    from benchmark import settings, shipped

    model, layers = subject.model, tuple(attention_layers(subject.model.model.diffusion_model))
    trajectories = [invert(model, subject.empty, subject.picture, subject.sigmas(), "ddim", 1) for _ in range(sources)]
    window = Window.of_percent(model, 0.0, 1.0)
    streams = [Stream(trajectory, subject.empty, name=str(number)) for number, trajectory in enumerate(trajectories)]
    edits = [ReplaceSelfAttention(stream, window, frozenset(layers[number::sources])) for number, stream in enumerate(streams)]
    first = trajectories[0]
    return shipped.edited(subject, edits, first.latents[0], first.sigmas, settings.GUIDANCE, GraftSampler("ddim"))


HEADER = ("", "", "seconds", "over its rows alone", "MiB", "MiB over its rows'")


def table(points: Sequence[Point]) -> str:
    """Markdown."""
    lines = [HEADER, ("---",) * len(HEADER)]
    for point in points:
        numbers = f"{point.seconds:.3g}", f"{point.overhead:.2f}", f"{point.memory:.1f}", f"{point.memory_ratio:.2f}"
        lines.append((NAMES[point.axis], str(point.value), *numbers))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def plot(points: Sequence[Point]) -> str:
    """SVG: a panel for each axis, with time and memory over those of the rows alone; level lines grow as the network does."""
    panel, height, base = 230, 250, 190
    axes = list(dict.fromkeys(point.axis for point in points))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{panel * len(axes) + 20}" height="{height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{panel * len(axes) + 20}" height="{height}" fill="#ffffff"/>',
        '<text x="12" y="18" font-weight="bold">Over the network\'s rows alone</text>',
        '<text x="210" y="18" fill="#3a7d6b">time</text><text x="250" y="18" fill="#b06020">memory</text>',
    ]
    top = max(2.0, *(max(point.overhead, point.memory_ratio) for point in points))
    for number, axis in enumerate(axes):
        left, own = 40 + panel * number, [point for point in points if point.axis == axis]
        across = [left + (panel - 70) * place / max(1, len(own) - 1) for place in range(len(own))]

        def high(ratio: float) -> float:
            return base - (base - 40) * ratio / top

        parts.append(f'<line x1="{left}" x2="{left + panel - 60}" y1="{base}" y2="{base}" stroke="#1d1d1d"/>')
        for mark in (1, 2):
            parts.append(f'<text x="{left - 8}" y="{high(mark) + 4:.0f}" text-anchor="end">{mark}</text>')
            parts.append(f'<line x1="{left}" x2="{left + panel - 60}" y1="{high(mark):.0f}" y2="{high(mark):.0f}" stroke="#dddddd"/>')
        for name, colour in (("overhead", "#3a7d6b"), ("memory_ratio", "#b06020")):
            line = " ".join(f"{x:.0f},{high(getattr(point, name)):.0f}" for x, point in zip(across, own, strict=True))
            parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<text x="{x:.0f}" y="{base + 16}" text-anchor="middle">{p.value}</text>' for x, p in zip(across, own, strict=True)]
        parts.append(f'<text x="{left + (panel - 60) / 2:.0f}" y="{base + 36}" text-anchor="middle">{NAMES[axis]}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


if __name__ == "__main__":
    main()
