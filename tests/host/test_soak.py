"""Mixed runs in one process, as a studio's server makes them: equal requests have equal bits, and memory does not grow."""

import gc
import random
from dataclasses import dataclass

import numpy as np
import psutil
import pytest
import torch
from every_node import NODES, asked, digest, model_for, ways

pytestmark = pytest.mark.usefixtures("folders")
WAYS = ways()
FEW, MANY, REPEATED = 30, 500, 20


@dataclass
class Soak:
    """What is known after some runs: the bits of each request, and after each run the process's memory and what tensors hold, MiB."""

    model: object
    clip: object

    def __post_init__(self) -> None:
        self.flow = model_for("GraftFlowEdit", self.model)
        self.bits, self.memory, self.tensors = {}, [], []

    def ask(self, node_id: str, options: dict) -> None:
        model = self.flow if node_id == "GraftFlowEdit" else self.model
        found = digest(asked(node_id, options, model, self.clip))
        first = self.bits.setdefault((node_id, *options.values()), found)
        assert found == first, f"{node_id} {options}: other bits than the first time"
        gc.collect()
        self.memory.append(psutil.Process().memory_info().rss / 2**20)
        self.tensors.append(sum(one.nbytes for one in gc.get_objects() if isinstance(one, torch.Tensor)) / 2**20)


def drift(memory: list[float]) -> tuple[float, float]:
    """By how much a line through it rises from the first run to the last, and the standard deviation around it."""
    runs = np.arange(len(memory))
    line = np.polynomial.Polynomial.fit(runs, memory, 1)
    return float(line(runs[-1]) - line(runs[0])), float(np.std(np.asarray(memory) - line(runs)))


def mixed(number: int, repeated: int) -> list[tuple[str, dict]]:
    """Rounds of the same ways, each in another order: all of them, or as many as are each asked `repeated` times."""
    drawn = random.Random(5)
    chosen = WAYS if number >= repeated * len(WAYS) else drawn.sample(WAYS, number // repeated)
    rounds = [drawn.sample(chosen, len(chosen)) for _ in range(-(-number // len(chosen)))]
    return [way for one in rounds for way in one][:number]


def soaked(model, clip, number: int, repeated: int) -> tuple[Soak, int]:
    """After so many runs, and how many of them the first round was."""
    soak, order = Soak(model, clip), mixed(number, repeated)
    for node_id, options in order:
        soak.ask(node_id, options)
    return soak, len(soak.bits)


def test_a_few_mixed_runs_give_equal_bits_and_hold_no_more_tensors(sd1, miniature_clip):
    soak, first = soaked(sd1, miniature_clip, FEW, 2)
    assert len(soak.bits) == FEW // 2
    # What a node keeps for good, such as weights of the miniature, is there after the first round.
    assert soak.tensors[-1] - soak.tensors[first - 1] < 0.1


@pytest.mark.full
def test_five_hundred_mixed_runs_do_not_grow(sd1, miniature_clip, found):
    soak, first = soaked(sd1, miniature_clip, MANY, 5)
    rise, noise = drift(soak.memory[first:])
    tensors, _ = drift(soak.tensors[first:])
    found(
        "soak",
        f"{MANY} runs of {len(soak.bits)} different requests in one process, in {MANY // len(soak.bits)} shuffled rounds: equal requests had equal "
        f"bits. After the first round memory was {np.mean(soak.memory[first:]):.0f} MiB; the line through it rises by {rise:.1f} MiB over all runs, "
        f"with a standard deviation of {noise:.1f} MiB around it. Tensors held {soak.tensors[first]:.2f} MiB after the first round and "
        f"{soak.tensors[-1]:.2f} MiB at the end.",
    )
    assert abs(tensors) < 0.1
    assert rise < 2 * noise


@pytest.mark.full
@pytest.mark.parametrize(("node_id", "options"), WAYS, ids=[" ".join([node, *options.values()]) for node, options in WAYS])
def test_twenty_equal_requests_have_equal_bits(sd1, miniature_clip, gave, node_id, options):
    """Every other one on a model made anew."""
    soak = Soak(sd1, miniature_clip)
    for number in range(REPEATED):
        if number % 2:
            soak.model = sd1.clone()
        soak.ask(node_id, options)
    gave("Equal requests", NODES[node_id].define_schema().display_name, f"{REPEATED} times", str(options), "equal bits")
