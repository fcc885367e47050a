"""What a guest and a gate say to each other when they meet: two messages of fixed size.

Source: docs/spec/attach-abi.md, section 2; SPEC C6, C10, X4.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from datamover.errors import MagicError, MalformedError, TruncatedError, VersionError
from datamover.units import Bytes

__all__ = [
    "ANSWER_SIZE",
    "HELLO_SIZE",
    "LONGEST_REASON",
    "TAKEN",
    "GuestHello",
    "GuestPlace",
    "Terms",
]

_MAGIC: Final = b"DMATTACH"
_VERSION: Final = 1
_HELLO: Final = struct.Struct("<8sHHI16s")
_ANSWER: Final = struct.Struct("<8sHHIIIQQ")
TAKEN: Final = struct.Struct("<Q")
"""Bytes of data that a gate took from a head, said when its end came."""

HELLO_SIZE: Final = _HELLO.size
ANSWER_SIZE: Final = _ANSWER.size
LONGEST_REASON: Final = 200
_WELCOME: Final = 0
_REFUSED: Final = 1


class GuestPlace(IntEnum):
    """Which end of the pipe."""

    HEAD = 1
    TAIL = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestHello:
    """What a guest says.

    Attributes:
        pid: The process that the place is for, where another asks for it; 0: who asks.
    """

    place: GuestPlace
    token: bytes = bytes(16)
    pid: int = 0

    def encode(self) -> bytes:
        """Return the message."""
        return _HELLO.pack(_MAGIC, _VERSION, self.place, self.pid, self.token)

    @classmethod
    def decode(cls, data: bytes) -> GuestHello:
        """Read the message.

        Raises:
            FormatError: It is none.
        """
        if len(data) != HELLO_SIZE:
            raise TruncatedError(what="hello", need=Bytes(HELLO_SIZE), have=Bytes(len(data)))
        magic, version, place, pid, token = _HELLO.unpack(data)
        _check(magic, version)
        if place not in {one.value for one in GuestPlace}:
            raise MalformedError(what="hello", reason=f"place: {place}")
        return cls(place=GuestPlace(place), token=token, pid=pid)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a gate answers.

    Attributes:
        data: Offset of the first buffer's data.
        refusal: Why the guest cannot come in; empty: it can.
    """

    buffers: int = 0
    buffer_size: int = 0
    stride: int = 0
    data: int = 0
    refusal: str = ""

    def encode(self) -> bytes:
        """Return the message."""
        status = _REFUSED if self.refusal else _WELCOME
        fields = (self.buffers, self.buffer_size, self.stride, self.data, 0)
        return (
            _ANSWER.pack(_MAGIC, _VERSION, status, *fields)
            + self.refusal.encode("utf-8", "replace")[:LONGEST_REASON]
        )

    @classmethod
    def decode(cls, data: bytes) -> Terms:
        """Read the message.

        Raises:
            FormatError: It is none.
        """
        if len(data) < ANSWER_SIZE:
            raise TruncatedError(what="answer", need=Bytes(ANSWER_SIZE), have=Bytes(len(data)))
        magic, version, status, buffers, size, stride, start, _ = _ANSWER.unpack_from(data)
        _check(magic, version)
        refusal = ""
        if status != _WELCOME:
            refusal = data[ANSWER_SIZE:].decode("utf-8", "replace") or "no reason given"
        elif not buffers or not size or stride < size:
            raise MalformedError(what="answer", reason=f"{buffers} buffers of {size} at {stride}")
        return cls(buffers=buffers, buffer_size=size, stride=stride, data=start, refusal=refusal)


def _check(magic: bytes, version: int) -> None:
    if magic != _MAGIC:
        raise MagicError(what="attach", found=magic.hex())
    if version != _VERSION:
        raise VersionError(what="attach", found=version, newest=_VERSION)
