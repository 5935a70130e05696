"""The pictures of the editor in README and docs: taken again, and of the size that is shown there, or they are out of date."""

from __future__ import annotations

import pytest
from hosting.host_server import PACK
from PIL import Image

from pictures import editor_pictures

PAGES = (PACK / "README.md", *sorted((PACK / "docs").glob("*.md")))


@pytest.mark.parametrize("name", editor_pictures.NAMES)
def test_picture_is_as_large_as_the_graph_is_now(name, editor, tmp_path):
    editor_pictures.take(editor, name, tmp_path / "now.png", run=False)
    with Image.open(tmp_path / "now.png") as now, Image.open(editor_pictures.FOLDER / f"{name}.png") as shown:
        assert editor_pictures.small_size(now) == shown.size
        assert len(set(now.convert("L").resize((64, 64)).tobytes())) > 8


def test_every_picture_is_taken_by_the_tool_and_shown_on_a_page():
    taken = {path.name for path in editor_pictures.FOLDER.glob("*.png")}
    shown = {name for name in taken if any(f"images/{name}" in page.read_text(encoding="utf-8") for page in PAGES)}
    assert taken == shown == {f"{name}.png" for name in editor_pictures.NAMES}
