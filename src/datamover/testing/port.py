"""A port without a pipe: a stage is run against a script, in memory, and watched.

``ScriptedPort`` has every verb of every role.  Its buffers are real handles over bytearrays; a slot
is overwritten when it is sent or freed, so a stage that uses a buffer too long reads nonsense.

Source: docs/ARCHITECTURE.md, "The pipe"; SPEC A4-A6.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from datamover.errors import OwnershipError, StopRequestedError
from datamover.pipe.ports import Watched
from datamover.shm.buffer import TAG_SIZE, TRAILER_SIZE, Buffer
from datamover.wire.tag import TagHeader

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from datamover.errors import Fact
    from datamover.shm.statistics import Wait

__all__ = ["Notice", "Output", "ScriptedPort"]

_POISON: Final = b"\xdb"


class Output(NamedTuple):
    """What a stage sent."""

    tag: TagHeader | None
    payload: bytes
    sequence: int | None


class Notice(NamedTuple):
    """What a stage told the caller."""

    kind: str
    facts: dict[str, Fact]


class ScriptedPort:
    """Plays inputs to a stage and keeps what it sends, says and leaves.

    Attributes:
        outputs: Sent buffers, in order.
        notices: In order.
        results: What the stage left with ``result``.
        waits: What ``waiting`` was entered for, in order.
        freed: How many buffers were freed.
        counted: Sum of what the stage counted.
        limit: What a network stage finds as its limit.
        taken: Sum of the bytes that it took from elsewhere than a buffer.
        held: How many buffers the stage owns now; 0 when it ended well.
    """

    def __init__(
        self,
        inputs: Iterable[tuple[TagHeader | None, bytes]] = (),
        *,
        buffer_size: int = 65536,
        buffers: int = 4,
        stage: str = "stage",
        instance: int = 0,
        instances: int = 1,
        stop_after: int | None = None,
    ) -> None:
        """Prepare a run.

        Args:
            inputs: Tag (or None) and payload of each buffer to be received.
            buffer_size: Bytes a head fills at most.
            buffers: This instance's share.
            stage: The stage's name.
            instance: Its number.
            instances: How many there are.
            stop_after: Verbs until the monitor wants the task to stop; None for never.
        """
        self.stage = stage
        self.instance = instance
        self.instances = instances
        self.buffer_size = buffer_size
        self.outputs: list[Output] = []
        self.notices: list[Notice] = []
        self.results: dict[str, Fact] = {}
        self.waits: list[Wait] = []
        self.freed = 0
        self.counted = 0
        self.limit = 0
        self.taken = 0
        self._inputs = iter(inputs)
        self._sequence = 0
        self._verbs_left = stop_after
        self._slots = [(i, self._new_slot()) for i in range(buffers)]
        self._owned: dict[int, tuple[Buffer, bytearray]] = {}
        self._input_index = buffers
        self._share = buffers

    @property
    def held(self) -> int:
        """How many buffers the stage owns."""
        return len(self._owned)

    def noticed(self, kind: str) -> list[dict[str, Fact]]:
        """Return the facts of every notice of one kind."""
        return [notice.facts for notice in self.notices if notice.kind == kind]

    @property
    def watched(self) -> Watched:
        return Watched(-1, -1, -1)

    def check(self) -> None:
        if self._verbs_left is not None:
            if self._verbs_left <= 0:
                raise StopRequestedError
            self._verbs_left -= 1

    def count(self, items: int) -> None:
        self.counted += items

    def took(self, size: int) -> None:
        self.taken += size

    @contextmanager
    def waiting(self, what: Wait) -> Iterator[None]:
        self.waits.append(what)
        yield

    def notice(self, kind: str, **given: Fact) -> None:
        self.notices.append(Notice(kind, dict(given)))

    def result(self, values: Mapping[str, Fact]) -> None:
        self.results = dict(values)

    def alloc(self, *, timeout: float | None = None) -> Buffer:
        del timeout
        self.check()
        if not self._slots:
            raise OwnershipError(reason="this instance holds its whole share")
        return self._own(*self._slots.pop(0))

    def send(self, buffer: Buffer, *, sequence: int | None = None) -> None:
        self.check()
        self._require(buffer)
        tag = TagHeader.decode(buffer.tag[: buffer.tag_used]) if buffer.tag_used else None
        self.outputs.append(Output(tag, bytes(buffer.payload), sequence))
        self._release(buffer)

    def free(self, buffer: Buffer) -> None:
        self._require(buffer)
        self.freed += 1
        self._release(buffer)

    def receive(self, *, timeout: float | None = None) -> Buffer | None:
        del timeout
        self.check()
        given = next(self._inputs, None)
        if given is None:
            return None
        tag, payload = given
        buffer = self._own(self._input_index, self._new_slot())
        self._input_index += 1
        buffer.sequence = self._sequence
        self._sequence += 1
        buffer.data[: len(payload)] = payload
        buffer.used = len(payload)
        buffer.tag_used = tag.encode_into(buffer.tag) if tag is not None else 0
        return buffer

    def incoming(self) -> Iterator[Buffer]:
        while (buffer := self.receive()) is not None:
            yield buffer

    def _new_slot(self) -> bytearray:
        return bytearray(TAG_SIZE + self.buffer_size + TRAILER_SIZE)

    def _own(self, index: int, slot: bytearray) -> Buffer:
        buffer = Buffer(index, memoryview(slot), 0, len(slot) - TAG_SIZE)
        self._owned[index] = (buffer, slot)
        return buffer

    def _require(self, buffer: Buffer) -> None:
        owned = self._owned.get(buffer.index)
        if owned is None or owned[0] is not buffer:
            raise OwnershipError(index=buffer.index, reason="not this stage's")

    def _release(self, buffer: Buffer) -> None:
        _, slot = self._owned.pop(buffer.index)
        buffer.kill()
        slot[:] = _POISON * len(slot)
        if buffer.index < self._share:
            self._slots.append((buffer.index, slot))
