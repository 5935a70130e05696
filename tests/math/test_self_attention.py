"""Edits of self-attention's inputs against explicit attention maps in float64."""

import pytest
import torch
from einops import rearrange
from graft.attention.self_attention import keep_values_outside, replace_keys_and_values, replace_queries_and_keys

ROWS, TOKENS, CHANNELS, HEADS = 2, 12, 8, 2


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


TARGET, SOURCE = draw(0, ROWS, TOKENS, CHANNELS), draw(1, ROWS, TOKENS, CHANNELS)
TO_QUERY, TO_KEY, TO_VALUE = (draw(seed, CHANNELS, CHANNELS) for seed in (2, 3, 4))


def heads(hidden: torch.Tensor, projection: torch.Tensor) -> torch.Tensor:
    return rearrange(hidden @ projection, "rows tokens (heads d) -> rows heads tokens d", heads=HEADS)


def attention_map(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """softmax(Q K^T / sqrt(d)), (rows, heads, tokens, tokens)."""
    logits = heads(query, TO_QUERY) @ heads(key, TO_KEY).mT / (CHANNELS // HEADS) ** 0.5
    return logits.softmax(dim=-1)


def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    return attention_map(query, key) @ heads(value, TO_VALUE)


def test_replacing_queries_and_keys_replaces_the_attention_map():
    """The oracle is the paper's own wording: the target's map overwritten by the source's, its values kept."""
    expected = attention_map(SOURCE, SOURCE) @ heads(TARGET, TO_VALUE)
    edited = attend(*replace_queries_and_keys((TARGET,) * 3, SOURCE, SOURCE))
    torch.testing.assert_close(edited, expected, rtol=1e-12, atol=1e-12)
    assert float((edited - attend(TARGET, TARGET, TARGET)).abs().max()) > 0.1


def test_strength_moves_hidden_states_from_the_target_to_the_source():
    query, key, value = replace_queries_and_keys((TARGET,) * 3, SOURCE, SOURCE, 0.25)
    torch.testing.assert_close(query, 0.75 * TARGET + 0.25 * SOURCE)
    torch.testing.assert_close(key, 0.75 * TARGET + 0.25 * SOURCE)
    assert torch.equal(value, TARGET)


def test_each_input_has_a_part_of_its_own():
    """Queries, keys and values that differ, as a transformer's do."""
    query, key, value = draw(5, ROWS, TOKENS, CHANNELS), draw(6, ROWS, TOKENS, CHANNELS), draw(7, ROWS, TOKENS, CHANNELS)
    half_way = replace_queries_and_keys((query, key, value), SOURCE, TARGET, 0.5)
    torch.testing.assert_close(half_way, ((query + SOURCE) / 2, (key + TARGET) / 2, value))
    assert replace_keys_and_values((query, key, value), SOURCE, TARGET) == (query, SOURCE, TARGET)


def test_full_strength_is_the_source_itself_and_needs_nothing_finite_of_the_target():
    query, key, value = replace_queries_and_keys((TARGET / 0, TARGET / 0, TARGET), SOURCE, SOURCE, 1.0)
    assert query is SOURCE and key is SOURCE and value is TARGET


def test_no_strength_changes_no_bit():
    for edited in replace_queries_and_keys((TARGET,) * 3, SOURCE, SOURCE, 0.0):
        assert torch.equal(edited, TARGET)


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_nothing_is_written_to(strength):
    target, source = TARGET.clone(), SOURCE.clone()
    replace_queries_and_keys((target,) * 3, source, source, strength)
    assert torch.equal(target, TARGET) and torch.equal(source, SOURCE)


def test_values_outside_a_mask_are_the_sources_and_half_way_half():
    own, source = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    inside = torch.tensor([[1.0, 0.0, 0.5], [0.0, 1.0, 0.25]])
    for shape in ((2, 3, 4), (2, 3, 2, 2)):
        mixed = keep_values_outside(own.view(shape), source.view(shape), inside).view(2, 3, 4)
        torch.testing.assert_close(mixed, inside[..., None] * own + (1 - inside[..., None]) * source)
        assert torch.equal(mixed[0, 0], own[0, 0]) and torch.equal(mixed[0, 1], source[0, 1])
