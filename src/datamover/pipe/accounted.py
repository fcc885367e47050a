"""A port that leaves no doubt where a buffer is: for pipes whose dead tasks are replaced.

Between the table and the queues there is always a moment at which neither says who has a buffer:
its token was read and the table not yet written, or the other way round.  Here each task marks
that moment in its record, and marks in the table what it has read in advance.  So when all tasks
stand still and none is within such a moment, every buffer is in exactly one place, and what is in
no queue and with nobody alive was with the dead.

Source: SPEC X2; DESIGN D3; docs/spec/shm-layout.md, "After damage"; ADR 0017.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, ClassVar, Final

from datamover.pipe.inlet import Inlet
from datamover.pipe.order import Resequencer
from datamover.pipe.port import TaskPort
from datamover.shm.segment import DESCRIPTOR, OWNER, SAVED_AT, State, owner_word
from datamover.shm.statistics import Stand, Wait
from datamover.shm.tokens import END, TOKEN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from datamover.pipe.control import Control
    from datamover.pipe.counters import Counters
    from datamover.pipe.facts import TaskFacts
    from datamover.pipe.waiter import Waiter
    from datamover.shm.buffer import Buffer
    from datamover.shm.segment import Segment

__all__ = [
    "AccountedInlet",
    "AccountedPort",
    "Moments",
    "ends_sent",
    "is_between",
    "took_end",
    "word_after",
]

_RECORD: Final = 64
_WORDS: Final = _RECORD // 8
_BETWEEN: Final = 1
_TOOK_END: Final = 2
_SENT_END: Final = 256
_NOT_SAVED: Final = bytes(4)


def is_between(word: int) -> bool:
    """Whether the instance with this word has a token between a queue and the table."""
    return bool(word & _BETWEEN)


def word_after(*, took_end: bool) -> int:
    """The word with which the successor of a dead instance begins."""
    return _TOOK_END if took_end else 0


def took_end(word: int) -> bool:
    """Whether the instance with this word has taken an end."""
    return bool(word & _TOOK_END)


def ends_sent(word: int) -> int:
    """How many ends the instance with this word has sent."""
    return word // _SENT_END


class Moments:
    """One task's word in the segment: it alone writes.

    1 while a token is between a queue and the table; + 2 when the instance has taken its end; + 256
    for each end that it has sent.
    """

    __slots__ = ("_base", "_word")

    def __init__(self, word: memoryview) -> None:
        self._word = word
        self._base = word[0] & ~_BETWEEN

    def begin(self) -> None:
        """A token is about to leave a queue, or the table is about to say that it is in one."""
        self._word[0] = self._base | _BETWEEN

    def end(self) -> None:
        """Table and queues agree again."""
        self._word[0] = self._base

    def end_taken(self) -> None:
        """Note that this instance has its end; within a moment."""
        self._base |= _TOOK_END

    def end_sent(self) -> None:
        """Note that it has sent one; within a moment."""
        self._base += _SENT_END

    def release(self) -> None:
        """Let go of the segment."""
        self._word.release()


class AccountedInlet(Inlet):
    """An inlet that says in the table what it has taken."""

    def account(
        self,
        word: int,
        table: memoryview,
        moments: Moments,
        *,
        buffers: int,
        saves: bool = False,
        replay: Sequence[tuple[int, int, int]] = (),
    ) -> None:
        """Begin to; only before anything was taken.

        Args:
            word: State and owner of a buffer that was taken: TAKEN, or FREE from a free queue.
            table: The descriptors.
            moments: The task's.
            buffers: How many the pool has.
            saves: What is taken will be saved: say that it has not been.
            replay: Tokens to begin with, already in the table.
        """
        self._word, self._table, self._moments = word, table, moments
        self._owners = table.cast("Q")
        self._buffers, self._saves = buffers, saves
        self._ended: set[int] = set()
        self._read = self._read_within
        if replay:
            moments.begin()
            self._keep(b"".join(TOKEN.pack(*token) for token in replay))

    def _read_within(self, reader: int, size: int, /) -> bytes:
        self._moments.begin()
        try:
            return os.read(reader, size)
        except BlockingIOError:
            self._moments.end()
            raise

    def _fill(self, timeout: float | None) -> None:
        while not self.box:  # what came may be an end that came before
            super()._fill(timeout)

    def _keep(self, data: bytes) -> None:
        super()._keep(data)
        owners, word = self._owners, self._word
        for index, used, _ in TOKEN.iter_unpack(data):
            if index < self._buffers:
                if self._saves:
                    # First, for from here on the table speaks of this task's work.
                    at = index * _RECORD + SAVED_AT
                    self._table[at : at + len(_NOT_SAVED)] = _NOT_SAVED
                owners[index * _WORDS] = word
            elif index == END:
                self._end(used)
        self._moments.end()

    def release(self) -> None:
        """Let go of the segment."""
        self._owners.release()

    def _end(self, instance: int) -> None:
        """Count an end once: one that was replaced sends another."""
        self._moments.end_taken()
        if instance in self._ended:
            self.box.remove((END, instance, 0))
        self._ended.add(instance)


class AccountedPort(TaskPort):
    """A task's port in a pipe whose dead tasks are replaced; whatever the task itself is."""

    inlet: ClassVar[type[Inlet]] = AccountedInlet

    def __init__(
        self,
        facts: TaskFacts,
        segment: Segment,
        *,
        control: Control,
        counters: Counters,
        waiter: Waiter,
    ) -> None:
        super().__init__(facts, segment, control=control, counters=counters, waiter=waiter)
        self._moments = Moments(segment.moment(facts.id))
        table, moments, buffers = self._descriptors, self._moments, self._buffers
        if isinstance(self._share, AccountedInlet):
            self._share.account(self._freed, table, moments, buffers=buffers)
        if isinstance(self._input, AccountedInlet):
            word = owner_word(State.TAKEN, facts.id)
            saves = facts.id in facts.crew[:1]
            self._input.account(
                word, table, moments, buffers=buffers, saves=saves, replay=facts.replay
            )
        if facts.late and self._order is not None:
            self._order = Resequencer(window=sys.maxsize, late=self._drop)

    def send(self, buffer: Buffer, *, sequence: int | None = None) -> None:
        """See ``HeadPort.send``."""
        if self._hands_over:
            # Both ends of that queue are in this process, and die together.
            super().send(buffer, sequence=sequence)
            return
        self._moments.begin()
        try:
            super().send(buffer, sequence=sequence)
        finally:
            self._moments.end()

    def free(self, buffer: Buffer) -> None:
        """See ``TailPort.free``."""
        self._moments.begin()
        try:
            super().free(buffer)
        finally:
            self._moments.end()

    def finish(self) -> None:
        """See ``TaskPort.finish``."""
        self._moments.begin()  # what was read in advance from the free queue goes back
        try:
            super().finish()
        finally:
            self._moments.end()

    def release(self) -> None:
        """See ``TaskPort.release``."""
        for inlet in (self._share, self._input):
            if isinstance(inlet, AccountedInlet):
                inlet.release()
        super().release()
        self._moments.release()

    def _give_back(self, index: int) -> None:
        """Free a buffer of which there is no handle."""
        _, _, allocator, *_ = DESCRIPTOR.unpack_from(self._descriptors, index * _RECORD)
        self._moments.begin()
        self._mark(index, State.FREE)
        os.write(self._release[allocator], TOKEN.pack(index, 0, 0))
        self._moments.end()

    def _mark(self, index: int, state: State) -> None:
        if index < self._buffers:  # an end or a completion has no descriptor
            OWNER.pack_into(self._descriptors, index * _RECORD, state, self._id)

    def _drop(self, late: tuple[int, int, int]) -> None:
        """One that was replaced had sent this already."""
        self._give_back(late[0])

    def _put_end(self) -> None:
        self._moments.begin()
        super()._put_end()
        self._moments.end_sent()
        self._moments.end()

    def _put_when_there_is_room(self, token: bytes) -> None:
        """Wait outside of the moment: until there is room the buffer is this task's."""
        index, _, _ = TOKEN.unpack(token)
        since = self._counters.begin_wait(Wait.BUFFER)
        try:
            while True:
                self._mark(index, State.OWNED)
                self._moments.end()
                self._counters.stand(Stand.AT_OUTPUT)
                self._waiter.wait(self._output, None, room=True)
                self._counters.stand(Stand.NOWHERE)
                self._moments.begin()
                self._mark(index, State.QUEUED)
                with contextlib.suppress(BlockingIOError):  # another instance was faster
                    os.write(self._output, token)
                    return
        finally:
            self._counters.end_wait(Wait.BUFFER, since)
