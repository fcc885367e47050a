"""Extensions: the part of a header that may grow without a new version.

    offset  size  field
         0     2  id
         2     2  length  bytes of value
         4     n  value

A reader skips what it does not know by its length, and carries it on unchanged.

Source: docs/spec/wire-format.md, "Extensions"; SPEC G4, H10.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import msgspec

from datamover.errors import MalformedError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Extension", "decode_extensions", "encode_extensions"]

_HEAD: Final = struct.Struct("<HH")
_WHAT: Final = "extension"


class Extension(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One value that travels in a header.

    Attributes:
        id: What it is; unknown ones are carried on.
        value: Opaque here.
    """

    id: int
    value: bytes


def encode_extensions(items: Iterable[Extension]) -> bytes:
    """Return the extensions one behind the other.

    Raises:
        MalformedError: An id or a length does not fit 16 bits.
    """
    out = bytearray()
    for item in items:
        try:
            out += _HEAD.pack(item.id, len(item.value))
        except struct.error as error:
            raise MalformedError(what=_WHAT, reason=str(error)) from error
        out += item.value
    return bytes(out)


def decode_extensions(data: memoryview) -> tuple[Extension, ...]:
    """Read extensions until the end of ``data``.

    Raises:
        MalformedError: A length reaches beyond the end.
    """
    found = []
    at, end = 0, len(data)
    while at < end:
        if end - at < _HEAD.size:
            raise MalformedError(what=_WHAT, reason=f"{end - at} stray bytes")
        number, length = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        if length > end - at:
            raise MalformedError(what=_WHAT, reason=f"{length} bytes claimed, {end - at} left")
        found.append(Extension(id=number, value=bytes(data[at : at + length])))
        at += length
    return tuple(found)
