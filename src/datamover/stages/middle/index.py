"""Copy each block's entry table into index blocks, and end the archive with its contents.

Role:       middle, allocating, several buffers for one
Instances:  one, for it gives every block its final number
Copies:     the tables, never the data
Fails:      on a DATA block without an entry table
Source:     docs/ARCHITECTURE.md, "One block's journey"; docs/spec/entry-table.md; SPEC E4
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from datamover.files.listing import (
    FIRST_PATH_MAX,
    INDEX_HEADER,
    INDEX_RECORD,
    TABLES_MAX,
    Contents,
    IndexBlock,
    encode_contents,
    encode_index,
)
from datamover.files.table import decode_entries, table_size
from datamover.files.unlisted import IndexState
from datamover.ids import BlockNumber
from datamover.pipe.stage import FanOut, Role, StageInfo
from datamover.stages.block import get_tag, set_tag
from datamover.units import KIB, Bytes
from datamover.wire.tag import TagFlag, TagHeader, TagKind

if TYPE_CHECKING:
    from datamover.pipe.ports import MiddlePort
    from datamover.shm.buffer import Buffer

__all__ = ["STAGE", "Settings", "run"]

STAGE: Final = StageInfo(
    name="index", role=Role.MIDDLE, allocates=True, parallel=False, fan_out=FanOut.MANY
)

_PLACE_MAX: Final = 22 + FIRST_PATH_MAX
_CONTENTS_HEADER: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of the index stage.

    Attributes:
        index_size: Bytes of an index block at most, unless a single table is longer.
        first_block: The number of the first block.
        state: A file with the ``IndexState`` that an interrupted archive left; empty for none.
    """

    index_size: int = 256 * KIB
    first_block: int = 0
    state: str = ""


def run(port: MiddlePort, settings: Settings) -> None:
    """Pass blocks on, and index them, until the stage before has finished.

    Raises:
        FormatError: A DATA block does not hold an entry table.
        PipeError: From the port.
    """
    state = IndexState.read(Path(settings.state)) if settings.state else IndexState()
    index = _Index(port, min(settings.index_size, port.buffer_size), settings.first_block, state)
    for buffer in port.incoming():
        index.take(buffer)
    index.finish()


class _Index:
    def __init__(self, port: MiddlePort, limit: int, first: int, state: IndexState) -> None:
        self._port = port
        self._limit = limit
        self._next = first
        self._offset = state.offset
        self._tables: list[tuple[int, bytes]] = []
        self._size = INDEX_HEADER
        self._entries_here = 0
        self._index = state.index
        self._blocks = state.blocks
        self._entries = state.entries
        self._bytes = state.plain
        for block, table in state.tables:
            self._keep(block, table)

    def take(self, buffer: Buffer) -> None:
        """Send one block under its final number, and keep a copy of its table."""
        tag = get_tag(buffer)
        if tag.kind != TagKind.DATA:
            self._send(buffer, tag)
            return
        payload = buffer.payload
        length, entries = table_size(payload)
        table = bytes(payload[:length])
        block = self._next
        self._send(buffer, tag)
        # An input is never held while a buffer is waited for, so the table is kept by itself.
        self._keep(block, table)
        self._blocks += 1
        self._entries += entries - bool(tag.flags & TagFlag.CONTINUED)
        self._bytes += tag.plain

    def finish(self) -> None:
        """Send the last index block, and the contents."""
        if self._tables:
            self._flush()
        a_part = max(1, (self._limit - _CONTENTS_HEADER) // _PLACE_MAX)
        parts = range(0, max(1, len(self._index)), a_part)
        for number, first in enumerate(parts):
            contents = Contents(
                part=number,
                is_last=number == len(parts) - 1,
                blocks=self._blocks,
                entries=self._entries,
                bytes=self._bytes,
                index=tuple(self._index[first : first + a_part]),
            )
            buffer = self._port.alloc()
            buffer.used = encode_contents(buffer.data, contents)
            self._send_new(buffer, TagKind.CONTENTS)
        self._port.result(
            {"blocks": self._blocks, "entries": self._entries, "index_blocks": len(self._index)}
        )

    def _keep(self, block: int, table: bytes) -> None:
        length, entries = table_size(memoryview(table))
        is_full = self._size + INDEX_RECORD + length > self._limit
        # Few tables are without a page at any time: whoever goes on reads their blocks back.
        if self._tables and (is_full or len(self._tables) == TABLES_MAX):
            self._flush()
        self._tables.append((block, table))
        self._size += INDEX_RECORD + length
        self._entries_here += entries

    def _flush(self) -> None:
        first_block, first_table = self._tables[0]
        first = next(decode_entries(memoryview(first_table)), None)
        path = first.path[:FIRST_PATH_MAX] if first else b""
        buffer = self._port.alloc()
        buffer.used = encode_index(buffer.data, self._tables)
        self._index.append(
            IndexBlock(BlockNumber(self._next), BlockNumber(first_block), self._entries_here, path)
        )
        self._send_new(buffer, TagKind.INDEX)
        self._tables = []
        self._size = INDEX_HEADER
        self._entries_here = 0

    def _send_new(self, buffer: Buffer, kind: TagKind) -> None:
        length = Bytes(buffer.used)
        self._send(buffer, TagHeader(kind=kind, block=BlockNumber(0), length=length, plain=length))

    def _send(self, buffer: Buffer, tag: TagHeader) -> None:
        set_tag(buffer, replace(tag, block=BlockNumber(self._next), offset=self._offset))
        self._next += 1
        self._offset += tag.plain
        self._port.send(buffer)
