"""Staging: page-aligned areas that direct writes leave from, made once and used again.

A direct write takes memory, offset and length in whole pages only, and what is stored begins
anywhere.  So it is copied into an area first, which takes the place of the kernel's own copy.

Source: open(2), "O_DIRECT"; ADR 0009.
"""

from __future__ import annotations

import mmap
from typing import Final

from datamover.units import MIB

__all__ = ["PAGE", "Staging"]

PAGE: Final = 4096
"""What offsets and lengths are multiples of; no disk in use asks for more."""

# A write ends with a wake-up, which waits for a slice on a busy processor: few large ones are
# better than many, and larger ones than this are no faster.
_SIZE: Final = 4 * MIB


class Staging:
    """The areas of one stage: as many as files are open at once, whatever the files' number.

    Areas may be given back by another thread than the one that took them.
    """

    def __init__(self, size: int = _SIZE) -> None:
        """Choose an area's bytes, a multiple of ``PAGE``; memory is taken when it is needed."""
        self._size = size
        self._free: list[memoryview] = []

    def take(self) -> memoryview:
        """Return an area: writable, 1-D, the same size always; what is in it is of no meaning."""
        try:
            return self._free.pop()
        except IndexError:
            # Private, for the default is shared memory, which costs more to touch.
            flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
            return memoryview(mmap.mmap(-1, self._size, flags=flags))

    def give(self, area: memoryview) -> None:
        """Take an area back; the caller touches it no more."""
        self._free.append(area)
