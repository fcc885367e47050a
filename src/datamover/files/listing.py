"""Listing: what an archive holds, from its index and contents blocks alone.

Source: docs/spec/entry-table.md, "INDEX payload" and "CONTENTS payload"; SPEC U23.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from datamover.errors import MagicError, MalformedError, TruncatedError
from datamover.files.entry import EntryFlag
from datamover.files.table import decode_entries
from datamover.ids import BlockNumber
from datamover.units import Bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from datamover.files.entry import Entry

__all__ = [
    "FIRST_PATH_MAX",
    "INDEX_HEADER",
    "INDEX_RECORD",
    "TABLES_MAX",
    "Contents",
    "IndexBlock",
    "decode_contents",
    "decode_index",
    "encode_contents",
    "encode_index",
    "index_tables",
]

FIRST_PATH_MAX: Final = 512

_INDEX_MAGIC: Final = b"DMix"
_INDEX: Final = struct.Struct("<4sIQ")
_RECORD: Final = struct.Struct("<QI")
_CONTENTS_MAGIC: Final = b"DMco"
_CONTENTS: Final = struct.Struct("<4sIIIQQQ")
_PLACE: Final = struct.Struct("<QQIH")
_LAST: Final = 1
_CONTINUES: Final = int(EntryFlag.CONTINUES)

TABLES_MAX: Final = 32
"""Tables of an index block at most."""

INDEX_HEADER: Final = _INDEX.size
INDEX_RECORD: Final = _RECORD.size


@dataclass(frozen=True, slots=True)
class IndexBlock:
    """Where one index block is, and where what it lists begins.

    Attributes:
        block: The index block's number.
        first_block: The first DATA block that it lists.
        entries: Entries in it, repeats included.
        first_path: The first entry's path, cut to FIRST_PATH_MAX bytes.
    """

    block: BlockNumber
    first_block: BlockNumber
    entries: int
    first_path: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """One part of the list of an archive's index blocks.

    Attributes:
        part: From 0.
        is_last: No part follows.
        blocks: DATA blocks of the whole archive.
        entries: Of the whole archive, repeats not counted.
        bytes: Plain bytes of all DATA blocks.
        index: The index blocks of this part.
    """

    part: int
    is_last: bool
    blocks: int
    entries: int
    bytes: int
    index: tuple[IndexBlock, ...]


def encode_index(out: memoryview, records: Sequence[tuple[int, bytes]]) -> Bytes:
    """Write an index payload of block numbers and tables; return its length.

    Raises:
        TruncatedError: ``out`` is too short.
    """
    need = INDEX_HEADER + sum(INDEX_RECORD + len(table) for _, table in records)
    _require(out, need, "index")
    _INDEX.pack_into(out, 0, _INDEX_MAGIC, len(records), 0)
    at = INDEX_HEADER
    for block, table in records:
        _RECORD.pack_into(out, at, block, len(table))
        at += INDEX_RECORD
        out[at : at + len(table)] = table
        at += len(table)
    return Bytes(at)


def index_tables(payload: memoryview) -> Iterator[tuple[BlockNumber, memoryview]]:
    """Yield block number and entry table of each DATA block that an index payload lists.

    Raises:
        FormatError: The payload breaks a rule.
    """
    _require(payload, INDEX_HEADER, "index")
    magic, count, _ = _INDEX.unpack_from(payload)
    if magic != _INDEX_MAGIC:
        raise MagicError(what="index", found=magic.hex())
    at = INDEX_HEADER
    for _ in range(count):
        _require(payload, at + INDEX_RECORD, "index")
        block, length = _RECORD.unpack_from(payload, at)
        at += INDEX_RECORD
        _require(payload, at + length, "index")
        yield BlockNumber(block), payload[at : at + length]
        at += length


def decode_index(payload: memoryview) -> Iterator[tuple[BlockNumber, Entry]]:
    """Yield each file once, with the DATA block where it begins.

    Raises:
        FormatError: The payload, or a table in it, breaks a rule.
    """
    for block, table in index_tables(payload):
        for entry in decode_entries(table):
            if not entry.flags & _CONTINUES:
                yield block, entry


def encode_contents(out: memoryview, contents: Contents) -> Bytes:
    """Write a contents payload; return its length.

    Raises:
        TruncatedError: ``out`` is too short.
    """
    need = _CONTENTS.size + sum(_PLACE.size + len(one.first_path) for one in contents.index)
    _require(out, need, "contents")
    _CONTENTS.pack_into(
        out, 0, _CONTENTS_MAGIC, len(contents.index), contents.part,
        _LAST if contents.is_last else 0, contents.blocks, contents.entries, contents.bytes,
    )  # fmt: skip
    at = _CONTENTS.size
    for one in contents.index:
        path = one.first_path
        _PLACE.pack_into(out, at, one.block, one.first_block, one.entries, len(path))
        at += _PLACE.size
        out[at : at + len(path)] = path
        at += len(path)
    return Bytes(at)


def decode_contents(payload: memoryview) -> Contents:
    """Read one contents payload.

    Raises:
        FormatError: It breaks a rule.
    """
    _require(payload, _CONTENTS.size, "contents")
    magic, count, part, flags, blocks, entries, size = _CONTENTS.unpack_from(payload)
    if magic != _CONTENTS_MAGIC:
        raise MagicError(what="contents", found=magic.hex())
    if count * _PLACE.size > len(payload):
        raise MalformedError(what="contents", reason=f"{count} records in {len(payload)} bytes")
    return Contents(
        part=part,
        is_last=bool(flags & _LAST),
        blocks=blocks,
        entries=entries,
        bytes=size,
        index=tuple(_decode_places(payload, count)),
    )


def _decode_places(payload: memoryview, count: int) -> Iterable[IndexBlock]:
    at = _CONTENTS.size
    for _ in range(count):
        _require(payload, at + _PLACE.size, "contents")
        block, first_block, entries, length = _PLACE.unpack_from(payload, at)
        at += _PLACE.size
        _require(payload, at + length, "contents")
        path = bytes(payload[at : at + length])
        yield IndexBlock(BlockNumber(block), BlockNumber(first_block), entries, path)
        at += length


def _require(data: memoryview, need: int, what: str) -> None:
    if len(data) < need:
        raise TruncatedError(what=what, need=Bytes(need), have=Bytes(len(data)))
