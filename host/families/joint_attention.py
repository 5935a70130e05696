"""One softmax over text, picture and references, as seen by edits of the picture's tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor

from ...attention.self_attention import Attend, Region
from ..errors import GraftError
from .attention import Attention, Inputs, Site

ALL = slice(None)


@dataclass(frozen=True)
class Joint:
    """How a layer attends: the host's function of (rows, heads, N, d), its heads, the mask that hides padded text, and where the
    picture's tokens stand."""

    function: Callable[..., Tensor]
    heads: int
    mask: Tensor | None
    tokens: slice

    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """Queries, keys and values (rows, heads, N, d) -> (rows, N, C)."""
        return self.function(query, key, value, self.heads, mask=mask, skip_reshape=True)

    def apart(self, part: Tensor) -> Tensor:
        """(rows, N, C) or (rows, N, heads, d) -> (rows, heads, N, d)."""
        return (part if part.dim() == 4 else part.unflatten(2, (self.heads, -1))).transpose(1, 2)

    def mask_for(self, rows: slice, keys: int) -> Tensor | None:
        """The mask of some rows where the picture has as many `keys`, none of which is hidden. Raises `GraftError` for masks that
        differ from query to query."""
        if self.mask is None:
            return None
        if self.mask.dim() > 1 and self.mask.shape[-2] != 1:
            raise GraftError("model: another node masks attention query by query, which Graft's masked edits do not take over; remove it")
        mask = self.mask if self.mask.shape[0] == 1 else self.mask[rows]
        shown = mask.new_full((*mask.shape[:-1], keys), mask.dtype == torch.bool)
        return torch.cat([mask[..., : self.tokens.start], shown, mask[..., self.tokens.stop :]], dim=-1)


class JointAttention(Attention):
    """Queries, keys and values (rows, heads, N, d) of all tokens. Edits see the picture's; the others attend as the host has them do,
    to what the edits leave."""

    def __init__(self, site: Site, whole: Inputs, joint: Joint) -> None:
        self.site, self.whole, self.joint = site, whole, joint
        self._hidden: dict[int, Tensor] = {}
        """The output for all tokens of rows in which edits hide keys from everybody, by their first row."""

    @cached_property
    def inputs(self) -> Inputs:
        return tuple(part[:, :, self.joint.tokens].transpose(1, 2).flatten(2) for part in self.whole)

    @cached_property
    def plain(self) -> Tensor:
        return self._attended(ALL)

    def plain_of(self, rows: slice) -> Tensor:
        return self.plain[rows, self.joint.tokens]

    def unedited(self, rows: slice) -> Tensor:
        return self.plain[rows] if "plain" in vars(self) else self._attended(rows)

    def _attended(self, rows: slice, queries: Tensor | None = None) -> Tensor:
        query, key, value = (part[rows] for part in self.whole)
        mask = self.joint.mask
        own = mask if mask is None or mask.shape[0] == 1 else mask[rows]
        return self.joint.attend(query if queries is None else queries, key, value, own)

    def attending(self, rows: slice) -> Attend:
        return partial(self._attend, rows)

    def _attend(self, rows: slice, query: Tensor, key: Tensor, value: Tensor, part: slice = ALL) -> Tensor:
        """Queries attend to other keys of the picture, and to the text's and the references' as they are; `part` of the rows."""
        tokens, mask = self.joint.tokens, self.joint.mask_for(rows, key.shape[1])
        keys, values = (
            torch.cat([own[:, :, : tokens.start], self.joint.apart(new), own[:, :, tokens.stop :]], dim=2)
            for own, new in zip((whole[rows][part] for whole in self.whole[1:]), (key, value), strict=True)
        )
        mask = mask if mask is None or mask.shape[0] == 1 else mask[part]
        return self.joint.attend(self.joint.apart(query), keys, values, mask)

    def seeing(self, region: Region, rows: slice) -> Tensor:
        _, key, value = (part[rows] for part in self.inputs)
        hidden = region.attend_to_seen(self.whole[0][rows].transpose(1, 2), key, value, self.attending(rows))
        self._hidden[rows.start] = hidden
        return hidden[:, self.joint.tokens]

    def joined(self, edited: list[tuple[slice, Tensor]]) -> Tensor:
        whole = [(rows, self._with_others(rows, picture)) for rows, picture in edited]
        return super().joined(whole)

    def _with_others(self, rows: slice, picture: Tensor) -> Tensor:
        """The picture's output between that of text and references."""
        tokens = self.joint.tokens
        if rows.start in self._hidden:
            others = self._hidden[rows.start]
            return torch.cat([others[:, : tokens.start], picture, others[:, tokens.stop :]], dim=1)
        if "plain" in vars(self):
            others = self.plain[rows]
            return torch.cat([others[:, : tokens.start], picture, others[:, tokens.stop :]], dim=1)
        query = self.whole[0][rows]
        others = self._attended(rows, torch.cat([query[:, :, : tokens.start], query[:, :, tokens.stop :]], dim=2))
        return torch.cat([others[:, : tokens.start], picture, others[:, tokens.start :]], dim=1)
