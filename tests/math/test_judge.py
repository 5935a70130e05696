"""The judge of scenes: what it reads from what its network says, and what the network is taught."""

import numpy as np
import torch
from graft.miniature.judge import STRIDE, Judge, _verdict, instances
from graft.miniature.scenes.rendering import render
from graft.miniature.scenes.sampling import sample_scene
from graft.miniature.scenes.scene import COLOURS, GROUNDS, KINDS, LIGHTS, STYLES
from torch.nn import functional

VALUES = {"kind": KINDS, "colour": COLOURS, "style": STYLES, "ground": GROUNDS, "light": LIGHTS, "picture style": STYLES}


def labels_of(scene) -> torch.Tensor:
    label = torch.zeros(64, 64, dtype=torch.long)
    for number, mask in enumerate(render(scene).objects, start=1):
        label[torch.from_numpy(mask.reshape(64, STRIDE, 64, STRIDE).mean(axis=(1, 3)) > 0.5)] = number
    return label


def perfect_logits(targets: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What a network that has learnt its targets would say of the first picture."""
    logits = {"object": 20 * targets["object"] - 10, "middle": targets["middle"], "offset": targets["offset"][0]}
    for head, values in VALUES.items():
        sure = 20 * functional.one_hot(targets[head][0].clamp(min=0), len(values)).float()
        logits[head] = sure.movedim(-1, 0) if sure.ndim == 3 else sure
    return logits


def test_a_network_that_learnt_its_targets_names_everything_in_a_scene():
    """Oracle: the scenes. Their things stand in front of each other, too."""
    from training.judging import percentages, targets_of

    rng = np.random.default_rng(11)
    scenes = [sample_scene(rng, count=count) for count in (0, 1, 2, 2, 2, 2)]
    verdicts = [_verdict(perfect_logits(targets_of(labels_of(scene)[None], [scene]))) for scene in scenes]
    assert set(percentages(verdicts, scenes).values()) == {100.0}
    for verdict, scene in zip(verdicts, scenes, strict=True):
        masks = [mask > 0.5 for mask in render(scene).objects]
        for seen in verdict.things:
            overlap = max((seen.mask & mask).sum() / (seen.mask | mask).sum() for mask in masks)
            assert overlap > 0.75  # thin things lose what is less than half of a cell


def test_touching_things_are_told_apart_by_their_middles():
    present, middle, offset = torch.full((8, 16), -1.0), torch.zeros(8, 16), torch.zeros(2, 8, 16)
    present[2:6, 2:14] = 1
    middle[4, 4], middle[4, 11] = 1.0, 0.9
    masks = instances(present, middle, offset)
    assert len(masks) == 2
    assert torch.equal(masks[0] | masks[1], present > 0) and not (masks[0] & masks[1]).any()
    assert masks[0][3, 2:8].all() and masks[1][3, 8:14].all()


def test_offsets_decide_where_things_overlap():
    """A cell beside the second middle that points to the first is the first thing's."""
    present, middle, offset = torch.ones(8, 16), torch.zeros(8, 16), torch.zeros(2, 8, 16)
    middle[4, 3], middle[4, 12] = 1.0, 1.0
    offset[0, 4, 11] = -8 / 16
    first, second = instances(present, middle, offset)
    assert first[4, 11] and not second[4, 11] and second[4, 10]


def test_nothing_is_seen_where_no_middle_stands_out():
    assert instances(torch.ones(8, 8), torch.full((8, 8), 0.1), torch.zeros(2, 8, 8)) == []


def test_the_network_answers_for_pictures_of_other_sizes():
    judge = Judge().eval()
    logits = judge(torch.rand(1, 3, 64, 96))
    assert logits["kind"].shape == (1, len(KINDS), 32, 48) and logits["ground"].shape == (1, len(GROUNDS))
    verdict = judge.verdicts(torch.rand(1, 64, 96, 3))[0]
    assert verdict.style in STYLES and all(seen.mask.shape == (64, 96) for seen in verdict.things)


def test_ink_and_things_with_colours_of_their_own_are_not_asked_for_a_colour():
    from training.judging import NOT_ASKED, targets_of

    scene = sample_scene(np.random.default_rng(3), count=1, kinds=("car",), style="flat illustration")
    for drawn, asked in ((scene, True), (scene.restyled("ink drawing"), False), (scene.exchanged(0, "rabbit"), False)):
        label = labels_of(drawn)
        colour = targets_of(label[None], [drawn])["colour"][0]
        expected = COLOURS.index(drawn.things[0].colour) if asked else NOT_ASKED
        assert set(colour[label > 0].tolist()) == {expected} and set(colour[label == 0].tolist()) == {NOT_ASKED}
