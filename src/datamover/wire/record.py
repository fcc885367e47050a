"""Records: the shape that every header and footer shares.

A record's header is a prelude of 16 bytes, a body, extensions, and a CRC-32C; a payload may follow.

    offset  size  field
         0     4  magic           one per kind of record
         4     2  version         major << 8 | minor
         6     2  flags           by kind; unknown bits are kept
         8     4  header_length   prelude to CRC, at most 4096
        12     4  payload_length  bytes that follow the header

A reader that knows nothing of a record still knows where the next one begins.

Source: docs/spec/wire-format.md, "Records" and "Versions"; SPEC G1, G7, H10.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, Self

from datamover.errors import (
    CorruptError,
    MagicError,
    MalformedError,
    TruncatedError,
    VersionError,
)
from datamover.units import Bytes
from datamover.wire.crc import crc32c
from datamover.wire.extension import Extension, decode_extensions, encode_extensions

__all__ = [
    "CRC_SIZE",
    "HEADER_MAX",
    "ID_SIZE",
    "MAJOR",
    "PRELUDE",
    "VERSION",
    "Prelude",
    "build",
    "check",
    "flags_of",
    "pack",
    "rest",
    "seal",
]

MAJOR: Final = 1
VERSION: Final = MAJOR << 8 | 0
HEADER_MAX: Final = Bytes(4096)
PRELUDE: Final = struct.Struct("<4sHHII")
CRC_SIZE: Final = 4
ID_SIZE: Final = 16

_CRC: Final = struct.Struct("<I")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prelude:
    """The first 16 bytes of a record, bounded but not yet checked against the CRC.

    Attributes:
        magic: Four bytes that name the kind of record.
        version: major << 8 | minor.
        flags: Bits whose meaning depends on the kind.
        header_length: Bytes of the whole header, prelude and CRC included.
        payload_length: Bytes that follow the header.
    """

    magic: bytes
    version: int
    flags: int
    header_length: Bytes
    payload_length: Bytes

    @classmethod
    def decode(cls, data: memoryview) -> Self:
        """Read a prelude, so that the rest of the header can be fetched.

        Raises:
            TruncatedError: Fewer than 16 bytes.
            MalformedError: The header would be shorter than a record, or longer than 4096 bytes.
        """
        if len(data) < PRELUDE.size:
            raise TruncatedError(what="record", need=Bytes(PRELUDE.size), have=Bytes(len(data)))
        magic, version, flags, header, payload = PRELUDE.unpack_from(data)
        if not PRELUDE.size + CRC_SIZE <= header <= HEADER_MAX:
            raise MalformedError(what="record", reason=f"header of {header} bytes")
        return cls(
            magic=magic,
            version=version,
            flags=flags,
            header_length=Bytes(header),
            payload_length=Bytes(payload),
        )


def seal(out: memoryview, end: int) -> Bytes:
    """Write the CRC-32C of ``out[:end]`` behind it; return the header's length."""
    _CRC.pack_into(out, end, crc32c(out[:end]))
    return Bytes(end + CRC_SIZE)


def pack(layout: struct.Struct, what: str, *values: int | bytes) -> bytes:
    """Return ``layout.pack(*values)``; bytes among them are ids, 16 long.

    Raises:
        MalformedError: A value does not fit its field.
    """
    for value in values:
        # struct would cut or pad them without a word.
        if isinstance(value, bytes) and len(value) != ID_SIZE:
            raise MalformedError(what=what, reason=f"id of {len(value)} bytes")
    try:
        return layout.pack(*values)
    except struct.error as error:
        raise MalformedError(what=what, reason=str(error)) from error


def build(
    magic: bytes,
    what: str,
    *,
    body: bytes,
    extensions: tuple[Extension, ...],
    flags: int = 0,
    payload: int = 0,
) -> bytes:
    """Return a whole header.

    Raises:
        MalformedError: It would pass 4096 bytes, or a value does not fit.
    """
    more = encode_extensions(extensions)
    end = PRELUDE.size + len(body) + len(more)
    if end + CRC_SIZE > HEADER_MAX:
        raise MalformedError(what=what, reason=f"{end + CRC_SIZE} bytes, {HEADER_MAX} fit")
    try:
        prelude = PRELUDE.pack(magic, VERSION, flags, end + CRC_SIZE, payload)
    except struct.error as error:
        raise MalformedError(what=what, reason=str(error)) from error
    head = prelude + body + more
    return head + _CRC.pack(crc32c(head))


def flags_of(data: memoryview) -> int:
    """Return the flags of a record that was checked."""
    return int(PRELUDE.unpack_from(data)[2])


def rest(data: memoryview, size: int, at: int) -> tuple[Extension, ...]:
    """Return the extensions from ``at`` to the CRC of the header of ``size`` bytes."""
    end = size - CRC_SIZE
    return decode_extensions(data[at:end]) if end > at else ()


def check(data: memoryview, *, magic: bytes, what: str, least: int) -> int:
    """Return the header length of the record at the start of ``data``, once it is proved sound.

    Args:
        data: At least the whole header; bytes behind it are not looked at.
        magic: The kind of record that must be here.
        what: Its name, for errors.
        least: The shortest header of this kind, CRC included.

    Raises:
        TruncatedError: Fewer bytes than the header claims.
        MagicError: Another kind of record.
        MalformedError: An impossible header length.
        CorruptError: The CRC does not match.
        VersionError: A newer major version.
    """
    if len(data) < PRELUDE.size:
        raise TruncatedError(what=what, need=Bytes(PRELUDE.size), have=Bytes(len(data)))
    found, version, _, length, _ = PRELUDE.unpack_from(data)
    # Magic before CRC: "this is something else" is a better answer than "this is broken".
    if found != magic:
        raise MagicError(what=what, found=repr(found))
    if not PRELUDE.size + CRC_SIZE <= length <= HEADER_MAX:
        raise MalformedError(what=what, reason=f"header of {length} bytes")
    if len(data) < length:
        raise TruncatedError(what=what, need=Bytes(length), have=Bytes(len(data)))
    end = length - CRC_SIZE
    (expected,) = _CRC.unpack_from(data, end)
    actual = crc32c(data[:end])
    # CRC before version: a flipped bit must not pass for a newer format.
    if actual != expected:
        raise CorruptError(what=what, expected=expected, actual=actual)
    if version >> 8 > MAJOR:
        raise VersionError(what=what, found=version >> 8, newest=MAJOR)
    if version >> 8 < MAJOR or length < least:
        raise MalformedError(what=what, reason=f"version {version:#06x}, header of {length} bytes")
    return int(length)
