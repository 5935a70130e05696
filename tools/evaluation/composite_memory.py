"""What TF-ICON's composite attention takes at the self-attention layers of real models."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from itertools import accumulate

import comfy.ops
import torch
from comfy.ldm.modules.attention import FeedForward
from graft.attention.composite_attention import QueryKey, compose_queries_and_keys, composite_attention, token_areas
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.profiler import ProfilerActivity, profile

from .laboratory import Laboratory
from .report import Sheet, Table

MIB = 2**20
GRIDS = {  # Side of the token grid, heads, their width, number of layers.
    "SD1.5, 64 x 64": ((64, 8, 40, 5), (32, 8, 80, 5), (16, 8, 160, 5), (8, 8, 160, 1)),
    "SD2.1, 64 x 64": ((64, 5, 64, 5), (32, 10, 64, 5), (16, 20, 64, 5), (8, 20, 64, 1)),
    "SDXL, 128 x 128": ((64, 10, 64, 10), (32, 20, 64, 60)),
}
"""The self-attention layers by model and latent."""


def run(laboratory: Laboratory, count: int = 3) -> tuple[list[Table], list[Sheet]]:
    """`count` timings of each. One row, random features in float32, an object in a region of half the picture's side."""
    rows = []
    for model, grids in GRIDS.items():
        # Queries and keys of two streams; float16, in which such a model runs.
        taps = sum(layers * side**2 * heads * width * 2 * 2 * 2 for side, heads, width, layers in grids) / MIB
        for side, heads, width, _ in grids:
            rows.append({"model, latent": model, "layer": f"{side} x {side}, {heads} heads of {width}"} | _layer(side, heads, width, count))
        rows[-len(grids)]["taps of a noise level"] = f"{taps:.0f}"
    rows = [{**row, "taps of a noise level": row.get("taps of a noise level", "")} for row in rows]
    note = (
        "Most MiB that are allocated at once while one row passes (float32, on the CPU), what goes in not counted: plain attention, composite attention as "
        "intended and light, and, for comparison, the feed-forward network after it, which every plain run passes too and which stays the peak. The largest "
        "tensor that composite attention makes, in multiples of its N x C input: an N x N map would be the number of tokens over the head's width (64 x 64 "
        "tokens of width 64: 64) per head. Time: processor time over that of plain attention. Taps: queries and keys of two streams in all layers, float16, MiB; alive "
        "for one noise level."
    )
    return [Table("composite_memory", "TF-ICON: memory of composite attention", note, tuple(rows))], []


def _layer(side: int, heads: int, width: int, repeats: int) -> dict[str, float]:
    channels = heads * width

    def draw() -> Tensor:
        return torch.randn(1, side**2, channels)

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        output = scaled_dot_product_attention(*(part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (query, key, value)))
        return output.transpose(1, 2).flatten(2)

    target, main, reference = (QueryKey(draw(), draw()) for _ in range(3))
    value, place = draw(), (torch.arange(side) + 0.5) / side - 0.5
    region_mask = ((place.abs() < 0.25)[:, None] & (place.abs() < 0.25)).flatten()[None]
    object_mask = (place.square()[:, None] + place.square() < 0.0625).flatten()[None]
    areas = token_areas(object_mask, region_mask, value.dtype)
    feed_forward = FeedForward(channels, glu=True, operations=comfy.ops.disable_weight_init).eval()

    def plain() -> Tensor:
        return attend(target.query, target.key, value)

    def intended() -> Tensor:
        return composite_attention(target, value, main, reference, areas, heads, attend)

    def light() -> Tensor:
        composed = compose_queries_and_keys(target, main, reference, object_mask, region_mask)
        return attend(composed.query, composed.key, value)

    ways = {"plain": plain, "intended": intended, "light": light}
    peaks = {name: _allocations(way) for name, way in (ways | {"feed-forward": lambda: feed_forward(value)}).items()}
    times = [{name: _seconds(way) for name, way in ways.items()} for _ in range(repeats)]
    return (
        {f"{name} (MiB)": max(accumulate(sizes)) / MIB for name, sizes in peaks.items()}
        | {"largest tensor / N C": max(peaks["intended"]) / (value.numel() * value.element_size())}
        | {f"{name}, time": statistics.median(run[name] / run["plain"] for run in times) for name in ("intended", "light")}
    )


def _allocations(work: Callable[[], Tensor]) -> list[int]:
    """Bytes allocated (positive) and freed (negative) while it works, in order."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        work()
    events = [event for event in profiled.profiler.kineto_results.events() if event.name() == "[memory]"]
    return [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]


def _seconds(work: Callable[[], Tensor]) -> float:
    """Processor time of this process: other programs do not count."""
    started = time.process_time()
    work()
    return time.process_time() - started
