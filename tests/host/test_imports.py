"""No circle of imports, in the pack or in the tools, counting what is imported for type checking, too."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from hosting.pack import ROOT


def modules(root: Path, package: str) -> dict[str, Path]:
    """Every module below `root` by its full name, `package` being the name of `root`."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if parts[0] in ("tests", "tools", ".venv", "build") and package == "graft":
            continue
        found[".".join((package, *parts)).removesuffix(".__init__").removeprefix(".")] = path
    return found


def imported(name: str, path: Path, known: dict[str, Path]) -> set[str]:
    """The modules of `known` that a module imports anywhere in its file: at its head, in a function, or for type checking."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{source}.{alias.name}" if f"{source}.{alias.name}" in known else source for alias in node.names}
    return found & known.keys() - {name}


def circle(known: dict[str, Path]) -> list[str]:
    """A circle of imports, if there is one."""
    try:
        TopologicalSorter({name: imported(name, path, known) for name, path in known.items()}).prepare()
    except CycleError as error:
        return error.args[1]
    return []


@pytest.mark.parametrize(("root", "package"), [(ROOT, "graft"), (ROOT / "tools", "")], ids=["pack", "tools"])
def test_nothing_is_imported_in_a_circle(root, package):
    known = modules(root, package)
    assert len(known) > 40
    assert sum(len(imported(name, path, known)) for name, path in known.items()) > len(known)
    assert circle(known) == []


def test_a_circle_for_type_checking_alone_is_found(tmp_path):
    (tmp_path / "one.py").write_text("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .two import Two\n")
    (tmp_path / "two.py").write_text("def late():\n    from . import one\n")
    assert set(circle(modules(tmp_path, "pack"))) == {"pack.one", "pack.two"}


ROOMS = ("models", "families", "engine", "edits", "samplers", "inspection")
"""The rooms of host/, from what is imported to what imports."""


def test_the_rooms_of_host_import_one_way():
    known = modules(ROOT, "graft")
    room = {name: name.split(".")[2] for name in known if name.startswith("graft.host.") and name.count(".") > 2}
    for name, of in room.items():
        higher = [other for other in imported(name, known[name], known) if ROOMS.index(room.get(other, of)) > ROOMS.index(of)]
        assert not higher, f"{name} imports {higher}"
