"""Superseded: which entries of an archive count, where a later one took an earlier one back.

An archive that was interrupted may have several entries of one name; the last counts, and when that
is of kind REMOVED, none does.

Source: docs/spec/entry-table.md, "Attempts"; docs/spec/resume.md, section 6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from datamover.errors import MalformedError
from datamover.files.entry import EntryFlag, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


from datamover.files.entry import Entry

__all__ = ["Superseded"]

_AGAIN: Final = int(EntryFlag.AGAIN)
_CONTINUES: Final = int(EntryFlag.CONTINUES)
_DIRECTORY: Final = int(Kind.DIRECTORY)
_REMOVED: Final = int(Kind.REMOVED)


class Superseded:
    """Tells for the entries of an archive, asked in their order, whether they count.

    Args:
        again: How many entries with AGAIN each name has, and the kind of the last.
    """

    def __init__(self, again: Iterable[tuple[bytes, int, int]] = ()) -> None:
        self._left = {path: count for path, count, _ in again}
        self._kinds = {path: kind for path, _, kind in again}

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Superseded:
        """Look through all entries of an archive, in their order."""
        found = cls()
        for entry in entries:
            if entry.flags & _AGAIN and not entry.flags & _CONTINUES:
                found._left[entry.path] = found._left.get(entry.path, 0) + 1
                found._kinds[entry.path] = entry.kind
        return found

    def __bool__(self) -> bool:
        return bool(self._left)

    @classmethod
    def read(cls, path: Path) -> Superseded:
        """Read a file with what ``encode`` returned.

        Raises:
            MalformedError: It is something else.
            OSError: It cannot be read.
        """
        try:
            found = msgspec.msgpack.decode(path.read_bytes(), type=list[tuple[bytes, int, int]])
        except msgspec.DecodeError as error:
            raise MalformedError(what="list of superseded names", reason=str(error)) from None
        return cls(found)

    def encode(self) -> bytes:
        """Return what ``read`` makes another one of, before any entry was asked about."""
        return msgspec.msgpack.encode(
            [(path, left, self._kinds[path]) for path, left in self._left.items()]
        )

    def counts(self, entry: Entry) -> bool:
        """Whether this entry counts; each is to be asked about once, in order."""
        path = entry.path
        left = self._left.get(path)
        if left is None:
            return True
        if entry.flags & _AGAIN and not entry.flags & _CONTINUES:
            left -= 1
            self._left[path] = left
        return left <= 0 and self._kinds[path] != _REMOVED

    def is_folder_later(self, entry: Entry) -> bool:
        """Whether an entry that does not count is a folder, and so is the one that does.

        What lies in it may come before its last entry.
        """
        return entry.kind == _DIRECTORY and self._kinds.get(entry.path) == _DIRECTORY
