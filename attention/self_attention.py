"""Edits of self-attention through its inputs: the hidden states that are projected to queries, keys and values.

Changing inputs leaves the host's fused attention in charge; no attention map is ever built.
"""

from __future__ import annotations

from torch import Tensor, lerp


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
    return lerp(query, source, strength), lerp(key, source, strength), value
