"""Keep the table of what Graft takes of ComfyUI: every function and class that host/ and nodes/ name, with its signature.

    python tools host_functions    write the table in docs/architecture.md and the signatures in tests/host/host_functions.txt

A test compares both with the running host, so that a host which changes one of them is noticed before an artist is.
"""

from __future__ import annotations

import argparse
import ast
import enum
import importlib
import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from hosting import pack

SIGNATURES = pack.ROOT / "tests" / "host" / "host_functions.txt"
PAGE = pack.ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- host functions: written by python tools host_functions -->", "<!-- end of host functions -->"
USERS = ("host", "nodes")
PACKAGES = (
    "comfy",
    "comfy_api",
    "comfy_execution",
    "comfy_extras",
    "comfyui_version",
    "folder_paths",
    "latent_preview",
    "node_helpers",
    "nodes",
    "server",
)
PUBLIC = ("comfy_api.", "comfy.patcher_extension.", "comfy.model_patcher.ModelPatcher.", "comfyui_version.", "folder_paths.")
"""What the host offers to packs: its API, its hooks, its folders. The rest of its modules may change with any version."""
OF_OBJECTS = (
    "comfy.model_base.BaseModel.process_latent_in",
    "comfy.model_base.BaseModel.process_latent_out",
    "comfy.model_patcher.ModelPatcher.add_wrapper_with_key",
    "comfy.model_patcher.ModelPatcher.clone",
    "comfy.model_patcher.ModelPatcher.get_additional_models_with_key",
    "comfy.model_patcher.ModelPatcher.get_model_object",
    "comfy.sd.CLIP.tokenize",
    "comfy.sd.VAE.decode",
    "comfy.sd.VAE.encode",
    "comfy.sd1_clip.SDTokenizer._try_get_embedding",
)
"""Methods of objects that the host hands over, which no import names."""


def used() -> dict[str, set[str]]:
    """The dotted name of each function, class and constant of the host that the pack names, with the files that do."""
    found: dict[str, set[str]] = {}
    for folder in USERS:
        for path in sorted((pack.ROOT / folder).rglob("*.py")):
            for name in _names(ast.parse(path.read_text(encoding="utf-8"))):
                found.setdefault(name, set()).add(path.relative_to(pack.ROOT).as_posix())
    for name in OF_OBJECTS:
        found.setdefault(name, set()).update(_files_with_attribute(name.rpartition(".")[2]))
    return dict(sorted(found.items()))


def _names(tree: ast.Module) -> Iterator[str]:
    """Dotted names of the host in one file: what is imported from its modules, and attributes of modules imported whole."""
    bound: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            bound |= {alias.asname or root: alias.name if alias.asname else root for alias in node.names if (root := _root(alias.name))}
        elif isinstance(node, ast.ImportFrom) and not node.level and _root(node.module):
            for alias in node.names:
                bound[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                if not _is_module(f"{node.module}.{alias.name}"):
                    yield f"{node.module}.{alias.name}"
    for node in ast.walk(tree):
        chain = _chain(node)
        if chain and chain[0] in bound:
            name = _object_of([*bound[chain[0]].split("."), *chain[1:]])
            if name:
                yield name


def _root(module: str | None) -> str | None:
    root = (module or "").split(".")[0]
    return root if root in PACKAGES else None


def _chain(node: ast.AST) -> list[str] | None:
    """["a", "b", "c"] of the expression a.b.c."""
    if isinstance(node, ast.Name):
        return [node.id]
    inner = _chain(node.value) if isinstance(node, ast.Attribute) else None
    return inner and [*inner, node.attr]


def _object_of(parts: list[str]) -> str | None:
    """The first object below the modules, with its private attribute where one is named; None for a mere module."""
    depth = next((depth for depth in range(len(parts), 0, -1) if _is_module(".".join(parts[:depth]))), 0)
    if depth in (0, len(parts)):
        return None
    private = len(parts) > depth + 1 and parts[depth + 1].startswith("_")
    return ".".join(parts[: depth + 1 + private])


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ModuleNotFoundError, ValueError):
        return False


def _files_with_attribute(name: str) -> set[str]:
    paths = (path for folder in USERS for path in sorted((pack.ROOT / folder).rglob("*.py")))
    pattern = re.compile(rf"\.{name}\b")
    return {path.relative_to(pack.ROOT).as_posix() for path in paths if pattern.search(path.read_text(encoding="utf-8"))}


def signature(name: str) -> str:
    """What a caller of the name relies on, as the running host has it: parameters, or the type of a constant."""
    value = resolved(name)
    if isinstance(value, enum.EnumMeta):
        return f"({', '.join(value.__members__)})"
    if not callable(value):
        return type(value).__name__
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return "class" if inspect.isclass(value) else "function"
    return f"({', '.join(_parameter(parameter) for parameter in parameters)})"


def _parameter(parameter: inspect.Parameter) -> str:
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    return f"{stars}{parameter.name}{'' if parameter.default is inspect.Parameter.empty else '=...'}"


def resolved(name: str) -> object:
    """The object of that dotted name. Raises AttributeError or ImportError where the host has none."""
    parts = name.split(".")
    depth = next(depth for depth in range(len(parts), 0, -1) if _is_module(".".join(parts[:depth])))
    value: object = importlib.import_module(".".join(parts[:depth]))
    for part in parts[depth:]:
        value = getattr(value, part)
    return value


def kind(name: str) -> str:
    """ "public": offered to packs; "private": underscored; "internal": the rest."""
    if name.rpartition(".")[2].startswith("_") and not name.endswith("__"):
        return "private"
    return "public" if f"{name}.".startswith(PUBLIC) else "internal"


def signatures(names: Mapping[str, set[str]]) -> str:
    """A line for each name with its signature."""
    return "".join(f"{name} {signature(name)}\n" for name in names)


def missing_from(host: str, listed: str) -> list[str]:
    """The lines of `listed` whose name, or one of whose parameters, the signatures `host` lack or have in another order.

    A later host may have more parameters than the one of the list.
    """
    has = dict(line.split(" ", 1) for line in host.splitlines())
    return [line for line in listed.splitlines() if not _is_part(line.split(" ", 1)[1], has.get(line.split(" ", 1)[0], ""))]


def _is_part(listed: str, host: str) -> bool:
    remaining = iter(host.strip("()").split(", "))
    return all(parameter in remaining for parameter in listed.strip("()").split(", "))


def table(names: Mapping[str, set[str]]) -> str:
    """The rows of docs/architecture.md, private ones first."""
    rows = sorted((["private", "internal", "public"].index(kind(name)), name, files) for name, files in names.items())
    lines = [f"| `{name}` | {kind(name)} | {', '.join(f'`{file}`' for file in sorted(files))} |" for _, name, files in rows]
    return "\n".join(["| of ComfyUI | kind | used by |", "|---|---|---|", *lines])


def with_table(page: str, rows: str) -> str:
    """The page with the rows between its marks."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{rows}\n\n{END}{rest.partition(END)[2]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = os.environ.get("COMFYUI_PATH")
    parser.add_argument("--comfyui", default=known, required=not known, help="ComfyUI's folder (default: COMFYUI_PATH)")
    pack.load_host(parser.parse_args().comfyui, cpu=True)
    names = used()
    _write(SIGNATURES, signatures(names))
    _write(PAGE, with_table(PAGE.read_text(encoding="utf-8"), table(names)))
    return 0


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    sys.exit(main())
