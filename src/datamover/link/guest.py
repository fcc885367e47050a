"""A guest of a pipe, in Python: what ``datamover attach`` is, and a model for other languages.

Source: docs/spec/attach-abi.md; SPEC C6, C10, X4, U19.
"""

from __future__ import annotations

import array
import contextlib
import mmap
import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from datamover.errors import GuestError, MalformedError, PeerUnreachableError
from datamover.shm.tokens import END, TOKEN
from datamover.wire.attach import (
    ANSWER_SIZE,
    LONGEST_REASON,
    TAKEN,
    GuestHello,
    GuestPlace,
    Terms,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

__all__ = ["Entrance", "Guest", "enter"]

_DESCRIPTORS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrance:
    """What a gate hands over; whoever has this closes the socket and the descriptors.

    Attributes:
        terms: How many buffers, how large, and where.
        connection: Its end is the end of the gate.
        descriptors: The segment, the inbox and the outbox.
    """

    terms: Terms
    connection: socket.socket
    descriptors: tuple[int, int, int]

    def close(self) -> None:
        """Leave."""
        self.connection.close()
        for one in self.descriptors:
            os.close(one)


def enter(
    door: Path,
    place: GuestPlace,
    token: bytes = bytes(16),
    *,
    pid: int = 0,
    timeout: float | None = None,
) -> Entrance:
    """Ask a gate for a place.

    Args:
        door: Where it listens.
        place: Which end of the pipe.
        token: What guests of it must know.
        pid: The process that the place is for; 0: this one.
        timeout: How long another guest may keep it, in seconds; None: for ever.

    Raises:
        PeerUnreachableError: No pipe of that name has such a place now.
        GuestError: It says no, and why, or another guest has the place.
        FormatError: What answers is no gate.

    Blocking: until another guest, if there is one, has left; at most ``timeout``.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(timeout)
    found: list[int] = []
    try:
        _connect(connection, door)
        connection.send(GuestHello(place=place, token=token, pid=pid).encode())
        terms = _heard(connection, found)
        connection.settimeout(None)
        segment, inbox, outbox = found
    except TimeoutError:
        connection.close()
        raise GuestError(reason="not let in: another has the place") from None
    except BaseException:
        connection.close()
        for one in found:
            os.close(one)
        raise
    return Entrance(terms=terms, connection=connection, descriptors=(segment, inbox, outbox))


class Guest:
    """A place in a pipe, until it is left; a context manager.

    Attributes:
        terms: How many buffers, how large, and where.
        segment: Descriptor of the memory.
        inbox: Descriptor to read tokens from.
        outbox: Descriptor to write tokens to.
        socket: Descriptor whose end is the end of the gate.
    """

    def __init__(self, entrance: Entrance) -> None:
        """Have the place that ``enter``, or the monitor, has handed over.

        Raises:
            FormatError: The segment is smaller than was said.

        Ownership: takes the entrance.
        """
        self._connection = entrance.connection
        self._open = list(entrance.descriptors)
        self.terms = terms = entrance.terms
        self.segment, self.inbox, self.outbox = entrance.descriptors
        self.socket = self._connection.fileno()
        size = terms.data + (terms.buffers - 1) * terms.stride + terms.buffer_size
        try:
            self._map = mmap.mmap(self.segment, size)
        except (ValueError, OSError) as error:
            self.leave()
            raise MalformedError(what="segment of the gate", reason=str(error)) from None

    @classmethod
    def of(cls, door: Path, place: GuestPlace, token: bytes = bytes(16)) -> Self:
        """Ask the gate at ``door`` for a place; see ``enter``."""
        return cls(enter(door, place, token))

    def __enter__(self) -> Self:
        """Use it in a ``with`` statement."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave."""
        self.leave()

    def leave(self) -> None:
        """Close everything: of a tail that is its word that all has arrived.  Idempotent."""
        self._connection.close()
        while self._open:
            os.close(self._open.pop())

    def data(self, index: int) -> memoryview:
        """All of a buffer; not to be touched when it is not this guest's."""
        start = self.terms.data + index * self.terms.stride
        return memoryview(self._map)[start : start + self.terms.buffer_size]

    def receive(self) -> Iterator[tuple[int, int]]:
        """Yield index and used of what the inbox brings, until an end.

        Raises:
            GuestError: The gate is gone.

        Blocking: until it brings something.
        """
        while True:
            data = os.read(self.inbox, TOKEN.size)
            if len(data) != TOKEN.size:
                raise GuestError(reason="the pipe has ended")
            index, used, _ = TOKEN.unpack(data)
            if index == END:
                return
            yield index, used

    def give(self, index: int, used: int = 0) -> None:
        """Give a buffer to the gate.

        Raises:
            GuestError: The gate is gone.
        """
        try:
            os.write(self.outbox, TOKEN.pack(index, used, 0))
        except BrokenPipeError:
            raise GuestError(reason="the pipe has ended") from None

    def end(self) -> None:
        """Say that nothing more comes."""
        self.give(END)

    def wait_taken(self) -> int:
        """Wait until the gate has taken in the end, and return how many bytes came before it.

        Raises:
            GuestError: The gate is gone.
        """
        data = b""
        with contextlib.suppress(ConnectionResetError):
            data = self._connection.recv(TAKEN.size)
        if len(data) != TAKEN.size:
            raise GuestError(reason="the pipe has ended")
        (taken,) = TAKEN.unpack(data)
        return int(taken)


def _connect(connection: socket.socket, door: Path) -> None:
    try:
        folder = os.open(door.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            connection.connect(f"/proc/self/fd/{folder}/{door.name}")
        finally:
            os.close(folder)
    except TimeoutError:
        raise
    except OSError as error:
        reason = f"no pipe waits for a program there ({error.strerror})"
        raise PeerUnreachableError(peer=door.name, reason=reason) from None


def _heard(connection: socket.socket, found: list[int]) -> Terms:
    """Return the terms; the descriptors that came with them are added to ``found``."""
    rights = array.array("i")
    space = socket.CMSG_SPACE(_DESCRIPTORS * rights.itemsize)
    size = ANSWER_SIZE + LONGEST_REASON
    data, ancillary, _, _ = connection.recvmsg(size, space, socket.MSG_CMSG_CLOEXEC)
    for level, kind, value in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            rights.frombytes(value[: len(value) - len(value) % rights.itemsize])
    found += rights
    if not data:
        raise GuestError(reason="not let in: the gate has closed its end")
    terms = Terms.decode(data)
    if terms.refusal:
        raise GuestError(reason=f"not let in: {terms.refusal}")
    if len(found) != _DESCRIPTORS:
        raise GuestError(reason=f"it came with {len(found)} descriptors")
    return terms
