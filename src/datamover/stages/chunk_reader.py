"""Find the blocks of one chunk file, and say what of the file is damaged beside them.

The block table at the end leads to every block; where it is damaged, a walk over the records does.

Source: docs/spec/media-format.md, "Reading" and "After damage"; SPEC H1, X10.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from datamover.errors import FormatError, MalformedError, StoreError
from datamover.units import Bytes
from datamover.wire.chunk import BlockEntry, ChunkFooter, ChunkHeader, decode_table
from datamover.wire.framing import origin_of
from datamover.wire.locate import Damage, session_footer, walk
from datamover.wire.record import CRC_SIZE, HEADER_MAX, PRELUDE, Prelude, check
from datamover.wire.stream import ChunkBegan, StreamReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from datamover.media.medium import Reader
    from datamover.wire.session import SessionFooter

__all__ = ["ChunkReader"]

# A gap in damaged data is worth that many lines at most: no number in a file decides the length
# of a report.
_LOST_MAX: Final = 10_000
# Where a chunk footer is looked for when nothing leads to it.
_TAIL: Final = 1 << 20


class ChunkReader:
    """One chunk file, looked at from outside its blocks."""

    def __init__(
        self,
        reader: Reader,
        *,
        archive: bytes,
        chunk: int,
        extent: tuple[int, int] | None,
        lost: Callable[[int | None, int, str], None],
        dented: Callable[[int, str], None],
    ) -> None:
        """Prepare; nothing is read yet.

        Args:
            reader: The open chunk file.
            archive: The id of the archive that it must belong to.
            chunk: The number that it must have.
            extent: Its first block and the one after its last, if that is known from elsewhere.
            lost: Called with block, offset and reason for a block that cannot be found; without a
                block when nobody knows which, or how many, there were.
            dented: Called with offset and reason for damage that costs no block.
        """
        self._reader = reader
        self._size = reader.size
        self._archive = archive
        self._origin = origin_of(archive)
        self._chunk = chunk
        self._extent = extent
        self._lost = lost
        self._dented = dented

    def check_opening(self) -> None:
        """Read the headers before the first block; report what is wrong with them."""
        try:
            self._opening()
        except FormatError as error:
            self._dented(0, str(error))

    def entries(self) -> Iterator[BlockEntry]:
        """Yield where each block lies, in order."""
        try:
            table = self._table()
        except FormatError as error:
            self._dented(0, f"block table: {error}; its blocks are searched for")
            yield from self._walk()
        else:
            yield from table

    def _table(self) -> list[BlockEntry]:
        """Find the chunk footer, and read the block table behind it.

        Raises:
            FormatError: Something on the way is damaged, or does not fit the file.
        """
        at, limit = self._footer_place()
        head = self._read(at, HEADER_MAX)
        footer = ChunkFooter.decode(head)
        _require(self._is_ours(footer), "of another chunk")
        table_at = at + Prelude.decode(head).header_length
        end = table_at + footer.table_length
        _require(end <= limit, "reaches beyond the file")
        table = decode_table(footer, self._read(table_at, footer.table_length))
        self._check_table(table, at)
        if limit < self._size:
            self._check_closing(end, limit)
        return table

    def _footer_place(self) -> tuple[int, int]:
        """Return where the chunk footer is, and where the session footer is, or the file ends.

        Raises:
            FormatError: The session footer is damaged, and no chunk footer is near the end.
        """
        try:
            session = session_footer(self._read(self._size - HEADER_MAX, HEADER_MAX))
            at, limit = session.last_chunk_footer, session.length
            _require(self._ends_with(session) and 0 < at < limit, "is in no place of this file")
        except FormatError as error:
            start = max(0, self._size - _TAIL)
            tail = self._read(start, _TAIL)
            found = self._search_footer(tail)
            if found is None:
                raise
            self._dented(self._size, str(error))
            return start + found, self._size
        return at, limit

    def _search_footer(self, tail: memoryview) -> int | None:
        view = bytes(tail)
        at = view.rfind(ChunkFooter.MAGIC)
        while at >= 0:
            with suppress(FormatError):
                footer = ChunkFooter.decode(tail[at:])
                # Where nothing is moved, the chunk begins as far before its footer as that says.
                start = self._size - len(tail) + at - footer.length
                if self._is_ours(footer) and self._read(start, 4) == ChunkHeader.MAGIC:
                    return at
            at = view.rfind(ChunkFooter.MAGIC, 0, at)
        return None

    def _ends_with(self, session: SessionFooter) -> bool:
        """Whether the file is as long as its session footer says."""
        return session.length + len(session.encode()) == self._size

    def _is_ours(self, footer: ChunkFooter) -> bool:
        return footer.archive == self._archive and footer.chunk == self._chunk

    def _check_table(self, table: list[BlockEntry], end: int) -> None:
        """Hold the lines to what lines can be: rising, within the file, no two overlapping."""
        block, free = -1, 0
        for entry in table:
            sound = entry.block > block and entry.offset >= free and entry.header <= HEADER_MAX
            block, free = entry.block, entry.offset + entry.header + entry.length
            _require(sound and free <= end, "lines overlap, or lead out of the chunk")

    def _check_closing(self, at: int, end: int) -> None:
        """Check the records between the block table and the session footer."""
        try:
            while at < end:
                head = self._read(at, min(HEADER_MAX, end - at))
                prelude = Prelude.decode(head)
                check(head, magic=prelude.magic, what="footer", least=PRELUDE.size + CRC_SIZE)
                at += prelude.header_length + prelude.payload_length
            _require(at == end, "do not end where the session ends")
        except FormatError as error:
            self._dented(at, str(error))

    def _opening(self) -> ChunkHeader:
        """Read the headers before the first block.

        Raises:
            FormatError: One is damaged, or of another chunk.
        """
        stream = StreamReader()
        while True:
            head = self._read(stream.position, HEADER_MAX)
            for event in stream.take(head[: stream.header_length(head)]):
                if isinstance(event, ChunkBegan):
                    header = event.header
                    fits = header is not None and header.archive == self._archive
                    if header is None or not fits or header.chunk != self._chunk:
                        raise MalformedError(what="chunk header", reason="of another chunk")
                    return header

    def _walk(self) -> Iterator[BlockEntry]:
        """Go over the records; tell which numbers are missing, as far as the rest of it says."""
        due, after, end = self._expected()
        is_known = due is not None and after is not None
        last = Damage(0, "no record of it")
        for found in walk(self._read, start=0, end=end, origin=self._origin):
            if isinstance(found, Damage):
                last = found
                self._dented(found.offset, found.reason)
            elif due is not None and found.block < due:
                # Numbers only rise: this is no block of ours, whatever its header says.
                self._dented(found.offset, f"block {found.block} for the second time")
            else:
                self._tell_lost(due, found.block, last)
                due = found.block + 1
                yield found
        if is_known:
            self._tell_lost(due, after, last)
        else:
            self._lost(None, last.offset, last.reason)

    def _expected(self) -> tuple[int | None, int | None, int]:
        """Return the first block, the one after the last, and where records end, if known."""
        first: int | None = None
        after: int | None = None
        end = self._size
        with suppress(FormatError):
            first = self._opening().first_block
        with suppress(FormatError):
            session = session_footer(self._read(self._size - HEADER_MAX, HEADER_MAX))
            after = None if first is None else first + session.blocks
            if self._ends_with(session):
                end = min(session.last_chunk_footer or session.length, session.length)
        if self._extent is not None:
            first, after = self._extent
        return first, after, end

    def _tell_lost(self, due: int | None, block: int | None, why: Damage) -> None:
        if due is None or block is None:
            return
        for number in range(due, min(block, due + _LOST_MAX)):
            self._lost(number, why.offset, why.reason)

    def _read(self, offset: int, length: int) -> memoryview:
        """Read; what the medium cannot read is zeros, which no record is."""
        if offset < 0:
            offset, length = 0, length + offset
        length = max(0, min(length, self._size - offset))
        into = memoryview(bytearray(length))
        try:
            done = self._reader.read_into([into], offset) if length else Bytes(0)
        except StoreError:
            return into
        return into[:done]


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise MalformedError(what="chunk footer", reason=otherwise)
