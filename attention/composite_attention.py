"""TF-ICON's composite self-attention: one softmax over logits of several pictures, without a map being built.

Every block of the composite logits is a product of queries and keys, so all that a query sees fits into one fused attention
of wider heads: each of the queries that a token uses has a slot of its own, and a key stands in the slot of the query that it
is meant for, with zeros in the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor
from torch.nn.functional import pad

from .self_attention import Attend


@dataclass(frozen=True)
class QueryKey:
    """A layer's queries and keys of one picture, each (rows, N, C) with heads side by side in C."""

    query: Tensor
    key: Tensor


@dataclass(frozen=True)
class Areas:
    """How the tokens of rows with equal masks fall into three areas: outside the region, gap, object.

    The gap is what the object leaves free of the region. `members` are the areas' masks, each (N, 1) of zeros and ones, and
    `tokens` the numbers of their tokens; `back` (N,) is where every token is among all areas' tokens, one area after the other.
    `rows` are the numbers of the rows, None for all.
    """

    members: tuple[Tensor, ...]
    tokens: tuple[Tensor, ...]
    back: Tensor
    rows: Tensor | None = None

    def part(self, tensor: Tensor) -> Tensor:
        """The rows of (all rows, N, C)."""
        return tensor if self.rows is None else tensor.index_select(0, self.rows)

    def part_of(self, pair: QueryKey) -> QueryKey:
        return QueryKey(self.part(pair.query), self.part(pair.key))


def token_areas(object_mask: Tensor, region_mask: Tensor, dtype: torch.dtype) -> tuple[Areas, ...]:
    """The areas of masks (rows or 1, N), bool: one `Areas` for all rows whose masks are equal. `dtype` is that of the keys.

    A token of the object counts as one of the region. This waits for the device: once per grid will do, not at every layer.
    """
    labels = torch.where(object_mask, 2, region_mask.long())
    distinct, kind = labels.unique(dim=0, return_inverse=True)
    areas = []
    for number, label in enumerate(distinct):
        members = tuple(label == area for area in range(3))
        tokens = tuple(member.nonzero()[:, 0] for member in members)
        rows = None if len(distinct) == 1 else (kind == number).nonzero()[:, 0]
        areas.append(Areas(tuple(member[:, None].to(dtype) for member in members), tokens, torch.cat(tokens).argsort(), rows))
    return tuple(areas)


def composite_attention(
    target: QueryKey,
    value: Tensor,
    main: QueryKey,
    reference: QueryKey,
    areas: Sequence[Areas],
    heads: int,
    attend: Attend,
    cross: QueryKey | None = None,
) -> Tensor:
    """softmax(composite logits) times the target's `value` (rows, N, C), head by head: (rows, N, C).

    TF-ICON's composite self-attention maps (Lu et al., ICCV 2023; the blocks are those of the released code). The reference lies
    on a canvas as large as the main picture, where the main picture will have it, so that tokens correspond by number. Whose
    queries and keys make the logits, by the area of the query and that of the key:

        query \\ key   outside   gap       object
        outside       main      target    cross
        gap           target    target    cross
        object        cross^T   cross^T   reference

    `cross` None is what the method means by a cross map, the main picture's queries on the reference's keys. The released code
    takes both from a pass of its own, in which the reference asks. The transposed map swaps queries and keys.
    `attend` is ordinary attention with `heads` heads, whatever their width d, its logits scaled by d^-1/2.
    """
    parts = []
    for area in areas:
        own, base, pasted = (area.part_of(pair) for pair in (target, main, reference))
        between = QueryKey(base.query, pasted.key) if cross is None else area.part_of(cross)
        transposed = QueryKey(between.key, between.query)
        blocks = ((base, own, between), (own, own, between), (transposed, transposed, pasted))
        parts.append(_attend_blocks(blocks, area.part(value), area, heads, attend))
    if len(parts) == 1:
        return parts[0]
    output = torch.empty_like(value)
    for area, part in zip(areas, parts, strict=True):
        output.index_copy_(0, area.rows, part)
    return output


def compose_queries_and_keys(target: QueryKey, main: QueryKey, reference: QueryKey, object_mask: Tensor, region_mask: Tensor) -> QueryKey:
    """Queries and keys (rows, N, C) for one ordinary attention: the reference's on the object, the target's in the gap, the main
    picture's outside the region. Masks (rows or 1, N), bool.

    Not TF-ICON, but cheap: between two areas the query's picture meets the key's, and the object's queries are the reference's
    where TF-ICON has the transposed map. Equal to `composite_attention` where the pictures agree and their logits are symmetric.
    """
    on_object, in_region = object_mask[..., None], region_mask[..., None]

    def compose(own: Tensor, base: Tensor, pasted: Tensor) -> Tensor:
        return torch.where(on_object, pasted, torch.where(in_region, own, base))

    return QueryKey(compose(target.query, main.query, reference.query), compose(target.key, main.key, reference.key))


def _attend_blocks(blocks: Sequence[Sequence[QueryKey]], value: Tensor, areas: Areas, heads: int, attend: Attend) -> Tensor:
    """One attention for every area that has tokens: (rows, N, C)."""
    present = [area for area, tokens in enumerate(areas.tokens) if len(tokens)]
    seen_by = {area: _seen([(blocks[area][keys], areas.members[keys]) for keys in present]) for area in present}
    # Values are as wide as keys: fused kernels want it so, and what runs in their place would build the map.
    wide_value = pad(_split(value, heads), (0, 0, 0, max(map(len, seen_by.values())) - 1))
    attended = []
    for area, seen in seen_by.items():
        slots = len(seen)
        wide_query = torch.cat([_split(query.index_select(1, areas.tokens[area]), heads) for query in seen], dim=-2)
        wide_query *= slots**0.5  # `attend` scales by the width of the wide head
        wide_key = torch.cat([_split(_only(keys), heads) for keys in seen.values()], dim=-2)
        output = attend(wide_query.flatten(2), wide_key.flatten(2), wide_value[..., :slots, :].flatten(2))
        attended.append(output.view(wide_query.shape)[..., 0, :])
    return torch.cat(attended, dim=1).flatten(2).index_select(1, areas.back)


def _seen(pairs: Sequence[tuple[QueryKey, Tensor]]) -> dict[Tensor, dict[Tensor, Tensor]]:
    """What every query sees: keys, and the mask (N, 1) of the tokens at which it sees them.

    Tensors are told apart by being different objects, which is how they hash."""
    seen: dict[Tensor, dict[Tensor, Tensor]] = {}
    for pair, member in pairs:
        keys = seen.setdefault(pair.query, {})
        keys[pair.key] = keys[pair.key] + member if pair.key in keys else member
    return seen


def _only(keys: dict[Tensor, Tensor]) -> Tensor:
    """Keys (rows, N, C), each where its mask is, and zeros elsewhere."""
    return reduce(torch.add, [key * mask for key, mask in keys.items()])


def _split(part: Tensor, heads: int) -> Tensor:
    """(rows, N, C) -> (rows, N, heads, 1, d): a slot of every head."""
    return part.view(*part.shape[:2], heads, 1, -1)
