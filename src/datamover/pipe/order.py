"""Put numbered items back in order.  Pure: no buffers, no queues, no clock.

An item is (sequence, part): a stage may send several parts for one sequence, and says with
``complete`` how many there were.  Items of one part carry ``last`` and need no such word.

Source: seed, "Data Integrity", FIGs. 5A and 5B; SPEC B1-B6.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from datamover.errors import SequenceError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Resequencer"]

T = TypeVar("T")
_UNKNOWN: Final = -1


class Resequencer(Generic[T]):
    """Releases items in order, each as soon as its turn has come.

    Invariants: (``next_due``, part) only grows; nothing below it is held; at most ``window``
    items are held.  ``window`` is how many items there can be at once: a gap that outlives them all
    can never close, and saying so beats hanging.

    Numbers without any part are remembered as ranges.  Between two ranges lies a number that
    somebody still works on, so there are no more of them than there are items, however far those
    who drop everything get ahead of the one that is slow.
    """

    def __init__(self, *, window: int, late: Callable[[T], None] | None = None) -> None:
        """Begin at number 0.

        Args:
            window: How many items there can be at once.
            late: Called with an item that came before, where those who send may be replaced and
                send once more; None: that is an error.
        """
        self.next_due: int = 0
        self._part: int = 0
        self._window: int = window
        self._late = late
        self._held: dict[tuple[int, int], tuple[T, bool]] = {}
        self._parts: dict[int, int] = {}
        self._starts: list[int] = []
        self._stops: list[int] = []

    @property
    def remembered(self) -> int:
        """How many completions, and ranges of them, wait for a predecessor."""
        return len(self._parts) + len(self._starts)

    @property
    def held(self) -> int:
        """How many items wait for a predecessor."""
        return len(self._held)

    def push(self, sequence: int, item: T, *, part: int = 0, last: bool = True) -> list[T]:
        """Accept one item; return those whose turn has come, oldest first, maybe none.

        Raises:
            SequenceError: The number was seen before and must not be, or the window is full and
                the item that is due is not among those held.
        """
        if not self._held and sequence == self.next_due and part == self._part and last:
            self.next_due += 1
            self._part = 0
            return [item, *self._release()] if self._parts or self._starts else [item]
        if self._has_seen(sequence, part):
            if self._late is not None:
                self._late(item)
                return []
            raise SequenceError(sequence=sequence, reason=f"part {part} was seen before")
        self._held[sequence, part] = (item, last)
        ready = self._release()
        if len(self._held) >= self._window:
            raise SequenceError(sequence=self.next_due, reason="no buffer is left to bring it")
        return ready

    def complete(self, sequence: int, parts: int) -> list[T]:
        """Learn that ``sequence`` has ``parts`` parts, maybe none; return what is due now.

        Raises:
            SequenceError: It was complete before, or more parts came than it says.
        """
        if sequence < self.next_due or sequence in self._parts or self._is_empty(sequence):
            if self._late is not None:
                return []
            raise SequenceError(sequence=sequence, reason="was complete before")
        if self._late is not None and self._held.get((sequence, 0), (None, False))[1]:
            return []  # its only part waits here: a twin of who sent it dropped it
        if sequence == self.next_due and self._part > parts:
            raise SequenceError(sequence=sequence, reason=f"more than {parts} parts came")
        if parts:
            self._parts[sequence] = parts
        else:
            self._remember_empty(sequence)
        return self._release()

    def finish(self) -> None:
        """Learn that nothing will come any more.

        Raises:
            SequenceError: Something is held whose predecessor never came.
        """
        if self._held or self._parts or self._starts or self._part:
            raise SequenceError(sequence=self.next_due, reason="it never came")

    def _is_empty(self, sequence: int) -> bool:
        place = bisect_right(self._starts, sequence)
        return place > 0 and sequence < self._stops[place - 1]

    def _remember_empty(self, sequence: int) -> None:
        """Take a number into the ranges, and join those that touch now."""
        starts, stops = self._starts, self._stops
        place = bisect_right(starts, sequence)
        follows = place > 0 and stops[place - 1] == sequence
        leads = place < len(starts) and starts[place] == sequence + 1
        if follows and leads:
            stops[place - 1] = stops.pop(place)
            del starts[place]
        elif follows:
            stops[place - 1] = sequence + 1
        elif leads:
            starts[place] = sequence
        else:
            starts.insert(place, sequence)
            stops.insert(place, sequence + 1)

    def _has_seen(self, sequence: int, part: int) -> bool:
        return (
            (sequence, part) < (self.next_due, self._part)
            or (sequence, part) in self._held
            # Its twin was dropped, and that was told already.
            or (self._late is not None and self._is_empty(sequence))
        )

    def _release(self) -> list[T]:
        ready: list[T] = []
        while True:
            if self._parts.get(self.next_due, _UNKNOWN) == self._part:
                del self._parts[self.next_due]
                self.next_due += 1
                self._part = 0
                continue
            if self._starts and self._starts[0] == self.next_due:
                del self._starts[0]
                self.next_due = self._stops.pop(0)
                continue
            found = self._held.pop((self.next_due, self._part), None)
            if found is None:
                return ready
            item, last = found
            ready.append(item)
            self._part += 1
            if last:
                self.next_due += 1
                self._part = 0
