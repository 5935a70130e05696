"""Edits of self-attention.

Edits of its inputs change the hidden states that are projected to queries, keys and values and leave the host's fused
attention in charge. Edits of its output let some queries attend to another picture's keys. No map is ever built.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(query (rows, N, C), key (rows, M, C), value (rows, M, C)) -> (rows, N, C): multi-head attention before its output projection."""


def replace_queries_and_keys(
    query: Tensor, key: Tensor, value: Tensor, source: Tensor, strength: float = 1.0
) -> tuple[Tensor, Tensor, Tensor]:
    """The target attends with the source's self-attention map: queries and keys from the source, values its own.

    Free-Prompt-Editing (Liu et al., CVPR 2024, section 4.2) overwrites softmax(Q K^T / sqrt(d)) of the target by the
    source's; projecting the source's hidden states to Q and K gives that very map. All are (rows, tokens, channels)
    before projection. `strength` in [0, 1] moves the hidden states from the target's own (0) to the source's (1).
    """
    if strength == 1:
        return source, source, value
    return torch.lerp(query, source, strength), torch.lerp(key, source, strength), value


def replace_keys_and_values(query: Tensor, key: Tensor, value: Tensor, source: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The target keeps its queries and reads the source's content: keys and values from the source.

    Mutual self-attention (Cao et al., MasaCtrl, ICCV 2023, eq. 4). All are (rows, tokens, channels) before projection.
    """
    return query, source, source


def attend_within(output: Tensor, query: Tensor, key: Tensor, value: Tensor, queries: Tensor, keys: Tensor, attend: Attend) -> Tensor:
    """Queries inside a region attend to the keys inside another, and to them alone; the others keep `output`.

    `output`, `query` (rows, N, C); `key`, `value` (rows, M, C) of another picture; `queries` (rows, N) and `keys` (rows, M)
    are bool. SpecRef's SR-attn: out = m_t softmax(Q K_ref^T / sqrt(d) + B) V_ref + (1 - m_t) own, with B = -inf outside
    the reference's mask, which leaving those keys out is. Only the chosen queries are computed. A row whose `keys` are
    all False keeps its output.
    """
    chosen = queries & keys.any(dim=1, keepdim=True)
    most = int(chosen.sum(dim=1).max())
    if most == 0:
        return output
    # The chosen queries of every row, filled up to the longest row with others, which keep their output.
    index = chosen.byte().argsort(dim=1, descending=True, stable=True)[:, :most]
    index, changed = index[..., None], chosen.gather(1, index)[..., None]
    # A row without keys computes what is not used, with all of them.
    new = _attend_to(query.take_along_dim(index, dim=1), key, value, keys | ~keys.any(dim=1, keepdim=True), attend)
    new = torch.where(changed, new, output.take_along_dim(index, dim=1))
    return output.scatter(1, index.expand_as(new), new)


def _attend_to(query: Tensor, key: Tensor, value: Tensor, keys: Tensor, attend: Attend) -> Tensor:
    """Attention to the keys where `keys` (rows, M) holds; in one call where it is the same in all rows."""
    if bool(keys.all()):
        return attend(query, key, value)
    if bool((keys == keys[:1]).all()):
        return attend(query, key[:, keys[0]], value[:, keys[0]])
    return torch.cat([_attend_to(*(part[row : row + 1] for part in (query, key, value, keys)), attend) for row in range(len(keys))])
