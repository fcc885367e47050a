"""The control protocol's bytes: a header of 16 bytes and a MessagePack map.

    offset  size  field
         0     4  magic     DMCM
         4     1  version   1
         5     1  reserved  0
         6     2  type
         8     4  length    of the body
        12     4  check     CRC-32C of bytes 0-11 and the body

Source: docs/spec/control-protocol.md, section 2; SPEC C3, C4; DESIGN D9, D14.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import msgspec

from datamover.errors import CorruptError, MagicError, MalformedError, VersionError
from datamover.wire.crc import crc32c
from datamover.wire.message import TYPES, Count, Message, Unknown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["HEADER", "LONGEST", "VERSION", "ControlReader", "encode"]

HEADER: Final = struct.Struct("<4sBBHII")
VERSION: Final = 1
LONGEST: Final = 1 << 20
"""Bytes of a body."""

_MAGIC: Final = b"DMCM"
_OPENING: Final = 4 << 10
_LEVELS: Final = 32
_CHECK: Final = struct.Struct("<I")
_WHAT: Final = "control message"

_NUMBERS: Final = {kind: number for number, (kind, _) in TYPES.items()}
_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODERS: Final = {number: msgspec.msgpack.Decoder(kind) for number, (kind, _) in TYPES.items()}


class _Asked(msgspec.Struct):
    request: Count = 0


_ASKED: Final = msgspec.msgpack.Decoder(_Asked)


def encode(message: Message) -> bytes:
    """Return a message's bytes.

    Raises:
        MalformedError: It is too long, or holds what MessagePack has no word for.
    """
    number = _NUMBERS[type(message)]
    try:
        body = _ENCODER.encode(message)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise MalformedError(what=_name(number), reason=str(error)) from None
    if len(body) > TYPES[number][1]:
        raise MalformedError(
            what=_name(number), reason=f"{len(body)} bytes, {TYPES[number][1]} fit"
        )
    head = HEADER.pack(_MAGIC, VERSION, 0, number, len(body), 0)[:-4]
    return head + _CHECK.pack(crc32c(body, crc32c(head))) + body


class ControlReader:
    """Makes messages of bytes that come in pieces.

    A message's length is judged by its header: nothing longer than its type allows is ever kept.
    Until ``open`` is called nothing longer than 4 KiB is taken: nobody has said who speaks.
    After an error the reader is broken for good: where the next message begins is unknown.
    """

    def __init__(self) -> None:
        self._pending = bytearray()
        self._longest = _OPENING

    @property
    def has_some(self) -> bool:
        """Whether a message has begun and not ended."""
        return bool(self._pending)

    def open(self) -> None:
        """Take messages of every length from here on."""
        self._longest = LONGEST

    def feed(self, data: bytes | memoryview) -> None:
        """Take what has arrived."""
        self._pending += data

    def messages(self) -> Iterator[Message]:
        """Yield each message that is whole.

        Raises:
            FormatError: What came is no message; the conversation must end.
        """
        while (size := self._size()) is not None and len(self._pending) >= size:
            taken = bytes(self._pending[:size])
            del self._pending[:size]
            yield _decode(taken)

    def _size(self) -> int | None:
        """Bytes of the message that has begun, header and all; None: its header is not here."""
        if len(self._pending) < HEADER.size:
            if not _MAGIC.startswith(bytes(self._pending[:4])):
                raise MagicError(what=_WHAT, found=bytes(self._pending[:4]).hex())
            return None
        magic, version, reserved, number, length, _ = HEADER.unpack_from(self._pending)
        if magic != _MAGIC:
            raise MagicError(what=_WHAT, found=magic.hex())
        if version != VERSION:
            raise VersionError(what=_WHAT, found=version, newest=VERSION)
        if reserved:
            raise MalformedError(what=_WHAT, reason=f"reserved byte {reserved}")
        most = min(self._longest, TYPES[number][1] if number in TYPES else LONGEST)
        if length > most:
            raise MalformedError(what=_name(number), reason=f"{length} bytes, {most} may come")
        return HEADER.size + int(length)


def _decode(data: bytes) -> Message:
    _, _, _, number, _, check = HEADER.unpack_from(data)
    body = memoryview(data)[HEADER.size :]
    actual = crc32c(body, crc32c(data[:12]))
    if actual != check:
        raise CorruptError(what=_WHAT, expected=check, actual=actual)
    try:
        if number not in TYPES:
            return Unknown(type=number, request=_ASKED.decode(body).request)
        message = _DECODERS[number].decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError) as error:
        raise MalformedError(what=_name(number), reason=str(error)) from None
    for name in message.__struct_fields__:
        _check_plain(getattr(message, name), number, _LEVELS)
    return message


def _check_plain(value: object, number: int, levels: int) -> None:
    """Refuse what is deeper than 32 levels, or of a kind that the protocol does not have."""
    match value:
        case None | bool() | int() | float() | str() | bytes():
            return
        case msgspec.Struct():
            held: Sequence[object] = [getattr(value, name) for name in value.__struct_fields__]
        case dict():
            if not all(isinstance(key, str | bytes) for key in value):
                raise MalformedError(what=_name(number), reason="a key that is no name")
            held = list(value.values())
        case list() | tuple():
            held = value
        case _:
            raise MalformedError(what=_name(number), reason=f"a {type(value).__name__}")
    if not levels:
        raise MalformedError(what=_name(number), reason=f"more than {_LEVELS} levels")
    for one in held:
        _check_plain(one, number, levels - 1)


def _name(number: int) -> str:
    return TYPES[number][0].__name__ if number in TYPES else f"message of type {number}"
