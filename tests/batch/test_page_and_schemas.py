"""The page of results in a real browser, with ten thousand rows; records and manifests against their published schemas."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from batch.drawn import mask_of
from batch.filling import Filled
from batch.job import UNNATURAL, File
from batch.measuring import measured, psnr, ssim_map
from batch.outputs import keep
from batch.page import Page
from batch.record import NAME, Record, Result, read
from batch.thumbnails import NAME as THUMBNAILS
from batch.thumbnails import keep as keep_thumbnails
from checking.browsing import in_browser
from PIL import Image

SCHEMAS = Path(__file__).resolve().parents[2] / "docs" / "schemas"
A, B = "a" * 32, "b" * 32


def png(picture: Image.Image) -> bytes:
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()


def filled(row_id: str, **fields) -> Filled:
    return Filled(row_id, {}, fields.pop("pictures", {}), fields.pop("measured", {}), {}, B, **fields)


def written_page(folder: Path, count: int) -> Path:
    """A page of `count` rows, every hundredth failed, the first few with pictures."""
    record = Record(folder)
    for number in range(count):
        row_id, failed = f"row {number}", number % 100 == 7
        result = Result(
            row_id,
            "failed" if failed else "done",
            A,
            B,
            seconds=number % 60 + 0.5,
            worker=f"w{number % 3}",
            error="no <b>luck</b>" * failed,
        )
        if not failed:
            files = [File("1-input.png", png(Image.new("RGB", (300, 200), (number % 256, 90, 90))), saved=False)] if number < 50 else []
            files += [File("2-result.png", png(Image.new("RGB", (40, 40), (90, number % 256, 90))))] if number < 50 else []
            kept = keep(folder, row_id, files) if files else ({"path": f"{row_id}/2-result.png", "bytes": 1, "digest": A, "saved": True},)
            keep_thumbnails(folder / "_batch" / THUMBNAILS, filled(row_id), files)
            result = replace(result, files=kept, metrics={"truth_psnr": 10 + number % 30})
        record.append(result)
    record.close()
    Page(folder, "Many <rows>").write()
    return folder / "index.html"


def test_ten_thousand_rows_are_filtered_sorted_and_opened_without_a_server(tmp_path):
    address = written_page(tmp_path, 10_000).as_uri()
    in_browser(lambda browser: look_through(browser, address))


def look_through(browser, address: str) -> None:
    for width, height in ((1280, 800), (390, 844)):
        page = browser.new_page(viewport={"width": width, "height": height})
        faults: list[str] = []
        page.on("pageerror", lambda error, faults=faults: faults.append(str(error)))
        page.on("request", lambda request, faults=faults: None if request.url.startswith("file:") else faults.append(request.url))
        page.goto(address)
        page.wait_for_selector(".card")
        assert page.locator(".card").count() < 80  # the others are not in the document
        assert page.locator("#summary").inner_text() == "10000 rows, 100 failed"
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator(".card").first.locator(".error").inner_text() == "no <b>luck</b>"
        page.select_option("#status", "done")
        assert page.locator("#count").inner_text() == "9900 shown"
        page.select_option("#order", "1 truth_psnr")
        assert "truth_psnr 10.00" in page.locator(".card").first.inner_text()
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        page.wait_for_function("document.querySelector('.card:last-child .about').textContent.includes('truth_psnr 39')")
        page.fill("#search", "row 42")
        page.locator(".card", has_text="row 42").locator("visible=true").first.wait_for()
        page.select_option("#order", "id")
        first = page.locator(".card").first
        assert first.locator(".name").inner_text() == "row 42"
        page.wait_for_function("[...document.querySelectorAll('.card')][0].querySelectorAll('img').length === 2")
        assert page.evaluate("[...document.querySelectorAll('.card')][0].querySelectorAll('img')[1].naturalWidth") == 40
        first.click()
        page.wait_for_selector("dialog[open] figure")
        assert page.locator("dialog figure").count() == 2
        assert page.evaluate("document.querySelector('dialog img').naturalWidth") == 300
        page.keyboard.press("Escape")
        assert not faults
        page.close()


def test_a_line_of_the_record_fits_its_schema_and_no_other_does(tmp_path):
    schema = json.loads((SCHEMAS / "batch_result.schema.json").read_text(encoding="utf-8"))
    check = jsonschema.Draft202012Validator(schema)
    record = Record(tmp_path)
    files = keep(tmp_path, "x", [File("result.png", b"1")])
    versions = {"host": "0.30.0", "pack": None, "models": {"a.safetensors": {"bytes": 3, "modified": 1.5}, "b.ckpt": None}}
    ended = "2026-01-02T03:04:05+00:00"
    record.append(Result("x", "done", A, B, 1.5, "local", 1, ended, files, {"K.seed": 3}, versions, {"Says": "t"}, {"truth_psnr": 3.0}))
    record.append(Result("y", "failed", A, B, ended=ended, error="bad"))
    good = list(read(tmp_path / NAME))
    assert [list(check.iter_errors(entry)) for entry in good] == [[], []]
    assert set(schema["properties"]) == set(good[0])
    for wrong in ({"status": "lost"}, {"row": "xyz"}, {"files": [{"path": 3}]}, {"extra": 1}, {"attempts": 0}):
        assert list(check.iter_errors({**good[0], **wrong}))


@pytest.mark.parametrize(
    ("entry", "fits"),
    [
        ({"id": "a", "Load Image.image": "a.png", "truth": "b.png", "notes": {"x": [1]}}, True),
        ({"id": 3, "6": {"inputs": {"text": "red"}}, "12.inputs.seed": 5}, True),
        ({"id": "a", "overrides": {"5:7": {"inputs": {"text": "red"}}}, "mask": {"mask_runs": [0, 3], "size": [4, 4]}}, True),
        ({"Load Image.image": "a.png"}, False),
        ({"id": "a/b"}, False),
        ({"id": ".a"}, False),
        ({"id": "a "}, False),
        ({"id": "a", "mask": {"mask_runs": [0, 3]}}, False),
        ({"id": "a", "mask": {"mask_runs": [0, 3], "mask_box": [0, 0, 1, 1], "size": [4, 4]}}, False),
        ({"id": "a", "6": {"text": "red"}}, False),
    ],
)
def test_lines_of_manifests_fit_their_schema_as_they_are_read(tmp_path, entry, fits):
    schema = json.loads((SCHEMAS / "batch_manifest.schema.json").read_text(encoding="utf-8"))
    assert jsonschema.Draft202012Validator(schema).is_valid(entry) is fits


class TestMetrics:
    def test_ssim_is_that_of_windows_written_out(self):
        rng = np.random.default_rng(0)
        truth = rng.random((24, 20, 3))
        picture = np.clip(truth + 0.1 * rng.standard_normal(truth.shape), 0, 1)
        offsets = np.arange(-5, 6)
        window = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
        window /= window.sum()
        found = ssim_map(picture, truth)
        for y, x in ((5, 5), (12, 9), (18, 14)):
            values = []
            for channel in range(3):
                a, b = (array[y - 5 : y + 6, x - 5 : x + 6, channel] for array in (picture, truth))
                ma, mb = (window * a).sum(), (window * b).sum()
                va, vb, cov = (window * (a - ma) ** 2).sum(), (window * (b - mb) ** 2).sum(), (window * (a - ma) * (b - mb)).sum()
                values.append((2 * ma * mb + 1e-4) * (2 * cov + 9e-4) / ((ma**2 + mb**2 + 1e-4) * (va + vb + 9e-4)))
            assert found[y, x] == pytest.approx(np.mean(values), abs=1e-9)

    def test_psnr_in_a_region_looks_at_nothing_else(self):
        picture, truth = np.zeros((4, 4, 3)), np.zeros((4, 4, 3))
        picture[:2] = 0.1
        region = np.zeros((4, 4), bool)
        region[:2] = True
        assert psnr(picture, truth, region) == pytest.approx(20.0)
        assert psnr(picture, truth, ~region) == 99.0
        assert psnr(picture, truth) == pytest.approx(20 + 10 * np.log10(2))

    def test_inside_outside_and_what_should_have_been_kept(self, tmp_path):
        mask = {"mask_box": [0, 0, 8, 16], "size": [16, 16]}
        result, source, truth = (np.full((16, 16, 3), 100, np.uint8) for _ in range(3))
        result[:, :8], truth[:, :8], result[:, 8:] = 200, 210, 105
        Image.fromarray(source).save(tmp_path / "source.png")
        Image.fromarray(truth).save(tmp_path / "truth.png")
        row = filled("x", measured={"truth": tmp_path / "truth.png", "mask": mask}, pictures={("1", "image"): tmp_path / "source.png"})
        numbers = measured(row, [File("2-result.png", png(Image.fromarray(result))), File(UNNATURAL, png(Image.new("L", (4, 4), 51)))])
        assert numbers["truth_psnr_inside"] == pytest.approx(20 * np.log10(255 / 10), abs=1e-4)
        assert numbers["truth_psnr_outside"] == numbers["kept_psnr_outside"] == pytest.approx(20 * np.log10(255 / 5), abs=1e-4)
        assert numbers["unnaturalness"] == pytest.approx(0.2)
        assert mask_of(mask).sum() == 128

    def test_pictures_of_other_sizes_give_no_number(self, tmp_path):
        Image.new("RGB", (8, 8)).save(tmp_path / "truth.png")
        assert measured(filled("x", measured={"truth": tmp_path / "truth.png"}), [File("r.png", png(Image.new("RGB", (9, 9))))]) == {}
