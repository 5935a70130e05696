"""Attention to another picture's keys against the formula of SpecRef with explicit maps in float64."""

import pytest
import torch
from einops import rearrange
from graft.attention.self_attention import Region, replace_keys_and_values

ROWS, QUERIES, KEYS, HEADS, CHANNELS = 3, 10, 7, 2, 8


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


QUERY, OWN_KEY, OWN_VALUE = (draw(seed, ROWS, QUERIES, CHANNELS) for seed in (0, 1, 2))
KEY, VALUE = (draw(seed, ROWS, KEYS, CHANNELS) for seed in (3, 4))
SOME_QUERIES, SOME_KEYS = draw(5, ROWS, QUERIES) > 0, draw(6, ROWS, KEYS) > 0


def split(part: torch.Tensor) -> torch.Tensor:
    return rearrange(part, "rows n (heads d) -> rows heads n d", heads=HEADS)


def attend(query, key, value, bias: torch.Tensor | float = 0.0) -> torch.Tensor:
    """softmax(Q K^T / sqrt(d) + bias) V."""
    maps = (split(query) @ split(key).mT / (CHANNELS // HEADS) ** 0.5 + bias).softmax(dim=-1)
    return rearrange(maps @ split(value), "rows heads n d -> rows n (heads d)")


OWN = attend(QUERY, OWN_KEY, OWN_VALUE)


def attend_within(own, query, key, value, queries, keys, attend) -> torch.Tensor:
    return Region.of(queries, keys).attend(lambda: own, query, key, value, lambda query, key, value, rows=None: attend(query, key, value))


def sr_attention(queries, keys) -> torch.Tensor:
    """m_t softmax(Q K_ref^T / sqrt(d) + B) V_ref + (1 - m_t) own, with B = -inf where m_s = 0."""
    bias = torch.zeros(ROWS, KEYS, dtype=torch.float64).masked_fill(~keys, float("-inf"))
    inside = queries.double()[..., None]
    return inside * attend(QUERY, KEY, VALUE, bias[:, None, None]) + (1 - inside) * OWN


def test_attention_within_masks_is_the_formula():
    edited = attend_within(OWN, QUERY, KEY, VALUE, SOME_QUERIES, SOME_KEYS, attend)
    torch.testing.assert_close(edited, sr_attention(SOME_QUERIES, SOME_KEYS), rtol=1e-10, atol=1e-10)


def test_rows_of_as_many_queries_need_no_filling_up():
    queries = SOME_QUERIES[:1].expand(ROWS, -1)
    assert Region.of(queries, SOME_KEYS).own is None and not Region.of(queries, SOME_KEYS).everything
    edited = attend_within(OWN, QUERY, KEY, VALUE, queries, SOME_KEYS, attend)
    torch.testing.assert_close(edited, sr_attention(queries, SOME_KEYS), rtol=1e-10, atol=1e-10)


def test_masks_of_everything_are_plain_attention_to_the_other_picture():
    ones = torch.ones(ROWS, QUERIES, dtype=torch.bool), torch.ones(ROWS, KEYS, dtype=torch.bool)
    torch.testing.assert_close(attend_within(OWN, QUERY, KEY, VALUE, *ones, attend), attend(QUERY, KEY, VALUE), rtol=1e-10, atol=1e-10)


def test_one_softmax_over_both_pictures_is_something_else():
    edited = attend_within(OWN, QUERY, KEY, VALUE, SOME_QUERIES, SOME_KEYS, attend)
    bias = torch.zeros(ROWS, QUERIES + KEYS, dtype=torch.float64)
    bias[:, QUERIES:].masked_fill_(~SOME_KEYS, float("-inf"))
    joint = attend(QUERY, torch.cat([OWN_KEY, KEY], dim=1), torch.cat([OWN_VALUE, VALUE], dim=1), bias[:, None, None])
    assert bool(((edited - joint)[SOME_QUERIES].abs().amax(dim=-1) > 0.01).all())


def test_a_row_without_keys_keeps_its_own_attention_and_the_others_do_not():
    keys = SOME_KEYS.clone()
    keys[1] = False
    edited = attend_within(OWN, QUERY, KEY, VALUE, SOME_QUERIES, keys, attend)
    assert torch.equal(edited[1], OWN[1])
    expected = sr_attention(SOME_QUERIES, SOME_KEYS)
    for row in (0, 2):
        torch.testing.assert_close(edited[row], expected[row], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("row", range(ROWS))
def test_queries_outside_the_region_keep_their_bits(row):
    edited = attend_within(OWN, QUERY, KEY, VALUE, SOME_QUERIES, SOME_KEYS, attend)
    assert torch.equal(edited[row, ~SOME_QUERIES[row]], OWN[row, ~SOME_QUERIES[row]])
    nobody = torch.zeros(ROWS, QUERIES, dtype=torch.bool)
    assert torch.equal(attend_within(OWN, QUERY, KEY, VALUE, nobody, SOME_KEYS, attend), OWN)


def shapes_attended_to(queries, keys):
    """The shapes (rows, tokens) of queries and keys in each call."""
    shapes = []

    def counted(query, key, value):
        shapes.append((tuple(query.shape[:2]), tuple(key.shape[:2])))
        return attend(query, key, value)

    attend_within(OWN, QUERY, KEY, VALUE, queries, keys, counted)
    return shapes


def test_only_what_is_needed_is_attended_to():
    """As many queries as the row with the largest region has, and the seen keys, row by row where rows see different ones."""
    most, keys = int(SOME_QUERIES.sum(dim=1).max()), SOME_KEYS.sum(dim=1).tolist()
    assert most < QUERIES
    assert shapes_attended_to(SOME_QUERIES, SOME_KEYS) == [((1, most), (1, seen)) for seen in keys]


def test_rows_that_see_the_same_are_one_call():
    most, same = int(SOME_QUERIES.sum(dim=1).max()), SOME_KEYS[:1].expand(ROWS, -1)
    assert shapes_attended_to(SOME_QUERIES, same) == [((ROWS, most), (ROWS, int(same[0].sum())))]
    assert shapes_attended_to(torch.zeros_like(SOME_QUERIES), same) == []


def test_a_region_of_everything_asks_for_nothing_plain():
    everything = Region.of(torch.ones_like(SOME_QUERIES), SOME_KEYS)
    edited = everything.attend(
        lambda: pytest.fail("plain attention is computed for nothing"),
        QUERY,
        KEY,
        VALUE,
        lambda query, key, value, rows=None: attend(query, key, value),
    )
    torch.testing.assert_close(edited, sr_attention(torch.ones_like(SOME_QUERIES), SOME_KEYS), rtol=1e-10, atol=1e-10)


def test_nothing_is_written_to():
    output, query, key, value = OWN.clone(), QUERY.clone(), KEY.clone(), VALUE.clone()
    attend_within(output, query, key, value, SOME_QUERIES, SOME_KEYS, attend)
    assert all(torch.equal(*pair) for pair in ((output, OWN), (query, QUERY), (key, KEY), (value, VALUE)))


def test_replacing_keys_and_values_keeps_the_targets_queries():
    """The oracle is MasaCtrl's equation 4: softmax(Q_t K_s^T / sqrt(d)) V_s, with projections of hidden states."""
    target, source = draw(7, 2, QUERIES, CHANNELS), draw(8, 2, QUERIES, CHANNELS)
    to_query, to_key, to_value = (draw(seed, CHANNELS, CHANNELS) for seed in (9, 10, 11))
    query, key, value = replace_keys_and_values((target,) * 3, source, source)
    edited = attend(query @ to_query, key @ to_key, value @ to_value)
    expected = attend(target @ to_query, source @ to_key, source @ to_value)
    torch.testing.assert_close(edited, expected, rtol=1e-12, atol=1e-12)
    assert float((edited - attend(target @ to_query, target @ to_key, target @ to_value)).abs().max()) > 0.1
