"""A method on a network, measured beside its rows alone and the paper's procedure."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .measuring import Rows, counted, peak_memory, seconds
from .methods import Method
from .networks import Subject
from .results import Observed, Result, Times
from .shipped import Work


@dataclass
class Round:
    """Everything once: seconds and the pictures by "shipped", "naive" and, of seconds, "rows alone"; and the rows."""

    seconds: dict[str, float]
    pictures: dict[str, Tensor]
    rows: Rows
    naive_rows: Rows


def compare(subject: Subject, method: Method, rounds: int) -> Result:
    """The first round also looks at memory, and warms up: its times count only if there is no other."""
    device = subject.model.load_device
    beside, memory = method.prepare(subject).beside(), {}

    def remembering(name: str, work: Work) -> None:
        memory[name] = peak_memory(work, device)

    first = _round(subject, method, beside, remembering)
    memory["rows alone"] = peak_memory(first.rows.largest_again, device)
    later = [_round(subject, method, beside, lambda _, work: work()) for _ in range(rounds if rounds > 1 else 0)]
    times = (Times(tuple(one.seconds[name] for one in later or [first])) for name in ("shipped", "rows alone", "naive"))
    ours, theirs = (first.pictures[name] for name in ("shipped", "naive"))
    difference = float((ours - theirs).abs().max() / theirs.abs().max())
    observed = Observed(first.rows.whole, first.rows.decoders, first.naive_rows.whole, memory, difference)
    return Result(method.title, subject.name, *times, observed)


def _round(subject: Subject, method: Method, beside: Work, looked_at) -> Round:
    network, pictures = subject.model.model.diffusion_model, {}
    procedures = {"shipped": lambda: method.prepare(subject).run(), "naive": lambda: method.procedure(subject)}

    def taken(name: str) -> Work:
        def work() -> None:
            pictures[name] = procedures[name]().cpu().float()

        return lambda: looked_at(name, work)

    with counted(network, again=True) as rows:
        both = seconds(taken("shipped"))
    with counted(network) as naive_rows:
        naive = seconds(taken("naive"))
    times = {"shipped": both - rows.seconds, "rows alone": rows.seconds + seconds(beside), "naive": naive}
    return Round(times, pictures, rows, naive_rows)
