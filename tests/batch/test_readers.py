"""Manifests of every format, on small files made here in the published layouts."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from batch.drawn import fault, is_drawn, mask_of, picture_of
from batch.manifest import open_manifest
from batch.problems import Problem
from batch.row import Row
from hosting.quickstart_error import QuickstartError
from PIL import Image


def picture(path: Path, size: tuple[int, int] = (8, 6)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "gray").save(path)
    return path


def rows_of(path: Path) -> list[Row | Problem]:
    return [row for _, row in open_manifest(path).rows()]


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


class TestJsonLines:
    def test_a_line_is_a_row_with_its_number(self, tmp_path):
        path = written(tmp_path / "m.jsonl", '{"id": "a", "Prompt.text": "red"}\n\n{"id": 7, "seed": 3, "notes": {"set": "x"}}\n')
        assert rows_of(path) == [Row(1, "a", {"Prompt.text": "red"}), Row(3, "7", {"seed": 3}, {"set": "x"})]

    @pytest.mark.parametrize(
        "entry", ['{"6": {"inputs": {"text": "red"}}}', '{"overrides": {"6": {"inputs": {"text": "red"}}}}', '{"6.inputs.text": "red"}']
    )
    def test_overrides_of_hosted_services_mean_an_input_of_a_node(self, tmp_path, entry):
        path = written(tmp_path / "m.jsonl", json.dumps({"id": "a", **json.loads(entry)}))
        assert rows_of(path) == [Row(1, "a", {"6.inputs.text": "red"})]

    def test_bad_lines_are_problems_with_their_number(self, tmp_path):
        path = written(tmp_path / "m.jsonl", '{"id": "a"}\n{"id": \n[1]\n{"text": "red"}\n{"id": true}\n{"id": "e", "notes": 3}\n')
        _, *bad = rows_of(path)
        assert [problem.row for problem in bad] == [2, 3, 4, 5, 6]
        assert [problem.column for problem in bad] == ["", "", "id", "id", "notes"]

    def test_a_place_reads_the_same_row_again(self, tmp_path):
        path = written(tmp_path / "m.jsonl", "\ufeff" + "".join(f'{{"id": "row {i}", "text": "ü{i}"}}\n' for i in range(50)))
        manifest = open_manifest(path)
        for place, row in manifest.rows():
            again = manifest.row(place)
            assert (again.id, again.values) == (row.id, row.values)

    def test_a_file_that_changes_meanwhile_stops_the_run(self, tmp_path):
        path = written(tmp_path / "m.jsonl", '{"id": "a"}\n')
        manifest = open_manifest(path)
        (place, _), *_ = manifest.rows()
        written(path, '{"id": "something else"}\n')
        with pytest.raises(QuickstartError, match="changed while"):
            manifest.row(place)


class TestTable:
    @pytest.mark.parametrize(("name", "delimiter"), [("m.csv", ","), ("m.csv", ";"), ("m.tsv", "\t")])
    def test_the_first_line_names_the_columns_and_empty_cells_say_nothing(self, tmp_path, name, delimiter):
        text = "\n".join(delimiter.join(cells) for cells in (["id", "Prompt.text", "seed"], ["a", "red", "1"], ["b", "", "2"]))
        assert rows_of(written(tmp_path / name, text)) == [Row(2, "a", {"Prompt.text": "red", "seed": "1"}), Row(3, "b", {"seed": "2"})]

    def test_cells_with_line_breaks_are_found_again(self, tmp_path):
        path = written(tmp_path / "m.csv", 'id,text\na,"first\nsecond, ü"\nb,"x ""y"""\nc,z\n')
        manifest = open_manifest(path)
        found = list(manifest.rows())
        assert [row.number for _, row in found] == [2, 4, 5]
        assert [manifest.row(place).values["text"] for place, _ in reversed(found)] == ["z", 'x "y"', "first\nsecond, ü"]

    def test_too_many_cells_and_a_missing_id_are_problems(self, tmp_path):
        long, nameless = rows_of(written(tmp_path / "m.csv", "id,text\na,b,c\n,d\n"))
        assert (long.row, nameless.row, nameless.column) == (2, 3, "id")

    @pytest.mark.parametrize("first", ["text,seed", "id,text,text", ""])
    def test_a_first_line_that_does_not_name_columns_is_refused(self, tmp_path, first):
        with pytest.raises(QuickstartError, match="names the columns"):
            open_manifest(written(tmp_path / "m.csv", f"{first}\na,b\n"))


def test_a_folder_of_pictures_is_a_column_of_images(tmp_path):
    for name in ("b.png", "a.JPG", "both.png", "both.jpg", ".hidden.png"):
        picture(tmp_path / "shop" / (name if name != "a.JPG" else "a.jpg"))
    written(tmp_path / "shop" / "readme.txt", "no picture")
    found = {row.id: row.values["image"] for row in rows_of(tmp_path / "shop")}
    assert found == {"a": "a.jpg", "b": "b.png", "both.jpg": "both.jpg", "both.png": "both.png"}


def test_pie_bench(tmp_path):
    entry = {
        "image_path": "1_change/1_artificial/111.jpg",
        "original_prompt": "a [white] cat",
        "editing_prompt": "a [black] [fat] cat",
        "editing_instruction": "Make it black",
        "editing_type_id": "1",
        "blended_word": "cat cat",
        "mask": [0, 3, 512, 2, 262143, 9],
    }
    picture(tmp_path / "annotation_images" / entry["image_path"])
    written(tmp_path / "mapping_file.json", json.dumps({"111000000000": entry, "2": {"image_path": "x.jpg"}}))
    row, bad = rows_of(tmp_path)
    assert rows_of(tmp_path / "mapping_file.json") == [row, bad]
    assert (row.id, row.values["image"]) == ("111000000000", "annotation_images/1_change/1_artificial/111.jpg")
    assert (row.values["source_prompt"], row.values["prompt"], row.values["blend_words"]) == ("a white cat", "a black fat cat", "cat cat")
    assert row.notes["category"] == "1" and row.notes["editing_prompt"] == "a [black] [fat] cat"
    expected = np.zeros((512, 512), bool)
    expected[0, :3] = expected[1, :2] = expected[511, 511] = True
    np.testing.assert_array_equal(mask_of(row.values["mask"]), expected)
    assert bad.column == "original_prompt"


def test_flow_edit(tmp_path):
    entries = [
        {
            "init_img": "flowedit_data/bear.png",
            "source_prompt": "a brown bear",
            "target_prompts": ["a black bear", "a panda"],
            "target_codes": ["1_black", "2_panda"],
        },
        {"input_img": "cat.png", "source_prompt": "a cat", "target_prompts": ["a dog"]},
        {"init_img": "none.png"},
    ]
    picture(tmp_path / "Images" / "bear.png")
    black, panda, dog, bad = rows_of(written(tmp_path / "flowedit.yaml", yaml.safe_dump(entries)))
    assert black == Row(1, "bear-1_black", {"image": "Images/bear.png", "source_prompt": "a brown bear", "prompt": "a black bear"})
    assert (panda.id, panda.values["prompt"], dog.id, dog.values["image"]) == ("bear-2_panda", "a panda", "cat-1", "cat.png")
    assert (bad.row, bad.column) == (3, "target_prompts")


def test_complex_compo(tmp_path):
    home = tmp_path / "wolf_plushie"
    picture(home / "bg" / "0_768_rect.png", (20, 10))
    for name in ("fg/00.jpg", "fg/00.png", "fg/03.jpg", "fg/03.png"):
        picture(home / name)
    entry = {
        "resized_img": "0_768_rect.png",
        "bbox": [2, 3, 6, 9],
        "source_prompt": "a road",
        "fill_prompt": "a toy",
        "target_prompt": "a <sks> on a road",
    }
    written(home / "bg" / "content.json", json.dumps([entry, {"resized_img": "gone.png", "bbox": [0, 0, 1, 1], "target_prompt": ""}]))
    row, bad = rows_of(tmp_path)
    assert row.id == "wolf_plushie-0_768_rect"
    assert row.values["image"] == "wolf_plushie/bg/0_768_rect.png"
    assert (row.values["reference"], row.values["reference_mask"]) == ("wolf_plushie/fg/03.jpg", "wolf_plushie/fg/03.png")
    assert row.values["prompt"] == "a wolf plushie on a road"
    mask = mask_of(row.values["mask"])
    assert mask.shape == (10, 20) and mask.sum() == 4 * 6 and mask[3:9, 2:6].all()
    assert bad.column == "resized_img"


def test_tf_icon(tmp_path):
    home = tmp_path / "cross_domain" / "0001 an oil painting of a panda"
    for name in ("bg59.png", "fg66_63d2.jpg", "fg66_mask.png", "mask_bg_fg.jpg", "cp_bg_fg.jpg", "dccf_image.jpg"):
        picture(home / name)
    picture(tmp_path / "cross_domain" / "broken" / "mask_bg_fg.png")
    row, bad = rows_of(tmp_path)
    inside = "cross_domain/0001 an oil painting of a panda"
    assert row.values == {
        "image": f"{inside}/bg59.png",
        "reference": f"{inside}/fg66_63d2.jpg",
        "reference_mask": f"{inside}/fg66_mask.png",
        "mask": f"{inside}/mask_bg_fg.jpg",
        "prompt": "an oil painting of a panda",
    }
    assert (row.id, row.notes) == ("cross_domain-0001 an oil painting of a panda", {"domain": "cross_domain"})
    assert (bad.column, "0 pictures" in bad.text) == ("image", True)


def test_what_is_no_manifest_is_refused(tmp_path):
    with pytest.raises(QuickstartError, match="There is no manifest"):
        open_manifest(tmp_path / "gone.csv")
    with pytest.raises(QuickstartError, match="is no manifest"):
        open_manifest(written(tmp_path / "notes.txt", "x"))


class TestDrawnMasks:
    def test_a_mask_becomes_a_picture_that_is_white_where_it_is(self):
        value = {"mask_box": [1, 0, 3, 2], "size": [4, 3]}
        path = Image.open(io.BytesIO(picture_of(value)))
        assert path.size == (4, 3)
        np.testing.assert_array_equal(np.asarray(path)[..., 0] == 255, mask_of(value))

    @pytest.mark.parametrize(
        "value",
        [
            {"mask_runs": [0, 1, 2], "size": [4, 4]},
            {"mask_runs": [16, 1], "size": [4, 4]},
            {"mask_runs": [0, -1], "size": [4, 4]},
            {"mask_runs": [0.5, 1], "size": [4, 4]},
            {"mask_box": [2, 0, 2, 4], "size": [4, 4]},
            {"mask_box": [0, 0, 1, 1], "size": [0, 4]},
        ],
    )
    def test_what_is_no_mask_says_why(self, value):
        assert is_drawn(value) and fault(value)
