"""Zstandard, through the library that Python itself ships from 3.14 on.

Source: RFC 8878; docs/decisions/0010-compression-libraries.md.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from datamover.codec.compressor import (
    put_compressed,
    put_expanded,
    require_level,
    require_room,
)
from datamover.errors import MalformedError
from datamover.wire.tag import TransformId

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Mapping

    from datamover.units import Bytes

__all__ = ["LEVELS", "Zstd"]

LEVELS: Final = range(1, 20)

_WHAT: Final = "zstd block"
# Levels up to 19 never ask for a window beyond 8 MiB, so a frame that does is not one of ours;
# the library would else allocate up to 128 MiB on a header's word.
_OPTIONS: Final[Mapping[int, int]] = {zstd.DecompressionParameter.window_log_max: 23}


class Zstd:
    """One Zstandard frame a block, levels 1 to 19; the context is kept between blocks."""

    id = TransformId.ZSTD

    def __init__(self, level: int = 1) -> None:
        require_level("zstd", level, LEVELS)
        self.level = level
        self._context = zstd.ZstdCompressor(level)

    def compress_into(self, src: memoryview, out: memoryview) -> Bytes | None:
        """See ``Compressor``."""
        packed = self._context.compress(src, zstd.ZstdCompressor.FLUSH_FRAME)
        return put_compressed(packed, src, out)

    def packed_size(self, src: bytes) -> int:
        """Return how many bytes ``src`` would become."""
        return len(self._context.compress(src, zstd.ZstdCompressor.FLUSH_FRAME))

    def expand_into(self, src: memoryview, out: memoryview, plain: Bytes) -> Bytes:
        """See ``Compressor``."""
        require_room(_WHAT, out, plain)
        # A decompressor reads one frame and is spent; making one costs a microsecond.
        frame = zstd.ZstdDecompressor(options=_OPTIONS)
        try:
            expanded = frame.decompress(src, plain + 1)
        except zstd.ZstdError as error:
            raise MalformedError(what=_WHAT, reason=str(error)) from error
        if not frame.eof or frame.unused_data:
            raise MalformedError(what=_WHAT, reason="is not exactly one frame")
        return put_expanded(_WHAT, expanded, out, plain)
