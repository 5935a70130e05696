"""A method on a network, measured beside its rows alone and the paper's procedure."""

from __future__ import annotations

from .measuring import RowsAlone, counted, peak_memory, seconds
from .methods import Method
from .networks import Subject
from .results import Result, Times


def compare(subject: Subject, method: Method, rounds: int) -> Result:
    """One round that measures memory and warms up, then `rounds` in which everything takes its turn."""
    network, device, pictures = subject.model.model.diffusion_model, subject.model.load_device, {}

    def shipped() -> None:
        pictures["shipped"] = method.prepare(subject).run()

    def naive() -> None:
        pictures["naive"] = method.procedure(subject)

    memory = {}
    with counted(network) as rows:
        memory["shipped"] = peak_memory(shipped, device)
    with counted(network) as naive_rows:
        memory["naive"] = peak_memory(naive, device)
    beside = method.prepare(subject).beside
    times = {name: [] for name in ("shipped", "rows alone", "naive")}
    for _ in range(rounds):
        alone = RowsAlone(network)
        with alone.beside():
            both = seconds(shipped)
        times["shipped"].append(both - alone.seconds)
        times["rows alone"].append(alone.seconds + seconds(beside))
        times["naive"].append(seconds(naive))
    memory["rows alone"] = peak_memory(alone.largest_again, device)
    ours, theirs = (pictures[name].cpu().float() for name in ("shipped", "naive"))
    difference = float((ours - theirs).abs().max() / theirs.abs().max())
    measured = (Times(tuple(times[name])) for name in ("shipped", "rows alone", "naive"))
    return Result(method.title, subject.name, *measured, rows.whole, rows.decoders, naive_rows.whole, memory, difference)
