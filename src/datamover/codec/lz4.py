"""LZ4 blocks: the fastest compressor here, for links and disks that outrun zstd.

Source: github.com/lz4/lz4, doc/lz4_Block_format.md; docs/decisions/0010-compression-libraries.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import lz4.block

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

__all__ = ["LEVELS", "Lz4"]

LEVELS: Final = range(1, 13)

_WHAT: Final = "lz4 block"
_FAST: Final = 1


class Lz4:
    """One bare LZ4 block, without frame or size; level 1 is fast, 2 to 12 compress harder."""

    id = TransformId.LZ4

    def __init__(self, level: int = _FAST) -> None:
        require_level("lz4", level, LEVELS)
        self.level = level

    def compress_into(self, src: memoryview, out: memoryview) -> Bytes | None:
        """See ``Compressor``."""
        if self.level == _FAST:
            packed: bytes = lz4.block.compress(src, store_size=False)
        else:
            packed = lz4.block.compress(
                src, mode="high_compression", compression=self.level, store_size=False
            )
        return put_compressed(packed, src, out)

    def expand_into(self, src: memoryview, out: memoryview, plain: Bytes) -> Bytes:
        """See ``Compressor``."""
        require_room(_WHAT, out, plain)
        try:
            # The library makes an object of the stated size, which require_room has bounded.
            expanded: bytes = lz4.block.decompress(src, uncompressed_size=plain)
        except lz4.block.LZ4BlockError as error:
            raise MalformedError(what=_WHAT, reason=str(error)) from error
        return put_expanded(_WHAT, expanded, out, plain)
