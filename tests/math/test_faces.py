"""The drawn faces: pictures are pure functions of faces, every attribute can be seen, and the judge reads all of them."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from graft.miniature.face_judge import WEIGHTS, load_face_judge
from graft.miniature.faces import ATTRIBUTES, COLOURS, CONTENT, Face, Pose, render, sample_face
from hypothesis import given, settings
from hypothesis import strategies as st

UNSEEN = 91_000
SIZE_LIMIT = 2**20

few = settings(max_examples=10, deadline=None)


def face_of(seed: int) -> Face:
    return sample_face(np.random.default_rng(seed))


@given(st.integers(0, 2**32 - 1))
@few
def test_the_same_face_is_the_same_picture_to_the_bit(seed):
    picture = render(face_of(seed))
    assert np.array_equal(picture, render(face_of(seed)))
    assert picture.shape == (64, 64, 3) and picture.dtype == np.float32 and picture.min() >= 0 and picture.max() <= 1


def test_drawing_leaves_numpys_own_generator_alone():
    before = np.random.get_state()[1].copy()
    render(face_of(0))
    assert np.array_equal(np.random.get_state()[1], before)


@pytest.mark.parametrize("skin", ATTRIBUTES["skin"])
@pytest.mark.parametrize("name", [name for name in ATTRIBUTES if name != "skin"])
def test_every_two_values_of_an_attribute_look_different_on_every_skin(name, skin):
    """By at least six pixels that change by a tenth and more."""
    pictures = [render(replace(Face(skin=skin, expression="calm"), **{name: value})) for value in ATTRIBUTES[name]]
    for one, other in itertools.combinations(pictures, 2):
        assert (np.abs(one - other).max(axis=-1) > 0.1).sum() >= 6


@pytest.mark.parametrize("name", CONTENT)
def test_content_is_seen_without_colour(name):
    pictures = [render(replace(Face(skin="tan"), **{name: value})).mean(axis=-1) for value in CONTENT[name]]
    for one, other in itertools.combinations(pictures, 2):
        assert (np.abs(one - other) > 0.1).sum() >= 6


def test_the_background_changes_nothing_on_the_face():
    pictures = [render(Face(background=value)) for value in COLOURS["background"]]
    middle = np.s_[20:44, 24:40]
    for one, other in itertools.combinations(pictures, 2):
        assert np.allclose(one[middle], other[middle], atol=1e-5) and np.abs(one - other)[:8, :8].min() > 0


def test_edges_are_anti_aliased():
    """Oracle: four times as many samples give nearly the same picture."""
    face = face_of(1)
    assert np.abs(render(face) - render(face, supersampling=8)).mean() < 0.01


def test_a_pose_moves_the_face():
    """Oracle: the columns of one picture, shifted, are those of the other."""
    left, right = (render(Face(hair="black", pose=Pose(x=x))).mean(axis=(0, 2)) for x in (0.4, 0.6))
    shift = round(0.2 * 64)
    assert np.abs(left[8 : -shift - 8] - right[8 + shift : -8]).mean() < 0.5 * np.abs(left[8:-8] - right[8:-8]).mean()


def test_the_judge_reads_every_attribute_of_unseen_faces():
    rng = np.random.default_rng(UNSEEN)
    faces = [sample_face(rng) for _ in range(500)]
    seen = load_face_judge().verdicts(torch.from_numpy(np.stack([render(face) for face in faces])))
    for name, values in ATTRIBUTES.items():
        truth = torch.tensor([values.index(getattr(face, name)) for face in faces])
        assert (seen[name] == truth).float().mean() >= 0.99, name


def test_the_judges_weights_are_small():
    assert WEIGHTS.stat().st_size <= SIZE_LIMIT
