"""An attention layer at work, whatever the network: what families show to those who edit attention, and what they are answered."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import torch
from torch import Tensor

from ...attention.self_attention import Attend, Region
from ..errors import GraftError
from .layer import Layer

Inputs = tuple[Tensor, Tensor, Tensor]
"""Queries, keys and values (rows, N, C), or what they are projected from, of the picture's tokens and of no others."""

Hook = Literal["attn1", "attn2", "step", "h"]
"""What is needed beyond changing self-attention's inputs: computing self-attention or cross-attention itself, a turn between
steps, or a second prediction in which only the bottleneck is changed."""


@dataclass(frozen=True)
class Site:
    """One call of a layer: the layer, its token grid and heads, the rows, and which conditioning each chunk of them belongs to, as
    ComfyUI lists them (`cond_or_uncond`), in whatever order and split the host chose."""

    layer: Layer
    height: int
    width: int
    heads: int
    rows: int
    order: tuple[int, ...]

    def require_all_tokens(self, query: Tensor) -> None:
        """Raises `GraftError` if another node has taken tokens together or apart."""
        if query.shape[:2] != (self.rows, self.height * self.width):
            rows, tokens = query.shape[:2]
            raise GraftError(
                f"model: another node has self-attention see {rows} rows of {tokens} tokens instead of {self.rows} of "
                f"{self.height * self.width}, and Graft edits them; remove that node (Token Merging, HyperTile)"
            )

    def chunks(self) -> Iterator[tuple[int, slice]]:
        """The conditioning and the rows of every chunk."""
        size = self.rows // len(self.order)
        for chunk, which in enumerate(self.order):
            yield which, slice(chunk * size, (chunk + 1) * size)


class Attention(ABC):
    """One attention layer at work, with its projected queries, keys and values: self-attention's of the picture's tokens,
    cross-attention's of the picture's and the text's."""

    site: Site
    inputs: Inputs
    replaced = False
    """Whether another node computes this layer, beside whom edits come second."""
    imposed = False
    """Whether another node does so in this call alone, as guidance by perturbed attention does: then edits leave the layer to it."""

    @cached_property
    @abstractmethod
    def plain(self) -> Tensor:
        """What would be computed without Graft, for all rows."""

    @abstractmethod
    def plain_of(self, rows: slice) -> Tensor:
        """The same for the picture's tokens of some rows."""

    @abstractmethod
    def attending(self, rows: slice) -> Attend:
        """The host's own attention, for some rows, with other queries, keys and values of the picture's tokens."""

    @abstractmethod
    def unedited(self, rows: slice) -> Tensor:
        """What would be computed without Graft, for all tokens of some rows."""

    def region(self, seen: Tensor) -> Region:
        """All queries with the keys that are left where `seen` (rows, N), bool, are those of the picture's tokens that anybody may see;
        none for a row in which no token is."""
        return Region.of(torch.ones_like(seen), seen)

    @abstractmethod
    def seeing(self, region: Region, rows: slice) -> Tensor:
        """(rows, N, C): some rows' output where nobody, text included, sees other keys of the picture than the region's."""

    def joined(self, edited: list[tuple[slice, Tensor]]) -> Tensor:
        """The output for all rows, of which `edited` are some; others are not computed for nothing."""
        if not edited:
            return self.plain
        parts, start = [], 0
        for rows, changed in [*edited, (slice(self.site.rows, None), None)]:
            if start < rows.start:
                parts.append(self.unedited(slice(start, rows.start)))
            if changed is not None:
                parts.append(changed)
            start = rows.stop
        return torch.cat(parts)


class Listener(Protocol):
    """What a family tells of a call of its network, layer by layer."""

    def attention_inputs(self, site: Site, inputs: Inputs) -> Inputs:
        """What self-attention's queries, keys and values are made of."""
        ...

    def self_attention(self, attention: Attention) -> Tensor: ...

    def cross_attention(self, attention: Attention) -> Tensor: ...

    def network(self, executor, *args, **kwargs) -> Tensor:
        """The call of the network itself."""
        ...
