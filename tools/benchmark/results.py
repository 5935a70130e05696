"""What was measured, as a table, as JSON and as a plot."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from html import escape
from typing import Any

import torch


@dataclass(frozen=True)
class Times:
    """Seconds of one thing, in every round."""

    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    @property
    def spread(self) -> float:
        """Half of what lies between the fastest and the slowest, in percent of the median."""
        return 50 * (max(self.rounds) - min(self.rounds)) / self.median


def ratio(one: Times, other: Times) -> Times:
    """Round by round."""
    return Times(tuple(a / b for a, b in zip(one.rounds, other.rounds, strict=True)))


@dataclass(frozen=True)
class Observed:
    """What does not depend on the machine's speed. `memory`: MiB beyond the weights, by "shipped", "naive", "rows alone"; `difference`:
    the largest between the pictures of both, over the largest value."""

    rows: int
    decoders: int
    naive_rows: int
    memory: dict[str, float]
    difference: float


@dataclass(frozen=True)
class Result:
    """A method on a network; times are of the whole procedure, inversions included."""

    method: str
    network: str
    shipped: Times
    rows_alone: Times
    naive: Times
    observed: Observed
    second_edit: Times | None = None
    """As parts of the first, with its features kept."""

    @property
    def faster(self) -> Times:
        return ratio(self.naive, self.shipped)

    @property
    def overhead(self) -> Times:
        return ratio(self.shipped, self.rows_alone)

    @property
    def extra_memory(self) -> tuple[float, float]:
        """MiB beyond those of the rows alone: as shipped, naive."""
        memory = self.observed.memory
        return tuple(max(0.0, memory[name] - memory["rows alone"]) for name in ("shipped", "naive"))


def machine() -> str:
    """What it ran on, in words."""
    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    name = platform.processor() or platform.machine()
    return f"a processor of kind {name} with {torch.get_num_threads()} of its threads, torch {torch.__version__}"


HEADER = (
    "method",
    "network",
    "against the paper's procedure",
    "over its rows alone",
    "second edit",
    "seconds",
    "rows (decoders)",
    "rows, naive",
    "MiB, rows alone",
    "MiB beside, shipped",
    "MiB beside, naive",
    "difference",
)


def table(results: Sequence[Result]) -> str:
    """Markdown."""
    lines = [HEADER, ("---",) * len(HEADER)]
    for result in results:
        observed, extra = result.observed, result.extra_memory
        decoders = f" ({observed.decoders})" if observed.decoders else ""
        lines.append(
            (
                result.method,
                result.network,
                f"{result.faster.median:.2f} x (± {result.faster.spread:.0f} %)",
                f"{result.overhead.median:.2f} (± {result.overhead.spread:.0f} %)",
                f"{result.second_edit.median:.2f} (± {result.second_edit.spread:.0f} %)" if result.second_edit else "",
                f"{result.shipped.median:.3g}",
                f"{observed.rows}{decoders}",
                str(observed.naive_rows),
                f"{observed.memory['rows alone']:.1f}",
                *(f"{mebibytes:.1f}" for mebibytes in extra),
                f"{observed.difference:.0e}",
            )
        )
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def as_json(results: Sequence[Result]) -> dict[str, Any]:
    listed = [asdict(result) | {"faster": result.faster.median, "overhead": result.overhead.median} for result in results]
    return {"date": date.today().isoformat(), "machine": machine(), "results": listed}


def plot(results: Sequence[Result]) -> str:
    """SVG: how many times faster than the paper's procedure, with its range over the rounds; the line is as fast."""
    left, unit, height = 330, 110, 26
    longest = max(max(result.faster.rounds) for result in results)
    width, tall = left + int(unit * longest) + 60, height * len(results) + 50
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{tall}" font-family="sans-serif" font-size="13">',
        f'<rect width="{width}" height="{tall}" fill="#ffffff"/>',
        '<text x="12" y="20" font-weight="bold">Times faster than the paper\'s procedure</text>',
    ]
    for number, result in enumerate(results):
        top, faster = 34 + height * number, result.faster
        low, high = (left + unit * value for value in (min(faster.rounds), max(faster.rounds)))
        parts += [
            f'<text x="{left - 8}" y="{top + 15}" text-anchor="end">{escape(f"{result.method}, {result.network}")}</text>',
            f'<rect x="{left}" y="{top + 2}" width="{unit * faster.median:.0f}" height="{height - 8}" fill="#3a7d6b"/>',
            f'<line x1="{low:.0f}" x2="{high:.0f}" y1="{top + 11}" y2="{top + 11}" stroke="#1d1d1d" stroke-width="2"/>',
            f'<text x="{max(high, left + unit * faster.median) + 6:.0f}" y="{top + 15}">{faster.median:.2f}</text>',
        ]
    parts.append(f'<line x1="{left + unit}" x2="{left + unit}" y1="30" y2="{tall - 12}" stroke="#b03030" stroke-dasharray="4 3"/>')
    return "\n".join([*parts, "</svg>"]) + "\n"
