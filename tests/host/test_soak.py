"""Mixed runs in one process, as a studio's server makes them: equal requests have equal bits, and memory does not grow."""

import ctypes
import gc
import random
import sys
from dataclasses import dataclass

import numpy as np
import psutil
import pytest
import torch
from every_node import NEGATIVE, NODES, PROMPT, asked, digest, model_for, ways
from tiny_models import noise, sample_from, schedule

pytestmark = pytest.mark.usefixtures("folders")
WAYS = ways()
FEW, MANY, REPEATED = 30, 500, 20
WARM = 5 * len(WAYS)
"""Runs after which the C library and the kernels hold what they keep for the sizes and shapes that they meet."""


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
        self.memory.append(resident())
        self.tensors.append(sum(one.nbytes for one in gc.get_objects() if isinstance(one, torch.Tensor)) / 2**20)


def resident() -> float:
    """MiB of the process, once the C library has given back what it keeps for later."""
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
    return psutil.Process().memory_info().rss / 2**20


def plain(model, number: int) -> list[float]:
    """MiB after each of so many runs of the host alone, every one on a model made anew as a node before it would."""
    memory = []
    for _ in range(number):
        sample_from(model.clone(), noise(5), schedule(model, 2), NEGATIVE, PROMPT)
        memory.append(resident())
    return memory


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


def soaked(model, clip, log, number: int, repeated: int) -> tuple[Soak, int]:
    """After so many runs, and how many of them a round was. `log` is pytest's, which would keep what every run said."""
    soak, order = Soak(model, clip), mixed(number, repeated)
    for node_id, options in order:
        soak.ask(node_id, options)
        log.clear()
    return soak, len(soak.bits)


def test_a_few_mixed_runs_give_equal_bits_and_hold_no_more_tensors(sd1, miniature_clip, caplog):
    soak, first = soaked(sd1, miniature_clip, caplog, FEW, 2)
    assert len(soak.bits) == FEW // 2
    # What a node keeps for good, such as weights of the miniature, is there after the first round.
    assert soak.tensors[-1] - soak.tensors[first - 1] < 0.1


@pytest.mark.full
def test_five_hundred_mixed_runs_grow_no_more_than_the_host_does(sd1, miniature_clip, caplog, found):
    soak, one_round = soaked(sd1, miniature_clip, caplog, WARM + MANY, 5)
    warm = soak.memory[WARM:]
    rise, spread = drift(warm)
    of_the_host, its_spread = drift(plain(sd1, MANY))
    tensors, _ = drift(soak.tensors[one_round:])
    found(
        "soak",
        f"{WARM + MANY} runs of {one_round} different requests in one process, in shuffled rounds: equal requests had equal bits. After {WARM} runs "
        f"memory was {np.mean(warm):.0f} MiB; the line through the {MANY} after them rises by {rise:.2f} MiB, with a standard deviation of "
        f"{spread:.2f} MiB around it. As many runs of ComfyUI alone in the same process, each on a clone of the model, rise by {of_the_host:.2f} MiB. "
        f"Tensors held {soak.tensors[one_round]:.2f} MiB after the first round and {soak.tensors[-1]:.2f} MiB at the end.",
    )
    assert abs(tensors) < 0.1
    assert rise - of_the_host < 2 * max(spread, its_spread)


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
