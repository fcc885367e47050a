"""What the catalog knows, as values: one class a table.

They import nothing heavy, so a caller can name them without starting the database.

Source: docs/spec/catalog.md, section 2.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

# Rows that come from a database are checked against these types, so they are needed at run time.
from datamover.ids import ArchiveId, BlockNumber, ChunkNumber
from datamover.units import Bytes, Nanoseconds

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "SCHEMA_VERSION",
    "ArchiveFacts",
    "ArchiveRecord",
    "ArchiveState",
    "ChunkRecord",
    "PageKind",
    "PageRecord",
    "from_columns",
]

T = TypeVar("T")

SCHEMA_VERSION: Final = 1


class ArchiveState(StrEnum):
    """Whether an archive may be read."""

    INCOMPLETE = "incomplete"
    COMPLETE = "complete"


class PageKind(StrEnum):
    """What a page of the data index holds."""

    INDEX = "index"
    CONTENTS = "contents"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveFacts:
    """What is known of an archive once it is complete.

    Attributes:
        files: Regular files.
        directories: Directories.
        others: Symbolic links, hard links, FIFOs, devices.
        bytes_in: Bytes of file data read from the source.
        bytes_stored: Bytes of all chunk files.
        blocks: Blocks of all kinds.
        chunks: Chunk files.
    """

    files: int = 0
    directories: int = 0
    others: int = 0
    bytes_in: int = 0
    bytes_stored: int = 0
    blocks: int = 0
    chunks: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveRecord:
    """One archive, as the master map has it.

    Attributes:
        id: The archive's name for ever.
        state: Only a complete archive may be read.
        created_ns: When its header was written.
        completed_ns: When its footer was written; None while it is incomplete.
        label: The sealed label.
        wrapped_key: The archive key, wrapped by the store key; empty without encryption.
        facts: Counts; all zero while it is incomplete.
    """

    id: ArchiveId
    state: ArchiveState = ArchiveState.INCOMPLETE
    created_ns: Nanoseconds
    completed_ns: Nanoseconds | None = None
    label: bytes
    wrapped_key: bytes
    facts: ArchiveFacts = field(default_factory=ArchiveFacts)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkRecord:
    """One chunk file, as the master map has it.

    Attributes:
        archive: The archive it belongs to.
        number: Its place in that archive, from 0.
        name: Its file name below ``chunks/``.
        first_block: The number of its first block.
        blocks: How many blocks it holds.
        length: Bytes of the file.
    """

    archive: ArchiveId
    number: ChunkNumber
    name: str
    first_block: BlockNumber
    blocks: int
    length: Bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRecord:
    """One block of the data index.

    Attributes:
        archive: The archive it belongs to.
        block: Its block number there.
        kind: What its payload holds.
        chunk: The chunk that holds it on the medium.
        record: Tag header and payload, exactly as on the medium.
    """

    archive: ArchiveId
    block: BlockNumber
    kind: PageKind
    chunk: ChunkNumber
    record: bytes


def from_columns(kind: type[T], columns: Mapping[str, object]) -> T:
    """Make a row of what a database returned; nested facts are made of their own columns.

    SQLite stores any type in any column, so what comes back is checked, not believed.

    Raises:
        msgspec.ValidationError: A column is missing or of another type.
    """
    given = dict(columns)
    if kind is ArchiveRecord:
        given["facts"] = {name: given.pop(name, None) for name in ArchiveFacts.__slots__}
    return msgspec.convert(given, kind, builtin_types=(bytes,))
