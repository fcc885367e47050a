"""What two network tasks say on a path: a hello each, then frames.

Pure: bytes in, values out.  Keys and seals are ``datamover.link.seal``'s.

Source: docs/spec/link-protocol.md; SPEC N4; DESIGN D8, D9.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final, NamedTuple

from datamover.errors import (
    CorruptError,
    MagicError,
    MalformedError,
    TruncatedError,
    VersionError,
)
from datamover.units import Bytes
from datamover.wire.crc import crc32c

__all__ = [
    "FRAME_SIZE",
    "HELLO_SIZE",
    "MARGIN",
    "MOST_PATHS",
    "PROOF_AT",
    "SEAL_SIZE",
    "TAG_MOST",
    "Frame",
    "Hello",
    "Kind",
    "Protection",
    "decode_frame",
    "decode_hello",
    "encode_frame",
    "encode_hello",
]

_HELLO: Final = struct.Struct("<4sBBH16s16sII16s")
_FRAME: Final = struct.Struct("<4sBBHQQQIII")
_CRC: Final = struct.Struct("<I")

HELLO_SIZE: Final = Bytes(_HELLO.size)
FRAME_SIZE: Final = Bytes(_FRAME.size + _CRC.size)
SEAL_SIZE: Final = Bytes(16)
PROOF_AT: Final = 48
"""Offset of a hello's proof, which covers what is before it."""

TAG_MOST: Final = Bytes(4096)
MARGIN: Final = Bytes(4080)
"""How much longer than the receiver's buffer_size a payload may be: its slot has 4096 bytes of
room for trailers, of which a seal needs 16 while it is checked."""

MOST_PATHS: Final = 16
VERSION: Final = 1

_HELLO_MAGIC: Final = b"DMPH"
_FRAME_MAGIC: Final = b"DMFR"
_HELLO_NAME: Final = "path hello"
_FRAME_NAME: Final = "frame"
_ID: Final = 16
_AUTHENTICATED: Final = 1
_U32: Final = (1 << 32) - 1


class Protection(IntEnum):
    """What guards the frames of a border."""

    CLEAR = 0
    """A checksum."""

    SEALED = 1
    """AES-256-GCM; payload that is sealed already is authenticated only."""

    AUTHENTICATED = 2
    """AES-256-GMAC: nobody can change a frame, anybody on the way can read it."""


class Kind(IntEnum):
    """What a frame is."""

    DATA = 1
    ACK = 2
    END = 3
    DONE = 4
    PING = 5


class Hello(NamedTuple):
    """The first bytes of a side on a path.

    Layout, 64 bytes::

        offset  size  field
             0     4  magic        b"DMPH"
             4     1  version      1
             5     1  protection
             6     2  path
             8    16  token
            24    16  nonce
            40     4  buffer_size
            44     4  reserved     0
            48    16  proof

    Attributes:
        protection: What the side expects; both must agree.
        path: Number of the path, from 0.
        token: Of the border.
        nonce: Random, fresh for each connection and side.
        buffer_size: Bytes of a payload that the side can take, without ``MARGIN``.
        proof: That the side knows the border's secret.
    """

    protection: Protection
    path: int
    token: bytes
    nonce: bytes
    buffer_size: int
    proof: bytes = bytes(_ID)


class Frame(NamedTuple):
    """A frame's header.

    Layout, 48 bytes::

        offset  size  field
             0     4  magic         b"DMFR"
             4     1  kind
             5     1  flags         bit 0: authenticated, not encrypted
             6     2  tag_used
             8     8  counter
            16     8  sequence
            24     8  received
            32     4  used
            36     4  stamp
            40     4  check
            44     4  header_check  CRC-32C of bytes 0-43

    Attributes:
        kind: What it is.
        counter: Frames sent before it on this connection in this direction.
        sequence: DATA: number in the stream; END: how many there are; ACK: credit.
        received: ACK: DATA frames of this connection that have arrived.
        tag_used: Bytes of the tag behind the header.
        used: Bytes of payload behind the tag.
        stamp: DATA: the sender's clock, microseconds modulo 2^32; ACK: that of the last DATA.
        check: CRC-32C of tag and payload, where nothing else guards them.
        is_authenticated: The seal covers tag and payload as they are.
    """

    kind: Kind
    counter: int
    sequence: int = 0
    received: int = 0
    tag_used: int = 0
    used: int = 0
    stamp: int = 0
    check: int = 0
    is_authenticated: bool = False

    @property
    def length(self) -> int:
        """Bytes of tag and payload."""
        return self.tag_used + self.used


def encode_hello(hello: Hello) -> bytes:
    """Return a hello's 64 bytes.

    Raises:
        MalformedError: A field does not fit.
    """
    for value in (hello.token, hello.nonce, hello.proof):
        if len(value) != _ID:
            raise MalformedError(what=_HELLO_NAME, reason=f"{len(value)} bytes, not {_ID}")
    if not 0 <= hello.path < MOST_PATHS:
        raise MalformedError(what=_HELLO_NAME, reason=f"path {hello.path}")
    try:
        return _HELLO.pack(
            _HELLO_MAGIC, VERSION, hello.protection, hello.path, hello.token, hello.nonce,
            hello.buffer_size, 0, hello.proof,
        )  # fmt: skip
    except struct.error as error:
        raise MalformedError(what=_HELLO_NAME, reason=str(error)) from error


def decode_hello(data: bytes | memoryview) -> Hello:
    """Read a hello; whoever takes it in compares token, protection and proof.

    Raises:
        TruncatedError: Fewer than 64 bytes, or more.
        MagicError: Not a hello.
        VersionError: A newer version.
        MalformedError: A field is out of range.
    """
    if len(data) != HELLO_SIZE:
        raise TruncatedError(what=_HELLO_NAME, need=HELLO_SIZE, have=Bytes(len(data)))
    magic, version, protection, path, token, nonce, size, reserved, proof = _HELLO.unpack(data)
    if magic != _HELLO_MAGIC:
        raise MagicError(what=_HELLO_NAME, found=magic.hex())
    if version != VERSION:
        raise VersionError(what=_HELLO_NAME, found=version, newest=VERSION)
    if protection > Protection.AUTHENTICATED or path >= MOST_PATHS or reserved:
        raise MalformedError(
            what=_HELLO_NAME, reason=f"protection {protection}, path {path}, reserved {reserved}"
        )
    return Hello(Protection(protection), path, token, nonce, size, proof)


def encode_frame(frame: Frame) -> bytes:
    """Return a frame header's 48 bytes.

    Raises:
        MalformedError: A field does not fit.
    """
    try:
        head = _FRAME.pack(
            _FRAME_MAGIC, frame.kind, frame.is_authenticated, frame.tag_used, frame.counter,
            frame.sequence, frame.received, frame.used, frame.stamp & _U32, frame.check,
        )  # fmt: skip
    except struct.error as error:
        raise MalformedError(what=_FRAME_NAME, reason=str(error)) from error
    return head + _CRC.pack(crc32c(head))


def decode_frame(data: bytes | memoryview, *, counter: int, most: int) -> Frame:
    """Read a frame's header.

    Args:
        data: 48 bytes.
        counter: The number that it must carry: frames before it on this connection.
        most: Bytes of payload that the reader has room for; 0 where no DATA may come.

    Raises:
        TruncatedError: Not 48 bytes.
        MagicError: Not a frame.
        CorruptError: The header's checksum does not match.
        MalformedError: A field is out of range, or the frame is not the next one.
    """
    if len(data) != FRAME_SIZE:
        raise TruncatedError(what=_FRAME_NAME, need=FRAME_SIZE, have=Bytes(len(data)))
    magic, kind, flags, tag_used, found, sequence, received, used, stamp, check = (
        _FRAME.unpack_from(data)
    )
    if magic != _FRAME_MAGIC:
        raise MagicError(what=_FRAME_NAME, found=magic.hex())
    (expected,) = _CRC.unpack_from(data, _FRAME.size)
    actual = crc32c(data[: _FRAME.size])
    if actual != expected:
        raise CorruptError(what=_FRAME_NAME, expected=expected, actual=actual)
    if found != counter:
        raise MalformedError(what=_FRAME_NAME, reason=f"number {found} where {counter} is due")
    _check_fields(kind, flags, tag_used, used, most)
    return Frame(Kind(kind), found, sequence, received, tag_used, used, stamp, check, bool(flags))


def _check_fields(kind: int, flags: int, tag_used: int, used: int, most: int) -> None:
    if not Kind.DATA <= kind <= Kind.PING or flags & ~_AUTHENTICATED:
        raise MalformedError(what=_FRAME_NAME, reason=f"kind {kind}, flags {flags}")
    if kind != Kind.DATA and (tag_used or used):
        raise MalformedError(what=_FRAME_NAME, reason=f"{Kind(kind).name} with a payload")
    if tag_used > TAG_MOST or used > most:
        raise MalformedError(
            what=_FRAME_NAME, reason=f"{tag_used} + {used} bytes, {TAG_MOST} + {most} fit"
        )
