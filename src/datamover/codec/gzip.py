"""Gzip members through ISA-L, for data that other tools must be able to open.

Source: RFC 1952; docs/decisions/0010-compression-libraries.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from isal import igzip_lib, isal_zlib

from datamover.codec.compressor import (
    put_compressed,
    put_expanded,
    require_level,
    require_room,
)
from datamover.errors import MalformedError
from datamover.wire.tag import TransformId

if TYPE_CHECKING:
    from datamover.units import Bytes

__all__ = ["LEVELS", "Gzip"]

LEVELS: Final = range(1, 4)

_WHAT: Final = "gzip block"
_GZIP_WBITS: Final = 31
# The library's type stubs declare an instance where there is a class.
_ERROR: Final = cast("type[Exception]", igzip_lib.IsalError)


class Gzip:
    """One gzip member a block, at ISA-L's levels 1 to 3."""

    id = TransformId.GZIP

    def __init__(self, level: int = 1) -> None:
        require_level("gzip", level, LEVELS)
        self.level = level

    def compress_into(self, src: memoryview, out: memoryview) -> Bytes | None:
        """See ``Compressor``."""
        return put_compressed(isal_zlib.compress(src, self.level, _GZIP_WBITS), src, out)

    def expand_into(self, src: memoryview, out: memoryview, plain: Bytes) -> Bytes:
        """See ``Compressor``."""
        require_room(_WHAT, out, plain)
        member = isal_zlib.decompressobj(wbits=_GZIP_WBITS)
        try:
            # One byte more than is due: the member's CRC is only looked at behind its last byte.
            expanded: bytes = member.decompress(src, plain + 1)
        except _ERROR as error:
            raise MalformedError(what=_WHAT, reason=str(error)) from error
        if not member.eof or member.unused_data:
            raise MalformedError(what=_WHAT, reason="is not exactly one member")
        return put_expanded(_WHAT, expanded, out, plain)
