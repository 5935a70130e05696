"""Which of the edits that change one attention come to nothing beside later ones: what is said of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ...attention.cross_attention import AttentionMap
from .plan import Part, Place, RunningEdit
from .sampling_run import Run

OUTPUT: frozenset[Part] = frozenset({"mask", "map"})
"""What is lost where an edit computes an attention and does not ask what it would be without it."""


class Precedence:
    """Follows the edits of one attention, at a place of the target's or (None) of a stream's, in the order in which they act. `inputs`
    are those that change what goes in."""

    def __init__(self, run: Run, place: Place | None, inputs: Iterable[RunningEdit] = ()) -> None:
        self.run, self.place = run, place
        self.left: dict[RunningEdit, frozenset[Part]] = {}
        for edit in inputs:
            self._overrule([edit], edit.ignores)
            self.left[edit] = edit.changes

    def add_output(self, edits: Sequence[RunningEdit], asked: bool) -> None:
        """Edits that change together what is computed; `asked` is whether they looked at what it was before."""
        if not asked:
            unseen = frozenset.intersection(*(edit.ignores for edit in edits))
            self._overrule(edits, unseen if all("mask" in edit.changes for edit in edits) else unseen | OUTPUT)
        self.left |= {edit: edit.changes for edit in edits}

    def add_map(self, edit: RunningEdit, before: AttentionMap, after: AttentionMap) -> None:
        """An edit that changed cross-attention's map."""
        kept = any(new.query is old.query and new.key is old.key for new in after.terms for old in before.terms)
        if not kept:
            self._overrule([edit], OUTPUT)
        self.left[edit] = frozenset({"map"})

    def _overrule(self, later: Sequence[RunningEdit], parts: frozenset[Part]) -> None:
        for edit, left in self.left.items():
            if left and left <= parts:
                note_nothing(self.run, edit, " and ".join(one.name for one in later), self._rows(edit))
            self.left[edit] = left - parts

    def _rows(self, edit: RunningEdit) -> str:
        """On which rows, where the edit works on others, too."""
        if self.place is None or not edit.works_at(replace(self.place, guided=not self.place.guided)):
            return ""
        return f" on the {'positive' if self.place.guided else 'negative'} prompt's rows"


def note_nothing(run: Run, edit: RunningEdit, later: str, rows: str = "") -> None:
    """Says that an edit changes nothing, on the `rows` named, beside those that come `later`."""
    run.note(
        f"{edit.name} comes to nothing{rows} where {later} works too: both change the same attention, and the latter has the last word; "
        "leave one of them out, or give them other layers or other parts of the schedule"
    )
