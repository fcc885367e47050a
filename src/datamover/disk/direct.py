"""A file that is written from its beginning to its end, past the page cache.

    append ──▶ staging area ──full──▶ one write with O_DIRECT, whole pages at a whole page
                            ──last──▶ whole pages likewise; the part of a page behind them plainly

Nothing waits for ``fsync`` then but that part and the metadata, and no time of the processor goes
into a cache that nobody reads.  A file that fits one area is written plainly: it gains nothing.
Where a file system refuses, all that follows is written plainly too, without the copy; in memory,
where such a write passes nothing, all is.

The pages of an area do not change while they are written, as checksumming file systems ask.

Source: open(2), "O_DIRECT"; ADR 0009.
"""

from __future__ import annotations

import errno
import fcntl
import os
from typing import TYPE_CHECKING

from datamover.disk.memory import is_in_memory
from datamover.disk.staging import PAGE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from datamover.disk.staging import Staging

__all__ = ["DirectFile"]


class DirectFile:
    """Appends to an empty file; after an error only ``abandon`` is left.

    Attributes:
        length: Bytes appended, whether they were written already or not.
    """

    def __init__(self, file: int, staging: Staging) -> None:
        """Write to ``file``, which stays the caller's; its offset is not used."""
        self.length = 0
        self._file = file
        self._staging = staging
        self._area: memoryview | None = None
        self._used = 0
        self._is_direct = False
        self._is_plain = is_in_memory(file)

    def append(self, views: Sequence[memoryview | bytes]) -> None:
        """Append all views, in order; no reference to them is kept.

        Raises:
            OSError: The system refuses; some of the bytes may be in the file.

        Blocking: until the disk took what no longer fits the area.
        """
        for number, view in enumerate(views):
            if self._is_plain:
                self._write_plainly(views[number:])
                return
            self._stage(view)

    def finish(self) -> None:
        """Write what is left; the file has its true length, and no flag of this object's.

        It is not durable before ``fsync``.

        Raises:
            OSError: The system refuses; some of the bytes may be in the file.

        Blocking: until the disk took it.
        """
        if self._area is not None:
            if self._is_direct:
                whole = self._used // PAGE * PAGE
                self._write(0, whole)
                self._set_direct(on=False)
                self._write(whole, self._used)
            else:
                self._write(0, self._used)
        self.abandon()

    def abandon(self) -> None:
        """Let go of the area, with what was not written; the file is the caller's to remove."""
        if self._area is not None:
            self._staging.give(self._area)
            self._area = None

    def _stage(self, view: memoryview | bytes) -> None:
        """Copy one view into the area, and write the area as often as it is full."""
        if self._area is None:
            self._area = self._staging.take()
        area = self._area
        left = memoryview(view)
        while left:
            if self._is_plain:
                self._write_plainly([left])
                return
            size = min(len(left), len(area) - self._used)
            area[self._used : self._used + size] = left[:size]
            self._used += size
            self.length += size
            left = left[size:]
            if self._used == len(area):
                self._empty()

    def _empty(self) -> None:
        """Write the full area."""
        if not self._is_direct:
            self._set_direct(on=True)
        self._write(0, self._used)
        self._used = 0
        if self._is_plain:
            self.abandon()

    def _write(self, begin: int, end: int) -> None:
        """Write this part of the area, whatever the kernel takes at once."""
        assert self._area is not None  # noqa: S101 - the callers have one
        # The area's last byte is the last one that was appended.
        start = self.length - self._used
        while begin < end:
            try:
                begin += os.pwritev(self._file, [self._area[begin:end]], start + begin)
            except OSError as error:
                if error.errno != errno.EINVAL or not self._is_direct:
                    raise
                self._set_plain()
            else:
                if begin % PAGE and self._is_direct:
                    # A part of a page was taken: what is behind it is no longer aligned.
                    self._set_plain()

    def _write_plainly(self, views: Sequence[memoryview | bytes]) -> None:
        """Append without an area."""
        written = os.pwritev(self._file, views, self.length)
        self.length += written
        if written == sum(map(len, views)):
            return
        # The kernel took a part only: a disk that fills up, or more than 2 GiB.
        for view in views:
            left = memoryview(view)[min(written, len(view)) :]
            written = max(0, written - len(view))
            while left:
                done = os.pwritev(self._file, [left], self.length)
                self.length += done
                left = left[done:]

    def _set_plain(self) -> None:
        self._is_plain = True
        if self._is_direct:
            self._set_direct(on=False)

    def _set_direct(self, *, on: bool) -> None:
        flags = fcntl.fcntl(self._file, fcntl.F_GETFL)
        flags = flags | os.O_DIRECT if on else flags & ~os.O_DIRECT
        try:
            fcntl.fcntl(self._file, fcntl.F_SETFL, flags)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            self._is_plain = True
        else:
            self._is_direct = on
