"""What one chunk file holds, from its headers alone: payloads are passed over, not read.

A chunk file is one session with one chunk in it, in any framing.  A damaged header hides what
follows it; the block table at the end of a chunk with a footer then says where the blocks are.

Source: docs/spec/wire-format.md, "Grammar"; docs/spec/catalog.md, section 6; SPEC H1, X10.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from datamover.catalog.rows import PageKind, PageRecord
from datamover.errors import FormatError, MalformedError
from datamover.ids import ArchiveId, BlockNumber, ChunkNumber
from datamover.media.naming import parse_chunk_name
from datamover.mover.open_block import BLOCK_MAX
from datamover.units import Bytes, Nanoseconds
from datamover.wire.archive import ArchiveFooter, ArchiveHeader
from datamover.wire.chunk import ChunkFooter, decode_table
from datamover.wire.record import HEADER_MAX, Prelude
from datamover.wire.session import SessionFooter
from datamover.wire.stream import (
    ArchiveBegan,
    ArchiveEnded,
    BlockFound,
    ChunkBegan,
    SessionBegan,
    StreamReader,
)
from datamover.wire.tag import TagKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from datamover.wire.chunk import BlockEntry
    from datamover.wire.stream import Event

__all__ = ["ChunkFile", "Place"]

# A catalog's numbers have 63 bits.
_MOST: Final = 2**63 - 1
_NEVER: Final = Nanoseconds(0)
# A FIFO in the place of a chunk must not hang whoever opens it, nor a link lead out.
_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_PAGES: Final = {TagKind.INDEX: PageKind.INDEX, TagKind.CONTENTS: PageKind.CONTENTS}
_FOOTER_SIZE: Final = len(SessionFooter(session=bytes(16), blocks=0, length=Bytes(0)).encode())


class Place(NamedTuple):
    """Where a page lies in its file."""

    block: BlockNumber
    kind: PageKind
    offset: int
    length: int


@dataclass(slots=True, kw_only=True)
class ChunkFile:
    """One chunk file, surveyed.

    Attributes:
        name: Its file name.
        length: Bytes of the file.
        archive: The archive it belongs to; from the file's name when no record says it.
        number: Which chunk of that archive; likewise.
        session_ns: When its session began; 0 when that is unreadable.
        header: Its archive header; None when that is unreadable.
        footer: The archive footer, if the archive ends in this file.
        first_block: The number of its first block; None when no block could be seen.
        blocks: How many blocks it holds, as far as could be seen.
        pages: Where its index and contents blocks are.
        sees_all: Whether ``first_block``, ``blocks`` and ``pages`` are those of the whole file.
        damage: Why not all of it could be seen; None when all was.
        records: Number, place and length of each block's record.
    """

    name: str
    length: Bytes
    archive: ArchiveId | None = None
    number: ChunkNumber | None = None
    session_ns: Nanoseconds = _NEVER
    header: ArchiveHeader | None = None
    footer: ArchiveFooter | None = None
    first_block: BlockNumber | None = None
    blocks: int = 0
    pages: list[Place] = field(default_factory=list)
    sees_all: bool = False
    damage: FormatError | OSError | None = None
    records: list[tuple[BlockNumber, int, int]] = field(default_factory=list)

    @property
    def finished_ns(self) -> Nanoseconds:
        """When the archive that ends here was finished: its footer's word, else its session's."""
        said = self.footer.finished_ns if self.footer is not None else None
        return self.session_ns if said is None or said > _MOST else said

    @classmethod
    def survey(cls, path: Path, *, by_table: bool = False) -> ChunkFile:
        """Look at the headers of the file at ``path``; damage is noted, not raised.

        Args:
            path: The file.
            by_table: Take its block table's word for the blocks, if all other records agree with
                it: a block costs nothing then, instead of a read from the disk.

        Raises:
            OSError: The file cannot be opened.
        """
        descriptor = os.open(path, _READ)
        try:
            length = Bytes(os.fstat(descriptor).st_size)
            if by_table:
                found = cls(name=path.name, length=length)
                with suppress(FormatError, OSError):
                    _walk(descriptor, found, _table(descriptor, found)[1])
                    return found
            found = cls(name=path.name, length=length)
            try:
                _walk(descriptor, found)
            except (FormatError, OSError) as error:
                # A disk that cannot read a place is damage like any other.
                found.damage = error
                with suppress(FormatError, OSError):
                    _recover(descriptor, found)
        finally:
            os.close(descriptor)
        # The records are believed first (media format, 1); the name where they are unreadable.
        named = parse_chunk_name(path.name)
        if named is not None:
            found.archive = found.archive or named[0]
            found.number = named[1] if found.number is None else found.number
        return found

    def read_pages(self, folder: Path) -> Iterator[PageRecord]:
        """Yield the rows of its pages, as they are on the medium.

        Raises:
            OSError: The file cannot be read.
        """
        if not self.pages or self.archive is None or self.number is None:
            return
        descriptor = os.open(folder / self.name, _READ)
        try:
            for place in self.pages:
                yield PageRecord(
                    archive=self.archive,
                    block=place.block,
                    kind=place.kind,
                    chunk=self.number,
                    record=os.pread(descriptor, place.length, place.offset),
                )
        finally:
            os.close(descriptor)

    def read_records(self, folder: Path, first: int) -> Iterator[bytes]:
        """Yield its blocks as they are on the medium, from number ``first`` on.

        Raises:
            OSError: The file cannot be read.
        """
        descriptor = os.open(folder / self.name, _READ)
        try:
            for block, offset, length in self.records:
                if block >= first and length <= BLOCK_MAX + HEADER_MAX:
                    yield os.pread(descriptor, length, offset)
        finally:
            os.close(descriptor)


def _walk(descriptor: int, found: ChunkFile, table: Sequence[BlockEntry] | None = None) -> None:
    """Go from header to header until the session ends, and with a table from block to block."""
    reader = StreamReader()
    while not reader.is_complete:
        head = memoryview(os.pread(descriptor, HEADER_MAX, reader.position))
        events = reader.take(head)
        _require(found, reader.position <= found.length, "ends in the middle of a record")
        for event in events:
            _note(event, found, end=reader.position)
        if table is not None and found.number is not None:
            reader.position = _pass_over(table, found, reader.position)
            table = None
    _require(found, reader.position == found.length, "goes on behind its session")
    _require(found, found.number is not None, "holds no chunk")
    found.sees_all = True


def _note(event: Event, found: ChunkFile, *, end: int) -> None:
    match event:
        case SessionBegan(header):
            _require(found, header.created_ns <= _MOST, "is of no time")
            found.session_ns = header.created_ns
        case ArchiveBegan(header):
            _require(found, found.header is None, "holds two archives")
            _require(found, header.created_ns <= _MOST, "is of no time")
            found.header = header
            found.archive = header.archive
        case ChunkBegan(chunk, _):
            _require(found, found.number is None, "holds two chunks")
            found.number = chunk
        case BlockFound(tag, offset):
            _add(found, tag.block, tag.kind, offset, end - offset)
        case ArchiveEnded(_, footer):
            found.footer = footer
        case _:
            pass


def _pass_over(table: Sequence[BlockEntry], found: ChunkFile, at: int) -> int:
    """Note the blocks of the table, which must lie side by side from ``at``; return their end."""
    for block, offset, header, length, kind, _ in table:
        _require(found, offset == at, "has something else between its blocks")
        at += header + length
        _add(found, block, kind, offset, header + length)
    return at


def _add(found: ChunkFile, block: int, kind: int, offset: int, length: int) -> None:
    if found.first_block is None:
        found.first_block = BlockNumber(block)
    _require(found, block <= _MOST, "has a block number beyond all bounds")
    _require(found, block == found.first_block + found.blocks, "skips a block")
    found.blocks += 1
    found.records.append((BlockNumber(block), offset, length))
    if kind in _PAGES and length <= BLOCK_MAX + HEADER_MAX:
        found.pages.append(Place(BlockNumber(block), _PAGES[TagKind(kind)], offset, length))


def _recover(descriptor: int, found: ChunkFile) -> None:
    """Learn the blocks of a damaged file from the table at its end, if that is sound."""
    at, table, footer, behind_at = _table(descriptor, found)
    found.archive, found.number = footer.archive, footer.chunk
    found.first_block, found.blocks, found.pages, found.records = None, 0, [], []
    for block, offset, header, length, kind, _ in table:
        _require(found, offset + header + length <= at, "has blocks beyond its end")
        _add(found, block, kind, offset, header + length)
    found.sees_all = True
    with suppress(FormatError):
        behind = _read(descriptor, behind_at, HEADER_MAX)
        found.footer = ArchiveFooter.decode(behind)


def _table(descriptor: int, found: ChunkFile) -> tuple[int, list[BlockEntry], ChunkFooter, int]:
    """Return where the last chunk's footer is, the table, the footer, and where both end."""
    at = found.length - _FOOTER_SIZE
    session = SessionFooter.decode(_read(descriptor, at, _FOOTER_SIZE))
    at = session.last_chunk_footer
    _require(found, at < found.length, "has its footer behind its end")
    head = _read(descriptor, at, HEADER_MAX)
    footer = ChunkFooter.decode(head)
    table_at = at + Prelude.decode(head).header_length
    end = table_at + footer.table_length
    _require(found, end <= found.length, "has a table beyond its end")
    return at, decode_table(footer, _read(descriptor, table_at, footer.table_length)), footer, end


def _read(descriptor: int, at: int, length: int) -> memoryview:
    return memoryview(os.pread(descriptor, length, max(0, at)))


def _require(found: ChunkFile, condition: bool, otherwise: str) -> None:
    if not condition:
        raise MalformedError(what=found.name, reason=otherwise)
