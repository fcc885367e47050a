"""What a stage may do, by its place in the pipe: the rules of the seed, as types.

A head cannot receive and a tail cannot send; here that is not a check but a missing method,
so a wrong stage fails in the type checker, before it fails in a pipe.

Source: seed, "Allocation: Receive: Send: Free": "first stage modules are never permitted
to do a ReceiveBuf()"; tails "are never permitted to perform a SendBuf()".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager

    from datamover.errors import Fact
    from datamover.shm.buffer import Buffer
    from datamover.shm.statistics import Wait

__all__ = ["HeadPort", "MiddlePort", "Port", "TailPort", "Watched"]


class Watched(NamedTuple):
    """What a stage polls that waits for descriptors of its own too; -1: it has none.

    A readable ``input`` or ``free`` means that ``receive(timeout=0)`` or ``alloc(timeout=0)`` is
    worth a try; a port reads in advance, so try until BufferTimeoutError before each poll.

    Attributes:
        control: Readable: the monitor wants this task to end, or is gone.
        input: The queue from the stage before.
        free: The free queue of this instance.
    """

    control: int
    input: int
    free: int


class Port(Protocol):
    """What every stage has, whatever its role."""

    stage: str
    """This stage's name in its pipe."""

    instance: int
    """This instance's number within its stage, from 0."""

    instances: int
    """How many instances this stage has."""

    buffer_size: int
    """Bytes a head fills at most; a buffer's ``data`` has some room beyond it for trailers."""

    @property
    def watched(self) -> Watched:
        """The descriptors behind the verbs.

        Raises:
            SpecError: This task shares its thread with others, which a poll would keep waiting.
        """
        ...

    @property
    def limit(self) -> int:
        """Bytes a second that a network task sends at most, now; 0: as many as it can."""
        ...

    def check(self) -> None:
        """Look whether the monitor wants this task to stop, in work that calls no verb for long.

        Raises:
            StopRequestedError: It does.
        """
        ...

    def count(self, items: int) -> None:
        """Count what a person counts (files), for whoever watches the pipe."""
        ...

    def took(self, size: int) -> None:
        """Count bytes that this stage took from elsewhere than a buffer."""
        ...

    def waiting(self, what: Wait) -> AbstractContextManager[None]:
        """Account the time of a ``with`` block as waiting for the outside (a disk, a network)."""
        ...

    def notice(self, kind: str, **given: Fact) -> None:
        """Tell the caller of the pipe something it should know; the pipe goes on.

        Blocking: when the caller is slow to read, until it does.
        """
        ...

    def result(self, values: Mapping[str, Fact]) -> None:
        """Leave this instance's result with the caller; the last one counts."""
        ...


class HeadPort(Port, Protocol):
    """Where data enters: ``alloc``, fill, ``send``."""

    def alloc(self, *, timeout: float | None = None) -> Buffer:
        """Wait for a free buffer of this instance's share.

        Raises:
            BufferTimeoutError: None came within ``timeout`` seconds.
            QuotaError: None is free and the stage's policy is ``terminate``.
            OwnershipError: This instance itself holds its whole share: it would wait for ever.
            StopRequestedError: The monitor wants this task to end.

        Blocking: until a buffer is free, at most ``timeout``.
        Ownership: the caller's, until ``send`` or ``free``.
        """
        ...

    def send(self, buffer: Buffer, *, sequence: int | None = None) -> None:
        """Pass a buffer on; it is no longer this stage's.

        Args:
            buffer: One that this instance owns.
            sequence: The buffer's place in the whole stream; only for heads with several
                instances, which number their buffers densely between them, each upwards.

        Raises:
            SequenceError: The number does not fit: see above; or an instance of several sends
                what it received before its last ``receive``.
            OwnershipError: The buffer is not this instance's; nothing was sent.
            StopRequestedError: The monitor wants this task to end.

        Blocking: never, but in an instance that drops far more than it sends: until the
            receiver has caught up.
        Ownership: the next stage's; the handle is dead.
        """
        ...

    def free(self, buffer: Buffer) -> None:
        """Return an unused buffer to the pool; it is no longer this stage's."""
        ...


class TailPort(Port, Protocol):
    """Where data leaves: ``incoming``, use, ``free``."""

    def incoming(self) -> Iterator[Buffer]:
        """Yield buffers in order until the stage before has finished."""
        ...

    def receive(self, *, timeout: float | None = None) -> Buffer | None:
        """Take the next buffer; ``None`` when the stage before has finished.

        Raises:
            BufferTimeoutError: None came within ``timeout`` seconds.
            StopRequestedError: The monitor wants this task to end.

        Blocking: until a buffer or the end comes, at most ``timeout``.
        Ownership: the caller's, until ``free`` (or ``send``).
        """
        ...

    def free(self, buffer: Buffer) -> None:
        """Return a buffer to the share it was allocated from; it is no longer this stage's."""
        ...


class MiddlePort(HeadPort, TailPort, Protocol):
    """Everything between: both halves."""
