"""Prompt-to-Prompt's control of cross-attention, as the stream engine runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ...attention.alignment import refinement, replacement
from ...attention.cross_attention import AttentionMap, ColumnControl, column_control
from ...attention.words import Prompt
from ..engine.plan import Place, RunningEdit
from ..engine.prompts import prompts_of
from ..engine.sampling_run import Run
from ..engine.stream import Stream, Tap
from ..engine.windows import Window
from ..families.attention import Hook
from ..families.layer import Layer

Mode = Literal["refine", "replace"]


@dataclass(frozen=True, eq=False)
class CrossAttentionControl:
    """Prompt-to-Prompt: words that both prompts share are looked at where the source looks at them.

    `window` is in percent of the steps, `word_windows` overrides it for words of the target's prompt, `word_weights`
    reweights them. `parity` keeps the released code's misalignment after words of unequal length.
    """

    hooks: ClassVar[frozenset[Hook]] = frozenset({"attn2"})

    stream: Stream
    mode: Mode
    window: tuple[float, float]
    word_windows: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    word_weights: Mapping[str, float] = field(default_factory=dict)
    parity: bool = False

    def begin(self, run: Run) -> RunningEdit:
        return RunningCrossAttentionControl(self, run)


class RunningCrossAttentionControl(RunningEdit):
    def __init__(self, edit: CrossAttentionControl, run: Run) -> None:
        self.edit, self.run, self.streams = edit, run, (edit.stream,)
        targets = run.prompts("Cross-Attention Control")
        states, options = edit.stream.conditioning[0]
        sources = prompts_of(states.shape[1], options, "source_conditioning")
        run.require_batch("source_conditioning", sources)
        align = {"refine": refinement, "replace": replacement}[edit.mode]
        rows = max(len(sources), len(targets))
        alignments = [align(sources[row % len(sources)], targets[row % len(targets)], edit.parity) for row in range(rows)]
        self.matrix = torch.stack([alignment.matrix for alignment in alignments])
        self.mapped = torch.stack([alignment.mapped for alignment in alignments])
        self.scale = torch.ones_like(self.mapped)
        for name, weight in edit.word_weights.items():
            _set(self.scale, targets, name, "word_weights", weight)
        # Later words overrule earlier ones, and all overrule the default: the released code's order.
        # The trajectory's steps: the run may make a part of them.
        steps = edit.stream.trajectory.steps
        timed = [(Window.of_steps(run.model, *edit.window, steps), torch.ones_like(self.mapped, dtype=torch.bool))]
        for name, window in edit.word_windows.items():
            chosen = _set(torch.zeros_like(self.mapped, dtype=torch.bool), targets, name, "word_windows", True)
            timed.append((Window.of_steps(run.model, *window, steps), chosen))
        self.windows, self.chosen = zip(*timed, strict=True)
        self._control: tuple[float, ColumnControl] | None = None

    def reads(self, tap: Tap, stream: Stream, layer: Layer) -> bool:
        return tap == "cross" and stream == self.edit.stream

    def cross_attention(self, place: Place, attention: AttentionMap) -> AttentionMap:
        query = attention.terms[0].query
        return self._control_at(self.run.sigma, query.device).control(
            attention, *self.run.tapped("cross", self.edit.stream, place.layer, len(query))
        )

    def active(self, sigma: float) -> Tensor:
        """alpha: (rows, L), 1 where the target's token takes part at this noise level."""
        active = torch.zeros_like(self.mapped)
        for window, chosen in zip(self.windows, self.chosen, strict=True):
            active[chosen] = float(sigma in window)
        return active

    def _control_at(self, sigma: float, device: torch.device) -> ColumnControl:
        if self._control is None or self._control[0] != sigma:
            self._control = sigma, column_control(self.matrix, self.mapped, self.active(sigma), self.scale).to(device)
        return self._control[1]


def _set(values: Tensor, prompts: tuple[Prompt, ...], name: str, input_name: str, value: float) -> Tensor:
    """Sets `value` at the tokens of the named words, row by row of (rows, L)."""
    for row in range(len(values)):
        values[row, list(prompts[row % len(prompts)].find(name, input_name))] = value
    return values
