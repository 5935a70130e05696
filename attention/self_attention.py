"""Edits of self-attention.

Edits of its inputs change the hidden states that are projected to queries, keys and values and leave the host's fused
attention in charge. Edits of its output let some queries attend to another picture's keys. No map is ever built.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Attend = Callable[..., Tensor]
"""(query (rows, N, C), key (rows, M, C), value (rows, M, C)) -> (rows, N, C): multi-head attention before its output projection. Where
it is asked for a part of the rows, a fourth argument, a slice, says which."""

Plain = Callable[[], Tensor]
"""Computes an attention's output, (rows, N, C), as it would be without the edit."""


Inputs = tuple[Tensor, Tensor, Tensor]
"""Queries, keys and values (rows, tokens, channels), or the hidden states that they are linear projections of."""


def replace_queries_and_keys(own: Inputs, query: Tensor, key: Tensor, strength: float = 1.0) -> Inputs:
    """The target attends with the source's self-attention map: queries and keys from the source, values its own.

    Free-Prompt-Editing (Liu et al., CVPR 2024, section 4.2) overwrites softmax(Q K^T / sqrt(d)) of the target by the
    source's; the source's queries and keys give that very map. `strength` in [0, 1] moves both from the target's own (0) to
    the source's `query` and `key` (1).
    """
    if strength == 1:
        return query, key, own[2]
    return torch.lerp(own[0], query, strength), torch.lerp(own[1], key, strength), own[2]


def replace_keys_and_values(own: Inputs, key: Tensor, value: Tensor) -> Inputs:
    """The target keeps its queries and reads the source's content: keys and values from the source.

    Mutual self-attention (Cao et al., MasaCtrl, ICCV 2023, eq. 4).
    """
    return own[0], key, value


def keep_values_outside(own: Tensor, source: Tensor, inside: Tensor) -> Tensor:
    """Values of the target where `inside` (rows, N) in [0, 1] is 1, and the source's where it is 0.

    ConsistEdit (SIGGRAPH Asia 2025): structure is shared everywhere, and content where nothing is to change.
    """
    return torch.lerp(source, own, inside.to(own).reshape(*inside.shape, *(1 for _ in own.shape[2:])))


@dataclass(frozen=True)
class Region:
    """Queries that attend to another picture, and the keys that they see of it.

    Finding it waits for the device, attending within it does not: one serves all layers of a grid.
    """

    rows: int
    queries: Tensor
    """(rows, most), int64: the queries inside, row by row, each counted through all rows; shorter rows are filled up."""
    own: Tensor | None
    """Which of them, counted through all rows, are inside, where some fill up."""
    keys: tuple[Tensor | None, ...]
    """The indices of the keys that are seen: for all rows, or row by row; None if all are."""
    everything: bool

    @staticmethod
    def of(queries: Tensor, keys: Tensor) -> Region:
        """Where `queries` (rows, N) and `keys` (rows, M), bool, hold. A row whose `keys` are all False has no region."""
        chosen = queries & keys.any(dim=1, keepdim=True)
        counts = chosen.sum(dim=1)
        most = int(counts.max())
        # A row without keys computes what is not used, with all of them.
        seen = keys | ~keys.any(dim=1, keepdim=True)
        shared = seen[:1] if bool((seen == seen[:1]).all()) else seen
        indices = chosen.byte().argsort(dim=1, descending=True, stable=True)[:, :most]
        inside = chosen.gather(1, indices)
        return Region(
            len(chosen),
            indices + torch.arange(len(chosen), device=chosen.device)[:, None] * chosen.shape[1],
            None if bool(inside.all()) else inside.flatten().nonzero()[:, 0],
            tuple(None if bool(row.all()) else row.nonzero()[:, 0] for row in shared),
            bool(chosen.all()),
        )

    def attend(self, plain: Plain, query: Tensor, key: Tensor, value: Tensor, attend: Attend) -> Tensor:
        """The queries inside attend to the keys that are seen, and to them alone; the others keep `plain`.

        `query` and the output of `plain` are (rows, N, C), `key` and `value` (rows, M, C) the other picture's. SpecRef's
        SR-attn: out = m_t softmax(Q K_ref^T / sqrt(d) + B) V_ref + (1 - m_t) own, with B = -inf outside the reference's mask,
        which leaving those keys out is. Only the queries inside are computed.
        """
        if self.everything:
            return self.attend_to_seen(query, key, value, attend)
        if not self.queries.numel():
            return plain()
        indices = self.queries.flatten()
        inside = query.flatten(0, 1).index_select(0, indices).view(*self.queries.shape, -1)
        new = self.attend_to_seen(inside, key, value, attend).flatten(0, 1)
        if self.own is not None:
            new, indices = new.index_select(0, self.own), indices.index_select(0, self.own)
        return plain().flatten(0, 1).index_copy(0, indices, new).view_as(query)

    def attend_to_seen(self, query: Tensor, key: Tensor, value: Tensor, attend: Attend) -> Tensor:
        """Any queries (rows, L, C) attend to the keys that are seen; in a row without, to all."""
        if len(self.keys) == 1:
            return attend(query, *(_select(part, self.keys[0]) for part in (key, value)))
        rows = [slice(row, row + 1) for row in range(self.rows)]
        outputs = [
            attend(query[row], _select(key[row], seen), _select(value[row], seen), row) for row, seen in zip(rows, self.keys, strict=True)
        ]
        return torch.cat(outputs)


def _select(part: Tensor, tokens: Tensor | None) -> Tensor:
    return part if tokens is None else part.index_select(1, tokens)
