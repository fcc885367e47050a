"""One instance's record in the segment: it alone writes, anyone reads.

Source: SPEC X5 (the measuring half); docs/spec/shm-layout.md, "Instance record".
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from datamover.shm.statistics import Stand, Wait

if TYPE_CHECKING:
    from datamover.units import Nanoseconds

__all__ = ["Counters"]

_WAITED: Final = {Wait.INPUT: 4, Wait.BUFFER: 5, Wait.OUTPUT: 6}
_STARTED, _ENDED, _WAITS, _SINCE, _COPIED, _STANDS, _SEQUENCE, _CPU, _ITEMS = range(7, 16)


class Counters:
    """Writes one record; each method is a few stores and never waits."""

    __slots__ = ("_bytes_in", "_bytes_out", "_cpu", "_in", "_out", "_record")

    def __init__(self, record: memoryview) -> None:
        self._record = record
        # Totals are kept here and only written there: a store costs half of a load and a store.
        # Whoever takes the place of a dead one counts on from where that one was.
        self._in, self._bytes_in, self._out, self._bytes_out = record[:4]
        self._cpu = record[_CPU]

    def start(self) -> None:
        """Note that the instance has begun."""
        self._record[_STARTED] = self._record[_STARTED] or time.monotonic_ns()

    def end(self) -> None:
        """Note that the instance has ended."""
        self._record[_CPU] = self._cpu + time.thread_time_ns()
        self._record[_ENDED] = time.monotonic_ns()
        self._record[_WAITS] = Wait.NOTHING
        self._record[_STANDS] = Stand.NOWHERE

    def received(self, used: int, sequence: int) -> None:
        """Count one buffer in."""
        record = self._record
        record[0] = self._in = self._in + 1
        record[1] = self._bytes_in = self._bytes_in + used
        record[_SEQUENCE] = sequence + 1

    def sent(self, used: int) -> None:
        """Count one buffer out."""
        record = self._record
        record[2] = self._out = self._out + 1
        record[3] = self._bytes_out = self._bytes_out + used

    def counted(self, items: int) -> None:
        """Count what a person counts."""
        self._record[_ITEMS] += items

    def took(self, size: int) -> None:
        """Count bytes in that came in no buffer."""
        self._record[1] = self._bytes_in = self._bytes_in + size

    def copied(self, used: int) -> None:
        """Count bytes that went on in another buffer than they came in."""
        self._record[_COPIED] += used

    def begin_wait(self, what: Wait) -> Nanoseconds:
        """Note that the instance waits, and since when; return that time."""
        record = self._record
        now = time.monotonic_ns()
        record[_SINCE] = now
        record[_WAITS] = what
        record[_CPU] = self._cpu + time.thread_time_ns()
        return now  # type: ignore[return-value]

    def end_wait(self, what: Wait, since: Nanoseconds) -> None:
        """Note that the wait that began at ``since`` is over."""
        record = self._record
        record[_WAITED[what]] += time.monotonic_ns() - since
        record[_WAITS] = Wait.NOTHING

    def stand(self, where: Stand) -> None:
        """Note that the instance stands at a queue and has no deadline, or that it does no more.

        Taken back before a token is read: who sees it twice, and the queue empty in between, knows
        that nothing was on its way to this instance.
        """
        self._record[_STANDS] = where

    @property
    def sequence(self) -> int:
        """The number in work, or -1."""
        return int(self._record[_SEQUENCE]) - 1

    def release(self) -> None:
        """Let go of the segment."""
        self._record.release()
