"""What a task and its monitor say to each other: small JSON messages on a socket of their own.

    task -> monitor     ready | notice | result | finished | failed
    monitor -> task     stop

Source: seed, "Control Messages"; SPEC C13, C14; docs/spec/shm-layout.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from datamover.errors import MalformedError, StopRequestedError

if TYPE_CHECKING:
    import socket

__all__ = ["Control", "DirectControl", "Message", "SocketControl", "decode"]

_MOST: Final = 60_000
_TRIES: Final = ((2_000, 2), (200, 2), (20, 0))  # characters a text, levels of mappings
_ITEMS: Final = 20
_DEEPEST: Final = 64
_TEXT: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)  # in linear time, closed or not


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
        try:
            self._connection.send(_encoded(what, facts))
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
    if data.count(b"{") + data.count(b"[") > _DEEPEST and _depth(data) > _DEEPEST:
        raise MalformedError(what="control message", reason="it is nested too deeply")
    try:
        return _DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError(what="control message", reason=str(error)) from None


def _depth(data: bytes) -> int:
    """Return how deeply JSON is nested; the interpreter's own limit differs by its version."""
    depth = deepest = 0
    for byte in _TEXT.sub(b"", data):
        if byte in b"{[":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"}]":
            depth -= 1
    return deepest


def _encoded(what: str, facts: Mapping[str, object]) -> bytes:
    """Return the message, shortened as far as it must be to fit one datagram."""
    data = b""
    try:
        data = _ENCODER.encode(Message(what=what, facts=facts))
    except UnicodeEncodeError:  # a text that holds a name as the file system has it
        data = b" " * (_MOST + 1)
    for longest, levels in _TRIES:
        if len(data) <= _MOST:
            break
        short = {
            _shortened_text(key, longest): _shortened(value, longest, levels)
            for key, value in list(facts.items())[:_ITEMS]
        }
        data = _ENCODER.encode(Message(what=what, facts=short))
    return data


def _shortened(value: object, longest: int, levels: int) -> object:
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, Mapping) and levels:
        return {
            _shortened_text(key, longest): _shortened(held, longest, levels - 1)
            for key, held in list(value.items())[:_ITEMS]
        }
    return _shortened_text(value, longest)


def _shortened_text(value: object, longest: int) -> str:
    return str(value)[:longest].encode("utf-8", "backslashreplace").decode()
