"""The three ways to wrap chunks, written: sans I/O, the caller moves the bytes.

    LEADING     session( archive( chunk-header blocks  chunk-header blocks … ) )
    ENCLOSING   session( archive( blocks of chunk 0, blocks of chunk 1 …     ) )
    FULL        session( archive( chunk-header blocks chunk-footer …         ) )

Session and archive have a header and a footer in all of them.

Source: docs/spec/wire-format.md, "Framings"; seed FIGs. 12 and 13; SPEC H2-H9.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from datamover.errors import MalformedError
from datamover.ids import BlockNumber, ChunkNumber
from datamover.units import Bytes
from datamover.wire.archive import ArchiveFooter, ArchiveHeader
from datamover.wire.chunk import BlockEntry, ChunkFooter, ChunkHeader, encode_table
from datamover.wire.crc import crc32c
from datamover.wire.session import SessionFooter, SessionHeader

if TYPE_CHECKING:
    from datamover.wire.options import OptionsHeader
    from datamover.wire.tag import TagHeader

__all__ = ["Framing", "StreamWriter", "origin_of"]

_WHAT: Final = "stream"
_FIRST_CHUNK: Final = ChunkNumber(0)
_FIRST_BLOCK: Final = BlockNumber(0)


class Framing(IntEnum):
    """How the chunks of a session are wrapped."""

    LEADING = 1
    """Each chunk has a header."""

    ENCLOSING = 2
    """One header, all chunks, one footer; the tags say where a chunk begins."""

    FULL = 3
    """Each chunk has a header and a footer with a block table."""


def origin_of(archive: bytes) -> int:
    """Return what the tags of an archive carry as ``origin``."""
    return int.from_bytes(archive[:4], "little")


class StreamWriter:
    """Makes the records of one session, in order, and knows where each one lies.

    Every method returns bytes to be written at ``position`` as it was before the call; after
    ``block`` the payload follows.

    Attributes:
        position: Bytes so far, from the session header's first byte, payloads included.
        chunk: The number of the open chunk, or of the next one.
        chunk_length: Bytes since the open chunk began.
        chunk_blocks: Blocks in the open chunk; its lines of the block table.
    """

    def __init__(self, session: SessionHeader) -> None:
        """Start; ``session.framing`` decides how chunks are wrapped.

        Raises:
            MalformedError: There is no such framing.
        """
        if session.framing not in Framing.__members__.values():
            raise MalformedError(what=_WHAT, reason=f"framing {session.framing}")
        self._session = session
        self._framing = Framing(session.framing)
        self._archive: ArchiveHeader | None = None
        self._origin = 0
        self._in_chunk = False
        self._chunk_at = 0
        self._next_block = BlockNumber(0)
        self._blocks = 0
        self._archive_blocks = 0
        self._plain = 0
        self._last_footer = 0
        self.position = 0
        self.chunk = ChunkNumber(0)
        self.chunk_blocks: list[BlockEntry] = []

    @property
    def chunk_length(self) -> int:
        """Bytes since the open chunk began."""
        return self.position - self._chunk_at if self._in_chunk else 0

    def begin(self) -> bytes:
        """Return the session header."""
        return self._put(self._session.encode())

    def begin_archive(
        self,
        archive: ArchiveHeader,
        *,
        chunk: ChunkNumber = _FIRST_CHUNK,
        block: BlockNumber = _FIRST_BLOCK,
    ) -> bytes:
        """Return the archive header; the archive goes on with ``chunk`` and ``block``."""
        self._archive = archive
        self._origin = origin_of(archive.archive)
        self.chunk, self._next_block = chunk, block
        self._archive_blocks = self._plain = 0
        return self._put(archive.encode())

    def next_chunk(self) -> bytes:
        """Close the open chunk, if any, and open the next; return what that writes."""
        archive = self._require_archive()
        closing = b""
        if self._in_chunk:
            closing = self._close_chunk()
        self._in_chunk = True
        self._chunk_at = self.position
        self.chunk_blocks = []
        if self._framing is Framing.ENCLOSING:
            return closing
        header = ChunkHeader(
            archive=archive.archive, chunk=self.chunk, first_block=self._next_block
        )
        return closing + self._put(header.encode())

    def block(self, tag: TagHeader, out: memoryview, *, crc: int = 0) -> Bytes:
        """Write ``tag`` into ``out``, with chunk, origin and ``crc`` set; its payload follows.

        Args:
            tag: What the block is.
            out: Writable; the buffer's tag area.
            crc: CRC-32C of the payload as it is stored.

        Returns:
            The bytes of the record in ``out``.

        Raises:
            MalformedError: No chunk is open, or the tag does not fit a header.
        """
        if not self._in_chunk:
            raise MalformedError(what=_WHAT, reason="a block outside a chunk")
        stored = replace(tag, chunk=self.chunk, origin=self._origin, crc=crc)
        size = stored.encode_into(out)
        self.chunk_blocks.append(
            BlockEntry(tag.block, self.position, size, tag.length, tag.kind, tag.flags)
        )
        self.position += size + tag.length
        self._next_block = BlockNumber(tag.block + 1)
        self._blocks += 1
        self._archive_blocks += 1
        self._plain += tag.plain
        return size

    def options(self, options: OptionsHeader) -> bytes:
        """Return an options record; it belongs behind a tag.

        Raises:
            MalformedError: No block precedes it in its chunk.
        """
        if not (self._in_chunk and self.chunk_blocks):
            raise MalformedError(what=_WHAT, reason="options that follow no tag")
        return self._put(options.encode())

    def end_chunk(self) -> bytes:
        """Close the open chunk; return what that writes."""
        return self._close_chunk() if self._in_chunk else b""

    def end_archive(self, footer: ArchiveFooter | None = None) -> bytes:
        """Close the open chunk and the archive; return what that writes.

        Args:
            footer: What the footer says; by default, what was written here.  An archive that began
                in another session needs its own totals.
        """
        archive = self._require_archive()
        closing = self.end_chunk()
        if footer is None:
            footer = ArchiveFooter(
                archive=archive.archive,
                chunks=self.chunk,
                blocks=self._archive_blocks,
                plain=self._plain,
            )
        self._archive = None
        return closing + self._put(footer.encode())

    def end(self, *, complete: bool = True) -> bytes:
        """Close all that is open, without an archive footer; return what that writes."""
        closing = self.end_chunk()
        self._archive = None
        footer = SessionFooter(
            session=self._session.session,
            blocks=self._blocks,
            length=Bytes(self.position),
            last_chunk_footer=self._last_footer,
            complete=complete,
        )
        return closing + self._put(footer.encode())

    def _close_chunk(self) -> bytes:
        self._in_chunk = False
        number, self.chunk = self.chunk, ChunkNumber(self.chunk + 1)
        if self._framing is not Framing.FULL:
            return b""
        table = encode_table(self.chunk_blocks)
        footer = ChunkFooter(
            archive=self._require_archive().archive,
            chunk=number,
            blocks=len(self.chunk_blocks),
            length=self.position - self._chunk_at,
            table_crc=crc32c(table),
        )
        self._last_footer = self.position
        return self._put(footer.encode() + table)

    def _require_archive(self) -> ArchiveHeader:
        if self._archive is None:
            raise MalformedError(what=_WHAT, reason="no archive is open")
        return self._archive

    def _put(self, record: bytes) -> bytes:
        self.position += len(record)
        return record
