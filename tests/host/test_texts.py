"""What a user reads of nodes, in every language, against the live schemas."""

import copy
import json
import re

import pytest
from hosting import pack
from PIL import Image
from texts import build_help, node_texts

from pictures import help_pictures

PICTURES = build_help.PAGES / "images"
TRANSLATED = ("ja", "zh")
OF_THE_FRONTEND = {"Graft", "sampling"}
"""Parts of categories that need no translation of ours: a name, and what the frontend translates for its own nodes."""
NAMED_TEMPLATES = re.compile(r"^(?:Templates?: |模板：|テンプレート：)(.*)$", re.MULTILINE)


@pytest.fixture(scope="module")
def object_info():
    return pack.object_info()


@pytest.fixture(scope="module")
def pages():
    return {path: path.read_text(encoding="utf-8") for path, _, _ in build_help.pages()}


def test_every_node_input_and_output_is_explained(object_info):
    bare = [f"{node}: {name}" for node, info in object_info.items() for name in ("description", "search_aliases") if not info[name]]
    for node, info in object_info.items():
        bare += [f"{node}: input {single.name}" for single in node_texts.inputs(info) if not all(use.tooltip for use in single.variants)]
        bare += [f"{node}: output {name}" for name, tooltip in node_texts.outputs(info) if not tooltip]
    assert bare == []


def test_pages_and_locales_fit_the_schemas(object_info):
    assert build_help.complaints(object_info) == []


def test_every_language_has_the_same_pages():
    languages = {}
    for _, node, language in build_help.pages():
        languages.setdefault(language, set()).add(node)
    assert languages["zh"] == languages["ja"] <= languages["en"]


@pytest.mark.parametrize("language", TRANSLATED)
def test_categories_are_translated(object_info, language):
    translated = json.loads((build_help.LOCALES / language / "main.json").read_text(encoding="utf-8"))
    parts = {part for info in object_info.values() for part in info["category"].split("/")}
    assert translated["nodeCategories"].keys() == parts - OF_THE_FRONTEND


@pytest.mark.parametrize("language", TRANSLATED)
def test_labels_have_no_character_that_the_frontend_takes_for_syntax(language):
    """It compiles names and descriptions as messages of vue-i18n; tooltips it shows as they are."""
    for texts in build_help.translations()[language].values():
        slots = [*texts["inputs"].values(), *texts["outputs"].values()]
        for label in (texts["display_name"], texts["description"], *(slot["name"] for slot in slots)):
            assert not set("{}@|") & set(label), label


def test_pictures_exist_are_small_are_used_and_have_an_origin(pages):
    named = {name for page in pages.values() for name in re.findall(r"\]\(images/([^)]+)\)", page)}
    assert named == {path.name for path in PICTURES.iterdir() if path.suffix in {".jpg", ".png"}}
    assert all((PICTURES / name).stat().st_size <= 60_000 for name in named)
    origins = (PICTURES / "README.md").read_text(encoding="utf-8")
    assert named == set(re.findall(r"^\| `(.+?)` \|", origins, re.MULTILINE))
    for origin in re.findall(r"\| `.+?` \| `(.+?)`", origins):
        assert (pack.ROOT / origin).is_file(), origin


def test_the_tool_makes_the_pictures_that_are_said_to_be_its():
    origins = (PICTURES / "README.md").read_text(encoding="utf-8")
    assert set(help_pictures.PICTURES) == set(re.findall(r"^\| `(.+?)` \| `tools/pictures/help_pictures\.py`", origins, re.MULTILINE))
    nodes = help_pictures.Nodes()
    for name in ("encode_prompt.png", "exceptional_prompt.png", "uniform_time_scheduler.png"):  # they sample nothing
        with Image.open(PICTURES / name) as committed:
            assert help_pictures.PICTURES[name](nodes).size == committed.size, name


def test_a_page_without_a_picture_or_an_origin_is_found():
    english = build_help.WORDS["en"]
    picture, paper = "![A teapot](images/teapot.jpg)", "[Paper](https://arxiv.org/abs/2010.02502)"
    nowhere = "its section 'Paper' names no place in a paper, nor does it say \"Graft's own\""
    for page, found in {
        f"{picture}\n\n## Paper\n\n{paper}, section 4.3.\n": [],
        f"{picture}\n\n## Paper\n\nGraft's own.\n": [],
        f"{picture}\n\n## Paper\n\n{paper}.\n": [nowhere],
        f"{picture}\n\n## Paper\n\nSection 4.3 of something.\n": [nowhere],
        f"{picture}\n\n{paper}, section 4.3.\n": [nowhere],
        f"## Paper\n\n{paper}, section 4.3.\n": ["it has no picture"],
    }.items():
        assert build_help.missing(f"# Teapot\n\n{page}", english) == found, page


@pytest.mark.parametrize("language", build_help.WORDS)
def test_the_origin_of_every_page_is_asked_for_in_every_language(language):
    words = build_help.WORDS[language]
    (first, *_) = [path for path, _, own in build_help.pages() if own == language]
    page = first.read_text(encoding="utf-8")
    assert build_help.missing(page, words) == []
    cut, _, _ = page.partition(f"## {words.paper}\n")
    assert len(build_help.missing(cut.replace("![", "["), words)) == 2


def test_named_templates_exist(pages):
    named = {title for page in pages.values() for line in NAMED_TEMPLATES.findall(page) for title in re.findall(r"\*\*(.+?)\*\*", line)}
    assert named
    assert [title for title in sorted(named) if not list((pack.ROOT / "workflows").rglob(f"{title}.json"))] == []


def test_comfyui_finds_the_pages():
    assert (pack.ROOT / pack.load_pack().WEB_DIRECTORY / "docs").samefile(build_help.PAGES)


def test_a_renamed_input_is_found_in_pages_and_locales(object_info):
    changed = copy.deepcopy(object_info)
    required = changed["GraftReconstruct"]["input"]["required"]
    required["path"] = required.pop("trajectory")
    found = build_help.complaints(changed)
    for language in TRANSLATED:
        assert f"locales/{language}: GraftReconstruct.inputs.path: missing" in found
        assert f"locales/{language}: GraftReconstruct.inputs.trajectory: the schema has no such thing" in found


def test_a_changed_tooltip_and_a_new_node_are_found(object_info):
    changed = copy.deepcopy(object_info)
    changed["GraftReconstruct"]["input"]["required"]["model"][1]["tooltip"] = "Another text."
    assert build_help.complaints(changed) == ["web/docs/GraftReconstruct.md: its lists differ from the schema; run python tools build_help"]
    changed = {**object_info, "GraftAnother": object_info["GraftReconstruct"]}
    assert "locales/ja: GraftAnother: missing" in build_help.complaints(changed)


def test_an_input_that_options_share_is_listed_once_with_all_its_texts(object_info):
    (mask,) = [single for single in node_texts.inputs(object_info["GraftOptimizeLatent"]) if single.name == "stage.mask"]
    assert [use.option for use in mask.variants] == ["removal", "harmonisation"]
    assert mask.tooltip.startswith("removal: ") and " harmonisation: " in mask.tooltip
