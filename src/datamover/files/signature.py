"""Signatures: names of the pieces of a file that a destination has, for the source to look up.

Source: docs/spec/copy-pipes.md, "Signatures"; ADR 0016.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from datamover.errors import MagicError, MalformedError, TruncatedError
from datamover.units import KIB, MIB, Bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "AVERAGE_MAX",
    "AVERAGE_MIN",
    "NAME_SIZE",
    "RECORDS_MAX",
    "RUN",
    "Piece",
    "Signature",
    "average_of",
    "capacity",
    "decode_signature",
    "encode_signature",
]

NAME_SIZE: Final = 16
RUN: Final = MIB
"""Bytes of a run of a leftover."""

AVERAGE_MIN: Final = 16 * KIB
AVERAGE_MAX: Final = 4 * MIB
RECORDS_MAX: Final = 1 << 22
"""Records of one file at most."""

_MAGIC: Final = b"DMsg"
_WHAT: Final = "signature"
_HEADER: Final = struct.Struct("<4sIIIII")
_RECORD: Final = struct.Struct("<QI16s")
_LAST: Final = 1
_CHUNKS: Final = 32768
_OFFSET_MAX: Final = (1 << 63) - 1


class Piece(NamedTuple):
    """A run or a chunk: where it is, and the name of its bytes."""

    offset: int
    length: int
    name: bytes


class Signature(NamedTuple):
    """One block's part of a file's signature.

    Attributes:
        file: Number in the request.
        is_last: The file has no further part.
        average: What the chunks of the old file were cut with; 0: there is none.
        beginnings: Runs of the leftover.
        chunks: Chunks of the old file.
    """

    file: int
    is_last: bool
    average: int
    beginnings: Sequence[Piece]
    chunks: Sequence[Piece]


def average_of(size: int) -> int:
    """Return the average chunk for an old file of this size."""
    average = AVERAGE_MIN
    while average < AVERAGE_MAX and average * _CHUNKS < size:
        average *= 2
    return average


def capacity(size: int) -> int:
    """Return how many records a payload of ``size`` bytes holds."""
    return (size - _HEADER.size) // _RECORD.size


def encode_signature(out: memoryview, signature: Signature) -> Bytes:
    """Write a payload; return its length.

    Raises:
        TruncatedError: ``out`` is too short.
    """
    records = [*signature.beginnings, *signature.chunks]
    need = _HEADER.size + _RECORD.size * len(records)
    if need > len(out):
        raise TruncatedError(what=_WHAT, need=Bytes(need), have=Bytes(len(out)))
    _HEADER.pack_into(
        out, 0, _MAGIC, signature.file, _LAST if signature.is_last else 0, signature.average,
        len(signature.beginnings), len(signature.chunks),
    )  # fmt: skip
    at = _HEADER.size
    for record in records:
        _RECORD.pack_into(out, at, *record)
        at += _RECORD.size
    return Bytes(at)


def decode_signature(payload: memoryview) -> Signature:
    """Read a payload.

    Raises:
        FormatError: It breaks a rule.
    """
    if len(payload) < _HEADER.size:
        raise TruncatedError(what=_WHAT, need=Bytes(_HEADER.size), have=Bytes(len(payload)))
    magic, file, flags, average, beginnings, chunks = _HEADER.unpack_from(payload)
    if magic != _MAGIC:
        raise MagicError(what=_WHAT, found=magic.hex())
    need = _HEADER.size + _RECORD.size * (beginnings + chunks)
    if need != len(payload):
        raise TruncatedError(what=_WHAT, need=Bytes(need), have=Bytes(len(payload)))
    is_power = average & (average - 1) == 0
    if average and not (AVERAGE_MIN <= average <= AVERAGE_MAX and is_power):
        raise MalformedError(what=_WHAT, reason=f"chunks of {average} bytes")
    if chunks and not average:
        raise MalformedError(what=_WHAT, reason="chunks of no old file")
    records = list(_pieces(payload))
    return Signature(file, bool(flags & _LAST), average, records[:beginnings], records[beginnings:])


def _pieces(payload: memoryview) -> Iterator[Piece]:
    for offset, length, name in _RECORD.iter_unpack(payload[_HEADER.size :]):
        if not length or offset + length > _OFFSET_MAX:
            raise MalformedError(what=_WHAT, reason=f"{length} bytes at {offset}")
        yield Piece(offset, length, name)
