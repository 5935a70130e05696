"""The world of things: pictures are pure functions of scenes, masks agree with pictures, and truths change what they should."""

import colorsys
import dataclasses
from itertools import combinations

import numpy as np
import pytest
from graft.miniature.scenes import scene as world
from graft.miniature.scenes.parts import Individual
from graft.miniature.scenes.prompts import Wording, prompt_of, sample_wording
from graft.miniature.scenes.rendering import render
from graft.miniature.scenes.sampling import DRAWN, EVALUATION_SEEDS, MARGIN, sample_pair, sample_scene
from graft.miniature.scenes.scene import Scene, Thing
from graft.miniature.scenes.things import THINGS
from hypothesis import assume, given, settings
from hypothesis import strategies as st

seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=6, deadline=None)
SIDE = 96


def scene_of(seed: int, **fixed) -> Scene:
    return sample_scene(np.random.default_rng(seed), **fixed)


def drawn(scene: Scene):
    return render(scene, SIDE)


def changed_pixels(one: Scene, other: Scene) -> np.ndarray:
    return np.abs(drawn(one).picture - drawn(other).picture).max(axis=-1) > 1e-5


@given(seeds)
@few
def test_the_same_scene_is_the_same_picture_to_the_bit(seed):
    first, again = drawn(scene_of(seed)), drawn(scene_of(seed))
    for field in dataclasses.fields(first):
        assert np.array_equal(getattr(first, field.name), getattr(again, field.name))


def test_drawing_leaves_numpys_own_generator_alone():
    before = np.random.get_state()[1].copy()
    drawn(scene_of(0))
    assert np.array_equal(np.random.get_state()[1], before)


@given(seeds, st.sampled_from([(96, 96), (144, 96), (64, 112)]))
@few
def test_pictures_and_masks_have_the_size_and_range_asked_for(seed, size):
    scene = scene_of(seed)
    width, height = size
    rendering = render(scene, width, height)
    assert rendering.picture.shape == (height, width, 3)
    assert rendering.objects.shape == rendering.shadows.shape == (len(scene.things), height, width)
    for array in (rendering.picture, rendering.objects, rendering.shadows):
        assert array.dtype == np.float32
        assert array.size == 0 or (array.min() >= 0 and array.max() <= 1 + 1e-6)


@given(seeds, st.sampled_from(world.STYLES))
@few
def test_a_thing_can_be_seen_where_its_masks_are_and_nowhere_else(seed, style):
    """Oracle: the picture with the thing against the picture without it."""
    scene = scene_of(seed, count=1, style=style)
    rendering = drawn(scene)
    touched = changed_pixels(scene, scene.without(0))
    assert not (touched & (rendering.objects[0] == 0) & (rendering.shadows[0] == 0)).any()
    whole = rendering.objects[0] == 1
    assert (touched & whole).sum() > (0.3 if style == "ink drawing" else 0.9) * whole.sum()  # ink leaves paper on paper


@given(seeds)
@few
def test_no_pixel_is_counted_for_two_things_or_for_thing_and_shadow(seed):
    rendering = drawn(scene_of(seed, count=2))
    assert (rendering.objects.sum(0) <= 1 + 1e-5).all()
    assert (rendering.objects.sum(0) + rendering.shadows.max(0) <= 1 + 1e-5).all()


def test_the_nearer_thing_covers_the_farther():
    far, near = Thing("mushroom", "red", x=0.5, y=0.8, size=0.4), Thing("car", "blue", x=0.5, y=0.9, size=0.5)
    for things in ((far, near), (near, far)):
        rendering = drawn(Scene("meadow", things=things))
        assert np.array_equal(rendering.objects[things.index(near)], drawn(Scene("meadow", things=(near,))).objects[0])
        assert rendering.objects[things.index(far)].sum() < 0.9 * drawn(Scene("meadow", things=(far,))).objects[0].sum()


@given(seeds, st.sampled_from(world.STYLES), st.sampled_from(world.GROUNDS))
@few
def test_restyling_and_changing_the_ground_keep_every_mask(seed, style, ground):
    scene = scene_of(seed)
    for other in (scene.restyled(style), scene.regrounded(ground)):
        assert np.array_equal(drawn(other).objects, drawn(scene).objects)
        assert np.array_equal(drawn(other).shadows, drawn(scene).shadows)


@given(seeds, st.sampled_from(world.COLOURS), st.sampled_from(world.STYLES))
@few
def test_recolouring_changes_the_things_own_pixels_only_and_none_in_ink(seed, colour, style):
    scene = scene_of(seed, count=2, kinds=("car", "mushroom"), style=style)
    other = scene.recoloured(0, colour)
    before, after = drawn(scene), drawn(other)
    assert np.array_equal(before.objects, after.objects) and np.array_equal(before.shadows, after.shadows)
    assert not (changed_pixels(scene, other) & (before.objects[0] == 0)).any()
    assert changed_pixels(scene, other).any() == (colour != scene.things[0].colour and style != "ink drawing")


@pytest.mark.parametrize("kind", ["car", "fish", "house"])
def test_ink_shows_no_colour(kind):
    scene = Scene("meadow", "ink drawing", things=(Thing(kind, "yellow"),))
    for colour in world.COLOURS:
        assert np.array_equal(drawn(scene).picture, drawn(scene.recoloured(0, colour)).picture)


@given(seeds, st.sampled_from(DRAWN), st.floats(0.03, 0.1))
@few
def test_other_moved_and_mirrored_things_change_nothing_outside_the_old_and_new_masks(seed, kind, shift):
    scene = scene_of(seed, count=2)
    thing, before = scene.things[1], drawn(scene)
    assume(thing.kind != kind)
    for other in (scene.exchanged(1, kind), scene.moved(1, thing.x + shift, thing.y), scene.mirrored(1), scene.without(1)):
        after = drawn(other)
        masks = [mask > 0 for rendering in (before, after) for mask in (*rendering.objects, *rendering.shadows)]
        touched = np.abs(before.picture - after.picture).max(axis=-1) > 1e-5
        assert touched.any() and not (touched & ~np.logical_or.reduce(masks)).any()
        assert other.things[0] is scene.things[0]


@given(seeds)
@few
def test_another_light_keeps_the_things_in_place(seed):
    scene = scene_of(seed, count=1)
    for light in world.LIGHTS:
        assert np.array_equal(drawn(scene.relit(light)).objects, drawn(scene).objects)


@pytest.mark.parametrize("kind", DRAWN)
def test_every_thing_is_drawn_within_its_box_and_fills_it(kind):
    low, high = np.full(2, np.inf), np.full(2, -np.inf)
    for seed in range(40):
        for part in THINGS[kind](Individual(seed)).parts:
            for path in part.outlines if part.on is None else ():
                low, high = np.minimum(low, path.min(0)), np.maximum(high, path.max(0))
    assert (low >= (-0.5, 0)).all() and (high <= (0.5, 1)).all()
    assert high[1] > 0.88 or high[0] - low[0] > 0.88
    assert low[1] < 0.25


@pytest.mark.parametrize("kind", DRAWN)
def test_no_two_individuals_are_equal(kind):
    scenes = [
        Scene("meadow", things=(Thing(kind, "red" if kind in world.COLOURED else None, size=0.6, individual=seed),)) for seed in range(6)
    ]
    pictures = [drawn(scene).picture for scene in scenes]
    for number, picture in enumerate(pictures):
        assert all(np.abs(picture - other).max() > 0.1 for other in pictures[:number])


@pytest.mark.parametrize("style", [style for style in world.STYLES if style != "ink drawing"])
@pytest.mark.parametrize("light", world.LIGHTS)
def test_a_named_colour_stays_nearest_to_itself_in_every_light(style, light):
    """The hue of the picture's most saturated pixels. Oracle: the hues that people give these names."""

    def apart(one: float, other: float) -> float:
        return min(abs(one - other), 1 - abs(one - other))

    named = {
        name: degrees / 360
        for name, degrees in (("red", 0), ("orange", 27), ("yellow", 52), ("green", 127), ("blue", 218), ("purple", 275))
    }
    for colour in world.COLOURS:
        rendering = render(Scene("meadow", style, light, (Thing("apple", colour, y=0.95, size=0.8, individual=1),)), 48)
        pixels = rendering.picture[rendering.objects[0] == 1]
        vivid = pixels[(pixels.max(-1) - pixels.min(-1)).argsort()[-len(pixels) // 2 :]].mean(0)
        hue = colorsys.rgb_to_hsv(*vivid.tolist())[0]
        assert min(named, key=lambda name: apart(named[name], hue)) == colour


@given(seeds, st.sampled_from(world.STYLES))
@few
def test_the_same_scene_has_the_same_composition_at_every_size(seed, style):
    """A larger picture's masks, averaged, are the smaller one's but for a share of the edge; so is the picture, but for its grain."""
    scene = scene_of(seed, count=1, style=style)
    small, large = render(scene, 48), render(scene, 144)
    for one, other in ((small.objects, large.objects), (small.shadows, large.shadows)):
        averaged = other.reshape(1, 48, 3, 48, 3).mean((2, 4))
        assert np.abs(one - averaged).sum() < 0.25 * averaged.sum() + 4
    assert np.abs(small.picture - large.picture.reshape(48, 3, 48, 3, 3).mean((1, 3))).mean() < 0.15


@given(seeds)
@few
def test_sampled_things_stand_on_the_ground_inside_the_picture(seed):
    scene = scene_of(seed)
    for thing in scene.things:
        left, top, right, bottom = thing.box
        assert min(left, top) >= MARGIN - 1e-9 and max(right, bottom) <= 1 - MARGIN + 1e-9
        assert thing.y > scene.horizon


def test_sampling_is_a_function_of_the_generator_and_covers_the_world():
    assert [scene_of(seed) for seed in range(20)] == [scene_of(seed) for seed in range(20)]
    scenes = [scene_of(seed) for seed in range(600)]
    things = [thing for scene in scenes for thing in scene.things]
    assert {scene.ground for scene in scenes} == set(world.GROUNDS)
    assert {scene.style for scene in scenes} == set(world.STYLES)
    assert {scene.light for scene in scenes} == set(world.LIGHTS)
    assert {len(scene.things) for scene in scenes} == {0, 1, 2}
    assert {thing.kind for thing in things} == set(DRAWN)
    assert {thing.colour for thing in things} == {*world.COLOURS, None}
    assert {thing.mirrored for thing in things} == {False, True}


def test_what_is_asked_of_a_sampled_scene_is_what_it_has():
    scene = scene_of(3, count=2, ground="snow", style="watercolour", light="night", kinds=("rabbit",))
    assert (len(scene.things), scene.ground, scene.style, scene.light) == (2, "snow", "watercolour", "night")
    assert {thing.kind for thing in scene.things} == {"rabbit"}


def test_pairs_share_the_individual_and_the_style():
    for seed in range(20):
        one, other = sample_pair(np.random.default_rng(seed))
        assert one.style == other.style
        for name in ("kind", "colour", "individual"):
            assert getattr(one.things[0], name) == getattr(other.things[0], name)
        assert one.things[0] != other.things[0]


def test_seeds_for_evaluation_are_larger_than_any_of_training():
    assert EVALUATION_SEEDS.start > 2**32 and scene_of(EVALUATION_SEEDS[0]) != scene_of(0)


RABBIT, CAR = Thing("rabbit", x=0.7), Thing("car", "orange", x=0.2)


@pytest.mark.parametrize(
    ("scene", "wording", "prompt"),
    [
        (Scene("sand", things=(RABBIT, CAR)), Wording(), "a 3-D render of an orange car and a rabbit on sand by day"),
        (Scene("snow", "watercolour", "night"), Wording(), "a watercolour of empty snow at night"),
        (Scene("shore", "ink drawing", "evening", (CAR,)), Wording(), "an ink drawing of a car on a shore in the evening"),
        (
            Scene("street", "flat illustration", things=(CAR,)),
            Wording(colour=False, light=False),
            "a flat illustration of a car on a street",
        ),
        (Scene("meadow", things=(CAR,)), Wording(style=False, ground=False), "an orange car by day"),
        (Scene("meadow", things=(RABBIT,)), Wording(False, False, False, False), "a rabbit"),
        (Scene("meadow", "watercolour"), Wording(ground=False, light=False), "a watercolour of an empty place"),
    ],
)
def test_prompts_say_what_they_are_asked_to_and_no_more(scene, wording, prompt):
    assert prompt_of(scene, wording) == prompt


def test_wordings_leave_out_every_fact_now_and_then():
    rng = np.random.default_rng(0)
    wordings = [sample_wording(rng) for _ in range(200)]
    for field in dataclasses.fields(Wording):
        assert 0.6 < np.mean([getattr(wording, field.name) for wording in wordings]) < 0.95


def test_a_thing_has_a_colour_exactly_if_its_kind_does():
    with pytest.raises(ValueError, match="rabbit has colours of its own"):
        Thing("rabbit", "red")
    with pytest.raises(ValueError, match="car needs a colour"):
        Thing("car")
    assert Scene("sand", things=(CAR,)).exchanged(0, "rabbit").things[0].colour is None
    assert Scene("sand", things=(CAR,)).exchanged(0, "mushroom").things[0].colour == "orange"


def test_styles_differ_at_a_glance_even_out_of_focus():
    """The mean difference of the same scenes' pictures, seen as 8 x 8 patches: what a little noise and denoising does not change."""
    scenes = [scene_of(seed) for seed in range(5)]
    glance = {
        style: np.stack([render(scene.restyled(style), 64).picture.reshape(8, 8, 8, 8, 3).mean((1, 3)) for scene in scenes])
        for style in world.STYLES
    }
    for one, other in combinations(world.STYLES, 2):
        assert np.abs(glance[one] - glance[other]).mean() > 0.085, (one, other)
