"""Keep a task's inputs until its outputs have left: then it can die at any instruction.

The tasks of one process share a ``Custody``.  The first saves each input's length and tag, which
those behind it may change.  Whoever frees an input frees it for good only when the last one has
sent what became of it; until then the buffer is theirs, and whoever takes their place begins anew
with it.  A stage that changes payloads where they lie is given a copy of an input, never the input.

    receive ─▶ save ─▶ ... stages ... ─▶ send ─▶ free
               │                          └ from here on a repetition makes a late twin,
               └ from here on the input can be restored      which the receiver drops

Source: SPEC X2; docs/spec/shm-layout.md, "After damage"; ADR 0017.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from datamover.errors import OwnershipError
from datamover.pipe.accounted import AccountedPort
from datamover.shm.segment import SAVED, SAVED_AT
from datamover.shm.tokens import END, TOKEN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from datamover.pipe.control import Control
    from datamover.pipe.counters import Counters
    from datamover.pipe.facts import TaskFacts
    from datamover.pipe.waiter import Waiter
    from datamover.shm.buffer import Buffer
    from datamover.shm.segment import Segment

__all__ = ["Custody", "CustodyPort"]

_RECORD: Final = 64


class Custody:
    """What the tasks of one process have not finished with: inputs by their number."""

    def __init__(self, crew: Sequence[int]) -> None:
        """Begin with nothing; ``crew``: the tasks, first to last."""
        self.crew = tuple(crew)
        self._open: dict[int, list[int]] = {}

    def take(self, sequence: int) -> None:
        """Note that an input came."""
        self._open[sequence] = []

    def keep(self, sequence: int, index: int) -> bool:
        """Keep an input that a stage frees; return whether it is needed any more."""
        kept = self._open.get(sequence)
        if kept is None:
            return False
        kept.append(index)
        return True

    def settle(self, sequence: int) -> list[int]:
        """Note that what became of an input has left; return what is to be freed now."""
        return self._open.pop(sequence, [])


class CustodyPort(AccountedPort):
    """The port of a task that would be replaced."""

    def __init__(
        self,
        facts: TaskFacts,
        segment: Segment,
        *,
        control: Control,
        counters: Counters,
        waiter: Waiter,
        custody: Custody,
    ) -> None:
        super().__init__(facts, segment, control=control, counters=counters, waiter=waiter)
        self._custody = custody
        self._crew = custody.crew
        self._is_first = facts.id == self._crew[0]
        self._is_last = facts.id == self._crew[-1]
        self._overwrites = facts.overwrites

    def receive(self, *, timeout: float | None = None) -> Buffer | None:
        """See ``TailPort.receive``."""
        buffer = super().receive(timeout=timeout)
        if buffer is None:
            return None
        if self._is_first:
            self._save(buffer)
        if self._overwrites and buffer.allocator not in self._crew:
            return self._copied(buffer)
        return buffer

    def free(self, buffer: Buffer) -> None:
        """See ``TailPort.free``; an input is kept until what became of it has left."""
        index = buffer.index
        if buffer.allocator in self._crew:
            super().free(buffer)
            return
        if self._held.get(index) is not buffer:
            raise OwnershipError(index=index, reason="freed by a stage that does not own it")
        if not self._custody.keep(buffer.sequence, index):
            super().free(buffer)
            return
        del self._held[index]
        buffer.kill()

    def _save(self, buffer: Buffer) -> None:
        self._custody.take(buffer.sequence)
        size, at = buffer.tag_used, buffer.index * _RECORD + SAVED_AT
        if size:
            self._segment.saved_tag(buffer.index)[:size] = buffer.tag[:size]
        SAVED.pack_into(self._descriptors, at, 0, buffer.used, size)
        # By itself, and last: before this the input is as it came.
        self._descriptors[at] = 1

    def _copied(self, buffer: Buffer) -> Buffer:
        fresh = self.alloc()
        fresh.data[: buffer.used] = buffer.data[: buffer.used]
        fresh.adopt(buffer)
        fresh.used, fresh.sequence = buffer.used, buffer.sequence
        self.free(buffer)
        return fresh

    def _put(self, token: bytes) -> None:
        super()._put(token)
        if self._is_last:
            index, _, sequence = TOKEN.unpack(token)
            if index != END:
                for kept in self._custody.settle(sequence):
                    self._give_back(kept)
