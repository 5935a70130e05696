"""Says what of pyproject.toml is left for whoever publishes the pack: addresses and names that only they know. Exits with 1 while there is any.

    python tools publishing

Nothing else in the repository names an address of it.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from hosting.pack import ROOT

ANNOUNCED = {
    "Repository": "where people clone it from; the Comfy registry asks for it",
    "Documentation": "its README, as a page",
    "Bug Tracker": "where people report what does not work",
    "PublisherId": "the name behind the @ on your page at the Comfy registry; it cannot be changed later",
    "Icon": "the address of docs/icon.png as a picture, once the repository is somewhere",
    "Banner": "the address of docs/banner.png as a picture, likewise",
}
"""What the owner fills in, and what each is for. The registry takes tags from its own page, and keywords from [project]."""
FIELD = re.compile(r'^"?([\w -]+?)"? = "([^"]*)"', re.MULTILINE)


def missing(text: str) -> list[str]:
    """The fields that are empty, or not there at all, in the order of `ANNOUNCED`."""
    fields = dict(FIELD.findall(text))
    return [name for name in ANNOUNCED if not fields.get(name)]


def main() -> int:
    names = missing(Path(ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for name in names:
        print(f"pyproject.toml: {name} is empty: {ANNOUNCED[name]}.")
    if not names:
        print("pyproject.toml names everything that the registry asks for.")
    return 1 if names else 0


if __name__ == "__main__":
    sys.exit(main())
