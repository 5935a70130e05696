"""The words of a prompt and the tokens they are made of; words as users name them."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from ..errors import GraftError

Kind = Literal["start", "text", "end", "padding"]


LARGEST_WEIGHT = 100.0
"""Words do not count more than so many times: far larger numbers make states and maps overflow."""


class WordError(GraftError):
    """A word that the prompt does not have, or a line about words that cannot be read."""


@dataclass(frozen=True)
class Word:
    """A word as written between spaces, without the punctuation around it: "cat," is `cat`, "human-like" is one word.

    `positions` are the tokens of `text` in the whole sequence, BOS being 0; `span` are those and the tokens of the punctuation
    around it. Punctuation that stands alone is a word too. A CLIP chunk holds 77 tokens, so later chunks start at 77, 154, ...
    """

    text: str
    positions: tuple[int, ...]
    span: tuple[int, ...]


@dataclass(frozen=True)
class Prompt:
    """A tokenised text: `tokens` and their `kinds`, all chunks one after another, and its `words` in order.

    A token is its id in the vocabulary, or a string that stands in for the vector of a textual inversion: equal where the
    vectors are. Every chunk is start, text, end, padding. Each text token is in the span of exactly one word.
    """

    tokens: tuple[int | str, ...]
    kinds: tuple[Kind, ...]
    words: tuple[Word, ...]

    def __post_init__(self) -> None:
        spanned = tuple(position for word in self.words for position in word.span)
        if len(self.tokens) != len(self.kinds) or spanned != self.text_positions:
            raise WordError(f"the words' spans must hold each text token once; got {spanned} for the text tokens {self.text_positions}")

    @property
    def length(self) -> int:
        """Tokens of all chunks, padding included."""
        return len(self.tokens)

    @property
    def text_positions(self) -> tuple[int, ...]:
        return tuple(position for position, kind in enumerate(self.kinds) if kind == "text")

    def find(self, names: str, input_name: str) -> tuple[int, ...]:
        """Token positions, ascending, of all occurrences of the `names` a user typed into the input `input_name`: words, or
        phrases of consecutive words, separated by commas or newlines, in any case. No names, no positions.

        Raises `WordError` for a name that the prompt does not have.
        """
        found = self.find_each(names_in(names), input_name)
        return tuple(sorted({position for positions in found.values() for position in positions}))

    def find_each(self, names: Iterable[str], input_name: str) -> dict[str, tuple[int, ...]]:
        """Token positions of all occurrences of every name, by name. Names may overlap ("cake", "birthday cake"). Raises as `find`."""
        return {name: self._occurrences(name, input_name) for name in names}

    def listing(self) -> str:
        """The words with their token positions, one per line."""
        return "\n".join(f"{word.text}: {', '.join(map(str, word.positions))}" for word in self.words)

    def _occurrences(self, name: str, input_name: str) -> tuple[int, ...]:
        wanted = [_comparable(part) for part in name.split()]
        written = [_comparable(word.text) for word in self.words]
        starts = [start for start in range(len(written)) if wanted and written[start : start + len(wanted)] == wanted]
        if not starts:
            known = ", ".join(dict.fromkeys(word.text for word in self.words))
            having = f"its words are: {known}" if known else "it is empty"
            raise WordError(f"{input_name}: the prompt has no '{name}'; {having}")
        inside = {position for start in starts for word in self.words[start : start + len(wanted)] for position in word.positions}
        return tuple(sorted(inside))


def around_core(written: str) -> tuple[str, str, str]:
    """`written` cut into the punctuation before its first letter or digit, the core, and the punctuation after its last one.

    Without letters and digits all of it is the first part.
    """
    inside = [index for index, character in enumerate(written) if character.isalnum()]
    if not inside:
        return written, "", ""
    end = inside[-1] + 1
    # Accents and vowel signs that follow a letter as characters of their own belong to it.
    while end < len(written) and unicodedata.category(written[end]).startswith("M"):
        end += 1
    return written[: inside[0]], written[inside[0] : end], written[end:]


def names_in(text: str) -> tuple[str, ...]:
    """The names of words in a line or several: separated by commas or newlines, each once."""
    return tuple(dict.fromkeys(" ".join(name.split()) for name in re.split(r"[,\n]", text) if name.strip()))


def parse_numbers(text: str, input_name: str) -> dict[str, float]:
    """`dog: 2, red hat: 0.5` as {"dog": 2.0, "red hat": 0.5}. Raises `WordError` for what is no name with a number that words may count."""
    numbers = {}
    for name, value in _entries(text, input_name, "dog: 2"):
        try:
            numbers[name] = float(value)
        except ValueError:
            numbers[name] = math.nan
        if not abs(numbers[name]) <= LARGEST_WEIGHT:
            raise WordError(
                f"{input_name}: '{value}' after '{name}' is no number from {-LARGEST_WEIGHT:g} to {LARGEST_WEIGHT:g}; write for example {name}: 2"
            )
    return numbers


def parse_windows(text: str, input_name: str) -> dict[str, tuple[float, float]]:
    """`dog: 0.4, tail: 0.1-0.6` as {"dog": (0.0, 0.4), "tail": (0.1, 0.6)}, parts of the run within [0, 1]; a single number is
    the end of a window that begins with the run, as in Prompt-to-Prompt's code. Raises `WordError` for anything else."""
    windows = {}
    for name, value in _entries(text, input_name, "dog: 0.1-0.6"):
        numbers = re.fullmatch(r"(?:(\d*\.?\d+)\s*-\s*)?(\d*\.?\d+)", value, re.ASCII)
        start, end = (float(number or 0) for number in numbers.groups()) if numbers else (math.nan, math.nan)
        if not 0 <= start <= end <= 1:
            raise WordError(
                f"{input_name}: '{value}' after '{name}' is not a part of the run; write {name}: 0.4 for its first 40 %, or {name}: 0.1-0.6"
            )
        windows[name] = (start, end)
    return windows


def _entries(text: str, input_name: str, example: str) -> Iterator[tuple[str, str]]:
    """The parts `name: value` of a text, separated by commas or newlines."""
    seen = set()
    for entry in re.split(r"[,\n]", text):
        if not entry.strip():
            continue
        # The last colon: names such as embedding:style have one of their own.
        name, _, value = entry.rpartition(":")
        name, value = " ".join(name.split()), value.strip()
        if not name or not value:
            raise WordError(f"{input_name}: cannot read '{entry.strip()}'; write a word, a colon and a value, for example {example}")
        if _comparable(name) in seen:
            raise WordError(f"{input_name}: '{name}' is there twice; keep one")
        seen.add(_comparable(name))
        yield name, value


def _comparable(written: str) -> str:
    """Equal for what users take for the same word: case, outer punctuation and the encoding of accents do not count."""
    before, core, _ = around_core(written)
    return unicodedata.normalize("NFC", core or before).casefold()
