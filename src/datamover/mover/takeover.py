"""Takeover: what a resumed run derives from what is durable of its archive, and from that alone.

Source: docs/spec/resume.md, section 5.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from datamover.catalog.rows import PageKind
from datamover.errors import DamagedError
from datamover.files.entry import EntryFlag
from datamover.files.holding import HoldingWriter
from datamover.files.listing import FIRST_PATH_MAX, IndexBlock, index_tables
from datamover.files.table import decode_entries, table_size
from datamover.files.unlisted import IndexState
from datamover.ids import ATTEMPT_BLOCKS, BlockNumber
from datamover.mover.count import Counts
from datamover.mover.open_block import open_record
from datamover.wire.tag import TagKind

if TYPE_CHECKING:
    from pathlib import Path

    from datamover.catalog.rows import ArchiveRecord, PageRecord
    from datamover.files.entry import Entry
    from datamover.mover.depot import Depot

__all__ = ["Takeover", "take_over"]

_CONTINUES: Final = int(EntryFlag.CONTINUES)


@dataclass(kw_only=True)
class Takeover:
    """What an archive has.

    Attributes:
        chunks: Chunk files.
        stored: Bytes of them.
        blocks: Blocks of all kinds.
        last_block: The highest number of a block.
        counts: What their tables count.
        index: Where the index stands; its ``offset`` is the plain bytes of all blocks.
    """

    chunks: int = 0
    stored: int = 0
    blocks: int = 0
    last_block: int = -1
    counts: Counts = field(default_factory=Counts)
    index: IndexState = field(default_factory=IndexState)


def take_over(depot: Depot, record: ArchiveRecord, key: bytes, held: Path) -> Takeover:
    """Read what is durable of the archive that is being written.

    Args:
        depot: Where it is, and is held.
        record: The archive.
        key: Its key.
        held: Where to write what it has under each name; see ``datamover.files.holding``.

    Raises:
        DamagedError: What is there is not what a run leaves.
        SealError: It was changed.
        FormatError: It is damaged.
        OSError: ``held`` cannot be written.
    """
    found = Takeover()
    for chunk in depot.chunks(record.id):
        if chunk.number != found.chunks or chunk.first_block <= found.last_block:
            raise DamagedError(store=depot.place, reason=f"{chunk.name} is out of order")
        found.chunks += 1
        found.stored += chunk.length
        found.blocks += chunk.blocks
        found.last_block = chunk.first_block + chunk.blocks - 1
    held.unlink(missing_ok=True)
    with os.fdopen(os.open(held, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        writer = HoldingWriter(file)
        reading = _Reading(found, writer)
        for page in depot.pages(record.id, PageKind.INDEX):
            reading.page(page, key)
        if found.chunks:
            # The last block is looked at in any case: it says how long the archive is.
            for one in depot.blocks(min(reading.listed + 1, found.last_block)):
                reading.block(one, key, record)
        writer.finish()
    return found


class _Reading:
    def __init__(self, found: Takeover, writer: HoldingWriter) -> None:
        self._found = found
        self._writer = writer
        self.listed = -1

    def page(self, page: PageRecord, key: bytes) -> None:
        """Take in an index page."""
        _, payload = open_record(memoryview(page.record), key=key, archive=page.archive)
        first: tuple[int, bytes] | None = None
        entries = 0
        for block, table in index_tables(payload):
            if first is None:
                one = next(decode_entries(table), None)
                first = (block, one.path[:FIRST_PATH_MAX] if one else b"")
            entries += self._table(block, table)
        if first is not None:
            place = IndexBlock(page.block, BlockNumber(first[0]), entries, first[1])
            self._found.index.index.append(place)

    def block(self, record: bytes, key: bytes, archive: ArchiveRecord) -> None:
        """Take in a block that no page lists."""
        tag, payload = open_record(memoryview(record), key=key, archive=archive.id)
        self._found.index.offset = tag.offset + tag.plain
        if tag.kind == TagKind.DATA and tag.block > self.listed:
            length, _ = table_size(payload)
            table = bytes(payload[:length])
            self._table(tag.block, memoryview(table))
            self._found.index.tables.append((tag.block, table))

    def _table(self, block: int, table: memoryview) -> int:
        """Take in the table of a DATA block; return how many entries it has."""
        index, counts = self._found.index, self._found.counts
        if block <= self.listed or block > self._found.last_block:
            raise DamagedError(store="the index", reason=f"block {block} is out of order")
        self.listed = block
        number, data = 0, counts.bytes_in
        for entry in decode_entries(table):
            counts.take(entry)
            self._writer.add(entry, block // ATTEMPT_BLOCKS)
            index.entries += not (number == 0 and _continues(entry))
            number += 1
        index.blocks += 1
        index.plain += len(table) + counts.bytes_in - data
        return number


def _continues(entry: Entry) -> bool:
    return bool(entry.flags & _CONTINUES)
