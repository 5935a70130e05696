"""The edits that work on self-attention's inputs, as the stream engine runs them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..attention.self_attention import replace_queries_and_keys
from .layers import Layers
from .plan import Stream
from .windows import Window


@dataclass(frozen=True, eq=False)
class ReplaceSelfAttention:
    """Free-Prompt-Editing: the target attends with the source stream's self-attention maps."""

    stream: Stream
    window: Window
    layers: Layers
    strength: float = 1.0

    def attention_inputs(self, query: Tensor, key: Tensor, value: Tensor, source: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return replace_queries_and_keys(query, key, value, source, self.strength)
