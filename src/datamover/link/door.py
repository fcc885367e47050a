"""Where a network task takes in connections that others accepted: a Unix socket.

    serve --path, or the daemon ── hello, descriptors ──▶ RUNTIME/door-TOKEN ──▶ network task

Whoever accepts a connection reads the hello's 64 bytes, finds the door by their token, and hands
the descriptors over; it judges nothing, and carries no data.

Source: docs/spec/link-protocol.md, 2; docs/decisions/0014-two-machines.md.
"""

from __future__ import annotations

import array
import contextlib
import os
import select
import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Final

from datamover.errors import (
    DataMoverError,
    PeerLostError,
    PeerRefusedError,
    PeerUnreachableError,
    UsageError,
)
from datamover.link.channel import keep_near, shut, tune
from datamover.link.doorway import UNFINISHED, door_path
from datamover.link.greeting import Carrier, Opened, Terms, answer, reason_of
from datamover.wire.frame import HELLO_SIZE, decode_hello

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Door", "hand_over"]

_MOST: Final = 2
_WAITING: Final = 32
_LATE: Final = 10.0
_CREDENTIALS: Final = struct.Struct("3i")


def hand_over(runtime: str, hello: bytes, descriptors: Sequence[int]) -> socket.socket:
    """Give a connection to the network task whose border its hello names.

    Args:
        runtime: The runtime folder of this user.
        hello: The 64 bytes that came on it.
        descriptors: The connection; or what to read from, and what to write to.

    Returns:
        A connection to the task: its end (readable, and nothing to read) says that the path has
        ended.  Who need not know closes it at once.

    Raises:
        FormatError: The hello is none.
        PeerUnreachableError: No task waits for such a path.

    Blocking: never for long; the task need not be ready.
    Ownership: the caller closes its descriptors; the task has duplicates.
    """
    token = decode_hello(hello).token
    name = f"border {token.hex()[:8]}"
    door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        door.settimeout(_LATE)
        with _short(door_path(runtime, token)) as path:
            door.connect(path)
        rights = array.array("i", descriptors)
        door.sendmsg([hello], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    except OSError as error:
        door.close()
        reason = f"no pipe waits for this path here ({error.strerror or error})"
        raise PeerUnreachableError(peer=name, reason=reason) from None
    except BaseException:
        door.close()
        raise
    return door


class Door:
    """The listening side, in the network task.

    Attributes:
        refusals: Path (-1: not known) and reason of each refusal since the list was last emptied.
    """

    def __init__(self, terms: Terms, path: str) -> None:
        """Make the socket, in a folder that is this user's alone.

        Raises:
            UsageError: It cannot be made.
        """
        self.refusals: list[tuple[int, str]] = []
        self._terms = terms
        self._path = path
        self._seen: set[bytes] = set()
        self._guests: dict[int, tuple[socket.socket, float]] = {}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._listener.setblocking(False)
            # Under its name it is seen only when it can be knocked at.
            with _short(f"{path}{UNFINISHED}") as short:
                self._listener.bind(short)
                os.chmod(short, 0o600)  # noqa: PTH101 - a plain path
                self._listener.listen(_WAITING)
                os.rename(short, path)  # noqa: PTH104 - a plain path
        except OSError as error:
            self._listener.close()
            raise UsageError(reason=f"{path}: {error.strerror}") from None

    # ---- what to wait for

    def watched(self) -> dict[int, int]:
        """Return the descriptors to poll, and for what."""
        listening = self._listener.fileno()
        return dict.fromkeys(
            [*self._guests, *([listening] if listening >= 0 else [])], select.POLLIN
        )

    def next_due(self, now: float) -> float | None:
        """Seconds until ``tick`` has something to do; None: nothing is under way."""
        times = [deadline for _, deadline in self._guests.values()]
        return max(0.0, min(times) - now) if times else None

    # ---- what happens

    def tick(self, now: float) -> list[int]:
        """Close whoever came and said nothing; return the descriptors that were closed."""
        closed = []
        for number, (guest, deadline) in list(self._guests.items()):
            if now >= deadline:
                del self._guests[number]
                guest.close()
                closed.append(number)
        return closed

    def handle(self, descriptor: int, now: float) -> Opened | None:
        """Let in whoever comes; return a path that is open.

        Ownership: the carrier is the caller's.
        """
        if descriptor == self._listener.fileno():
            with contextlib.suppress(BlockingIOError):
                guest, _ = self._listener.accept()
                guest.setblocking(False)
                self._guests[guest.fileno()] = (guest, now + _LATE)
            return None
        guest, _ = self._guests.pop(descriptor)
        return self._take(guest)

    def lost(self, path: int, now: float, *, lasted: float) -> None:
        """Learn that a path is no more: whoever dialed it will do so again."""

    def close(self) -> None:
        """Take the socket away."""
        for guest, _ in self._guests.values():
            guest.close()
        self._guests.clear()
        self._listener.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)  # noqa: PTH108 - a plain path

    # ---- inside

    def _take(self, guest: socket.socket) -> Opened | None:
        """Read what a guest brought, and answer its hello; whatever is wrong closes it alone."""
        descriptors: list[int] = []
        path = -1
        try:
            hello, descriptors = _received(guest)
            if not hello and not descriptors:
                guest.close()  # it wanted to know whether somebody listens here
                return None
            _check_user(guest)
            said, agreed = answer(self._terms, hello, self._seen)
            path = agreed.path
            for one in descriptors:
                tune(one)
                keep_near(one)
            if os.write(descriptors[-1], said) != HELLO_SIZE:
                raise PeerLostError(peer=f"path {path}", reason="takes no hello")
        except (OSError, DataMoverError) as error:
            self.refusals.append((path, reason_of(error)))
            for one in descriptors:
                shut(one)
                os.close(one)
            guest.close()
            return None
        carrier = Carrier(descriptors[0], descriptors[-1], f"path {path}", guest.close)
        return Opened(carrier, agreed)


def _received(guest: socket.socket) -> tuple[bytes, list[int]]:
    """Read a hello and its descriptors.

    Raises:
        PeerRefusedError: The number of descriptors is another than one or two.
    """
    rights = array.array("i")
    space = socket.CMSG_SPACE(_MOST * rights.itemsize)
    hello, ancillary, flags, _ = guest.recvmsg(HELLO_SIZE + 1, space, socket.MSG_CMSG_CLOEXEC)
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            rights.frombytes(data[: len(data) - len(data) % rights.itemsize])
    descriptors = list(rights)
    if flags & socket.MSG_CTRUNC or (hello and not 1 <= len(descriptors) <= _MOST):
        for one in descriptors:
            os.close(one)
        raise PeerRefusedError(peer="door", reason=f"brought {len(descriptors)} descriptors")
    return hello, descriptors


def _check_user(guest: socket.socket) -> None:
    data = guest.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(data)
    if user not in {os.geteuid(), 0}:
        raise PeerRefusedError(peer="door", reason=f"user {user} is not this one")


@contextlib.contextmanager
def _short(path: str) -> Iterator[str]:
    """Yield a name for ``path`` that fits a socket's address, however deep its folder is."""
    folder = os.open(Path(path).parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{Path(path).name}"
    finally:
        os.close(folder)
