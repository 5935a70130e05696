"""The showcase: tasks on photographs beside image-to-image and inpainting, and the page of them."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import showcase
from hosting.host_server import PACK
from hosting.quickstart_error import QuickstartError
from PIL import Image
from showing import showcase_page
from showing.showcase_cases import CASES, Case, known_tasks, of_templates, read
from showing.showcase_graphs import Settings, by_image_to_image, by_inpainting, guidance_and_steps
from showing.showcase_run import Outcome, Shown, run_case
from workflow_descriptions import load_miniature

from pictures import photographs

TINY = Settings(size=64, steps=2)


@pytest.fixture
def remove() -> Case:
    """The pack's own picture, with the miniature's prompts; its mask hardly grows, as a pixel of the tiny size is twelve of the picture's."""
    case = next(case for case in of_templates(PACK / "pictures") if case.task == "Remove Object")
    return replace(case, words={**case.words, "grow_mask": 1, "soft_edge": 1})


def test_a_task_is_done_in_every_way_at_the_pictures_own_size(server, remove, tmp_path):
    shown = run_case(server, remove, load_miniature, TINY, tmp_path / "pictures")
    assert [(outcome.way, outcome.failure) for outcome in shown.outcomes] == [("Graft", ""), ("image-to-image", ""), ("inpainting", "")]
    assert all(outcome.seconds > 0 and outcome.peak_mib > 100 for outcome in shown.outcomes)
    painted = np.asarray(Image.open(remove.pictures[0]).getchannel("A")) == 0
    before = np.asarray(Image.open(remove.pictures[0]).convert("RGB"))
    graft, image_to_image, inpainting = (np.asarray(Image.open(outcome.picture).convert("RGB")) for outcome in shown.outcomes)
    assert {edited.shape for edited in (graft, image_to_image, inpainting)} == {before.shape}
    kept = [(edited == before).all(axis=2).mean() for edited in (graft, image_to_image, inpainting)]
    assert kept[0] > 0.5 and kept[1] < 0.1 and kept[2] > 0.5, "image-to-image knows of no mask"
    assert all((edited[painted] != before[painted]).any() for edited in (graft, inpainting))
    assert [title for title, _ in shown.given] == ["Your picture", "Your picture, painted"]


def test_the_page_shows_pictures_settings_and_what_they_are_worth_on_a_phone_too(editor, remove, tmp_path):
    for name in ("given", "painted", "result"):
        Image.new("RGB", (60, 40)).save(tmp_path / f"{name} of it.png")
    given, painted, result = (tmp_path / f"{name} of it.png" for name in ("given", "painted", "result"))
    outcomes = (Outcome("Graft", result, 2.0, 300), Outcome("inpainting", failure="no"))
    shown = Shown(remove, (("Your picture", given), ("Your picture, painted", painted)), outcomes)
    section = showcase_page.Section("a model", showcase_page.MEANINGLESS, "a device", "process", TINY, (shown,))
    showcase_page.write([section], tmp_path)
    assert (tmp_path / showcase_page.FRAGMENT).read_text(encoding="utf-8") in (tmp_path / showcase_page.PAGE).read_text(encoding="utf-8")
    page = editor.page.context.browser.new_page(viewport={"width": 390, "height": 844})
    try:
        page.goto((tmp_path / showcase_page.PAGE).as_uri())
        assert page.locator("img").evaluate_all("images => images.map(image => image.naturalWidth)") == [60, 60], "painted, and the result"
        assert page.get_by_text("These pictures mean nothing").count() == 1
        settings = page.locator("sub").inner_text()
        assert (
            "size: 64; grow_mask: 1; iterations: 2" in settings and f"without_the_object: {remove.words['without_the_object']}" in settings
        )
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
    finally:
        page.close()


def test_a_way_that_fails_is_said_on_the_page_and_the_others_go_on(server, remove, tmp_path):
    lost = replace(remove, words={**remove.words, "size": 0})
    shown = run_case(server, lost, load_miniature, TINY, tmp_path)
    failed, *others = shown.outcomes
    assert failed.picture is None and failed.failure and all(outcome.picture for outcome in others)
    text = showcase_page.fragment([showcase_page.Section("m", "", "d", "process", TINY, (shown,))], tmp_path)
    assert "failed." in text and "mean nothing" not in text


def test_the_other_ways_take_the_settings_of_the_tasks_own_node(remove):
    cases = {case.task: case for case in of_templates(PACK / "pictures")}
    own = cases["Edit with a Reference Picture"].easy.blueprint().entry.inputs
    assert guidance_and_steps(cases["Edit with a Reference Picture"], Settings(512)) == (own["cfg"] or 7.5, own["steps"])
    told = replace(cases["Edit Picture by Prompt"], words={"what_it_should_show": "a cat", "cfg": 3.0})
    assert guidance_and_steps(told, Settings(512, steps=4)) == (3.0, 4)
    assert by_inpainting(cases["Edit Picture by Prompt"], load_miniature, TINY) is None, "nothing is painted there"
    looked_at = replace(cases["Find Unnatural Places"], words={"what_it_shows": "a cat"})
    assert by_image_to_image(looked_at, load_miniature, TINY) is None, "a map is no edit"


def test_photographs_are_cut_out_of_a_wheel_with_what_is_painted_on_them(tmp_path):
    wheel = tmp_path / "photographs.whl"
    Image.new("RGB", (60, 40), (200, 100, 50)).save(tmp_path / "one.png")
    with zipfile.ZipFile(wheel, "w") as content:
        for source in (photographs.COFFEE, photographs.CAT):
            content.write(tmp_path / "one.png", source)
    photographs._make(wheel, tmp_path / "made")
    made = {path.stem: Image.open(path) for path in (tmp_path / "made").iterdir()}
    assert made.keys() == photographs.PHOTOGRAPHS.keys()
    for name, picture in made.items():
        assert picture.convert("RGB").getpixel((0, 0)) == (200, 100, 50)
        painted = 0 if picture.mode == "RGB" else (np.asarray(picture.getchannel("A")) == 0).mean()
        assert (0.02 < painted < 0.7) if photographs.PHOTOGRAPHS[name][1] else painted == 0


def test_the_cases_of_photographs_name_every_task_and_pictures_that_there_are(tmp_path):
    for name in photographs.PHOTOGRAPHS:
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    cases = read(PACK / "docs" / "examples" / CASES, tmp_path)
    assert [case.task for case in cases] == list(known_tasks())
    assert [len(case.pictures) for case in cases] == [len(case.pictures) for case in of_templates(PACK / "pictures")]


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ({"task": "Remove Objects", "pictures": []}, "no task 'Remove Objects'"),
        ({"task": "Remove Object", "pictures": ["mine.png"]}, "wants mine.png"),
        ({"task": "Remove Object", "pictures": [], "words": {"what": "x"}}, "takes no what"),
        ({"task": "Remove Object"}, "KeyError"),
    ],
)
def test_a_wrong_case_is_refused_by_name(entry, complaint, tmp_path):
    (tmp_path / CASES).write_text(json.dumps([entry]), encoding="utf-8")
    with pytest.raises(QuickstartError, match=complaint):
        showcase.cases_of(tmp_path)


def test_without_photographs_the_packs_own_pictures_are_taken(monkeypatch, capsys):
    def out_of_reach(cache: Path):
        raise QuickstartError("Could not fetch the photographs")

    monkeypatch.setattr(showcase, "photographs", out_of_reach)
    pictures = showcase.cases_of(None)[0].pictures
    assert [path.parent for path in pictures] == [PACK / "pictures"] and all(path.is_file() for path in pictures)
    assert "Could not fetch" in capsys.readouterr().err


def test_what_came_of_a_case_is_told_with_seconds_and_memory(capsys):
    told = showcase._told(
        iter([Shown(Case("Remove Object", ()), (), (Outcome("Graft", Path("x"), 2.0, 300), Outcome("other", failure="no")))])
    )
    assert len(list(told)) == 1
    assert capsys.readouterr().out == "  Remove Object, Graft: 2.0 s, 300 MiB\n  Remove Object, other: FAILED: no\n"


@pytest.mark.full
def test_all_tasks_run_with_random_weights_in_the_shapes_of_a_checkpoint(comfyui, tmp_path):
    command = [
        sys.executable,
        str(PACK / "tools" / "showcase.py"),
        "--comfyui",
        str(comfyui),
        "--device",
        "cpu",
        "--size",
        "64",
        "--steps",
        "4",  # in fewer, Mix Content and Look injects nothing and is refused
    ]
    done = subprocess.run([*command, "--output", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    text = (tmp_path / showcase_page.FRAGMENT).read_text(encoding="utf-8")
    assert "mean nothing" in text and all(f"<h3>{task}</h3>" in text for task in known_tasks())
    assert "failed." not in text and text.count("<b>image-to-image</b>") == 6 and text.count("<b>inpainting</b>") == 3
