"""What words were looked at in a run: recorded while it samples."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import ClassVar

from einops import rearrange
from torch import Tensor

from ...attention.cross_attention import AttentionMap
from ...attention.words import names_in
from ..edits.word_maps import token_groups
from ..engine.plan import Place, RunningEdit, plan_of
from ..engine.run import carry_out
from ..engine.sampling_run import Run
from ..engine.stream import Stream
from ..errors import GraftError
from ..families.attention import Hook
from ..families.layer import Layer
from ..samplers.sampling import generate


@dataclass
class AttentionRecord:
    """Word by word, how much of the target's attention every cell gave it: `maps[sigma][layer]` is (words, rows, h, w).

    It is the attention after all edits, the mean over heads; a word's tokens are summed.
    """

    words: tuple[str, ...] = ()
    maps: dict[float, dict[Layer, Tensor]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class WatchAttention:
    """Fills `record` with the attention to `words` of the positive prompt (all of its words if none are named)."""

    hooks: ClassVar[frozenset[Hook]] = frozenset({"attn2"})

    words: str
    record: AttentionRecord

    def begin(self, run: Run) -> RunningEdit:
        return RunningWatchAttention(self, run)


class RunningWatchAttention(RunningEdit):
    def __init__(self, edit: WatchAttention, run: Run) -> None:
        self.run, self.record = run, edit.record
        prompts = run.prompts("Show Attention")
        written = (word.text for prompt in prompts for word in prompt.words if any(map(str.isalnum, word.text)))
        names = names_in(edit.words) or tuple(dict.fromkeys(written))
        if not names:
            raise GraftError("positive: it has no words to show; write a prompt")
        self.record.words = names
        self.tokens = token_groups(prompts, [(name, "words") for name in names])

    def active_at(self, sigma: float) -> bool:
        return True

    def watch(self, place: Place, attention: AttentionMap, stream: Stream | None) -> None:
        if stream is None:
            maps = attention.attention_to(self.tokens.to(attention.terms[0].query.device))
            at_level = self.record.maps.setdefault(self.run.sigma, {})
            at_level[place.layer] = rearrange(maps, "rows (h w) words -> words rows h w", h=place.height).cpu()


def generate_and_record(guider, noise, latent: dict, sampler, sigmas: Tensor, words: str) -> tuple[dict, AttentionRecord]:
    """Runs a generation, edits included; returns its LATENT and what its words were looked at. The guider is left as it was."""
    record = AttentionRecord()
    watching = copy.copy(guider)
    watching.model_patcher = carry_out(guider.model_patcher, plan_of(guider.model_patcher).with_edit(WatchAttention(words, record)))
    watching.model_options = watching.model_patcher.model_options
    return generate(watching, noise, latent, sampler, sigmas), record
