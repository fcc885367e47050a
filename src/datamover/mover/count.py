"""What an archive holds, in numbers: counted from its index pages.

Source: docs/spec/catalog.md, section 2; docs/spec/entry-table.md, "INDEX payload".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from datamover.catalog.rows import PageKind
from datamover.files.entry import EntryFlag, Kind
from datamover.files.listing import index_tables
from datamover.files.table import decode_entries
from datamover.mover.open_block import open_record

if TYPE_CHECKING:
    from datamover.catalog.rows import PageRecord
    from datamover.files.entry import Entry

__all__ = ["Counts"]

_CONTINUES: Final = int(EntryFlag.CONTINUES)
_FILE: Final = int(Kind.FILE)
_DIRECTORY: Final = int(Kind.DIRECTORY)
_AGAIN: Final = int(EntryFlag.AGAIN)
_NOT_OTHERS: Final = frozenset({int(Kind.FILE), int(Kind.DIRECTORY), int(Kind.REMOVED)})


@dataclass(slots=True, kw_only=True)
class Counts:
    """How much an archive holds; each file once, however many blocks it spans.

    Attributes:
        files: Regular files.
        directories: Directories.
        others: Everything else: symbolic links, hard links, FIFOs, devices.
        bytes_in: Bytes of file data in the archive, also what a later entry took back; holes are
            not data.
    """

    files: int = 0
    directories: int = 0
    others: int = 0
    bytes_in: int = 0

    def add(self, page: PageRecord, *, key: bytes) -> None:
        """Count what an index page lists; other pages list nothing.

        Raises:
            SealError: The page was changed.
            FormatError: It is damaged.
        """
        if page.kind is not PageKind.INDEX:
            return
        _, payload = open_record(memoryview(page.record), key=key, archive=page.archive)
        for _, table in index_tables(payload):
            for entry in decode_entries(table):
                self.take(entry)

    def take(self, entry: Entry) -> None:
        """Count one entry of a table."""
        self.bytes_in += sum([length for _, length in entry.extents])
        if entry.flags & _CONTINUES:
            return
        self.files += entry.kind == _FILE
        self.directories += entry.kind == _DIRECTORY
        self.others += entry.kind not in _NOT_OTHERS
        if entry.flags & _AGAIN:
            # What it takes back was counted.
            self.files -= bool(entry.flags & EntryFlag.WAS_FILE)
            self.directories -= bool(entry.flags & EntryFlag.WAS_DIRECTORY)
            self.others -= bool(entry.flags & EntryFlag.WAS_OTHER)
