"""Chunker: a file's pieces and their names, one at a time.

Source: docs/spec/copy-pipes.md, "Signatures"; ADR 0016.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from datamover.files.signature import NAME_SIZE, RUN
from datamover.files.walk import data_extents

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["chunks", "name_of", "runs"]


def name_of(data: memoryview) -> bytes:
    """Return the name of some bytes."""
    from blake3 import blake3  # noqa: PLC0415 - only those who sign and match pay for it

    return blake3(data).digest(NAME_SIZE)


def runs(file: int) -> Iterator[tuple[int, memoryview]]:
    """Yield offset and bytes of each run of 1 MiB, from the beginning to the end of a file.

    The bytes are good until the next run is asked for.

    Raises:
        OSError: It cannot be read.
    """
    buffer = memoryview(bytearray(RUN))
    at = 0
    while True:
        got = 0
        while got < RUN:
            more = os.preadv(file, [buffer[got:]], at + got)
            if not more:
                break
            got += more
        if not got:
            return
        yield at, buffer[:got]
        at += got


def chunks(
    file: int, size: int, average: int, *, sparse: bool, begin: int = 0
) -> Iterator[tuple[int, memoryview]]:
    """Yield offset and bytes of each content-defined chunk of a file's data, ascending.

    The bytes are good until the next chunk is asked for.

    Args:
        file: To read.
        size: Where it is thought to end; one that ends before has its last chunk there.
        average: Bytes of a chunk, about.
        sparse: It has holes, of which there are no chunks.
        begin: Where to begin.

    Raises:
        OSError: It cannot be read.
    """
    from pyfastcdc import FastCDC  # noqa: PLC0415 - as above

    cutter = FastCDC(average, min_size=average // 4, max_size=average * 4)
    for offset, length in data_extents(file, size) if sparse else ((0, size),):
        at, end = max(offset, begin), offset + length
        if at < end:
            stream = _Stream(file, at, end)
            for chunk in cutter.cut_stream(stream):
                yield at + chunk.offset, chunk.data


class _Stream:
    """One extent of a file, as the chunker reads it."""

    def __init__(self, file: int, at: int, end: int) -> None:
        self._file = file
        self._at = at
        self._end = end

    def readinto(self, into: memoryview) -> int:
        """Fill as much of ``into`` as there is; 0 at the end."""
        got = os.preadv(self._file, [into[: self._end - self._at]], self._at)
        self._at += got
        return got
