"""The checksum of everything that lies on a medium or crosses a wire: CRC-32C.

Source: RFC 3720, appendix B.4; SPEC G7; docs/spec/wire-format.md.
"""

from __future__ import annotations

import struct
from typing import Final

from datamover.errors import CorruptError, RoomError, TruncatedError
from datamover.units import Bytes
from datamover.wire.crc import crc32c

__all__ = ["CHECKSUM_SIZE", "append_checksum", "check_checksum", "crc32c"]

_TRAILER: Final = struct.Struct("<I")
CHECKSUM_SIZE: Final = Bytes(_TRAILER.size)
_WHAT: Final = "checked block"


def append_checksum(data: memoryview, length: int) -> Bytes:
    """Write the checksum of ``data[:length]`` behind it; return the new length.

    Raises:
        RoomError: No room; nothing was written.
    """
    end = Bytes(length + CHECKSUM_SIZE)
    if end > len(data):
        raise RoomError(what=_WHAT, need=end, have=len(data))
    _TRAILER.pack_into(data, length, crc32c(data[:length]))
    return end


def check_checksum(data: memoryview, length: int) -> Bytes:
    """Check the last four bytes of ``data[:length]``; return the length without them.

    Raises:
        TruncatedError: Too short to hold a checksum.
        CorruptError: It does not match.
    """
    start = Bytes(length - CHECKSUM_SIZE)
    if start < 0 or length > len(data):
        raise TruncatedError(what=_WHAT, need=CHECKSUM_SIZE, have=Bytes(length))
    (expected,) = _TRAILER.unpack_from(data, start)
    actual = crc32c(data[:start])
    if actual != expected:
        raise CorruptError(what=_WHAT, expected=expected, actual=actual)
    return start
