"""A method on a network, measured beside its rows alone and the paper's procedure."""

from __future__ import annotations

from torch import Tensor

from .measuring import RowsAlone, counted, peak_memory, seconds
from .methods import Method
from .networks import Subject
from .results import Observed, Result, Times


def compare(subject: Subject, method: Method, rounds: int) -> Result:
    """Memory and pictures are looked at first, which warms up; then come `rounds` in which everything takes its turn."""
    network, observed = subject.model.model.diffusion_model, observe(subject, method)
    beside = method.prepare(subject).beside()
    times: dict[str, list[float]] = {"shipped": [], "rows alone": [], "naive": []}
    for _ in range(rounds):
        alone = RowsAlone(network)
        with alone.beside():
            both = seconds(lambda: shipped(subject, method))
        times["shipped"].append(both - alone.seconds)
        times["rows alone"].append(alone.seconds + seconds(beside))
        times["naive"].append(seconds(lambda: method.procedure(subject)))
    return Result(method.title, subject.name, *(Times(tuple(rounds)) for rounds in times.values()), observed)


def observe(subject: Subject, method: Method) -> Observed:
    network, device, pictures, memory = subject.model.model.diffusion_model, subject.model.load_device, {}, {}

    def take(name: str, picture: Tensor) -> None:
        pictures[name] = picture.cpu().float()

    with counted(network) as rows:
        memory["shipped"] = peak_memory(lambda: take("shipped", shipped(subject, method)), device)
    with counted(network) as naive_rows:
        memory["naive"] = peak_memory(lambda: take("naive", method.procedure(subject)), device)
    memory["rows alone"] = peak_memory(rows.largest_again, device)
    difference = (pictures["shipped"] - pictures["naive"]).abs().max() / pictures["naive"].abs().max()
    return Observed(rows.whole, rows.decoders, naive_rows.whole, memory, float(difference))


def shipped(subject: Subject, method: Method) -> Tensor:
    """From picture to picture."""
    return method.prepare(subject).run()
