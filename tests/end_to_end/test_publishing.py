"""What the owner of the repository fills in stands in pyproject.toml and nowhere else."""

from __future__ import annotations

import re
import subprocess
from urllib.parse import unquote

import pytest
from checking.publishing import ANNOUNCED, missing
from hosting.host_server import PACK
from PIL import Image

ADDRESS = re.compile(r"(?:https?://|git@|github\.com[/:])[^\s\"'`)>]*\bgraft\b[^\s\"'`)>]*", re.IGNORECASE)
"""An address with the project's name in it."""
TEXTS = {".cff", ".csv", ".html", ".json", ".md", ".py", ".toml", ".txt", ".yml"}


def files() -> list[str]:
    """What the repository holds, without its history where there is one."""
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=PACK, capture_output=True, text=True, check=True).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a clone")
    return [name for name in listed if name and (PACK / name).suffix in TEXTS and (PACK / name).is_file()]


def test_no_other_file_names_an_address_of_the_project():
    found = {name: ADDRESS.findall((PACK / name).read_text(encoding="utf-8")) for name in files() if name != "pyproject.toml"}
    assert {name: addresses for name, addresses in found.items() if addresses} == {}


def test_an_address_is_found_in_every_way_that_it_is_written():
    name = "graft"
    for text in (
        f"https://github.com/a/{name}",
        f"git@github.com:a/{name}.git",
        f"http://{name}.example/docs",
        f"[x](https://a.b/{name.title()}#c)",
    ):
        assert ADDRESS.search(text), text
    assert not ADDRESS.search("https://arxiv.org/abs/2403.03431 and Graft")


def test_empty_and_absent_fields_are_named():
    full = "".join(f'"{name}" = "x"\n' if " " in name else f'{name} = "x" # why\n' for name in ANNOUNCED)
    assert missing(full) == []
    assert missing(full.replace('Icon = "x"', 'Icon = ""')) == ["Icon"]
    assert missing("") == list(ANNOUNCED)


def test_what_the_pack_says_of_itself_is_known_to_the_check():
    """Whatever is empty in pyproject.toml is announced."""
    text = (PACK / "pyproject.toml").read_text(encoding="utf-8")
    assert set(re.findall(r'^"?([\w -]+?)"? = ""', text, re.MULTILINE)) <= ANNOUNCED.keys()


@pytest.mark.parametrize("page", [PACK / "README.md", *sorted((PACK / "docs").glob("*.md"))], ids=lambda page: page.name)
def test_links_within_the_repository_lead_somewhere(page):
    links = [first or second for first, second in re.findall(r'\]\(([^)#\s]+)[^)]*\)|src="([^"]+)"', page.read_text(encoding="utf-8"))]
    assert [link for link in links if "://" not in link and not (page.parent / unquote(link)).exists()] == []


@pytest.mark.parametrize(("name", "size"), [("icon", (400, 400)), ("banner", (1260, 540))])
def test_icon_and_banner_have_the_registrys_proportions(name, size):
    """A square of at most 400 pixels; 21 to 9."""
    assert Image.open(PACK / "docs" / f"{name}.png").size == size
