"""Cross-attention maps as linear operators on the text's values: edited and read without being built where nobody looks.

A map is a sum of terms softmax(Q K^T / sqrt(d)) W. To apply it to values V is softmax(Q K^T / sqrt(d)) (W V): the
host's fused attention of other values. So Prompt-to-Prompt's edit, which mixes columns of the source's map into the
target's, costs one more fused attention and no explicit map.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, reduce

import torch
from torch import Tensor

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(query (rows, N, C), key (rows, L, C), value (rows, L, C)) -> (rows, N, C): multi-head attention before its output projection."""


@dataclass(frozen=True)
class Term:
    """softmax(Q K^T / sqrt(d)) W, with `query` (rows, N, C) and `key` (rows, L, C), heads side by side in C.

    `weights` is W: (rows or 1, L, L_out), or (rows or 1, L) if it is diagonal, or None if it is the identity.
    """

    query: Tensor
    key: Tensor
    weights: Tensor | None = None

    def carried(self, values: Tensor) -> Tensor:
        """W V: (rows, L_out, C) -> (rows, L, C)."""
        if self.weights is None:
            return values
        weights = self.weights.to(values)
        return weights[..., None] * values if weights.dim() == 2 else weights @ values

    def weighted(self, maps: Tensor) -> Tensor:
        """Maps times W: (rows, N, L) -> (rows, N, L_out)."""
        if self.weights is None:
            return maps
        weights = self.weights.to(maps)
        return maps * weights[:, None] if weights.dim() == 2 else maps @ weights

    def scaled(self, columns: Tensor) -> Term:
        """The term with its columns weighted by `columns` (rows or 1, L_out)."""
        if self.weights is None:
            return replace(self, weights=columns)
        weights = self.weights.to(columns)
        return replace(self, weights=weights * (columns if weights.dim() == 2 else columns[:, None]))

    def probabilities(self, heads: int) -> Tensor:
        """softmax(Q K^T / sqrt(d)) in float32, (rows, heads, N, L): for looking at, at coarse layers."""
        query, key = (part.float().unflatten(-1, (heads, -1)).transpose(1, 2) for part in (self.query, self.key))
        return (query * query.shape[-1] ** -0.5 @ key.mT).softmax(dim=-1)


@dataclass(frozen=True)
class AttentionMap:
    """A cross-attention map (rows, heads, N, L): the sum of its `terms`."""

    terms: tuple[Term, ...]
    heads: int

    def apply(self, values: Tensor, attend: Attend) -> Tensor:
        """The map times `values` (rows, L, C), head by head: (rows, N, C)."""
        return reduce(torch.add, (attend(term.query, term.key, term.carried(values)) for term in self.terms))

    def attention_to(self, tokens: Tensor) -> Tensor:
        """How much every query looks at groups of tokens: (rows, N, K) in float32, the mean over heads.

        `tokens` (rows or 1, L, K) holds 1 where token l belongs to group k; a group's tokens are summed.
        """
        return self._mean @ tokens.float()

    @cached_property
    def _mean(self) -> Tensor:
        """The map's mean over heads, (rows, N, L), kept for all who look at it."""
        return reduce(torch.add, (term.weighted(term.probabilities(self.heads).mean(dim=1)) for term in self.terms))


@dataclass(frozen=True)
class ColumnControl:
    """What Prompt-to-Prompt makes of a target's map at one noise level: A <- A_source `from_source` + A diag(`own`).

    `from_source` (rows, L_source, L), or (rows, L) where tokens correspond one to one by position; `own` (rows, L). What
    is zero everywhere is None and costs nothing.
    """

    from_source: Tensor | None
    own: Tensor | None

    def to(self, device: torch.device) -> ColumnControl:
        return ColumnControl(*(part if part is None else part.to(device) for part in (self.from_source, self.own)))

    def control(self, own_map: AttentionMap, source_query: Tensor, source_key: Tensor) -> AttentionMap:
        """`source_query` (rows, N, C) and `source_key` (rows, L_source, C) are the source's at the same layer."""
        taken = () if self.from_source is None else (Term(source_query, source_key, self.from_source),)
        kept = () if self.own is None else tuple(term.scaled(self.own) for term in own_map.terms)
        return replace(own_map, terms=taken + kept)


def column_control(matrix: Tensor, mapped: Tensor, active: Tensor, scale: Tensor) -> ColumnControl:
    """Prompt-to-Prompt (Hertz et al. 2022, section 3; the released code's alpha blending).

    A_t <- alpha * E * Edit(A_s, A_t) + (1 - alpha) * A_t per target token, with
    Edit(A_s, A_t) = mapped * (A_s `matrix`) + (1 - mapped) * A_t.

    `matrix` (rows, L_source, L) says which source tokens a target token looks where, `mapped` (rows, L) which target tokens
    have a counterpart, `active` (rows, L) is alpha at this noise level and `scale` (rows, L) the reweighting E.
    """
    taken = active * scale * mapped
    own = 1 - active + active * scale * (1 - mapped)
    columns = matrix * taken[:, None]
    if torch.equal(columns, torch.diag_embed(taken)):
        columns = taken
    return ColumnControl(columns if columns.any() else None, own if own.any() else None)
