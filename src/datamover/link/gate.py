"""A gate: where a program that is no task of a pipe comes in, and why it can do no harm.

The guest gets a segment of its own and two queues.  Each token that it writes is held against what
the gate knows: which buffers are out, and how much fits.  Whatever it does, the pool is elsewhere.

    door ──admit──▶ Visit: segment, inbox, outbox, and the set of buffers that the guest has

Source: docs/spec/attach-abi.md; seed, "Attachments" (unbound modules); SPEC C6, C10, X4; ADR 0020.
"""

from __future__ import annotations

import array
import contextlib
import errno
import hmac
import os
import re
import secrets
import select
import socket
import struct
import time
from typing import TYPE_CHECKING, Final, Self

from datamover.errors import DataMoverError, GuestError, SpecError
from datamover.shm.buffer import TAG_SIZE
from datamover.shm.segment import Geometry, Segment
from datamover.shm.tokens import END, TOKEN, Token
from datamover.units import Bytes
from datamover.wire.attach import HELLO_SIZE, TAKEN, GuestHello, GuestPlace, Terms

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

    from datamover.pipe.ports import Port
    from datamover.shm.statistics import Wait

__all__ = ["Gate", "Visit", "attach_door"]

_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
_LATE_S: Final = 10.0
_LOOK_MS: Final = 200
_WAITING: Final = 8
_MOST_BUFFERS: Final = 64
_AT_ONCE: Final = 4096
_CREDENTIALS: Final = struct.Struct("3i")


def attach_door(runtime: Path, pipe: str, place: GuestPlace) -> Path:
    """Return where the gate of a pipe listens.

    Raises:
        SpecError: The name is none.
    """
    if not _NAME.match(pipe):
        raise SpecError(reason=f"no name for a door: {pipe[:80]!r}; letters, digits, . _ - only")
    return runtime / f"door-attach.{pipe}.{place.name.lower()}"


class Gate:
    """A door, for one guest at a time; a context manager that takes the door away."""

    def __init__(
        self, door: Path, *, place: GuestPlace, token: bytes, buffers: int, size: int
    ) -> None:
        """Open the door.

        Args:
            door: Where; in a folder that is this user's alone.
            place: Which end of the pipe it is at.
            token: What guests must know; zeros: nothing.
            buffers: How many each guest has.
            size: Bytes of each.

        Raises:
            SpecError: The door cannot be made, or another gate has it; or a number is out of range.
        """
        if not 1 <= buffers <= _MOST_BUFFERS:
            raise SpecError(reason=f"a guest has 1 to {_MOST_BUFFERS} buffers, not {buffers}")
        self._door = door
        self._place = place
        self._token = token
        self._geometry = Geometry(buffers=buffers, buffer_size=Bytes(size), instances=1)
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            _listen(self._listening, door)
            self._listening.setblocking(False)
        except OSError as error:
            self._listening.close()
            raise SpecError(reason=f"{door}: {error.strerror}") from None

    def __enter__(self) -> Self:
        """Use it in a ``with`` statement."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the door away."""
        self._listening.close()
        self._door.unlink(missing_ok=True)

    def admit(self, port: Port, wait: Wait) -> Visit:
        """Wait for a guest; those that may not come in are told so, and forgotten.

        Raises:
            StopRequestedError: The monitor wants this task to end.

        Blocking: until one comes in.
        """
        with port.waiting(wait):
            while True:
                _wait(port, self._listening.fileno())
                with contextlib.suppress(BlockingIOError):
                    connection, _ = self._listening.accept()
                    visit = self._welcomed(port, connection)
                    if visit is not None:
                        return visit

    def _welcomed(self, port: Port, connection: socket.socket) -> Visit | None:
        try:
            pid = self._hear(port, connection)
            return Visit(connection, self._geometry, self._place, pid)
        except (DataMoverError, OSError) as error:
            if not isinstance(error, GuestError):
                connection.close()
                port.check()
                return None
            with connection, contextlib.suppress(OSError):
                connection.send(Terms(refusal=error.reason).encode())
            return None

    def _hear(self, port: Port, connection: socket.socket) -> int:
        """Read a hello; return the process that comes in.

        Raises:
            GuestError: It may not come in.
        """
        credentials = connection.getsockopt(
            socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size
        )
        pid, user, _ = _CREDENTIALS.unpack(credentials)
        if user not in {os.geteuid(), 0}:
            raise GuestError(reason=f"user {user} is not this one")
        _wait(port, connection.fileno(), deadline=time.monotonic() + _LATE_S)
        hello = GuestHello.decode(connection.recv(HELLO_SIZE + 1, socket.MSG_DONTWAIT))
        if hello.place is not self._place:
            raise GuestError(reason=f"this is the {self._place.name.lower()} of the pipe")
        if not hmac.compare_digest(hello.token, self._token):
            raise GuestError(reason="the token is another")
        return hello.pid or int(pid)


class Visit:
    """One guest, from its welcome to its end; a context manager that ends it.

    Attributes:
        pid: Its process.
    """

    def __init__(
        self, connection: socket.socket, geometry: Geometry, place: GuestPlace, pid: int = 0
    ) -> None:
        """Make what the guest has, and hand it over.

        Raises:
            OSError: The guest is gone, or the system has nothing to give.

        Ownership: takes the connection.
        """
        self.pid = pid
        self._connection = connection
        self._size = int(geometry.buffer_size)
        self._stride = int(geometry.stride)
        self._data = geometry.slots + int(TAG_SIZE)
        self._partial = b""
        self._open: list[int] = []
        self._inbox = self._outbox = -1
        self.out: set[int] = set()
        """Buffers that the guest has."""
        self.free: list[int] = list(range(geometry.buffers))
        """Buffers that the gate has."""
        self._segment = Segment.create(geometry)
        try:
            self._welcome(geometry, place)
        except BaseException:
            self._close()
            raise

    def __enter__(self) -> Self:
        """Use it in a ``with`` statement."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the visit: what the guest has left is of no use to it any more."""
        self._close()

    def data(self, index: int, used: int) -> memoryview:
        """The first bytes of a buffer; the guest may change them at any time."""
        start = self._data + index * self._stride
        return self._segment.memory[start : start + used]

    def give(self, index: int, used: int = 0, sequence: int = 0) -> None:
        """Let the guest have a buffer of the gate's; it may be gone, which ``tokens`` says.

        Raises:
            GuestError: It has filled its own inbox.
        """
        self.free.remove(index)
        self.out.add(index)
        self._put(Token(index, used, sequence))

    def give_end(self) -> None:
        """Tell the guest that nothing more comes; see ``give``."""
        self._put(Token(END, 0, 0))

    def tokens(self, port: Port, wait: Wait) -> Iterator[tuple[int, int]]:
        """Yield index and used of each buffer that the guest gives, until its end; none twice.

        Raises:
            GuestError: It broke a rule, or was gone before its end; what it gave was yielded.
            StopRequestedError: The monitor wants this task to end.

        Blocking: until the guest gives one.
        """
        while True:
            data = self._read(port, wait)
            at = 0
            for index, used, _ in TOKEN.iter_unpack(data):
                at += TOKEN.size
                if index == END:
                    if at < len(data) or self._partial:
                        raise GuestError(reason="it wrote more behind its end")
                    return
                yield self._taken(index, used), used

    def acknowledge(self, taken: int) -> None:
        """Tell a head that its end came, and how many bytes before it; it may not listen."""
        with contextlib.suppress(OSError):
            self._connection.send(TAKEN.pack(taken), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)

    def wait_gone(self, port: Port, wait: Wait) -> None:
        """Wait until the guest has closed its socket.

        Raises:
            StopRequestedError: The monitor wants this task to end.

        Blocking: until it has.
        """
        with port.waiting(wait):
            _wait(port, self._connection.fileno())

    # ---- inside

    def _welcome(self, geometry: Geometry, place: GuestPlace) -> None:
        # The guest's ends block, as a shell needs them; ours never do.
        inbox, self._inbox = os.pipe2(os.O_CLOEXEC)
        self._open += [inbox, self._inbox]
        self._outbox, outbox = os.pipe2(os.O_CLOEXEC)
        self._open += [self._outbox, outbox]
        for ours in (self._inbox, self._outbox):
            os.set_blocking(ours, False)
        if place is GuestPlace.HEAD:
            for index in list(self.free):
                self.give(index)
        terms = Terms(
            buffers=geometry.buffers,
            buffer_size=self._size,
            stride=self._stride,
            data=self._data,
        )
        rights = array.array("i", [self._segment.descriptor, inbox, outbox])
        self._connection.sendmsg(
            [terms.encode()],
            [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)],
            socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL,
        )
        for theirs in (inbox, outbox):  # so that the end of these is the end of the guest
            self._open.remove(theirs)
            os.close(theirs)

    def _taken(self, index: int, used: int) -> int:
        if index not in self.out:
            raise GuestError(reason=f"it gave buffer {index}, which it does not have")
        if used > self._size:
            raise GuestError(reason=f"it gave {used} bytes in a buffer of {self._size}")
        self.out.remove(index)
        self.free.append(index)
        return index

    def _read(self, port: Port, wait: Wait) -> bytes:
        """Return whole tokens, at least one."""
        outbox, connection = self._outbox, self._connection.fileno()
        with port.waiting(wait):
            while True:
                ready = _wait(port, outbox, connection)
                # What it had written counts, also when it is gone.
                try:
                    data = os.read(outbox, _AT_ONCE)
                except BlockingIOError:
                    if connection in ready:
                        raise GuestError(reason=self._parting()) from None
                    continue
                if not data:
                    raise GuestError(reason=self._parting())
                data = self._partial + data
                whole = len(data) - len(data) % TOKEN.size
                self._partial = data[whole:]
                if whole:
                    return data[:whole]

    def _parting(self) -> str:
        if self._partial:
            return f"it was gone in the middle of a token, after {len(self._partial)} bytes"
        return "it was gone before its end"

    def _close(self) -> None:
        self._connection.close()
        while self._open:
            os.close(self._open.pop())
        self._segment.close()

    def _put(self, token: Token) -> None:
        try:
            os.write(self._inbox, TOKEN.pack(*token))
        except BlockingIOError:
            raise GuestError(reason="its inbox is full of what the gate did not write") from None
        except BrokenPipeError:
            return  # what it wrote before it went still counts


def _wait(port: Port, *descriptors: int, deadline: float | None = None) -> set[int]:
    """Return which of the descriptors are readable, or have ended; at least one.

    Raises:
        GuestError: None was, until ``deadline``.
        StopRequestedError: The monitor wants this task to end.
    """
    poll = select.poll()
    for one in descriptors:
        poll.register(one, select.POLLIN)
    while not (ready := {one for one, _ in poll.poll(_LOOK_MS)}):
        port.check()
        if deadline is not None and time.monotonic() > deadline:
            raise GuestError(reason="it said nothing")
    return ready


def _listen(listening: socket.socket, door: Path) -> None:
    """Listen at a door; one that nobody listens at any more was left by the dead.

    Under its name it is seen only when it can be knocked at.
    """
    with _short(door) as name, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        try:
            probe.connect(name)
        except (FileNotFoundError, ConnectionRefusedError):
            unfinished = f"{name}.{secrets.token_hex(4)}"
            listening.bind(unfinished)
            os.chmod(unfinished, 0o600)  # noqa: PTH101 - a plain path
            listening.listen(_WAITING)
            os.rename(unfinished, name)  # noqa: PTH104 - a plain path
        else:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """Yield a name for ``path`` that fits a socket's address, however deep its folder is."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
