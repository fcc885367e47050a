"""Open paths from this side: connect or spawn, exchange hellos; again when one is lost.

Never blocks: connections are made while others carry data.

    due ─▶ connecting ─▶ greeting ─▶ open (the caller's)
     ▲          │             │             │
     └── later, with back-off ┴── lost ─────┘

Source: docs/spec/link-protocol.md, 2 and 4; SPEC N3, X15; DESIGN D8.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import socket
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from datamover.errors import DataMoverError, PeerUnreachableError, UsageError
from datamover.link.channel import as_socket, keep_near, tune
from datamover.link.greeting import Asked, Carrier, Opened, Terms, ask, conclude, reason_of
from datamover.wire.frame import HELLO_SIZE

__all__ = ["Dialer", "Target"]

_LATE: Final = 10.0
_UNREACHABLE: Final = 4.0  # the system repeats its first word after 1 and 3 s
_FIRST_PAUSE: Final = 0.02  # what is dialed may still be on its way up
_LONGEST_PAUSE: Final = 5.0
_STEADY: Final = 2.0  # seconds that a path must last before it is dialed again at once
_PATIENCE: Final = 0.5
_PIPE: Final = 1 << 20
_F_SETPIPE_SZ: Final = 1031
_PORTS: Final = 1 << 16

# Family, kind, protocol, canonical name, address: as the system answers.
_Place = tuple[int, int, int, str, tuple[str | int | bytes, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where paths are dialed to.

    Attributes:
        addresses: "host:port" or "[address]:port"; path i takes the i-th, round and round.  It
            tries the next one only while no path at all is open: otherwise it waits for its own
            link to come back.
        via: Local addresses or names of interfaces, dealt out in the same way.
        command: Instead: a program whose standard input and output are the path.
        send_buffer: Bytes that the kernel may hold of a path; 0: as it sees fit.
        first: How many paths to begin with; 0: all.
    """

    addresses: Sequence[str] = ()
    via: Sequence[str] = ()
    command: Sequence[str] = ()
    send_buffer: int = 0
    first: int = 0


@dataclass(slots=True)
class _Attempt:
    """One path that is not open."""

    path: int
    due: float
    pause: float = 0.0
    tried: int = 0
    failures: int = 0
    carrier: Carrier | None = None
    is_connecting: bool = False
    asked: Asked | None = None
    heard: bytes = b""
    deadline: float = 0.0


class Dialer:
    """Keeps as many paths open as it was told to, at most as many as the terms say.

    Attributes:
        refusals: Path and reason of each failure since the caller last emptied the list.
    """

    def __init__(self, terms: Terms, target: Target, now: float) -> None:
        """Have the first paths due now.

        Raises:
            UsageError: There is nothing to dial, or an address is none.
        """
        if not target.command and not target.addresses:
            raise UsageError(reason="nothing to dial: neither an address nor a command is given")
        self.refusals: list[tuple[int, str]] = []
        self._addresses = [_parse(one) for one in target.addresses]
        self._known: dict[tuple[str, int], Sequence[_Place]] = {}
        self._terms = terms
        self._target = target
        self._paths = 0
        self._attempts: dict[int, _Attempt] = {}
        self.widen(target.first or terms.paths, now)

    def widen(self, paths: int, now: float) -> None:
        """Have so many paths from now on, if there are fewer."""
        paths = min(paths, self._terms.paths)
        self._attempts |= {n: _Attempt(n, due=now) for n in range(self._paths, paths)}
        self._paths = max(self._paths, paths)

    # ---- what to wait for

    def watched(self) -> dict[int, int]:
        """Return the descriptors to poll, and for what."""
        found = {}
        for attempt in self._attempts.values():
            if attempt.carrier is not None:
                connecting = attempt.is_connecting
                found[attempt.carrier.reader] = select.POLLOUT if connecting else select.POLLIN
        return found

    def next_due(self, now: float) -> float | None:
        """Seconds until ``tick`` has something to do; None: nothing is under way."""
        times = [a.deadline if a.carrier else a.due for a in self._attempts.values()]
        return max(0.0, min(times) - now) if times else None

    # ---- what happens

    def tick(self, now: float) -> list[int]:
        """Dial what is due, and give up what is late; return the descriptors that were closed."""
        closed = []
        for attempt in list(self._attempts.values()):
            if attempt.carrier is not None and now >= attempt.deadline:
                closed.append(attempt.carrier.reader)
                self._fail(attempt, "no answer came", now)
            elif attempt.carrier is None and now >= attempt.due:
                self._try(self._begin, attempt, now)
        return closed

    def handle(self, descriptor: int, now: float) -> Opened | None:
        """Go on with the path whose descriptor is ready; return it when it is open.

        Ownership: the carrier is the caller's.
        """
        for attempt in self._attempts.values():
            if attempt.carrier is not None and attempt.carrier.reader == descriptor:
                return self._try(self._go_on, attempt, now)
        return None

    def lost(self, path: int, now: float, *, lasted: float) -> None:
        """Learn that an open path is no more: dial it again, at once if it had lasted a while."""
        pause = 0.0 if lasted >= _STEADY else _FIRST_PAUSE
        self._attempts[path] = _Attempt(path, due=now + pause, pause=pause)

    def close(self) -> None:
        """Give up what is under way."""
        for attempt in self._attempts.values():
            if attempt.carrier is not None:
                attempt.carrier.close()
        self._attempts.clear()

    # ---- inside

    def _try(
        self, step: Callable[[_Attempt, float], Opened | None], attempt: _Attempt, now: float
    ) -> Opened | None:
        try:
            return step(attempt, now)
        except (OSError, DataMoverError) as error:
            self._fail(attempt, reason_of(error), now)
        return None

    def _fail(self, attempt: _Attempt, reason: str, now: float) -> None:
        name = attempt.carrier.name if attempt.carrier is not None else self._name(attempt)
        self.refusals.append((attempt.path, f"{name}: {reason}"))
        if attempt.carrier is not None:
            attempt.carrier.close()
        pause = min(max(2 * attempt.pause, _FIRST_PAUSE), _LONGEST_PAUSE)
        is_alone = len(self._attempts) == self._paths
        self._attempts[attempt.path] = _Attempt(
            attempt.path,
            due=now + pause,
            pause=pause,
            tried=attempt.tried + is_alone,
            failures=attempt.failures + 1,
        )

    def _name(self, attempt: _Attempt) -> str:
        if self._target.command:
            return self._target.command[0]
        return self._target.addresses[self._turn(attempt) % len(self._addresses)]

    def _turn(self, attempt: _Attempt) -> int:
        return attempt.path + attempt.tried

    def _begin(self, attempt: _Attempt, now: float) -> Opened | None:
        if self._target.command:
            attempt.deadline = now + _LATE
            attempt.carrier = _spawn(self._target.command)
            self._greet(attempt)
            return None
        attempt.deadline = now + _UNREACHABLE
        turn = self._turn(attempt)
        host, port = self._addresses[turn % len(self._addresses)]
        via = self._target.via[attempt.path % len(self._target.via)] if self._target.via else ""
        attempt.carrier = _connect(
            self._places(host, port),
            attempt.failures,
            via,
            self._name(attempt),
            self._target.send_buffer,
        )
        attempt.is_connecting = True
        return None

    def _places(self, host: str, port: int) -> Sequence[_Place]:
        """Look a name up, once: that may take the system's time, while other paths wait."""
        key = (host, port)
        if key not in self._known:
            self._known[key] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return self._known[key]

    def _greet(self, attempt: _Attempt) -> None:
        assert attempt.carrier is not None  # noqa: S101 - the caller has just made it
        attempt.is_connecting = False
        attempt.asked = ask(self._terms, attempt.path)
        # A fresh connection has room for 64 bytes; if not, it is of no use.
        if os.write(attempt.carrier.writer, attempt.asked.data) != HELLO_SIZE:
            raise PeerUnreachableError(peer=attempt.carrier.name, reason="takes no hello")

    def _go_on(self, attempt: _Attempt, now: float) -> Opened | None:
        carrier = attempt.carrier
        assert carrier is not None  # noqa: S101 - the caller has looked
        if attempt.is_connecting:
            with as_socket(carrier.reader) as connection:
                assert connection is not None  # noqa: S101 - it is being connected
                status = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if status:
                raise OSError(status, os.strerror(status))
            if not self._target.send_buffer:
                keep_near(carrier.reader)
            attempt.deadline = now + _LATE
            self._greet(attempt)
            return None
        try:
            more = os.read(carrier.reader, HELLO_SIZE - len(attempt.heard))
        except BlockingIOError:
            return None
        if not more:
            raise PeerUnreachableError(peer=carrier.name, reason="closed before its hello")
        attempt.heard += more
        if len(attempt.heard) < HELLO_SIZE:
            return None
        assert attempt.asked is not None  # noqa: S101 - said before anything was heard
        agreed = conclude(self._terms, attempt.asked, attempt.heard)
        del self._attempts[attempt.path]
        return Opened(carrier, agreed)


def _parse(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 < int(port) < _PORTS:
        raise UsageError(reason=f"no address: {address!r:.60}; write for example vault:7007")
    return host, int(port)


def _connect(
    places: Sequence[_Place], choice: int, via: str, name: str, send_buffer: int
) -> Carrier:
    """Begin to connect to one of the places that a name stands for."""
    local, device = _local(via)
    usable = [one for one in places if local is None or one[0] == local[0]]
    if not usable:
        raise PeerUnreachableError(peer=name, reason=f"has no address of the kind of {via}")
    family, kind, protocol, _, address = usable[choice % len(usable)]
    connection = socket.socket(family, kind | socket.SOCK_CLOEXEC, protocol)
    try:
        tune(connection.fileno(), send_buffer=send_buffer)
        if device:
            option = device.encode() + b"\0"
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, option)
        if local is not None:
            connection.bind(local[1])
        with contextlib.suppress(BlockingIOError):
            connection.connect(address)
    except BaseException:
        connection.close()
        raise
    descriptor = connection.detach()
    return Carrier(descriptor, descriptor, name, lambda: None)


def _local(via: str) -> tuple[tuple[int, tuple[str, int]] | None, str]:
    """Return the family and address to bind to, or the interface's name."""
    if not via:
        return None, ""
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            socket.inet_pton(family, via)
            return (family, (via, 0)), ""
    return None, via


def _spawn(command: Sequence[str]) -> Carrier:
    process = subprocess.Popen(  # noqa: S603 - the operator's own command
        list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None  # noqa: S101 - asked for
    assert process.stdout is not None  # noqa: S101 - asked for
    reader, writer = os.dup(process.stdout.fileno()), os.dup(process.stdin.fileno())
    process.stdin.close()
    process.stdout.close()
    for one in (reader, writer):
        os.set_blocking(one, False)
        with contextlib.suppress(OSError):  # a user over the system's limit keeps small ones
            fcntl.fcntl(one, _F_SETPIPE_SZ, _PIPE)
    return Carrier(reader, writer, command[0], lambda: _end(process))


def _end(process: subprocess.Popen[bytes]) -> None:
    """End what lost its input: most programs do so by themselves."""
    process.terminate()
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
