"""A method on a network, measured beside its rows alone and the paper's procedure."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from graft.host.engine.features import with_kept_features
from torch import Tensor

from .measuring import Rows, counted, peak_memory, seconds
from .methods import Method
from .networks import Subject
from .results import Observed, Result, Times
from .shipped import Work

KEPT = 2**40
"""Bytes that a second edit may keep of the first: all."""


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
    return Result(method.title, subject.name, *times, observed, second_edit(subject, method, rounds) if method.keeps else None)


def second_edit(subject: Subject, method: Method, rounds: int) -> Times:
    """What sampling once more takes with the features of the first time kept, as a part of what it takes without: a knob was turned, and
    trajectories are there. RuntimeError where the pictures differ in a bit."""
    kept = with_kept_features(subject.model, "host memory", KEPT)
    plain, keeping = (method.prepare(replace(subject, model=model)).run for model in (subject.model, kept))
    if not torch.equal(keeping(), plain()) or not torch.equal(keeping(), plain()):
        raise RuntimeError(f"{method.title}, {subject.name}: the second edit is another picture")
    spent = [(seconds(keeping), seconds(plain)) for _ in range(rounds)]
    return Times(tuple(again / first for again, first in spent))


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
