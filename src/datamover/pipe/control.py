"""What a task and its monitor say to each other: small JSON messages on a socket of their own.

    task -> monitor     ready | notice | result | finished | failed
    monitor -> task     stop

Source: seed, "Control Messages"; SPEC C13, C14; docs/spec/shm-layout.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from datamover.errors import MalformedError, StopRequestedError

if TYPE_CHECKING:
    import socket

__all__ = ["Control", "DirectControl", "Message", "SocketControl", "decode"]

_MOST: Final = 60_000
_LONGEST: Final = 2_000


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message: what it is, and its facts."""

    what: str
    facts: Mapping[str, object]


_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(Message)


class Control(Protocol):
    """A task's side."""

    def say(self, what: str, facts: Mapping[str, object]) -> None:
        """Tell the monitor.

        Raises:
            StopRequestedError: There is no monitor any more.

        Blocking: until the monitor has room for it.
        """
        ...


class SocketControl:
    """A control socket, for processes and threads."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def say(self, what: str, facts: Mapping[str, object]) -> None:
        """See ``Control``."""
        data = _ENCODER.encode(Message(what=what, facts=facts))
        if len(data) > _MOST:
            short = {key: _shortened(value) for key, value in facts.items()}
            data = _ENCODER.encode(Message(what=what, facts=short))
        try:
            self._connection.send(data)
        except (BrokenPipeError, ConnectionResetError):
            raise StopRequestedError from None


class DirectControl:
    """A call, for stages that run inline."""

    def __init__(self, listener: Callable[[Message], None]) -> None:
        self._listener = listener

    def say(self, what: str, facts: Mapping[str, object]) -> None:
        """See ``Control``; never blocks."""
        self._listener(Message(what=what, facts=facts))


def decode(data: bytes) -> Message:
    """Read a message.

    Raises:
        MalformedError: It is none.
    """
    try:
        return _DECODER.decode(data)
    except msgspec.DecodeError as error:
        raise MalformedError(what="control message", reason=str(error)) from None


def _shortened(value: object) -> object:
    if isinstance(value, str):
        return value[:_LONGEST]
    if isinstance(value, Mapping):
        return {str(k)[:_LONGEST]: _shortened(v) for k, v in list(value.items())[:20]}
    return value
