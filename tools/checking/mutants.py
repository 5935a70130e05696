"""Changes the torch-only folders in one place at a time, and sees whether a test of tests/math notices.

    python tools mutants [FOLDER OR FILE ...] [--results FILE]       by default attention, inversion, hspace and optimization

A mutant exchanges an operator, a comparison or a constant, or turns a condition round. The tests that reach its line run in a fork of
one process that has torch loaded, the quickest first, until one fails. What no test notices is either explained in
`tools/checking/equal_mutants.json`, or listed at the end. Results are kept as they come; what they have already is not run again.
Needs a system that forks.
"""

from __future__ import annotations

import argparse
import ast
import importlib.machinery
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hosting.host_server import PACK

from checking.coverage import tests_of
from checking.report import record

FOLDERS = ("attention", "inversion", "hspace", "optimization")
EQUAL = Path(__file__).with_name("equal_mutants.json")
EXCHANGED = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.Pow: ast.Mult,
    ast.MatMult: ast.Add, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.And: ast.Or, ast.Or: ast.And, ast.USub: ast.UAdd,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
NOT_MUTATED = {"annotation", "returns", "decorator_list", "exc", "msg", "keywords.strict"}
"""Fields whose content is left alone: types, decorators, what errors say."""
SECONDS, GIBIBYTES = 60, 16
"""What the tests of one mutant may take of the processor and of address space."""


@dataclass(frozen=True)
class Mutant:
    """A change of one expression; `lines` are those of its statement, `text` says what became what."""

    file: str
    lines: range
    function: str
    text: str
    code: object

    @property
    def name(self) -> str:
        """Stays when lines move."""
        return f"{self.file}: {self.function}: {self.text}"


def mutants(file: str) -> Iterator[Mutant]:
    """All of a file."""
    tree = ast.parse((PACK / file).read_text(encoding="utf-8"))
    seen: Counter[str] = Counter()
    for statement, function, node in _expressions(tree):
        shown = node.test if isinstance(node, ast.If | ast.IfExp | ast.While) else node
        before = ast.unparse(shown)
        for owner, field, index, new in _changes(node):
            old = getattr(owner, field)
            setattr(owner, field, new if index is None else [*old[:index], new, *old[index + 1 :]])
            ast.fix_missing_locations(tree)
            last = statement.body[0].lineno - 1 if getattr(statement, "body", None) else statement.end_lineno
            text = f"{before} -> {ast.unparse(getattr(node, 'test', node))}"
            seen[function + text] += 1
            text += f" ({seen[function + text]})" * (seen[function + text] > 1)
            yield Mutant(
                file, range(statement.lineno, max(last, statement.lineno) + 1), function, text, compile(tree, str(PACK / file), "exec")
            )
            setattr(owner, field, old)


def _expressions(tree: ast.AST) -> Iterator[tuple[ast.stmt, str, ast.AST]]:
    """Each node that may be changed, with its statement and the function that it is in."""

    def walk(node: ast.AST, statement: ast.AST, function: str) -> Iterator:
        if isinstance(node, ast.stmt):
            statement = node
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            function = f"{function}.{node.name}".strip(".")
        if isinstance(node, ast.JoinedStr | ast.Raise) or (isinstance(node, ast.keyword) and node.arg == "strict"):
            return
        yield statement, function, node
        for field, value in ast.iter_fields(node):
            if field not in NOT_MUTATED:
                for child in value if isinstance(value, list) else [value]:
                    if isinstance(child, ast.AST):
                        yield from walk(child, statement, function)

    yield from walk(tree, tree, "")


def _changes(node: ast.AST) -> Iterator[tuple[ast.AST, str, int | None, object]]:
    """Whose field becomes what, and which of a list."""
    if isinstance(node, ast.BinOp | ast.AugAssign | ast.BoolOp | ast.UnaryOp) and type(node.op) in EXCHANGED:
        yield node, "op", None, EXCHANGED[type(node.op)]()
    elif isinstance(node, ast.UnaryOp):
        yield node, "operand", None, ast.UnaryOp(node.op, node.operand)
    elif isinstance(node, ast.Compare):
        for index, operator in enumerate(node.ops):
            yield node, "ops", index, EXCHANGED[type(operator)]()
    elif isinstance(node, ast.If | ast.IfExp | ast.While) and not isinstance(node.test, ast.Compare | ast.UnaryOp):
        yield node, "test", None, ast.UnaryOp(ast.Not(), node.test)
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
        yield (
            node,
            "value",
            None,
            not node.value if isinstance(node.value, bool) else node.value + (isinstance(node.value, int) or node.value / 2 or 1),
        )


class Reach:
    """A pytest plugin that notes by which tests each line is reached, and how long a test takes."""

    def __init__(self, coverage) -> None:
        self.coverage, self.seconds = coverage, {}

    def pytest_runtest_setup(self, item) -> None:
        self.coverage.switch_context(item.nodeid)

    def pytest_runtest_logreport(self, report) -> None:
        if report.when == "call":
            self.seconds[report.nodeid] = report.duration


def reach(files: list[str]) -> tuple[dict[str, dict[int, set[str]]], dict[str, float]]:
    """By file and line the tests that reach it, and the seconds of each test."""
    from coverage import Coverage, CoverageData

    with tempfile.TemporaryDirectory(prefix="graft-") as folder:
        data, times = Path(folder) / "data", Path(folder) / "times.json"

        def measured() -> int:
            coverage = Coverage(data_file=str(data), include=[str(PACK / file) for file in files], config_file=False)
            coverage.start()
            plugin = Reach(coverage)
            code = _pytest(tests_of(tuple({Path(file).parent.name for file in files})), [plugin])
            coverage.stop()
            coverage.save()
            times.write_text(json.dumps(plugin.seconds), encoding="utf-8")
            return code

        if _in_a_fork(measured):
            sys.exit("The tests fail as they are.")
        found = CoverageData(str(data))
        found.read()
        lines = {file: {line: set(tests) - {""} for line, tests in found.contexts_by_lineno(str(PACK / file)).items()} for file in files}
        return lines, json.loads(times.read_text(encoding="utf-8"))


def _pytest(arguments: list[str], plugins: list | None = None) -> int:
    import pytest

    return int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", *arguments], plugins))


def _in_a_fork(work) -> int:
    """What `work` returns in a process of its own, its output thrown away; -1 where it is killed."""
    process = os.fork()
    if not process:
        code = 1
        try:
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, 1)
            os.dup2(nothing, 2)
            code = work()
        finally:
            os._exit(code)
    status = os.waitpid(process, 0)[1]
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else -1


def survives(mutant: Mutant, tests: list[str]) -> bool:
    """Whether all tests pass with it."""

    def tried() -> int:
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (GIBIBYTES << 30, GIBIBYTES << 30))
        read = importlib.machinery.SourceFileLoader.get_code
        mutated = str(PACK / mutant.file)
        importlib.machinery.SourceFileLoader.get_code = lambda loader, name: mutant.code if loader.path == mutated else read(loader, name)
        return _pytest(tests)

    return _in_a_fork(tried) == 0


def _load() -> None:
    """What all forks share: everything but the pack."""
    os.environ.pop("COMFYUI_PATH", None)  # tests/math need none
    os.chdir(PACK)
    import diffusers.schedulers
    import einops
    import PIL.Image
    import pytest  # noqa: F401
    import torch
    from hypothesis import settings, strategies  # noqa: F401

    torch.set_num_threads(1)
    settings.register_profile("mutants", database=None, derandomize=True, deadline=None, max_examples=30)
    settings.load_profile("mutants")
    _ = diffusers.schedulers.DDIMScheduler, einops, PIL.Image


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("where", nargs="*", default=FOLDERS, metavar="FOLDER OR FILE")
    parser.add_argument("--results", type=Path, default=Path(tempfile.gettempdir()) / "graft_mutants.jsonl", metavar="FILE")
    options = parser.parse_args()
    _load()
    paths = [path for where in options.where for path in ((PACK / where).glob("*.py") if (PACK / where).is_dir() else [PACK / where])]
    files = sorted(path.relative_to(PACK).as_posix() for path in paths)
    lines, seconds = reach(files)
    known = _read(options.results)
    with options.results.open("a", encoding="utf-8") as results:
        for file in files:
            everywhere = set().union(*lines[file].values())
            for mutant in mutants(file):
                if mutant.name in known:
                    continue
                # What is reached when the file is imported only is tried with all that use the file.
                tests = set().union(*(lines[file].get(line, set()) for line in mutant.lines)) or everywhere
                known[mutant.name] = not tests or survives(mutant, sorted(tests, key=lambda test: seconds.get(test, 0.0)))
                results.write(json.dumps([mutant.name, known[mutant.name]]) + "\n")
                results.flush()
    tried = {mutant.name for file in files for mutant in mutants(file)}
    equal: dict[str, str] = json.loads(EQUAL.read_text(encoding="utf-8"))
    left = [name for name in sorted(tried) if known[name]]
    unexplained = [name for name in left if name not in equal]
    print(f"{len(tried)} mutants, {len(tried) - len(left)} noticed, {len(left) - len(unexplained)} explained, {len(unexplained)} left")
    print(*unexplained, sep="\n")
    if options.where == FOLDERS:
        explained = {name: equal[name] for name in left if name in equal}
        record(mutants={"tried": len(tried), "noticed": len(tried) - len(left), "explained": explained, "left": unexplained})
    return 1 if unexplained else 0


def _read(results: Path) -> dict[str, bool]:
    return dict(json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()) if results.exists() else {}


if __name__ == "__main__":
    sys.exit(main())
