"""Which tokens of two prompts correspond: the attention maps an edited prompt takes from the source.

Prompt-to-Prompt (Hertz et al., "Prompt-to-Prompt Image Editing with Cross Attention Control", 2022, section 3.2 and the
released code).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .words import Prompt, WordError


@dataclass(frozen=True, eq=False)
class Alignment:
    """`matrix` (L_source, L_target) and `mapped` (L_target,), float32.

    Cross-attention maps `source` (..., L_source) and `own` (..., L_target) become `source @ matrix + (1 - mapped) * own`:
    column n of the matrix says whose attention the target's token n takes; where `mapped` is 0 it keeps its own.
    """

    matrix: Tensor
    mapped: Tensor


def refinement(source: Prompt, target: Prompt, parity: bool = False) -> Alignment:
    """Shared tokens take the source's maps and new ones keep their own (section 3.2, "Adding a new phrase").

    The texts of all chunks, with the first start and the last end token, are aligned as one sequence. The other start, end
    and padding tokens correspond by position where the source has a token of their kind there.

    The released code maps the target's padding by position even where the source has text there, which hands a word's map
    to padding if the source is the longer prompt; with `parity` so does this.
    """
    matrix = torch.zeros(source.length, target.length)
    inner_source, inner_target = _sentence(source), _sentence(target)
    partners = global_alignment([source.tokens[n] for n in inner_source], [target.tokens[n] for n in inner_target])
    for position, partner in zip(inner_target, partners, strict=True):
        if partner is not None:
            matrix[inner_source[partner], position] = 1
    _copy_structure(matrix, source, target, of_any_kind=parity)
    return Alignment(matrix, matrix.any(dim=0).float())


def replacement(source: Prompt, target: Prompt, parity: bool = False) -> Alignment:
    """Every word takes the map of the word at its place in the source (section 3.2, "Word swap").

    A word's tokens, attached punctuation included, correspond one to one if both words have as many. If not, each of the
    target's takes the sum of the source's, divided by the number of the target's (`get_replacement_mapper_` in the released
    code). Start, end and padding tokens correspond as in `refinement`.

    The released code no longer follows the words after the last one that differs: from there on, position n takes position
    n of the source, wrong if the word before changed its length; the positions that the shorter rest leaves over take
    nothing at all. With `parity` so does this, for prompts of one chunk.

    Raises `WordError` if the prompts differ in their number of words.
    """
    if len(source.words) != len(target.words):
        raise WordError(
            f"replacing words needs two prompts with the same number of words; the source has {len(source.words)} and the target "
            f"{len(target.words)}: use refine, or write as many"
        )
    matrix = torch.zeros(source.length, target.length)
    matrix[_sentence(source)[0], _sentence(target)[0]] = matrix[_sentence(source)[-1], _sentence(target)[-1]] = 1
    for old, new in zip(source.words, target.words, strict=True):
        if len(old.span) == len(new.span):
            matrix[list(old.span), list(new.span)] = 1
        else:
            for position in new.span:
                matrix[list(old.span), position] = 1 / len(new.span)
    _copy_structure(matrix, source, target)
    if parity:
        _stop_following_words(matrix, source, target)
        return Alignment(matrix, torch.ones(target.length))
    return Alignment(matrix, matrix.any(dim=0).float())


def global_alignment(source: Sequence[Hashable], target: Sequence[Hashable]) -> list[int | None]:
    """For every item of `target` the index of its counterpart in `source`, or None: Needleman and Wunsch (1970) with a match
    worth 1, a mismatch -1 and a gap 0.

    On equal scores the released code of Prompt-to-Prompt leaves out a target item, then a source item, then pairs two.
    """
    scores = [[0] * (len(target) + 1) for _ in range(len(source) + 1)]
    for i, old in enumerate(source, start=1):
        for j, new in enumerate(target, start=1):
            scores[i][j] = max(scores[i][j - 1], scores[i - 1][j], scores[i - 1][j - 1] + (1 if old == new else -1))
    partners: list[int | None] = [None] * len(target)
    i, j = len(source), len(target)
    while i > 0 and j > 0:
        if scores[i][j] == scores[i][j - 1]:
            j -= 1
        elif scores[i][j] == scores[i - 1][j]:
            i -= 1
        else:
            i, j = i - 1, j - 1
            partners[j] = i
    return partners


def _sentence(prompt: Prompt) -> list[int]:
    """Positions of the first start token, the text of all chunks and the last end token."""
    return [prompt.kinds.index("start"), *prompt.text_positions, prompt.length - 1 - prompt.kinds[::-1].index("end")]


def _copy_structure(matrix: Tensor, source: Prompt, target: Prompt, of_any_kind: bool = False) -> None:
    """Lets the target's tokens outside its sentence take the source's at their position."""
    outside = sorted(set(range(target.length)) - set(_sentence(target)))
    for n in outside:
        if n < source.length and (of_any_kind or source.kinds[n] == target.kinds[n]):
            matrix[n, n] = 1


def _stop_following_words(matrix: Tensor, source: Prompt, target: Prompt) -> None:
    """What the released code's mapper does after the last word that differs."""
    i = j = 0
    for old, new in zip(source.words, target.words, strict=True):
        if [source.tokens[n] for n in old.span] != [target.tokens[n] for n in new.span]:
            i, j = old.span[-1] + 1, new.span[-1] + 1
    matrix[:, j:] = 0
    for n in range(j, min(j + source.length - i, target.length, source.length)):
        matrix[n, n] = 1
