"""Every pair of Graft's edits, in both orders: both change the picture, or a note names both."""

from __future__ import annotations

import importlib
import itertools
import pkgutil
from collections.abc import Iterator

import pytest
import torch
from graft.host import edits as edits_of_the_pack
from graft.host.edits.background_preservation import BackgroundPreservation
from graft.host.edits.composite_attention import CompositeAttention
from graft.host.edits.cross_attention import CrossAttentionControl
from graft.host.edits.h_space import MixHSpace
from graft.host.edits.key_value_mask import MaskKeysAndValues
from graft.host.edits.local_blend import LocalBlend
from graft.host.edits.reference_attention import ReferenceAttention
from graft.host.edits.self_attention import ReplaceKeysAndValues, ReplaceSelfAttention
from graft.host.engine.plan import Plan
from graft.host.engine.run import carry_out
from graft.host.engine.stream import Stream
from graft.host.engine.windows import Window
from graft.host.families.layers import all_layers, layers_at, require_unet
from graft.host.samplers.asymmetric_sampler import AsymmetricSampler, Intervals
from graft.host.samplers.sampling import GraftSampler
from tiny_models import make_model, random_trajectory, sample, schedule, worded

SOURCE, TARGET, NEGATIVE = worded(1, "a red cat on grass"), worded(2, "a blue cat on stone"), worded(3, "")
ALWAYS = Window(1e10, -1.0)
LEFT, RIGHT, ALL = torch.zeros(1, 128, 128), torch.zeros(1, 128, 128), torch.ones(1, 128, 128)
LEFT[:, 16:112, 8:72] = 1
RIGHT[:, 16:112, 56:120] = 1


def edits(model) -> dict:
    """An edit of each class in each of its ways, looking at a picture of its own."""
    network = require_unet(model)
    layers, half = all_layers(network), layers_at(network, 1)

    def stream(seed: int, name: str = "source", pairing: str = "same level") -> Stream:
        return Stream(random_trajectory(model, SOURCE, seed=seed), SOURCE, pairing, name)

    composites = {
        f"composite, {mode}": CompositeAttention(stream(1, "main"), stream(2, "reference"), LEFT, ALL, 1.0, layers, mode)
        for mode in ("intended", "light", "released")
    }
    return {
        "structure": ReplaceSelfAttention(stream(3), ALWAYS, layers),
        "half structure": ReplaceSelfAttention(stream(4), ALWAYS, layers, 0.5),
        "content": ReplaceKeysAndValues(stream(5), ALWAYS, layers),
        "masked content": ReplaceKeysAndValues(stream(6), ALWAYS, layers, LEFT, RIGHT),
        "hidden keys": MaskKeysAndValues(RIGHT, ALWAYS, layers),
        "reference": ReferenceAttention(stream(7, "reference", "as inverted"), ALWAYS, layers, "", half, 0.5, "nearest"),
        "masked reference": ReferenceAttention(stream(8, "reference"), ALWAYS, layers, "", half, 0.5, "nearest", LEFT, RIGHT),
        **composites,
        "refine": CrossAttentionControl(stream(9), "refine", (0.0, 1.0)),
        "replace": CrossAttentionControl(stream(10), "replace", (0.0, 1.0)),
        "blend": LocalBlend(stream(11), ALWAYS, None, LEFT, "the source's own step"),
        "background": BackgroundPreservation(random_trajectory(model, SOURCE, seed=12), ALWAYS, RIGHT),
        "h": MixHSpace(stream(13, "content"), 0.4),
    }


@pytest.fixture(scope="module")
def sampled():
    """The picture of a chain of edits, and what was noted, each made once."""
    with torch.inference_mode():
        model = make_model("sd1")
        known = edits(model)
    made = {}

    def run(*names: str) -> torch.Tensor:
        if names not in made:
            plan = Plan(tuple(known[name] for name in names))
            two = "h" in plan.hooks
            sampler = AsymmetricSampler(Intervals(), 0.0) if two else GraftSampler("ddim")
            made[names] = sample(carry_out(model, plan), TARGET, NEGATIVE, sampler=sampler, sigmas=schedule(model, 5)[:2])
        return made[names]

    run.known = known
    yield run
    made.clear()


NAMES = (
    "structure",
    "half structure",
    "content",
    "masked content",
    "hidden keys",
    "reference",
    "masked reference",
    "composite, intended",
    "composite, light",
    "composite, released",
    "refine",
    "replace",
    "blend",
    "background",
    "h",
)


PAIRS = list(itertools.permutations(NAMES, 2))


def test_every_edit_is_paired(sampled):
    assert set(sampled.known) == set(NAMES)
    assert {type(edit) for edit in sampled.known.values()} == set(classes_of_edits())


def classes_of_edits() -> Iterator[type]:
    """The classes of the modules of edits that can begin a run, as an `Edit` does."""
    for module in pkgutil.iter_modules(edits_of_the_pack.__path__, f"{edits_of_the_pack.__name__}."):
        defined = vars(importlib.import_module(module.name)).values()
        yield from (part for part in defined if isinstance(part, type) and part.__module__ == module.name and hasattr(part, "begin"))


@pytest.mark.parametrize(("first", "second"), PAIRS, ids=[" then ".join(pair) for pair in PAIRS])
def test_both_act_or_a_note_names_both(sampled, caplog, gave, first, second):
    alone = [sampled(name) for name in (first, second)]
    caplog.clear()
    both = sampled(first, second)
    lost = [name for name, other in zip((first, second), reversed(alone), strict=True) if close(both, other)]
    notes = [entry.getMessage() for entry in caplog.records if "comes to nothing" in entry.getMessage()]
    classes = [type(sampled.known[name]).__name__ for name in (first, second)]
    if lost:
        # One note, or one for the rows of each prompt.
        assert 1 <= len(notes) <= 2 and all(name in note for name in classes for note in notes)
        assert all(f"{type(sampled.known[lost[0]]).__name__} comes to nothing" in note for note in notes)
    else:
        # What works on both prompts' rows may come to nothing on those of the one that the other works on.
        assert not notes or (len(notes) == 1 and "comes to nothing on the positive prompt's rows" in notes[0])
    gave("Pairs of edits", first, second, "", "note" if notes else "works")


def close(one: torch.Tensor, other: torch.Tensor) -> bool:
    """But for the rounding of another batch."""
    return torch.allclose(one, other, rtol=1e-4, atol=1e-4 * float(other.abs().max()))
