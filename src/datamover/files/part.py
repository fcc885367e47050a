"""Part: the file that is being put together from several blocks.

Source: docs/spec/entry-table.md, "Files over several blocks".
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from datamover.disk.direct import DirectFile
from datamover.files.entry import Entry

__all__ = ["Part", "write_extents"]


@dataclass(slots=True)
class Part:
    """The file that is being put together from several blocks.

    Attributes:
        name: Its archived name, which the blocks to come repeat.
        entry: Its first entry, with the path where it is restored.
        file: Its descriptor; -1 when it is not wanted, or was refused.
        direct: Its way past the page cache, as long as its data comes without a gap.
        data: Data bytes seen.
        actual: What its size became while it was read, when it shrank.
        missing: A part of it could not be read when it was archived.
        damaged: A part of it is not in the blocks that came.
    """

    name: bytes
    entry: Entry
    file: int = -1
    direct: DirectFile | None = None
    data: int = 0
    actual: int = (1 << 63) - 1
    missing: bool = False
    damaged: bool = False

    def write(self, entry: Entry, data: memoryview) -> None:
        """Write one block's part."""
        if self.direct is not None and not _is_next(entry, self.direct.length):
            self.flush()
        if self.direct is not None:
            self.direct.append([data])
        else:
            write_extents(self.file, entry, data)

    def flush(self) -> None:
        """Write what is staged; what comes now is written plainly."""
        direct, self.direct = self.direct, None
        if direct is not None:
            try:
                direct.finish()
            finally:
                direct.abandon()

    def close(self) -> None:
        """Let go of the file and of what is staged."""
        if self.direct is not None:
            self.direct.abandon()
            self.direct = None
        if self.file >= 0:
            os.close(self.file)
            self.file = -1


def write_extents(file: int, entry: Entry, data: memoryview) -> None:
    """Write each extent at its place."""
    at = 0
    for offset, length in entry.extents:
        end = at + length
        done = os.pwrite(file, data[at:end], offset)
        while done < length:
            done += os.pwrite(file, data[at + done : end], offset + done)
        at = end


def _is_next(entry: Entry, position: int) -> bool:
    """Say whether the entry's data follows ``position``, with no hole in it."""
    for offset, length in entry.extents:
        if offset != position:
            return False
        position += length
    return True
