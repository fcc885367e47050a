"""Plan: which entries, and which parts of files, go into which block.

    small files      a block closes when the next entry and its data do not fit whole
    large files      fill what is left of a block and go on in the next ones

Pure: it sees entries and extents, never a file.  A block of a plan is encoded entries and the
number of data bytes that belong behind them.

Source: docs/spec/entry-table.md, "Files over several blocks"; SPEC U5, G10 (grouping).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from datamover.errors import UsageError
from datamover.files.entry import Entry, EntryFlag, Kind
from datamover.files.table import (
    ENTRY_SIZE,
    EXTENT_SIZE,
    HEADER_SIZE,
    TABLE_RESERVE,
    encode_entry,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from datamover.files.entry import Extent

__all__ = ["BLOCK_MIN", "Plan", "Planner"]

BLOCK_MIN: Final = 2048
"""The smallest block: below it hardly a name fits."""

_FILE: Final = int(Kind.FILE)
_MORE: Final = int(EntryFlag.MORE)
_CONTINUES: Final = int(EntryFlag.CONTINUES)
_SPARSE: Final = int(EntryFlag.SPARSE)
_BARE: Final = int(EntryFlag.BARE)
_PAGE: Final = 4096
_EXTENT_MAX: Final = (1 << 32) - 1


class Plan(NamedTuple):
    """One block: encoded entries, the bytes of their table, and those of the data behind it."""

    records: list[bytes]
    table: int
    data: int
    continued: bool


class Planner:
    """Packs entries into blocks of at most ``limit`` bytes.

    Args:
        limit: Bytes of a block, table and data; at least BLOCK_MIN.
    """

    def __init__(self, limit: int) -> None:
        if limit < BLOCK_MIN:
            raise UsageError(reason=f"a block of {limit} bytes is below the least, {BLOCK_MIN}")
        self._limit = limit
        self._table_limit = limit - TABLE_RESERVE
        self._record_limit = limit // 2
        self._whole = limit // 4
        self._least = min(_PAGE, self._whole)
        self._records: list[bytes] = []
        self._table = HEADER_SIZE
        self._data = 0
        self._continued = False

    def fit(self, entry: Entry) -> bool:
        """Say whether the entry fits a block, and leaves room for data."""
        size = ENTRY_SIZE + len(entry.path) + len(entry.link) + len(entry.user) + len(entry.group)
        size += sum(6 + len(name) + len(value) for name, value in entry.xattrs)
        return size + EXTENT_SIZE <= self._record_limit

    def add(self, entry: Entry, extents: Callable[[Entry], Iterable[Extent]]) -> Iterable[Plan]:
        """Place one entry; return the blocks that are full now, in order.

        Args:
            entry: One that ``fit`` accepts; its extents and block flags are set here.
            extents: Asked for the data of a sparse file, with ascending extents within its size.
        """
        size = entry.size
        if entry.kind != _FILE or not size or entry.flags & _BARE:
            return self._whole_entry(entry, 0)
        if entry.flags & _SPARSE:
            return self._cut(entry, extents(entry))
        if size <= self._whole:
            entry.extents = ((0, size),)
            return self._whole_entry(entry, size)
        return self._cut(entry, ((0, size),))

    def go_on(self, entry: Entry, extents: Iterable[Extent], done: int) -> Iterable[Plan]:
        """Place the rest of a file whose first ``done`` data bytes lie in earlier blocks.

        Args:
            entry: Of the file; nothing was placed before it.
            extents: All of its data.
            done: Bytes of them to pass over.
        """
        entry.flags = (entry.flags | _CONTINUES) & ~_MORE
        self._continued = True
        return self._cut(entry, _behind(extents, done), done)

    @property
    def data(self) -> int:
        """Data bytes in the block that is being filled."""
        return self._data

    @property
    def whole(self) -> int:
        """Bytes of the largest file that is always in one block."""
        return self._whole

    def append(self, record: bytes, data: int) -> Plan | None:
        """Place an encoded entry with all of its data, at most ``whole`` bytes.

        Returns:
            The block that is full now, if one is; the entry is in the next one.
        """
        table = self._table + len(record)
        closed: Plan | None = None
        if table + self._data + data > self._limit or table > self._table_limit:
            closed = self._close()
            table = self._table + len(record)
        self._records.append(record)
        self._table = table
        self._data += data
        return closed

    def finish(self) -> Iterable[Plan]:
        """Return the last block, if there is anything in it."""
        return (self._close(),) if self._records else ()

    def _whole_entry(self, entry: Entry, data: int) -> Iterable[Plan]:
        closed = self.append(encode_entry(entry), data)
        return (closed,) if closed else ()

    def _close(self) -> Plan:
        plan = Plan(self._records, self._table, self._data, self._continued)
        self._records, self._table, self._data, self._continued = [], HEADER_SIZE, 0, False
        return plan

    def _cut(self, entry: Entry, extents: Iterable[Extent], before: int = 0) -> Iterator[Plan]:
        """Spread one file's extents over this block and as many more as it takes."""
        entry.extents = ()
        base = len(encode_entry(entry))
        own_flags = entry.flags & ~_CONTINUES
        if self._records and self._room(base, 0) < min(self._whole, entry.size):
            yield self._close()
        held: list[Extent] = []
        data = 0
        flags, is_full = entry.flags, False
        for begin, length in extents:
            at, end = begin, begin + length
            while at < end:
                room = min(self._room(base, len(held)) - data, _EXTENT_MAX)
                # A fresh block takes what it can; one with something in it takes no crumbs.
                is_fresh = not held and not self._records
                if is_full or (not is_fresh and room < min(end - at, self._least)):
                    self._place(entry, held, data, flags | _MORE, before)
                    yield self._close()
                    self._continued = True
                    before += data
                    held, data, flags, is_full = [], 0, own_flags | _CONTINUES, False
                    continue
                take = _whole_pages(at, min(end - at, room), end)
                held.append((at, take))
                data += take
                at += take
                is_full = at < end
        self._place(entry, held, data, flags, before)

    def _room(self, base: int, extents: int) -> int:
        """Return what the block has left beside an entry of ``base`` bytes and one more extent."""
        table = self._table + base + EXTENT_SIZE * (extents + 1)
        return self._limit - self._data - table if table <= self._table_limit else 0

    def _place(
        self, entry: Entry, extents: list[Extent], data: int, flags: int, before: int
    ) -> None:
        entry.extents, entry.flags, entry.before = tuple(extents), flags, before
        record = encode_entry(entry)
        self._records.append(record)
        self._table += len(record)
        self._data += data


def _behind(extents: Iterable[Extent], done: int) -> Iterator[Extent]:
    """Yield what is left of the extents behind their first ``done`` bytes."""
    for at, length in extents:
        passed = min(done, length)
        done -= passed
        if length > passed:
            yield (at + passed, length - passed)


def _whole_pages(at: int, length: int, end: int) -> int:
    """Return ``length``, or less so that the next part begins on a page of the file."""
    if at + length < end and length > _PAGE:
        length -= (at + length) % _PAGE
    return length
