"""Cross-attention maps as operators against maps that are written out in float64, and Prompt-to-Prompt's formula."""

import pytest
import torch
from einops import rearrange
from graft.attention.cross_attention import AttentionMap, ColumnControl, Term, column_control
from hypothesis import given, settings
from hypothesis import strategies as st

ROWS, QUERIES, LENGTH, SOURCE_LENGTH, HEADS, CHANNELS = 2, 6, 5, 7, 2, 8


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


QUERY, KEY, VALUE = draw(0, ROWS, QUERIES, CHANNELS), draw(1, ROWS, LENGTH, CHANNELS), draw(2, ROWS, LENGTH, CHANNELS)
SOURCE_QUERY, SOURCE_KEY = draw(3, ROWS, QUERIES, CHANNELS), draw(4, ROWS, SOURCE_LENGTH, CHANNELS)
OWN = AttentionMap((Term(QUERY, KEY),), HEADS)


def split(part: torch.Tensor) -> torch.Tensor:
    return rearrange(part, "rows n (heads d) -> rows heads n d", heads=HEADS)


def explicit(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """softmax(Q K^T / sqrt(d)), (rows, heads, N, L)."""
    return (split(query) @ split(key).mT / (CHANNELS // HEADS) ** 0.5).softmax(dim=-1)


def times(maps: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    return rearrange(maps @ split(value), "rows heads n d -> rows n (heads d)")


def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    return times(explicit(query, key), value)


def require_map(attention: AttentionMap, expected: torch.Tensor) -> None:
    """Applied to values, and looked at through tokens, it is the explicit map `expected` (rows, heads, N, L)."""
    torch.testing.assert_close(attention.apply(VALUE, attend), times(expected, VALUE), rtol=1e-10, atol=1e-10)
    tokens = (draw(9, ROWS, LENGTH, 3) > 0).double()
    looked = torch.stack([expected.mean(dim=1)[row] @ tokens[row] for row in range(ROWS)])
    torch.testing.assert_close(attention.attention_to(tokens).double(), looked, rtol=1e-5, atol=1e-5)


def test_a_map_is_its_softmax():
    require_map(OWN, explicit(QUERY, KEY))


@pytest.mark.parametrize("rows", [1, ROWS])
def test_terms_add_up_and_their_weights_mix_columns(rows):
    mixing, columns = draw(5, rows, SOURCE_LENGTH, LENGTH), draw(6, rows, LENGTH)
    mixed = AttentionMap((Term(SOURCE_QUERY, SOURCE_KEY, mixing), Term(QUERY, KEY, columns)), HEADS)
    expected = explicit(SOURCE_QUERY, SOURCE_KEY) @ mixing[:, None] + explicit(QUERY, KEY) * columns[:, None, None]
    require_map(mixed, expected)


@pytest.mark.parametrize("weights", [None, draw(6, ROWS, LENGTH), draw(7, ROWS, LENGTH, LENGTH), draw(7, 1, LENGTH, LENGTH)])
def test_scaling_columns_scales_the_maps_columns(weights):
    term, columns = Term(QUERY, KEY, weights), draw(8, ROWS, LENGTH)
    before = explicit(QUERY, KEY)
    if weights is not None:
        before = before @ (torch.diag_embed(weights) if weights.dim() == 2 else weights)[:, None]
    require_map(AttentionMap((term.scaled(columns),), HEADS), before * columns[:, None, None])


def edit(source: torch.Tensor, own: torch.Tensor, matrix, mapped, active, scale) -> torch.Tensor:
    """alpha E (mapped (A_s M) + (1 - mapped) A_t) + (1 - alpha) A_t, column by column."""
    edited = torch.zeros_like(own)
    for row in range(len(own)):
        of = row % len(matrix)
        for n in range(own.shape[-1]):
            taken = sum(source[row, ..., w] * matrix[of, w, n] for w in range(source.shape[-1]))
            new = scale[of, n] * (mapped[of, n] * taken + (1 - mapped[of, n]) * own[row, ..., n])
            edited[row, ..., n] = active[of, n] * new + (1 - active[of, n]) * own[row, ..., n]
    return edited


def inputs(seed: int, rows: int, length: int, permuted: bool = False):
    """A random edit: matrix, mapped, active, scale. A permutation as the matrix corresponds one to one, but not by position."""
    matrix = draw(seed, rows, length, LENGTH).abs()
    if permuted:
        matrix = torch.eye(LENGTH, dtype=torch.float64).flip(0).expand(rows, -1, -1)
    return matrix, *(draw(seed + part, rows, LENGTH) for part in (1, 2, 3))


@given(
    seed=st.integers(0, 10**6),
    rows=st.sampled_from([1, ROWS]),
    mapped=st.sampled_from(["random", "all", "none"]),
    active=st.sampled_from(["random", "all", "none"]),
    scale=st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_control_is_prompt_to_prompts_formula(seed, rows, mapped, active, scale):
    matrix, *values, weights = inputs(seed, rows, SOURCE_LENGTH)
    made = {"random": lambda value: (value > 0).double(), "all": torch.ones_like, "none": torch.zeros_like}
    taking, taking_part = made[mapped](values[0]), made[active](values[1])
    weights = weights if scale else torch.ones_like(weights)
    controlled = column_control(matrix, taking, taking_part, weights).control(OWN, SOURCE_QUERY, SOURCE_KEY)
    require_map(controlled, edit(explicit(SOURCE_QUERY, SOURCE_KEY), explicit(QUERY, KEY), matrix, taking, taking_part, weights))


def by_position(values: torch.Tensor) -> tuple[torch.Tensor, ...]:
    ones = torch.ones(ROWS, LENGTH, dtype=torch.float64)
    return torch.eye(LENGTH, dtype=torch.float64).expand(ROWS, -1, -1), ones, ones, values


def test_the_same_words_with_the_sources_map_are_exactly_the_sources_map():
    """One fused attention with the target's values, and not a bit of the target's own map."""
    source_key = draw(10, ROWS, LENGTH, CHANNELS)
    control = column_control(*by_position(torch.ones(ROWS, LENGTH, dtype=torch.float64)))
    controlled = control.control(OWN, SOURCE_QUERY, source_key)
    assert control.own is None and len(controlled.terms) == 1
    assert torch.equal(controlled.apply(VALUE, attend), attend(SOURCE_QUERY, source_key, VALUE))


@pytest.mark.parametrize("permuted", [False, True])
def test_correspondence_by_position_and_any_other_of_as_many_tokens_are_told_apart(permuted):
    source_key = draw(10, ROWS, LENGTH, CHANNELS)
    values = (
        by_position(draw(11, ROWS, LENGTH))
        if not permuted
        else (inputs(0, ROWS, LENGTH, True)[0], *by_position(draw(11, ROWS, LENGTH))[1:])
    )
    control = column_control(*values)
    assert control.from_source.dim() == (3 if permuted else 2)
    require_map(control.control(OWN, SOURCE_QUERY, source_key), edit(explicit(SOURCE_QUERY, source_key), explicit(QUERY, KEY), *values))


def test_a_control_that_takes_no_part_costs_no_second_attention():
    ones, zeros = torch.ones(ROWS, LENGTH, dtype=torch.float64), torch.zeros(ROWS, LENGTH, dtype=torch.float64)
    control = column_control(inputs(0, ROWS, SOURCE_LENGTH)[0], ones, zeros, 3 * ones)
    assert control.from_source is None
    assert torch.equal(control.control(OWN, SOURCE_QUERY, SOURCE_KEY).apply(VALUE, attend), attend(QUERY, KEY, VALUE))


def test_a_control_goes_to_a_device_with_what_it_has():
    moved = ColumnControl(None, torch.ones(ROWS, LENGTH)).to(torch.device("meta"))
    assert moved.from_source is None and moved.own.is_meta
    assert ColumnControl(torch.ones(ROWS, LENGTH), None).to(torch.device("meta")).from_source.is_meta


def test_chained_controls_edit_what_the_earlier_ones_made():
    other_query, other_key = draw(12, ROWS, QUERIES, CHANNELS), draw(13, ROWS, LENGTH, CHANNELS)
    first, second = inputs(20, ROWS, SOURCE_LENGTH), inputs(30, 1, LENGTH)
    chained = column_control(*second).control(column_control(*first).control(OWN, SOURCE_QUERY, SOURCE_KEY), other_query, other_key)
    once = edit(explicit(SOURCE_QUERY, SOURCE_KEY), explicit(QUERY, KEY), *first)
    require_map(chained, edit(explicit(other_query, other_key), once, *second))


def test_a_word_reweighted_to_nothing_leaves_an_empty_map():
    """Not renormalised: what the word is not given, no other word is."""
    zeros = torch.zeros(ROWS, LENGTH, dtype=torch.float64)
    nothing = column_control(inputs(0, ROWS, SOURCE_LENGTH)[0], 1 + zeros, 1 + zeros, zeros)
    assert nothing == ColumnControl(None, None)
