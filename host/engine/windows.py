"""When an edit is active."""

from __future__ import annotations

from dataclasses import dataclass

from ...inversion.trajectory import SAME_LEVEL
from ..errors import GraftError


@dataclass(frozen=True)
class Window:
    """Noise levels from `highest` down to, not including, `lowest`: sigmas, from a start and an end in percent of the schedule."""

    highest: float
    lowest: float

    def __contains__(self, sigma: float) -> bool:
        # A level of a schedule and a bound that are the same are not equal to the bit.
        lowest, highest = (bound * (1 + SAME_LEVEL) for bound in (self.lowest, self.highest))
        return lowest < sigma <= highest

    @property
    def empty(self) -> bool:
        return self.lowest >= self.highest

    def misses(self, sigmas: list[float]) -> bool:
        """Whether there are noise levels in it, but none of these."""
        return not self.empty and not any(sigma in self for sigma in sigmas)

    @staticmethod
    def of_percent(model, start: float, end: float) -> Window:
        """ComfyUI's convention: 0 is the noisiest level, 1 the clean picture, in equal parts of the model's timesteps.

        With ddim_uniform and S steps that divide 1000, the first S * end are inside a window that starts at 0.
        """
        if not 0 <= start <= 1 or not 0 <= end <= 1:
            raise GraftError(f"start_percent, end_percent: {start} and {end} must lie between 0 and 1")
        if start > end:
            raise GraftError(f"start_percent, end_percent: the window ends ({end}) before it starts ({start})")
        sampling = model.get_model_object("model_sampling")
        if start == end:
            return Window(0.0, 0.0)
        return Window(float(sampling.percent_to_sigma(start)), float(sampling.percent_to_sigma(end)))

    @staticmethod
    def of_steps(model, start: float, end: float, steps: int) -> Window:
        """Prompt-to-Prompt's count for cross-attention (`get_time_words_attention_alpha`), whose table has a row more than
        there are steps: steps int(start * (S + 1)) up to, not including, int(end * (S + 1))."""
        first, last = (min(steps, int(percent * (steps + 1))) / steps for percent in (start, end))
        return Window.of_percent(model, first, last)
