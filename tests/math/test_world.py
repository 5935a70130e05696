"""The drawn world: pictures are pure functions of scenes, masks agree with pictures, and truths change what they should."""

import dataclasses

import numpy as np
import pytest
from graft.miniature import world
from graft.miniature.drawing import render
from graft.miniature.world import Scene, Thing, Wording, prompt_of, sample_scene, sample_wording
from hypothesis import given, settings
from hypothesis import strategies as st

seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=15, deadline=None)


def scene_of(seed: int, **fixed) -> Scene:
    return sample_scene(np.random.default_rng(seed), **fixed)


def changed_pixels(one: Scene, other: Scene) -> np.ndarray:
    return np.abs(render(one).picture - render(other).picture).max(axis=-1) > 1e-6


@given(seeds)
@few
def test_the_same_scene_is_the_same_picture_to_the_bit(seed):
    first, again = render(scene_of(seed)), render(scene_of(seed))
    for name in ("picture", "objects", "shadows"):
        assert np.array_equal(getattr(first, name), getattr(again, name))


def test_drawing_leaves_numpys_own_generator_alone():
    before = np.random.get_state()[1].copy()
    render(scene_of(0))
    assert np.array_equal(np.random.get_state()[1], before)


@given(seeds)
@few
def test_pictures_and_masks_stay_in_range(seed):
    scene = scene_of(seed)
    rendering = render(scene)
    assert rendering.picture.shape == (64, 64, 3)
    assert rendering.objects.shape == rendering.shadows.shape == (len(scene.things), 64, 64)
    for array in (rendering.picture, rendering.objects, rendering.shadows):
        assert array.dtype == np.float32
        assert array.size == 0 or (array.min() >= 0 and array.max() <= 1)


@given(seeds, st.sampled_from(world.STYLES))
@few
def test_a_thing_can_be_seen_where_its_masks_are_and_nowhere_else(seed, style):
    """Oracle: the picture with the thing against the picture without it."""
    scene = scene_of(seed, count=1, style=style)
    rendering = render(scene)
    touched = changed_pixels(scene, scene.without(0))
    masked = (rendering.objects[0] > 0) | (rendering.shadows[0] > 0)
    assert not (touched & ~masked).any()
    fully = (rendering.objects[0] == 1) | (rendering.shadows[0] == 1)
    assert (touched & fully).sum() > 0.97 * fully.sum()


@given(seeds)
@few
def test_no_pixel_is_counted_for_two_things_or_for_thing_and_shadow(seed):
    rendering = render(scene_of(seed, count=2))
    assert (rendering.objects.sum(0) <= 1 + 1e-6).all()
    assert (rendering.objects.sum(0) + rendering.shadows.max(0) <= 1 + 1e-6).all()


def test_the_nearer_thing_covers_the_farther():
    far, near = Thing("cube", "red", x=0.5, y=0.7, size=0.2), Thing("ball", "blue", x=0.5, y=0.85, size=0.2)
    for things in ((far, near), (near, far)):
        rendering = render(Scene("grass", things=things))
        alone = render(Scene("grass", things=(near,)))
        assert np.array_equal(rendering.objects[things.index(near)], alone.objects[0])
        assert rendering.objects[things.index(far)].sum() < render(Scene("grass", things=(far,))).objects[0].sum()


@given(seeds, st.sampled_from(world.COLOURS))
@few
def test_recolouring_changes_the_things_own_pixels_only(seed, colour):
    scene = scene_of(seed, count=2)
    other = scene.changed(0, colour=colour)
    before, after = render(scene), render(other)
    assert np.array_equal(before.objects, after.objects) and np.array_equal(before.shadows, after.shadows)
    assert not (changed_pixels(scene, other) & (before.objects[0] == 0)).any()
    assert changed_pixels(scene, other).any() == (colour != scene.things[0].colour)


@given(seeds, st.sampled_from(world.SHAPES), st.floats(-0.1, 0.1))
@few
def test_reshaping_and_moving_change_nothing_outside_the_old_and_new_masks(seed, shape, shift):
    scene = scene_of(seed, count=2)
    other = scene.changed(1, shape=shape, x=scene.things[1].x + shift)
    masks = [mask > 0 for rendering in (render(scene), render(other)) for mask in (*rendering.objects, *rendering.shadows)]
    assert not (changed_pixels(scene, other) & ~np.logical_or.reduce(masks)).any()
    assert other.things[0] is scene.things[0]


@given(seeds)
@few
def test_removing_one_of_two_keeps_the_others_picture(seed):
    scene = scene_of(seed, count=2)
    rendering = render(scene)
    gone = (rendering.objects[0] > 0) | (rendering.shadows[0] > 0)
    assert not (changed_pixels(scene, scene.without(0)) & ~gone).any()
    assert scene.without(0).things == scene.things[1:]
    assert scene.without(0).with_thing(scene.things[0]).things == scene.things[::-1]


@given(seeds, st.sampled_from(world.GROUNDS))
@few
def test_restyling_and_changing_the_ground_keep_every_mask(seed, ground):
    scene = scene_of(seed)
    styles = [render(scene.restyled(style)) for style in world.STYLES]
    assert not np.allclose(styles[0].picture, styles[1].picture, atol=0.05)
    for other in (*styles, render(scene.regrounded(ground))):
        assert np.array_equal(other.objects, render(scene).objects)
        assert np.array_equal(other.shadows, render(scene).shadows)


@given(seeds)
@few
def test_sampled_things_stand_on_the_ground_inside_the_picture_and_apart(seed):
    scene = scene_of(seed)
    for thing in scene.things:
        left, top, right, bottom = thing.box
        assert min(left, top) >= world.MARGIN - 1e-9 and max(right, bottom) <= 1 - world.MARGIN + 1e-9
        assert thing.y > scene.horizon
    if len(scene.things) == 2:
        one, other = (render(dataclasses.replace(scene, things=(thing,))).objects[0] for thing in scene.things)
        assert not ((one > 0) & (other > 0)).any()


def test_sampling_is_a_function_of_the_generator_and_covers_the_world():
    assert [scene_of(seed) for seed in range(20)] == [scene_of(seed) for seed in range(20)]
    scenes = [scene_of(seed) for seed in range(400)]
    things = [thing for scene in scenes for thing in scene.things]
    assert {scene.ground for scene in scenes} == set(world.GROUNDS)
    assert {scene.style for scene in scenes} == set(world.STYLES)
    assert {len(scene.things) for scene in scenes} == {0, 1, 2}
    assert {(thing.shape, thing.colour) for thing in things} == {(shape, colour) for shape in world.SHAPES for colour in world.COLOURS}
    assert {thing.pattern for thing in things} == set(world.PATTERNS)


def test_what_is_asked_of_a_sampled_scene_is_what_it_has():
    scene = scene_of(3, count=2, ground="snow", style="drawing")
    assert (len(scene.things), scene.ground, scene.style) == (2, "snow", "drawing")


BALL, CUBE = Thing("ball", "orange", "striped", x=0.7), Thing("cube", "blue", x=0.2)


@pytest.mark.parametrize(
    ("scene", "wording", "prompt"),
    [
        (Scene("sand", "photo", (BALL, CUBE)), Wording(), "a photo of a blue cube and an orange striped ball on sand"),
        (Scene("night", "drawing", ()), Wording(), "a drawing of nothing at night"),
        (Scene("snow", "drawing", ()), Wording(style=False), "nothing on snow"),
        (Scene("grass", "photo", (BALL,)), Wording(style=False), "an orange striped ball on grass"),
        (Scene("grass", "photo", (BALL,)), Wording(colour=False), "a photo of a striped ball on grass"),
        (Scene("grass", "photo", (BALL,)), Wording(pattern=False), "a photo of an orange ball on grass"),
        (Scene("grass", "photo", (BALL,)), Wording(False, False, False), "a ball on grass"),
    ],
)
def test_prompts_say_what_they_are_asked_to_and_no_more(scene, wording, prompt):
    assert prompt_of(scene, wording) == prompt


def test_wordings_leave_out_every_fact_now_and_then():
    rng = np.random.default_rng(0)
    wordings = [sample_wording(rng) for _ in range(200)]
    for field in dataclasses.fields(Wording):
        mentioned = np.mean([getattr(wording, field.name) for wording in wordings])
        assert 0.6 < mentioned < 0.95


@given(seeds)
@few
def test_what_a_described_scene_leaves_open_follows_from_the_seed(seed):
    seed %= 2**31
    one = world.variation(seed)
    assert one == world.variation(seed)
    assert -1 <= one.shade <= 1 and -1 <= one.tone <= 1 and 0.28 <= one.horizon <= 0.42


@pytest.mark.parametrize("colour", world.COLOURS)
@pytest.mark.parametrize("pattern", world.PATTERNS)
def test_a_named_colour_is_nearer_to_itself_than_to_any_other(colour, pattern):
    """Shades vary, but not so far that red could be called orange: compared by the hue of the object's pixels."""
    import colorsys

    def hue(name: str, shade: float) -> float:
        rendering = render(Scene("grass", things=(Thing("cube", name, pattern, size=0.25, y=0.9, shade=shade),)))
        pixels = rendering.picture[rendering.objects[0] == 1]
        saturated = pixels[(pixels.max(-1) - pixels.min(-1)).argsort()[-50:]].mean(0)
        return colorsys.rgb_to_hsv(*saturated.tolist())[0]

    def apart(one: float, other: float) -> float:
        return min(abs(one - other), 1 - abs(one - other))

    for shade in (-1.0, 1.0):
        distances = {other: apart(hue(colour, shade), hue(other, 0.0)) for other in world.COLOURS}
        assert min(distances, key=distances.get) == colour
