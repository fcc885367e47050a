"""Chunk records: they open and close one chunk, and list the blocks in it.

Source: docs/spec/wire-format.md, "Chunk"; seed FIG. 13 (1352, 1354); SPEC G6, H7.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple, Self

from datamover.errors import CorruptError, MalformedError, TruncatedError
from datamover.ids import ArchiveId, BlockNumber, ChunkNumber
from datamover.units import Bytes
from datamover.wire.crc import crc32c
from datamover.wire.extension import Extension
from datamover.wire.record import CRC_SIZE, PRELUDE, build, check, pack, rest

if TYPE_CHECKING:
    from collections.abc import Sequence


__all__ = ["BlockEntry", "ChunkFooter", "ChunkHeader", "decode_table", "encode_table"]

_OPENS: Final = "chunk header"
_CLOSES: Final = "chunk footer"
_TABLE: Final = "block table"
_HEADER: Final = struct.Struct("<16sIIQ")
_FOOTER: Final = struct.Struct("<16sIIQQII")
_ENTRY: Final = struct.Struct("<QQIIHH")


class BlockEntry(NamedTuple):
    """Where one block lies: a line of the block table.

    Layout, 28 bytes::

        offset  size  field
             0     8  block
             8     8  offset   of the tag record, from the session header's first byte
            16     4  header   bytes of the tag record
            20     4  length   bytes of payload behind it
            24     2  kind     TagKind
            26     2  flags    TagFlag
    """

    block: BlockNumber
    offset: int
    header: int
    length: int
    kind: int
    flags: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkHeader:
    """Opens a chunk.

    Layout behind the prelude::

        offset  size  field
            16    16  archive
            32     4  chunk
            36     4  reserved     0
            40     8  first_block

    Attributes:
        archive: The archive it belongs to.
        chunk: Its place in the archive, from 0.
        first_block: The number of the first block in it.
        extensions: Unknown ones are carried on.
    """

    MAGIC: ClassVar[bytes] = b"DMch"

    archive: ArchiveId
    chunk: ChunkNumber
    first_block: BlockNumber
    extensions: tuple[Extension, ...] = ()

    def encode(self) -> bytes:
        """Return the header.

        Raises:
            MalformedError: A field does not fit.
        """
        body = pack(_HEADER, _OPENS, self.archive, self.chunk, 0, self.first_block)
        return build(self.MAGIC, _OPENS, body=body, extensions=self.extensions)

    @classmethod
    def decode(cls, data: memoryview) -> Self:
        """Read a header from the start of ``data``.

        Raises:
            FormatError: As ``record.check`` says.
        """
        at = PRELUDE.size + _HEADER.size
        size = check(data, magic=cls.MAGIC, what=_OPENS, least=at + CRC_SIZE)
        archive, chunk, _, first = _HEADER.unpack_from(data, PRELUDE.size)
        return cls(
            archive=ArchiveId(archive),
            chunk=ChunkNumber(chunk),
            first_block=BlockNumber(first),
            extensions=rest(data, size, at),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkFooter:
    """Closes a chunk; the block table follows as its payload.

    Layout behind the prelude::

        offset  size  field
            16    16  archive
            32     4  chunk
            36     4  reserved   0
            40     8  blocks
            48     8  length
            56     4  table_crc
            60     4  reserved   0

    Attributes:
        archive: As in the header.
        chunk: As in the header.
        blocks: Lines of the block table that follows.
        length: Bytes from the chunk header's first byte to this footer's.
        table_crc: CRC-32C of the block table.
        extensions: Unknown ones are carried on.
    """

    MAGIC: ClassVar[bytes] = b"DMcf"

    archive: ArchiveId
    chunk: ChunkNumber
    blocks: int
    length: int
    table_crc: int
    extensions: tuple[Extension, ...] = ()

    @property
    def table_length(self) -> Bytes:
        """Bytes of the block table that follows the footer."""
        return Bytes(self.blocks * _ENTRY.size)

    def encode(self) -> bytes:
        """Return the footer, without its table.

        Raises:
            MalformedError: A field does not fit.
        """
        body = pack(
            _FOOTER, _CLOSES,
            self.archive, self.chunk, 0, self.blocks, self.length, self.table_crc, 0,
        )  # fmt: skip
        return build(
            self.MAGIC, _CLOSES, body=body, extensions=self.extensions, payload=self.table_length
        )

    @classmethod
    def decode(cls, data: memoryview) -> Self:
        """Read a footer from the start of ``data``; the table is not looked at.

        Raises:
            FormatError: As ``record.check`` says.
            MalformedError: The number of blocks does not fit the length of the table.
        """
        at = PRELUDE.size + _FOOTER.size
        size = check(data, magic=cls.MAGIC, what=_CLOSES, least=at + CRC_SIZE)
        archive, chunk, _, blocks, length, crc, _ = _FOOTER.unpack_from(data, PRELUDE.size)
        payload = PRELUDE.unpack_from(data)[4]
        if blocks * _ENTRY.size != payload:
            raise MalformedError(what=_CLOSES, reason=f"{blocks} blocks in {payload} bytes")
        return cls(
            archive=ArchiveId(archive),
            chunk=ChunkNumber(chunk),
            blocks=blocks,
            length=length,
            table_crc=crc,
            extensions=rest(data, size, at),
        )


def encode_table(entries: Sequence[BlockEntry]) -> bytes:
    """Return the block table.

    Raises:
        MalformedError: A value does not fit its field.
    """
    try:
        return b"".join([_ENTRY.pack(*entry) for entry in entries])
    except struct.error as error:
        raise MalformedError(what=_TABLE, reason=str(error)) from error


def decode_table(footer: ChunkFooter, data: memoryview) -> list[BlockEntry]:
    """Read the block table that follows ``footer``.

    Raises:
        TruncatedError: ``data`` is shorter than the table.
        CorruptError: The CRC does not match.
    """
    need = footer.table_length
    if len(data) < need:
        raise TruncatedError(what=_TABLE, need=need, have=Bytes(len(data)))
    table = data[:need]
    actual = crc32c(table)
    if actual != footer.table_crc:
        raise CorruptError(what=_TABLE, expected=footer.table_crc, actual=actual)
    return [BlockEntry(*line) for line in _ENTRY.iter_unpack(table)]
