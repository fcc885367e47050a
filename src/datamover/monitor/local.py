"""The monitor of this user, as a program talks to it: initiate a pipe, be an end of it, leave.

    with LocalMonitor.reach() as monitor:
        pipe = monitor.initiate(spec)                        it goes on without this program

        pipe = monitor.initiate(spec, invoker="head")
        with monitor.identify(pipe.pipe, "head", pipe.token) as guest:
            ...                                              link.guest.Guest

Source: docs/spec/control-protocol.md, sections 8 and 9; seed FIG. 3A, 3C; SPEC C3, C6; ADR 0023.
"""

from __future__ import annotations

import os
import select
import socket
import time
from typing import TYPE_CHECKING, Final, Literal, Self, TypeVar

import msgspec

from datamover.errors import (
    MalformedError,
    PeerLostError,
    PeerProtocolError,
    PeerRefusedError,
    PeerUnreachableError,
    revive,
)
from datamover.link.guest import Entrance, Guest
from datamover.link.places import runtime_folder
from datamover.monitor.failure import revived_failure
from datamover.monitor.initiation import Ask, asking
from datamover.monitor.reach import reach_socket
from datamover.monitor.runtime import monitor_socket, short
from datamover.wire.attach import Terms
from datamover.wire.control import VERSION, ControlReader, encode
from datamover.wire.message import (
    Done,
    Hello,
    Identified,
    Identify,
    Initiated,
    PipeEnded,
    PipeNotice,
    Refused,
    SetLimit,
    StopPipe,
    Welcome,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import TracebackType

    from datamover.monitor.initiation import Direction, Invoker
    from datamover.monitor.peer import Peer
    from datamover.pipe.spec import PipeSpec
    from datamover.wire.message import Message

__all__ = ["LocalMonitor"]

_UP_S: Final = 60.0
_ANSWER_S: Final = 15.0
_DESCRIPTORS: Final = 4
_AT_ONCE: Final = 1 << 16
_TICK_S: Final = 0.2


class LocalMonitor:
    """A conversation with it; use it from one thread, and close it."""

    def __init__(self, runtime: Path, peer: Peer) -> None:
        self._runtime = runtime
        self._peer = peer

    @classmethod
    def reach(cls, runtime: Path | None = None) -> Self:
        """Begin a conversation.

        Args:
            runtime: The folder that it was started with; None: the usual one.

        Raises:
            PeerUnreachableError: No monitor runs for this user.

        Blocking: until it answers, some seconds at most.
        """
        found = runtime or runtime_folder()
        try:
            return cls(found, reach_socket(monitor_socket(found), name="the monitor"))
        except PeerUnreachableError as error:
            reason = f"{error.reason}; `datamover monitor` starts one"
            raise PeerUnreachableError(peer=error.peer, reason=reason) from None

    def __enter__(self) -> Self:
        """Use it in a ``with`` statement."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the conversation; pipes go on."""
        self._peer.close()

    def initiate(
        self,
        spec: PipeSpec,
        *,
        invoker: Invoker = "command",
        direction: Direction = "",
        travel: Mapping[str, object] | None = None,
    ) -> Initiated:
        """Have the monitor build a pipe and run it (Initiate_Pipe).

        Args:
            spec: Stages say with ``at`` where they run.
            invoker: "head" or "tail": this program will be that end, which ``spec`` leaves out.
            direction: "send", "receive" or "relay" is held against the machines.
            travel: How other machines are reached; the fields of ``mover.travel.Travel``.

        Raises:
            SpecError: A stage exists in this program alone.
            PeerRefusedError: It cannot be; nothing runs.
            PeerLostError: The monitor is gone.

        Blocking: until every task is attached, on every machine.
        """
        ask = Ask(invoker=invoker, direction=direction, travel=travel)
        return self._peer.ask(asking(spec, ask), kind=Initiated, timeout=_UP_S)

    def identify(
        self, pipe: str, place: Literal["head", "tail"], token: bytes = bytes(16)
    ) -> Guest:
        """Take a place in a pipe (SEND_IDENT).

        Args:
            pipe: Its name, as ``initiate`` returned it, or what its gate is called.
            place: Which end.
            token: What guests of it must know.

        Raises:
            PeerRefusedError: There is no such place, or the token is another.
            PeerLostError: The monitor is gone.

        Blocking: until it answers, some seconds at most.
        """
        message = Identify(request=1, pipe=pipe, place=place, token=token, pid=os.getpid())
        return Guest(_identified(monitor_socket(self._runtime), message))

    def call(self, method: str, given: Mapping[str, object]) -> dict[str, object]:
        """Call a method of it; see docs/spec/jobs.md.

        Raises:
            PeerRefusedError: It says no, and why.
        """
        return self._peer.call(method, given, timeout=_ANSWER_S)

    def stop(self, pipe: str, by: str = "a program") -> None:
        """Ask a pipe to end.

        Raises:
            PeerRefusedError: There is none of that name.
        """
        self._peer.ask(StopPipe(request=0, pipe=pipe, reason=by), kind=Done, timeout=_ANSWER_S)

    def set_limit(self, pipe: str, bytes_per_s: int) -> None:
        """Let a pipe's borders carry so much a second; 0: as much as they can.

        Raises:
            PeerRefusedError: There is none of that name.
        """
        message = SetLimit(request=0, pipe=pipe, bytes_per_s=bytes_per_s)
        self._peer.ask(message, kind=Done, timeout=_ANSWER_S)

    def wait(self, pipe: str, on_notice: Callable[[PipeNotice], None] | None = None) -> PipeEnded:
        """Wait for the end of a pipe that this conversation initiated, and return it.

        Raises:
            StageFailedError: It failed: which stage, on which machine, and why.
            PeerLostError: The monitor is gone.

        Blocking: until it has ended.
        """
        while True:
            for message in self._peer.receive():
                match message:
                    case PipeEnded(pipe=name) if name == pipe:
                        return _judged(message)
                    case PipeNotice(pipe=name) if name == pipe and on_notice is not None:
                        on_notice(message)
                    case _:
                        continue
            select.select([self._peer], [], [], min(_TICK_S, self._peer.tend()))


def _judged(ended: PipeEnded) -> PipeEnded:
    if ended.how == "failed":
        machine = ended.failure.get("machine")
        if "stage" in ended.failure:
            raise revived_failure(
                ended.failure, machine=machine if isinstance(machine, str) else ""
            )
        raise revive(ended.failure)
    return ended


def _identified(path: Path, message: Identify) -> Entrance:
    """Identify on a connection of its own: what comes on it may carry descriptors."""
    found: list[int] = []
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(_ANSWER_S)
    try:
        with short(path) as at:
            connection.connect(at)
        hello = Hello(release="", machine="", pid=message.pid, versions=(VERSION, VERSION))
        reader = ControlReader()
        connection.sendall(encode(hello))
        _expected(_next(connection, reader, found), Welcome)
        reader.open()
        connection.sendall(encode(message))
        answer = _expected(_next(connection, reader, found), Identified)
        terms = _terms(answer, len(found))
        gate = socket.socket(fileno=found.pop())
        segment, inbox, outbox = found
        return Entrance(terms=terms, connection=gate, descriptors=(segment, inbox, outbox))
    except OSError as error:
        _close_all(found)
        reason = error.strerror or str(error)
        raise PeerLostError(peer="the monitor", reason=reason) from None
    except BaseException:
        _close_all(found)
        raise
    finally:
        connection.close()


def _next(connection: socket.socket, reader: ControlReader, found: list[int]) -> Message:
    """Return the next message; descriptors that came with it are added to ``found``."""
    deadline = time.monotonic() + _ANSWER_S
    while time.monotonic() < deadline:
        for message in reader.messages():
            return message
        data, rights, _, _ = socket.recv_fds(
            connection, _AT_ONCE, _DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
        )
        found += rights
        if not data:
            raise PeerLostError(peer="the monitor", reason="it ended the conversation")
        reader.feed(data)
    raise PeerLostError(peer="the monitor", reason="it did not answer in time")


Expected = TypeVar("Expected", bound="Message")


def _expected(message: Message, kind: type[Expected]) -> Expected:
    if isinstance(message, Refused):
        raise PeerRefusedError(
            peer="the monitor",
            reason=message.reason,
            cause_code=message.code,
            cause_status=message.status,
            cause_hint=message.hint,
        )
    if not isinstance(message, kind):
        reason = f"{type(message).__name__} where {kind.__name__} was due"
        raise PeerProtocolError(peer="the monitor", reason=reason)
    return message


def _terms(answer: Identified, descriptors: int) -> Terms:
    """Return the terms of a place.

    Raises:
        MalformedError: They make no sense.
    """
    if descriptors != _DESCRIPTORS:
        raise MalformedError(what="Identified", reason=f"{descriptors} descriptors with it")
    try:
        terms = msgspec.convert(answer.given, Terms)
    except msgspec.ValidationError as error:
        raise MalformedError(what="Identified", reason=str(error)) from None
    if not terms.buffers or not terms.buffer_size or terms.stride < terms.buffer_size:
        raise MalformedError(what="Identified", reason=f"{terms.buffers} buffers of nothing")
    return terms


def _close_all(descriptors: list[int]) -> None:
    for one in descriptors:
        os.close(one)
