"""Correspondence of two prompts' tokens against the procedures written out, one token at a time."""

from functools import cache
from itertools import combinations

import pytest
import torch
from graft.attention.alignment import global_alignment, refinement, replacement
from graft.attention.words import Prompt, Word, WordError
from hypothesis import given
from hypothesis import strategies as st

CHUNK = 12


def made(text: str, chunk: int = CHUNK) -> Prompt:
    """A prompt of words separated by spaces and of chunks as long as the text needs; `sky|scraper` is a word of two tokens."""
    tokens, kinds, words = [], [], []
    for word in text.split():
        span = []
        for piece in word.split("|"):
            if len(tokens) % chunk == chunk - 1:
                tokens, kinds = [*tokens, "<end>"], [*kinds, "end"]
            if len(tokens) % chunk == 0:
                tokens, kinds = [*tokens, "<start>"], [*kinds, "start"]
            span.append(len(tokens))
            tokens, kinds = [*tokens, piece], [*kinds, "text"]
        words.append(Word(word, tuple(span), tuple(span)))
    if not tokens:
        tokens, kinds = ["<start>"], ["start"]
    padding = -(len(tokens) + 1) % chunk
    return Prompt((*tokens, "<end>", *["<end>"] * padding), (*kinds, "end", *["padding"] * padding), tuple(words))


def sources(alignment) -> list[int]:
    """The source position of every target position, -1 where it keeps its own map."""
    assert bool(((alignment.matrix == 0) | (alignment.matrix == 1)).all())
    assert torch.equal(alignment.matrix.sum(0), alignment.mapped)
    return [int(column.argmax()) if mapped else -1 for column, mapped in zip(alignment.matrix.T, alignment.mapped, strict=True)]


def is_identity(alignment) -> bool:
    return torch.equal(alignment.matrix, torch.eye(len(alignment.mapped))) and bool((alignment.mapped == 1).all())


short = st.lists(st.sampled_from("abc"), max_size=6)
sentences = st.lists(st.sampled_from(["a", "b", "c", "d|e", "f|g|h"]), max_size=3).map(" ".join)
long_sentences = st.lists(st.sampled_from(["a", "b", "c", "d|e", "f|g|h"]), max_size=14).map(" ".join)


# Global alignment


@given(short, short)
def test_alignment_pairs_equal_items_in_order_and_as_many_as_can_be(source, target):
    """Oracle: the longest subsequence of both, among all there are."""
    pairs = [(old, new) for new, old in enumerate(global_alignment(source, target)) if old is not None]
    assert all(source[old] == target[new] for old, new in pairs)
    assert [old for old, _ in pairs] == sorted({old for old, _ in pairs})
    subsequences = {tuple(part) for size in range(len(source) + 1) for part in combinations(source, size)}
    longest = max(len(part) for size in range(len(target) + 1) for part in combinations(target, size) if part in subsequences)
    assert len(pairs) == longest


@given(short, short)
def test_ties_leave_out_a_target_item_first_then_a_source_item(source, target):
    """Oracle: the recursion by its definition, from the ends."""

    @cache
    def best(i: int, j: int) -> int:
        if 0 in (i, j):
            return 0
        return max(best(i, j - 1), best(i - 1, j), best(i - 1, j - 1) + (1 if source[i - 1] == target[j - 1] else -1))

    def pairs(i: int, j: int) -> list[tuple[int, int]]:
        if 0 in (i, j):
            return []
        if best(i, j) == best(i, j - 1):
            return pairs(i, j - 1)
        if best(i, j) == best(i - 1, j):
            return pairs(i - 1, j)
        return [*pairs(i - 1, j - 1), (i - 1, j - 1)]

    expected = dict((new, old) for old, new in pairs(len(source), len(target)))
    assert global_alignment(source, target) == [expected.get(new) for new in range(len(target))]


def test_of_two_equal_words_the_first_is_the_counterpart():
    assert global_alignment(["a", "dog"], ["a", "dog", "a", "dog"]) == [0, 1, None, None]


# Refinement


@given(long_sentences)
def test_a_prompt_refined_to_itself_is_the_identity(text):
    assert is_identity(refinement(made(text), made(text)))


def test_new_words_keep_their_own_maps_and_later_ones_move():
    alignment = refinement(made("a cake"), made("a birth|day cake"))
    assert sources(alignment) == [0, 1, -1, -1, 2, 3, 6, 7, 8, 9, 10, 11]


def test_padding_does_not_take_the_map_of_a_word_of_a_longer_source():
    source, target = made("a very small dog"), made("a dog")
    assert sources(refinement(source, target)) == [0, 1, 4, 5, -1, -1, 6, 7, 8, 9, 10, 11]
    assert sources(refinement(source, target, parity=True)) == [0, 1, 4, 5, 4, 5, 6, 7, 8, 9, 10, 11]


@given(sentences, sentences)
def test_one_chunk_is_aligned_as_in_the_released_code(old, new):
    """Oracle: alignment of start, text and end; positions after that are their own counterparts."""
    source, target = made(old), made(new)
    lengths = [len(prompt.text_positions) + 2 for prompt in (source, target)]
    inner = global_alignment(source.tokens[: lengths[0]], target.tokens[: lengths[1]])
    expected = [-1 if partner is None else partner for partner in inner] + list(range(lengths[1], CHUNK))
    assert sources(refinement(source, target, parity=True)) == expected
    corrected = [-1 if lengths[1] <= n < lengths[0] else partner for n, partner in enumerate(expected)]
    assert sources(refinement(source, target)) == corrected


@given(long_sentences, long_sentences)
def test_only_tokens_of_one_kind_correspond(old, new):
    source, target = made(old), made(new)
    pairs = [(partner, n) for n, partner in enumerate(sources(refinement(source, target))) if partner >= 0]
    assert all(source.kinds[partner] == target.kinds[n] and source.tokens[partner] == target.tokens[n] for partner, n in pairs)


def test_text_is_aligned_across_chunks():
    """A new word pushes the last of ten into a second chunk. Both its ends have the source's only one for counterpart."""
    source, target = made("a b c d e f g h i j"), made("new a b c d e f g h i j")
    assert (source.length, target.length) == (CHUNK, 2 * CHUNK)
    assert sources(refinement(source, target)) == [0, -1, *range(1, 10), 11, -1, 10, 11, *[-1] * 9]


# Replacement


@given(long_sentences)
def test_a_prompt_replaced_by_itself_is_the_identity(text):
    for parity in (False, True):
        if not parity or made(text).length == CHUNK:
            assert is_identity(replacement(made(text), made(text), parity))


def test_words_of_equal_length_make_the_identity():
    for parity in (False, True):
        assert is_identity(replacement(made("a cat on a sky|scraper"), made("a dog on a motor|way"), parity))


def test_words_after_one_of_another_length_are_followed():
    alignment = replacement(made("a cat sits here"), made("a sky|scraper sits here"))
    expected = torch.zeros(CHUNK, CHUNK)
    for old, new, value in [(0, 0, 1), (1, 1, 1), (2, 2, 0.5), (2, 3, 0.5), (3, 4, 1), (4, 5, 1), (5, 6, 1)]:
        expected[old, new] = value
    for n in range(7, CHUNK):
        expected[n, n] = 1
    assert torch.equal(alignment.matrix, expected)
    assert bool((alignment.mapped == 1).all())


def test_padding_where_a_longer_source_has_text_keeps_its_own_map():
    alignment = replacement(made("a sky|scraper sits here"), made("a cat sits here"))
    assert alignment.mapped.tolist() == [1] * 6 + [0] + [1] * 5
    assert torch.equal(alignment.matrix[:, 2], torch.tensor([0.0, 0, 1, 1] + [0] * 8))
    assert torch.equal(alignment.matrix.any(dim=0).float(), alignment.mapped)


same_count = st.lists(st.tuples(*[st.sampled_from(["a", "b", "d|e", "f|g|h"])] * 2), max_size=3)


@given(same_count)
def test_parity_walks_as_the_released_code(words):
    """Oracle: the walk over source and target positions i and j, written out."""
    source, target = (made(" ".join(column)) for column in (zip(*words, strict=True) if words else ([], [])))
    differing = [(old.span, new.span) for old, new in zip(source.words, target.words, strict=True) if old.text != new.text]
    expected, i, j = torch.zeros(CHUNK, CHUNK), 0, 0
    while i < CHUNK and j < CHUNK:
        if differing and differing[0][0][0] == i:
            old, new = differing.pop(0)
            for row, a in enumerate(old):
                for column, b in enumerate(new):
                    expected[a, b] = float(row == column) if len(old) == len(new) else 1 / len(new)
            i, j = i + len(old), j + len(new)
        else:
            expected[i if differing else j, j] = 1
            i, j = i + 1, j + 1
    alignment = replacement(source, target, parity=True)
    assert torch.equal(alignment.matrix, expected)
    assert bool((alignment.mapped == 1).all())


@given(st.lists(st.tuples(*[st.sampled_from(["a", "b", "d|e", "f|g|h"])] * 2), max_size=14))
def test_every_source_token_gives_its_whole_map_to_the_word_in_its_place(words):
    source, target = (made(" ".join(column)) for column in (zip(*words, strict=True) if words else ([], [])))
    alignment = replacement(source, target)
    for old, new in zip(source.words, target.words, strict=True):
        torch.testing.assert_close(alignment.matrix[list(old.span)][:, list(new.span)].sum(1), torch.ones(len(old.span)))
        assert int((alignment.matrix[list(old.span)] > 0).sum()) == len(new.span) * (1 if len(old.span) == len(new.span) else len(old.span))
        assert bool((alignment.mapped[list(new.span)] == 1).all())
    assert torch.equal(alignment.matrix.any(dim=0).float(), alignment.mapped)


def test_prompts_of_unlike_word_counts_are_refused_with_both():
    with pytest.raises(WordError, match=r"source has 2 and the target 3: use refine"):
        replacement(made("a cake"), made("a birth|day cake"))
