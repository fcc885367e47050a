"""The four verbs, for one task: alloc, receive, send, free.

A port owns no lock and speaks to nobody: it reads and writes tokens, and writes descriptors and
counters that are its own.  Around a multi-instance stage the single side keeps the order:

    sender x1  ══ stamps ══▶  xp  ══ keeps the stamp ══▶  x1 receiver puts back in order

Source: seed, "Allocation: Receive: Send: Free", "Data Integrity"; SPEC A11-A18, A20-A24, B1-B6.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from typing import TYPE_CHECKING, ClassVar, Final

from datamover.errors import (
    OwnershipError,
    QuotaError,
    RoleError,
    SequenceError,
    SpecError,
    StopRequestedError,
)
from datamover.pipe.inlet import Inlet
from datamover.pipe.order import Resequencer
from datamover.pipe.ports import Watched
from datamover.pipe.stage import FanOut, Role
from datamover.pipe.waiter import PollWaiter
from datamover.shm.buffer import TAG_SIZE, Buffer
from datamover.shm.segment import ARRIVAL, DESCRIPTOR, owner_word
from datamover.shm.statistics import Stand, Wait
from datamover.shm.tokens import COMPLETE, END, TOKEN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from datamover.errors import Fact
    from datamover.pipe.control import Control
    from datamover.pipe.counters import Counters
    from datamover.pipe.facts import TaskFacts
    from datamover.pipe.waiter import Waiter
    from datamover.shm.segment import Segment

__all__ = ["TaskPort"]

_STOP: Final = 16
_FREE, _OWNED, _QUEUED = 0, 1, 2
_RECORD: Final = 64
_WORDS: Final = _RECORD // 8
_LAST: Final = 1
_UNBOUNDED: Final = 1 << 62


class TaskPort:
    """One task's port: every role's verbs, each refused where the role does not have it.

    After StopRequestedError or any other PipeError the port is broken for good: the task ends.
    """

    __slots__ = (
        "_buffers",
        "_control",
        "_counters",
        "_descriptors",
        "_due",
        "_facts",
        "_freed",
        "_hands_over",
        "_held",
        "_id",
        "_input",
        "_keeps_stamp",
        "_memory",
        "_open",
        "_order",
        "_output",
        "_owned",
        "_owners",
        "_parts",
        "_release",
        "_room",
        "_segment",
        "_sends",
        "_share",
        "_slots",
        "_stamp",
        "_straight",
        "_stride",
        "_waiter",
        "_words",
        "buffer_size",
        "instance",
        "instances",
        "stage",
    )

    inlet: ClassVar[type[Inlet]] = Inlet

    def __init__(
        self,
        facts: TaskFacts,
        segment: Segment,
        *,
        control: Control,
        counters: Counters,
        waiter: Waiter,
    ) -> None:
        self.stage = facts.stage
        self.instance = facts.instance
        self.instances = facts.instances
        self.buffer_size = int(segment.geometry.buffer_size)
        self._facts = facts
        self._segment = segment
        self._memory, self._slots = segment.memory, segment.geometry.slots
        self._stride = int(segment.geometry.stride)
        self._words = segment.words
        self._descriptors = segment.descriptors()
        # The beginning of each descriptor is written with one store, of a value made once.
        self._owners = self._descriptors.cast("Q")
        self._owned = owner_word(_OWNED, facts.id)
        self._freed = owner_word(_FREE, facts.id)
        self._control = control
        self._counters = counters
        self._waiter = waiter
        self._room = int(segment.geometry.room)
        self._id = facts.id
        self._sends = facts.consumers > 0
        self._hands_over = facts.hands_over
        self._output = facts.descriptors.output
        self._release = {int(k): fd for k, fd in facts.descriptors.release.items()}
        self._buffers = segment.geometry.buffers
        self._held: dict[int, Buffer] = {}
        self._due: deque[tuple[int, int, int]] = deque()
        self._order = (
            Resequencer[tuple[int, int, int]](window=facts.window or _UNBOUNDED)
            if facts.resequences
            else None
        )
        wide = facts.wide or facts.instances > 1
        self._keeps_stamp = wide and facts.consumers > 0
        self._stamp = 0
        self._open: int | None = None
        self._parts = 0
        self._input = (
            self.inlet(
                facts.descriptors.input,
                ends=1 if wide else facts.producers,
                # Of what a lone one has read ahead nobody else would know where it died.
                lone=not wide or facts.joined,
                wait=Wait.INPUT,
                waiter=waiter,
                counters=counters,
                before_wait=self._check_window if facts.window else None,
            )
            if facts.producers
            else None
        )
        # Tokens that need neither order nor counting: the way that most buffers take.
        self._straight = self._input.box if self._input and not self._order else None
        self._share = (
            self.inlet(
                facts.descriptors.free[str(facts.id)],
                ends=1,
                lone=True,
                wait=Wait.BUFFER,
                waiter=waiter,
                counters=counters,
                before_wait=self._check_share,
            )
            if facts.share
            else None
        )

    # ---- the four verbs

    def alloc(self, *, timeout: float | None = None) -> Buffer:
        """Wait for a free buffer of this instance's share; see ``HeadPort.alloc``."""
        if self._words[_STOP]:
            raise StopRequestedError
        share = self._share
        if share is None:
            raise self._refused("alloc")
        token = share.box.popleft() if share.box else share.take(timeout)
        if token is None:
            raise self._refused("alloc")
        index = token[0]
        if index >= self._buffers:
            raise OwnershipError(index=index, reason="the pool has no such buffer")
        buffer = Buffer(
            index, self._memory, self._slots + index * self._stride, self._room, self._id
        )
        self._held[index] = buffer
        self._owners[index * _WORDS] = self._owned
        return buffer

    def receive(self, *, timeout: float | None = None) -> Buffer | None:
        """Take the next buffer in order; see ``TailPort.receive``."""
        if self._words[_STOP]:
            raise StopRequestedError
        if self._open is not None:
            self._close_item()
        box = self._straight
        token = box.popleft() if box and box[0][0] < self._buffers else self._next(timeout)
        if token is None:
            return None
        index, used, sequence = token
        if index >= self._buffers:
            raise OwnershipError(index=index, reason="the pool has no such buffer")
        allocator, tag_used = ARRIVAL.unpack_from(self._descriptors, index * _RECORD)
        buffer = Buffer(
            index, self._memory, self._slots + index * self._stride, self._room, allocator
        )
        buffer.used = used
        buffer.sequence = sequence
        buffer.tag_used = tag_used
        self._held[index] = buffer
        self._owners[index * _WORDS] = self._owned
        if self._keeps_stamp:
            self._open, self._parts = sequence, 0
        self._counters.received(used, sequence)
        return buffer

    def send(self, buffer: Buffer, *, sequence: int | None = None) -> None:
        """Pass a buffer on; see ``HeadPort.send``."""
        if self._words[_STOP]:
            raise StopRequestedError
        if not self._sends:
            raise self._refused("send")
        index, used = buffer.index, buffer.used
        if self._held.get(index) is not buffer:
            raise OwnershipError(index=index, reason="sent by a stage that does not own it")
        if not 0 <= used <= self._room or not 0 <= buffer.tag_used <= TAG_SIZE:
            raise OwnershipError(index=index, reason=f"used is {used}, the buffer has {self._room}")
        if self._keeps_stamp:
            stamp, part, flags = self._kept(buffer, sequence)
        else:
            stamp, part, flags = self._stamp, 0, _LAST
            self._stamp = stamp + 1
        del self._held[index]
        tag_used, allocator = buffer.tag_used, buffer.allocator
        buffer.kill()
        DESCRIPTOR.pack_into(
            self._descriptors,
            index * _RECORD,
            _QUEUED,
            self._id,
            allocator,
            flags,
            stamp,
            part,
            used,
            tag_used,
        )
        if allocator == self._id and self._input is not None:
            self._counters.copied(used)
        self._counters.sent(used)
        self._put(TOKEN.pack(index, used, stamp))
        if self._hands_over:
            self._waiter.hand_over()

    def free(self, buffer: Buffer) -> None:
        """Give a buffer back to the share that it came from; see ``TailPort.free``."""
        index, allocator = buffer.index, buffer.allocator
        if self._held.get(index) is not buffer:
            raise OwnershipError(index=index, reason="freed by a stage that does not own it")
        del self._held[index]
        buffer.kill()
        self._owners[index * _WORDS] = self._freed
        os.write(self._release[allocator], TOKEN.pack(index, 0, 0))

    def incoming(self) -> Iterator[Buffer]:
        """Yield buffers in order until the stage before has finished."""
        while (buffer := self.receive()) is not None:
            yield buffer

    # ---- beside the data

    @property
    def watched(self) -> Watched:
        """The descriptors behind the verbs; see ``Port.watched``."""
        facts = self._facts
        if not isinstance(self._waiter, PollWaiter):
            raise SpecError(reason=f"stage {facts.stage} waits for a network: join it to no other")
        own = facts.descriptors
        return Watched(own.control, own.input, own.free.get(str(facts.id), -1))

    @property
    def limit(self) -> int:
        """Bytes a second that a network task sends at most; see ``Port.limit``."""
        return self._segment.limit

    def check(self) -> None:
        """Raise StopRequestedError when the monitor wants this task to end."""
        if self._words[_STOP]:
            raise StopRequestedError

    def count(self, items: int) -> None:
        """Count what a person counts (files)."""
        self._counters.counted(items)

    def took(self, size: int) -> None:
        """Count bytes that came in no buffer; see ``Port.took``."""
        self._counters.took(size)

    @contextlib.contextmanager
    def waiting(self, what: Wait) -> Iterator[None]:
        """Account the time of a ``with`` block as waiting."""
        since = self._counters.begin_wait(what)
        try:
            yield
        finally:
            self._counters.end_wait(what, since)

    def notice(self, kind: str, **given: Fact) -> None:
        """Tell the caller of the pipe; see ``Port.notice``."""
        self._control.say("notice", {"kind": kind, "given": given})

    def result(self, values: Mapping[str, Fact]) -> None:
        """Leave this instance's result with the caller."""
        self._control.say("result", {"values": dict(values)})

    def finish(self) -> None:
        """End the stream behind this task: it returned, and owes nothing.

        Raises:
            OwnershipError: It still holds buffers, or its input has not ended.
        """
        if self._held:
            raise OwnershipError(
                reason=f"the stage returned and still holds {len(self._held)} buffers"
            )
        if self._input is not None and not (self._input.has_ended and not self._due):
            raise OwnershipError(reason="the stage returned before its input ended")
        if self._open is not None:
            self._close_item()
        if self._share is not None and (left := self._share.untaken()):
            os.write(self._release[self._id], left)
        for _ in range(self._facts.consumers):
            self._put_end()

    def release(self) -> None:
        """Let go of the segment; handles that a failed stage left are dead."""
        for buffer in self._held.values():
            # The trace of a stage that failed may still use a view; its error must not be lost.
            with contextlib.suppress(BufferError):
                buffer.kill()
        self._held.clear()
        self._owners.release()
        self._descriptors.release()
        self._counters.release()

    # ---- order

    def _next(self, timeout: float | None) -> tuple[int, int, int] | None:
        source = self._input
        if source is None:
            raise self._refused("receive")
        order = self._order
        if order is None:
            return self._unordered(source, timeout)
        due = self._due
        while not due:
            token = source.take(timeout)
            if token is None:
                order.finish()
                return None
            index, used, sequence = token
            if index == COMPLETE:
                due.extend(order.complete(sequence, used))
                continue
            if index >= self._buffers:
                raise OwnershipError(index=index, reason="the pool has no such buffer")
            fields = DESCRIPTOR.unpack_from(self._descriptors, index * _RECORD)
            last = bool(fields[3] & _LAST)
            due.extend(order.push(sequence, token, part=fields[5], last=last))
        return due.popleft()

    def _unordered(self, source: Inlet, timeout: float | None) -> tuple[int, int, int] | None:
        while True:
            token = source.take(timeout)
            if token is None or token[0] != COMPLETE:
                return token
            # The instance joined before this one has dropped a buffer: those behind must know.
            if self._sends:
                self._put(TOKEN.pack(*token))

    def _kept(self, buffer: Buffer, given: int | None) -> tuple[int, int, int]:
        if self._input is None:
            if given is None:
                raise SequenceError(
                    sequence=-1, reason="a head of several instances must number what it sends"
                )
            if given < self._stamp:
                # Growing numbers are what keeps shares free of deadlock: see ARCHITECTURE.md.
                raise SequenceError(
                    sequence=given, reason="the numbers that one instance gives must grow"
                )
            self._stamp = given + 1
            return given, 0, _LAST
        if self._open is None:
            raise SequenceError(sequence=-1, reason="sent for no input")
        if buffer.sequence != self._open and buffer.allocator != self._id:
            raise SequenceError(
                sequence=buffer.sequence, reason="sent after the next one was received"
            )
        part = self._parts
        self._parts += 1
        if self._facts.fan_out == FanOut.MANY:
            return self._open, part, 0
        if part:
            raise SequenceError(
                sequence=self._open, reason="a second buffer for one input; declare fan_out MANY"
            )
        return self._open, 0, _LAST

    def _close_item(self) -> None:
        sequence, parts = self._open, self._parts
        self._open = None
        if sequence is not None and (self._facts.fan_out == FanOut.MANY or not parts):
            self._put(TOKEN.pack(COMPLETE, parts, sequence))

    def _put_end(self) -> None:
        self._put(TOKEN.pack(END, self.instance, 0))

    def _put(self, token: bytes) -> None:
        try:
            os.write(self._output, token)
        except BlockingIOError:
            self._put_when_there_is_room(token)

    def _put_when_there_is_room(self, token: bytes) -> None:
        """Wait for the receiver: an instance that drops what it gets is bound by no share."""
        since = self._counters.begin_wait(Wait.BUFFER)
        try:
            while True:
                self._counters.stand(Stand.AT_OUTPUT)
                self._waiter.wait(self._output, None, room=True)
                self._counters.stand(Stand.NOWHERE)
                with contextlib.suppress(BlockingIOError):  # another instance was faster
                    os.write(self._output, token)
                    return
        finally:
            self._counters.end_wait(Wait.BUFFER, since)

    # ---- refusals

    def _check_window(self, timeout: float | None) -> None:
        """Nothing comes: refuse to wait for a number that no buffer is left to bring."""
        order, me = self._order, self._id
        if timeout is not None or order is None:
            return
        received = sum(1 for buffer in self._held.values() if buffer.allocator != me)
        if order.held + received >= self._facts.window and order.held:
            raise SequenceError(sequence=order.next_due, reason="no buffer is left to bring it")

    def _check_share(self, timeout: float | None) -> None:  # noqa: ARG002 - as each such check
        """Nothing is free: refuse what would wait for ever, and what the policy forbids."""
        facts = self._facts
        own = sum(1 for buffer in self._held.values() if buffer.allocator == facts.id)
        if own >= facts.share:
            raise OwnershipError(
                reason=f"stage {facts.stage} holds all {own} buffers of its share "
                "and asks for one more: send or free one first"
            )
        if facts.terminates:
            raise QuotaError(stage=facts.stage, instance=facts.instance, quota=facts.share)

    def _refused(self, verb: str) -> RoleError:
        facts = self._facts
        role = (
            Role.HEAD if not facts.producers else Role.TAIL if not facts.consumers else Role.MIDDLE
        )
        return RoleError(stage=facts.stage, role=role.value, verb=verb)
