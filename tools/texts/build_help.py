"""Write what follows from the live schemas into the help pages and the English locale, or check that it is up to date.

    python tools build_help            rewrite the lists in web/docs, and locales/en
    python tools build_help --check    fail if a page or a locale does not fit the schemas

A help page is written by hand, all but its title and its sections on inputs and outputs: these are the schema's texts, or the locale's. What is
asked of the rest: a picture, and a last section that says where in which paper the method is, or that it is Graft's own. The frontend asks for web/docs/<node>/<language>.md first, then for web/docs/<node>.md, which is English.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hosting import pack
from workflow_descriptions import blueprint_texts

from texts import node_texts
from texts.node_texts import Input, ObjectInfo, Texts

PAGES = pack.ROOT / "web" / "docs"
LOCALES = pack.ROOT / "locales"
ENGLISH = "en"


@dataclass(frozen=True)
class Words:
    """What every page says in a language: in its lists of inputs and outputs, and of its origin. `place` is a pattern of what names a
    place in a paper or its code, `own` what says that something is from no paper."""

    inputs: str
    outputs: str
    default: str
    optional: str
    advanced: str
    colon: str
    none: str
    paper: str
    place: str
    own: str


WORDS = {
    "en": Words(
        "Inputs",
        "Outputs",
        "default",
        "optional",
        "advanced",
        ": ",
        "None.",
        "Paper",
        r"[Ss]ection |[Ee]quations? |Algorithm |\bstages? |released code",
        "Graft's own",
    ),
    "zh": Words("输入", "输出", "默认", "可选", "高级", "：", "无。", "论文", "节|公式|算法|阶段|发布代码", "Graft 自己的"),
    "ja": Words(
        "入力", "出力", "既定値", "省略可", "高度", "：", "なし。", "論文", "節|式 [0-9]|アルゴリズム|段階|公開コード", "Graft 独自"
    ),
}


def translations() -> dict[str, Texts]:
    """The committed texts of nodes in every language but English."""
    languages = [folder.name for folder in sorted(LOCALES.iterdir()) if folder.name != ENGLISH]
    return {
        language: {node: texts for node, texts in _committed(language).items() if node not in blueprint_texts.entries(ENGLISH)}
        for language in languages
    }


def _committed(language: str) -> dict[str, Any]:
    return json.loads((LOCALES / language / "nodeDefs.json").read_text(encoding="utf-8"))


def _locales(object_info: ObjectInfo) -> dict[str, Texts]:
    """What every locale has to hold: its texts of nodes, and those of blueprints."""
    nodes = {ENGLISH: node_texts.english_locale(object_info), **translations()}
    return {language: {**texts, **blueprint_texts.entries(language)} for language, texts in nodes.items()}


def pages(folder: Path = PAGES) -> Iterator[tuple[Path, str, str]]:
    """Path, node id and language of every help page."""
    for path in sorted(folder.glob("*.md")):
        yield path, path.stem, ENGLISH
    for path in sorted(folder.glob("*/*.md")):
        if path.parent.name != "images":
            yield path, path.parent.name, path.stem


def filled(page: str, node: Mapping[str, Any], texts: Mapping[str, Any], words: Words) -> str:
    """The page with its title and its lists of inputs and outputs made anew. ValueError if a section is not there."""
    page = _replaced(page, r"\A# .*$", f"# {texts['display_name']}", "title")
    page = _replaced(page, _section(words.inputs), f"## {words.inputs}\n\n{_input_list(node, texts, words)}\n\n", words.inputs)
    return _replaced(page, _section(words.outputs), f"## {words.outputs}\n\n{_output_list(node, texts, words)}\n\n", words.outputs)


def _section(title: str) -> str:
    return rf"^## {title}\n(?:(?!## ).*\n)*"


def _replaced(page: str, pattern: str, text: str, what: str) -> str:
    page, count = re.subn(pattern, lambda _: text, page, flags=re.MULTILINE)
    if count != 1:
        raise ValueError(f"it has {count} sections {what!r}, not one")
    return page


def _input_list(node: Mapping[str, Any], texts: Mapping[str, Any], words: Words) -> str:
    lines = []
    for single in node_texts.inputs(node):
        entry = texts["inputs"][single.key]
        lines.append(f"- {_label(entry['name'], single.label)}{_marks(single, texts, words)}{words.colon}{entry['tooltip']}")
    return "\n".join(lines) or words.none


def _output_list(node: Mapping[str, Any], texts: Mapping[str, Any], words: Words) -> str:
    entries = [(texts["outputs"][str(index)], name) for index, (name, _) in enumerate(node_texts.outputs(node))]
    return "\n".join(f"- {_label(entry['name'], name)}{words.colon}{entry['tooltip']}" for entry, name in entries)


def _label(shown: str, name: str) -> str:
    """The name in the editor; also the one that messages use, where that differs."""
    return f"**{shown}**" if shown == name else f"**{shown}** `{name}`"


def _marks(single: Input, texts: Mapping[str, Any], words: Words) -> str:
    """Which options of a choice bring the input, whether it may be left out or is rarely needed, its default."""
    choice, _, _ = single.name.rpartition(".")
    options = "" if single.of_all else ": " + ", ".join(str(variant.option) for variant in single.variants)
    default = _default(single)
    marks = [f"{texts['inputs'][choice]['name']}{options}"] if choice else []
    marks += [words.optional] if single.optional else []
    marks += [words.advanced] if single.advanced else []
    marks += [f"{words.default} {default}"] if default else []
    return f" *({'; '.join(marks)})*" if marks else ""


def _default(single: Input) -> str:
    options: dict[str, list[str]] = {}
    for variant in single.variants:
        options.setdefault(_value(variant.default), []).append(str(variant.option))
    if len(options) == 1:
        return next(iter(options))
    return ", ".join(f"{value} ({', '.join(names)})" for value, names in options.items())


def _value(default: Any) -> str:
    return "" if default is None else str(default).lower() if isinstance(default, bool) else str(default)


def missing(page: str, words: Words) -> list[str]:
    """What a page owes its reader and does not have: a picture, an origin."""
    _, _, origin = page.partition(f"\n## {words.paper}\n")
    found = [] if re.search(r"^!\[[^\]]+\]\(images/[^)]+\)$", page, re.MULTILINE) else ["it has no picture"]
    located = re.search(r"\]\(https://arxiv\.org/abs/[\d.]+\)", origin) and re.search(words.place, origin)
    if not (located or words.own in origin):
        found.append(f"its section {words.paper!r} names no place in a paper, nor does it say {words.own!r}")
    return found


def complaints(object_info: ObjectInfo) -> list[str]:
    """What in the help pages and locales does not fit the schemas."""
    expected, locales = node_texts.english(object_info), translations()
    found = [
        f"locales/{language}: {line}" for language, texts in locales.items() for line in node_texts.missing_and_superfluous(texts, expected)
    ]
    for language, texts in _locales(object_info).items():
        if _committed(language) != texts:
            found.append(f"locales/{language}: it differs from the schemas or the blueprints; run python tools build_help")
    if found:
        return found
    described = set()
    for path, node, language in pages():
        where = path.relative_to(pack.ROOT)
        described |= {node} if language == ENGLISH else set()
        if node not in object_info or language not in WORDS:
            found.append(f"{where}: there is no node or no language of that name")
            continue
        page = path.read_text(encoding="utf-8")
        found += [f"{where}: {line}" for line in missing(page, WORDS[language])]
        try:
            if filled(page, object_info[node], {**locales, ENGLISH: expected}[language][node], WORDS[language]) != page:
                found.append(f"{where}: its lists differ from the schema; run python tools build_help")
        except ValueError as error:
            found.append(f"{where}: {error}")
    return found + [f"{node}: it has no help page" for node in object_info.keys() - described]


def write(object_info: ObjectInfo) -> None:
    """Rewrite the English locale, what others say of blueprints, and the lists in the pages of known nodes."""
    texts = {**translations(), ENGLISH: node_texts.english(object_info)}
    for language, locale in _locales(object_info).items():
        (LOCALES / language / "nodeDefs.json").write_text(as_text(locale), encoding="utf-8", newline="\n")
    for path, node, language in pages():
        if node in texts.get(language, {}):
            page = filled(path.read_text(encoding="utf-8"), object_info[node], texts[language][node], WORDS[language])
            path.write_text(page, encoding="utf-8", newline="\n")


def as_text(texts: Mapping[str, Any]) -> str:
    return json.dumps(texts, indent=2, ensure_ascii=False) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, fail if something is out of date")
    known = os.environ.get("COMFYUI_PATH")
    parser.add_argument("--comfyui", default=known, required=not known, help="ComfyUI's folder (default: COMFYUI_PATH)")
    options = parser.parse_args()
    pack.load_host(options.comfyui, cpu=True)
    object_info = pack.object_info()
    if not options.check:
        write(object_info)
    found = complaints(object_info)
    print("\n".join(found), file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
