"""How much words are looked at, gathered while a run samples."""

from __future__ import annotations

import torch
from torch import Tensor

from ...attention.cross_attention import AttentionMap
from ...attention.words import Prompt
from ..engine.stream import Tap
from ..families.layer import Layer, Layers


def token_groups(prompts: tuple[Prompt, ...], groups: list[tuple[str, str]]) -> Tensor:
    """(rows, L, K): 1 where a token belongs to one of the words that group k names; a row per prompt. A group is its words
    and the node's input they were named in."""
    tokens = torch.zeros(len(prompts), prompts[0].length, len(groups))
    for row, prompt in enumerate(prompts):
        for column, (names, input_name) in enumerate(groups):
            tokens[row, list(prompt.find(names, input_name)), column] = 1
    return tokens


class WordMaps:
    """The running mean over layers and noise levels of how much groups of tokens are looked at.

    `tokens` (rows or 1, L, K). All `layers` share a grid. A noise level that is asked for twice counts once, as last seen.
    `version` grows with every map that comes in.
    """

    def __init__(self, layers: Layers, tokens: Tensor) -> None:
        self.layers, self.tokens = layers, tokens
        self.version = 0
        self.total: Tensor | None = None
        self.count = 0
        self.sigma: float | None = None
        self.present: dict[Layer, Tensor] = {}
        self._mean: tuple[int, Tensor | None] = (0, None)

    def reads(self, tap: Tap, layer: Layer) -> bool:
        """Whether they are made of this tap of a picture's stream."""
        return tap == "cross" and layer in self.layers

    def add(self, layer: Layer, grid: tuple[int, int], sigma: float, attention: AttentionMap) -> None:
        if layer not in self.layers:
            return
        if sigma != self.sigma:
            self.total, self.count = self._summed()
            self.present, self.sigma = {}, sigma
        self.tokens = self.tokens.to(attention.terms[0].query.device)
        self.version += 1
        self.present[layer] = attention.attention_to(self.tokens).unflatten(1, grid).movedim(-1, 0)

    @property
    def latest(self) -> Tensor | None:
        """(K, rows, h, w), over the layers that were added last at one noise level: its first map takes the place of all of the
        level before; None if nothing was."""
        return torch.stack(list(self.present.values())).mean(dim=0) if self.present else None

    def _summed(self) -> tuple[Tensor | None, int]:
        maps = [*([] if self.total is None else [self.total]), *self.present.values()]
        return (torch.stack(maps).sum(dim=0) if maps else None), self.count + len(self.present)

    @property
    def mean(self) -> Tensor | None:
        """(K, rows, h, w), over all that was added so far; None if nothing was."""
        if self._mean[0] != self.version:
            total, count = self._summed()
            self._mean = self.version, None if total is None else total / count
        return self._mean[1]
