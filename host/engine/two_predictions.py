"""Two predictions of one latent: the plain one, and the one with the bottleneck edited."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor

Turn = Literal["plain", "edited"]
"""Which of the two the host is computing."""


class TwoPredictions:
    """Has the host make both, so that guidance and other nodes do with either what they do with any prediction.

    The host is asked twice, the network once: in the first turn the positive prompts are listed once more, with rows whose
    bottleneck is edited, and the second turn is answered with what came of those.
    """

    def __init__(self) -> None:
        self.edited: dict[int, int] = {}
        """In the network's present call, by number in the host's list: the prompts with edited rows, and those they repeat."""
        self._turn: Turn | None = None
        self._answer: list[Tensor] | None = None

    def both(self, denoise: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
        """The plain and the edited prediction (B, C, h, w), where `denoise` asks the host for one."""
        try:
            self._turn = "plain"
            plain = denoise()
            self._turn = "edited"
            return plain, denoise()
        finally:
            self._turn = self._answer = None

    def of(self, predict: Callable[[list], list[Tensor]], conds: list, guided: list[int]) -> list[Tensor]:
        """One prediction for each of `conds` in the present turn; `predict` computes any list, `guided` are the numbers of
        the positive prompts."""
        if self._turn == "plain" and guided and self._answer is None:
            predicted = self._computed(predict, [*conds, *(conds[index] for index in guided)], dict(enumerate(guided, len(conds))))
            self._answer = predicted[: len(conds)]
            for index, edited in zip(guided, predicted[len(conds) :], strict=True):
                self._answer[index] = edited
            return predicted[: len(conds)]
        if self._turn == "edited" and guided:
            if self._answer is None:  # another node asks for a prediction of its own, such as perturbed-attention guidance
                return self._computed(predict, conds, dict(zip(guided, guided, strict=True)))
            answer, self._answer = self._answer, None
            return answer
        return predict(conds)

    def _computed(self, predict: Callable[[list], list[Tensor]], conds: list, edited: dict[int, int]) -> list[Tensor]:
        self.edited = edited
        try:
            return predict(conds)
        finally:
            self.edited = {}
