"""The embedded model, and a small part of the evaluation: the claims of docs/evaluation.md on a few scenes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from graft.host.engine.pictures import decode, encode, psnr
from graft.host.families.layer import Layer
from graft.host.families.layers import attention_layers, require_unet
from graft.miniature.network import WEIGHTS
from graft.miniature.scenes.sampling import sample_scene

SIZE_LIMIT = 32 * 2**20


@pytest.fixture(scope="module")
def laboratory():
    from evaluation.laboratory import Laboratory

    with torch.inference_mode():
        return Laboratory()


@pytest.fixture(autouse=True)
def _inference_mode():
    with torch.inference_mode():
        yield


def rows_by(key: str, table) -> dict[str, dict]:
    return {row[key]: row for row in table.rows}


def test_weights_fit_in_the_repository():
    assert sum(file.stat().st_size for file in WEIGHTS.iterdir()) <= SIZE_LIMIT


def test_unet_has_the_self_attention_blocks_of_sd1(laboratory):
    numbers = [("input", n) for n in (1, 2, 4, 5, 7, 8)] + [("middle", 1)] + [("output", n) for n in range(3, 12)]
    network = require_unet(laboratory.model)
    layers = tuple(attention_layers(network))
    assert len(layers) == 16
    assert [(layer.block, layer.number) for layer in layers if layer.block != "middle"] == [n for n in numbers if n[0] != "middle"]
    assert isinstance(layers[6], Layer) and layers[6].block == "middle"


def test_vae_round_trip_is_at_least_31_decibels(laboratory):
    from evaluation.laboratory import picture

    rng = np.random.default_rng(123_456)
    pictures = picture(sample_scene(rng) for _ in range(32)).pictures
    assert psnr(decode(laboratory.vae, encode(laboratory.vae, pictures)), pictures).mean() >= 31


def test_judge_names_what_rendered_scenes_show(laboratory):
    from evaluation import judge

    (table,), _ = judge.run(laboratory, count=200)
    rendered = rows_by("pictures", table)["rendered"]
    assert min(rendered[fact] for fact in ("ground", "style", "light", "count", "thing", "colour")) >= 98.5
    assert rendered["object IoU"] >= 0.85


def test_miniature_paints_what_its_prompt_says(laboratory):
    from evaluation import generation

    (table,), _ = generation.run(laboratory, count=24)
    painted = rows_by("prompts", table)["all"]
    assert painted["ground"] >= 90 and painted["colour"] >= 80 and painted["thing"] >= 70


def test_fixed_point_inversion_returns_closer_than_plain_ddim(laboratory):
    from evaluation import round_trip

    (table,), _ = round_trip.run(laboratory, count=2, cases=round_trip.CASES[:2])
    plain, fixed, *_ = table.rows
    key = "against the decoded latent (dB)"
    assert fixed[key] >= plain[key] + 8
    assert fixed["against the picture (dB)"] >= fixed["VAE alone (dB)"] - 1


def test_free_prompt_editing_keeps_more_of_the_layout_than_its_baselines(laboratory):
    from evaluation import free_prompt_editing

    tasks = free_prompt_editing.TASKS[:1]
    (colour,), _ = free_prompt_editing.run(laboratory, count=4, tasks=tasks, window_ends=(0.8,), strengths=(0.8,), ablated=None)
    edited, *baselines = (
        rows_by("method", colour)[label]
        for label in ("Free-Prompt-Editing, window to 0.8", "same inverted noise, no edit", "image to image, strength 0.8")
    )
    for baseline in baselines:
        assert edited["object IoU"] > baseline["object IoU"]
        assert edited["PSNR (dB)"] > baseline["PSNR (dB)"]
    assert edited["success"] >= 75


def test_local_blend_keeps_the_background_and_the_edit(laboratory):
    from evaluation import prompt_to_prompt

    (table,), _ = prompt_to_prompt.run(laboratory, count=4, methods=("cross- and self-attention", "both, local blend"))
    without, blended = table.rows
    assert blended["background PSNR (dB)"] >= without["background PSNR (dB)"] + 1
    assert blended["colour"] >= without["colour"] >= 75


def test_a_reference_gives_its_look_to_what_the_prompt_leaves_open(laboratory):
    from evaluation import specref

    (table,), _ = specref.run(laboratory, count=3, methods=("no reference", "both masks"))
    without, referred = table.rows
    assert referred["colour"] >= without["colour"] + 30
    assert referred["background PSNR (dB)"] >= 25


def test_tf_icon_gives_a_thing_the_pictures_style_and_leaves_the_rest(laboratory):
    from evaluation import tf_icon

    cases = tf_icon.cases_of(np.random.default_rng(7), 8, across=True)
    pictures = {"paste": cases.placed.pasted, "TF-ICON": tf_icon.composed(laboratory, cases, tf_icon.METHODS["TF-ICON"], across=True)}
    pasted, composed = tf_icon.measure(laboratory, cases, pictures)
    assert composed["style"] >= max(75, pasted["style"] + 40)
    assert composed["thing and colour"] >= 50
    assert composed["background PSNR (dB)"] >= 22


def test_light_is_right_in_the_truth_wrong_in_the_references_and_nowhere_without_a_thing(laboratory):
    from evaluation import tf_icon
    from graft.miniature.judge import Seen

    cases = tf_icon.relit_cases_of(np.random.default_rng(7), 8)
    for truth, reference in zip(cases.truth.scenes, cases.reference.scenes, strict=True):
        assert truth.style != reference.style and {truth.light, reference.light} == {"day", "night"}
    seen = [
        Seen(thing.kind, thing.colour, scene.style, objects[-1] > 0.5)
        for scene, objects in zip(cases.truth.scenes, cases.truth.objects, strict=True)
        for thing in [scene.things[-1]]
    ]
    assert all(tf_icon.relit(cases.truth.pictures, seen, cases))
    assert not any(tf_icon.relit(cases.unrelit.pictures, seen, cases))
    assert not any(tf_icon.relit(cases.truth.pictures, [None] * 8, cases))


def test_the_unnaturalness_map_finds_a_pasted_thing_and_no_drawn_one(laboratory):
    from evaluation import unnaturalness

    (table,), _ = unnaturalness.run(laboratory, count=4)
    pasted, untouched = table.rows[:2]
    assert pasted["ratio"] >= max(1.8, 1.4 * untouched["ratio"])
    assert untouched["ratio"] <= 1.6 and untouched["hottest"] <= pasted["hottest"] / 1.2


def test_removal_leaves_the_ground(laboratory):
    from evaluation import removal

    (table,), _ = removal.run(laboratory, count=2, methods={"full": removal.sooner(2)})
    rows = rows_by("method", table)
    assert rows["full"]["gone"] == 100
    assert rows["full"]["object PSNR (dB)"] >= rows["input"]["object PSNR (dB)"] + 8
    assert rows["full"]["background PSNR (dB)"] >= 28


def test_sampling_a_removed_things_place_anew_leaves_the_ground_and_no_rest_of_it(laboratory):
    from evaluation import removal

    methods = {name: removal.METHODS[name] for name in ("fast", "fast, not filled")}
    (table,), _ = removal.run(laboratory, count=4, methods=methods)
    rows = rows_by("method", table)
    assert rows["fast"]["gone"] == 100
    assert rows["fast"]["object PSNR (dB)"] >= rows["input"]["object PSNR (dB)"] + 8
    assert rows["fast"]["shadow PSNR (dB)"] >= rows["fast, not filled"]["shadow PSNR (dB)"] + 1
    assert rows["fast"]["background PSNR (dB)"] >= 31


def test_harmonisation_brings_a_thing_nearer_to_its_scene(laboratory):
    from evaluation import harmonisation

    full = tuple((task, halved(method)) for task, method in harmonisation.METHODS["full"])
    (table,), _ = harmonisation.run(laboratory, count=2, methods={"the thing alone": full[:1], "full": full})
    rows = rows_by("method", table)
    assert rows["full"]["colour distance"] < rows["paste"]["colour distance"] - 5
    assert rows["full"]["shadow"] > max(rows["paste"]["shadow"], rows["the thing alone"]["shadow"]) + 2
    assert rows["full"]["background PSNR (dB)"] >= 28


def halved(method):
    """With half as many iterations."""
    return replace(method, settings=replace(method.settings, iterations=method.settings.iterations // 2))
