"""Errors begin with the title of the node that they are about: of the host's prompt, of a blueprint, of the edit inside a sampler."""

import pytest
import torch
from comfy_execution.utils import CurrentNodeContext
from graft.errors import GraftError
from graft.host import naming
from graft.nodes.keeping import FitPicture

PROMPT = {
    "3": {"class_type": "GraftFitPicture", "inputs": {}, "_meta": {"title": "My picture"}},
    "5:12": {"class_type": "GraftLocalBlend", "inputs": {}, "_meta": {"title": "Local Blend"}},
    "5:13": {"class_type": "GraftOptimizeLatent", "inputs": {}, "_meta": {"title": "Optimize Latent"}},
}


def link(number: int, origin: int, slot: int, target: int) -> dict:
    return {"id": number, "origin_id": origin, "origin_slot": slot, "target_id": target, "target_slot": 0, "type": "*"}


INSIDE = {
    "id": "blueprint",
    "name": "Swap a Word",
    "inputs": [{"name": "old_words"}, {"name": "mask"}],
    "nodes": [
        {"id": 12, "type": "GraftLocalBlend", "inputs": [{"name": "source_words", "link": 1}, {"name": "threshold", "link": None}]},
        {"id": 13, "type": "GraftOptimizeLatent", "inputs": [{"name": "stage.mask", "link": 3}]},
        {"id": 14, "type": "GrowMask", "inputs": [{"name": "mask", "link": 2}]},
    ],
    "links": [link(1, -10, 0, 12), link(2, -10, 1, 14), link(3, 14, 0, 13)],
}
WORKFLOW = {"nodes": [{"id": 5, "type": "blueprint"}, {"id": 3, "type": "GraftFitPicture"}], "definitions": {"subgraphs": [INSIDE]}}


@pytest.mark.parametrize(
    ("message", "node", "said"),
    [
        ("mask: nothing is painted", "3", "My picture, mask: nothing is painted"),
        ("source_words: the prompt has no 'x'", "5:12", "Swap a Word, old_words (Local Blend, source_words): the prompt has no 'x'"),
        ("mask: it is empty", "5:13", "Swap a Word, mask (Optimize Latent, mask): it is empty"),
        ("threshold: too high", "5:12", "Swap a Word (Local Blend), threshold: too high"),
        ("mask: of a node that is not there", "9", "mask: of a node that is not there"),
    ],
)
def test_a_message_begins_with_what_the_artist_sees(message, node, said):
    assert naming.titled(message, node, PROMPT, WORKFLOW) == said


def test_a_blueprint_that_was_renamed_is_called_by_its_new_title():
    renamed = {**WORKFLOW, "nodes": [{"id": 5, "type": "blueprint", "title": "Cat to dog"}]}
    assert naming.titled("source_words: no", "5:12", PROMPT, renamed).startswith("Cat to dog, old_words (")


def test_an_error_is_named_once_and_keeps_its_kind(monkeypatch):
    class Special(GraftError):
        pass

    monkeypatch.setattr(naming, "_running", lambda: (PROMPT, WORKFLOW))
    with pytest.raises(Special) as caught, naming.named("3"), naming.named("5:12"):
        raise Special("source_words: no")
    assert str(caught.value) == "Swap a Word, old_words (Local Blend, source_words): no"


def test_a_node_refuses_under_its_own_title(monkeypatch):
    monkeypatch.setattr(naming, "_running", lambda: (PROMPT, WORKFLOW))
    with (
        CurrentNodeContext(prompt_id="one", node_id="3"),
        pytest.raises(GraftError, match=r"^My picture, mask: it is empty, nothing is painted"),
    ):
        FitPicture.EXECUTE_NORMALIZED(image=torch.zeros(1, 8, 8, 3), size=64, multiple=8, mask=torch.zeros(1, 64, 64))


def test_outside_of_a_prompt_messages_are_as_they_were():
    with pytest.raises(GraftError, match=r"^mask: it is empty, nothing is painted"):
        FitPicture.EXECUTE_NORMALIZED(image=torch.zeros(1, 8, 8, 3), size=64, multiple=8, mask=torch.zeros(1, 64, 64))
