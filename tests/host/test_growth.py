"""What grows with the picture, the batch, the steps and the sources: on the small network, small values of every axis."""

import pytest
import torch
from benchmark import document, growth, networks

SMALL = {"side": (128, 192), "batch": (1, 2), "steps": (5, 10), "sources": (1, 4)}


@pytest.fixture(scope="module")
def points():
    with pytest.MonkeyPatch.context() as patch, torch.inference_mode():
        patch.setattr(growth, "SIDE", 128)
        yield [growth.measured(axis, value, rounds=1) for axis, values in SMALL.items() for value in values]


def test_every_value_is_measured_beside_its_rows_alone(points):
    assert [(point.axis, point.value) for point in points] == [(axis, value) for axis, values in SMALL.items() for value in values]
    assert all(point.seconds > 0 and point.overhead > 0.5 for point in points)
    assert all(point.memory_ratio > 1 for point in points)


@pytest.mark.parametrize("axis", SMALL)
def test_memory_grows_no_faster_than_the_networks_own(points, axis):
    first, last = (point.memory_ratio for point in points if point.axis == axis)
    assert last <= 1.15 * first


def test_sources_give_disjoint_layers_and_all_of_them(monkeypatch):
    given = []
    monkeypatch.setattr("benchmark.shipped.edited", lambda _, edits, *__: given.extend(edits))
    subject = networks.of_random_weights("sd15", 64, 2, torch.float32, small=True)
    growth.edit(subject, 3)
    layers = [layer for edit in given for layer in edit.layers]
    assert len(given) == 3 and len(layers) == len(set(layers)) == 16


def test_the_page_gets_its_table_and_plot(points, tmp_path, monkeypatch):
    page = tmp_path / "benchmark.md"
    page.write_text("Before.\n<!-- growth -->\nold\n<!-- end of growth -->\nAfter.\n")
    monkeypatch.setattr(document, "DOCUMENT", page)
    document.insert("growth", {}, growth.plot(points), growth.table(points))
    text, drawn = page.read_text(), (tmp_path / "benchmark_growth.svg").read_text()
    assert "old" not in text and text.count("\n| ") == 2 + len(points)
    assert all(name in drawn for name in growth.NAMES.values()) and drawn.count("<polyline") == 2 * len(SMALL)
