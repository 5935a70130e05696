"""Which rows are to be run, and who takes which: rows of one source picture go to one worker."""

from __future__ import annotations

import threading
from array import array
from collections import Counter
from collections.abc import Iterable


class Todo:
    """Rows that wait, by their place in the manifest, in groups of one source picture. Any thread may ask.

    A worker goes on with its own group; then it begins the next group; when all have begun it takes over half of what the longest group
    has left. Numbers lie in arrays: a million rows without a common picture take 16 MB.
    """

    def __init__(self, places: Iterable[tuple[int, str]]):
        """Places with their source pictures, "" for none. The order of the manifest is kept, but for groups, which stay together."""
        self._places, sources = array("q"), array("q")
        for place, source in places:
            self._places.append(place)
            sources.append(hash(source) if source else 0)  # two pictures with one hash would only be one group
        common = {source for source, count in Counter(sources).items() if source and count > 1}
        self._groups = array("q", [source if source in common else 0 for source in sources])
        self._members: dict[int, array] = {source: array("q") for source in common}
        for group, place in zip(reversed(self._groups), reversed(self._places), strict=True):
            if group:
                self._members[group].append(place)  # from the last to the first: they are taken from the end
        self._next = 0
        self._own: dict[int, array] = {}
        self._returned: list[tuple[int, int]] = []
        self._running = self._ended = 0
        self._stopped = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        """How many rows there were at the start."""
        return len(self._places)

    def take(self, slot: int) -> tuple[int, int] | None:
        """A place for the worker of a slot and how often it was given back; None once every row has ended.

        Waits while nothing is left but rows that others run: one of those may come back.
        """
        with self._changed:
            while not self._stopped:
                if (found := self._found(slot)) is not None:
                    self._running += 1
                    return found
                if not self._running:
                    break
                self._changed.wait()
            self._changed.notify_all()
            return None

    def ended(self) -> None:
        """A row that was taken has ended, one way or the other."""
        with self._changed:
            self._running -= 1
            self._ended += 1
            self._changed.notify_all()

    def stop(self) -> None:
        """Nobody gets another row."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def left(self) -> int:
        """How many rows have not ended."""
        return len(self) - self._ended

    def give_back(self, place: int, times: int) -> None:
        """A row that was taken and whose worker was lost; it goes to whoever asks next."""
        with self._changed:
            self._running -= 1
            self._returned.append((place, times))
            self._changed.notify_all()

    def _found(self, slot: int) -> tuple[int, int] | None:
        if self._returned:
            return self._returned.pop()
        own = self._own.get(slot)
        if not own:
            own = self._own[slot] = self._next_group() or self._half_of_the_longest()
        return (own.pop(), 0) if own else None

    def _next_group(self) -> array:
        while self._next < len(self._places):
            group, place = self._groups[self._next], self._places[self._next]
            self._next += 1
            if not group:
                return array("q", [place])
            if group in self._members:
                return self._members.pop(group)
        return array("q")

    def _half_of_the_longest(self) -> array:
        longest = max(self._own.values(), key=len, default=array("q"))
        count = (len(longest) + 1) // 2
        taken = longest[:count]
        del longest[:count]
        return taken
