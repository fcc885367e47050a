"""Transfer: copy one file of this machine to the destination, by the kernel.

Source: docs/spec/copy-pipes.md, "Sides"; ADR 0015.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Final, NamedTuple

from datamover.files.entry import EntryFlag
from datamover.files.leftover import RESUMABLE
from datamover.files.printable import why

if TYPE_CHECKING:
    from datamover.files.attributes import Attributes
    from datamover.files.duplicate import Duplicate
    from datamover.files.entry import Entry
    from datamover.files.handover import Handover
    from datamover.files.notice import Notice
    from datamover.files.origin import Origin
    from datamover.files.replacement import Replacement

__all__ = ["Transfer", "Transferred"]

_SPARSE: Final = int(EntryFlag.SPARSE)


class Transferred(NamedTuple):
    """Bytes of one file: written now, and left by an earlier copy."""

    written: int
    resumed: int


class Transfer:
    """Copies files, one at a time.

    Args:
        target: Where to.
        origin: Where from.
        duplicate: Copies their data.
        attributes: Sets what an entry says beside its data.
        handover: Gives them their names.
        notice: Told "unreadable" and "changed".
    """

    def __init__(
        self,
        target: Replacement,
        *,
        origin: Origin,
        duplicate: Duplicate,
        attributes: Attributes,
        handover: Handover,
        notice: Notice,
    ) -> None:
        self._target = target
        self._origin = origin
        self._duplicate = duplicate
        self._attributes = attributes
        self._handover = handover
        self._notice = notice

    def file(self, entry: Entry, name: bytes) -> Transferred | None:
        """Copy one file, and give it its attributes and its name.

        Args:
            entry: With the path that it gets.
            name: The one that it has in its source.

        Returns:
            How much it was; None, and a notice, when the source could not be read.

        Raises:
            OSError: The destination refuses.
        """
        try:
            source = self._origin.open(entry.root, name)
        except OSError as error:
            self._tell("unreadable", entry, name, why(error))
            return None
        try:
            return self._from(source, entry, name)
        finally:
            os.close(source)

    def _from(self, source: int, entry: Entry, name: bytes) -> Transferred | None:
        target, size = self._target, entry.size
        file, beside, there = target.begin(entry.path, size)
        begin = end = 0
        try:
            if there:
                begin = self._duplicate.common(source, file)
                os.ftruncate(file, begin)
            refusal = ""
            sparse = bool(entry.flags & _SPARSE)
            try:
                end = self._duplicate.copy(source, file, size, sparse=sparse, begin=begin)
            except OSError as error:
                # Only a source answers so.
                if error.errno not in (errno.EIO, errno.EISDIR, errno.EAGAIN):
                    raise
                refusal = why(error)
            now = os.fstat(source)
            if refusal or not stat.S_ISREG(now.st_mode):
                target.drop(entry.path, beside)
                self._tell("unreadable", entry, name, refusal or "it is no file any more")
                return None
            self._attributes.set(file, entry)
            self._handover.give(
                entry.path, beside, file=file, size=end, has_holes=sparse or end < size
            )
        except OSError as error:
            if size < RESUMABLE or isinstance(error, FileExistsError):
                target.drop(entry.path, beside)
            raise
        finally:
            os.close(file)
        if now.st_size != size or now.st_mtime_ns != entry.mtime_ns:
            self._tell("changed", entry, name, "it changed while it was read")
        return Transferred(end - begin, begin)

    def _tell(self, kind: str, entry: Entry, name: bytes, reason: str) -> None:
        self._notice(kind, self._origin.name(entry.root, name), reason)
