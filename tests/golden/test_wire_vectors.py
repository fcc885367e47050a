"""The bytes of version 1 are frozen: what was written once is read for ever.

``wire/*.hex`` holds one record a file; the values are here.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from datamover.ids import ArchiveId, BlockNumber, ChunkNumber, StoreId
from datamover.placement.route import with_route
from datamover.units import Bytes, Nanoseconds
from datamover.wire.archive import ArchiveFooter, ArchiveHeader
from datamover.wire.chunk import (
    BlockEntry,
    ChunkFooter,
    ChunkHeader,
    decode_table,
    encode_table,
)
from datamover.wire.crc import crc32c
from datamover.wire.options import OptionId, OptionsHeader
from datamover.wire.session import SessionFooter, SessionHeader
from datamover.wire.tag import (
    Extension,
    ExtensionId,
    TagFlag,
    TagHeader,
    TagKind,
    Transform,
    TransformId,
)

VECTORS = Path(__file__).parent / "wire"
SESSION = bytes(range(16))
ARCHIVE = ArchiveId(bytes(range(16, 32)))
TABLE = [
    BlockEntry(BlockNumber(7), 200, 56, 1000, TagKind.DATA, TagFlag.GROUPED),
    BlockEntry(BlockNumber(8), 1256, 68, 0, TagKind.INDEX, 0),
]
TAG = TagHeader(
    kind=TagKind.DATA,
    block=BlockNumber(7),
    length=Bytes(1016),
    plain=Bytes(2000),
    flags=TagFlag.GROUPED | TagFlag.CONTINUED,
    chunk=ChunkNumber(3),
    offset=14000,
    crc=0xDEADBEEF,
    transforms=(
        Transform(id=TransformId.ZSTD, parameter=1, length=Bytes(2000)),
        Transform(id=TransformId.AES_256_GCM, length=Bytes(990), inner=10),
    ),
    public=(Extension(id=ExtensionId.HEADER, value=b"key\0value"),),
    private=(Extension(id=ExtensionId.CONTENT, value=b"text"),),
    origin=0x13121110,
)
RECORDS = {
    "session-header": SessionHeader(
        session=SESSION,
        created_ns=Nanoseconds(1_700_000_000_123_456_789),
        framing=3,
        store=StoreId(bytes(range(32, 48))),
    ),
    "session-footer": SessionFooter(
        session=SESSION, blocks=2, length=Bytes(123456), last_chunk_footer=123000
    ),
    "archive-header": ArchiveHeader(
        archive=ARCHIVE,
        created_ns=Nanoseconds(1_700_000_000_000_000_000),
        block_size=Bytes(1 << 20),
        cipher=TransformId.AES_256_GCM,
        wrapped_key=b"W" * 40,
        label=b"sealed label",
        transforms=(TransformId.ZSTD, TransformId.AES_256_GCM),
        extensions=(Extension(id=900, value=b"from later"),),
    ),
    "archive-footer": ArchiveFooter(archive=ARCHIVE, chunks=4, blocks=9, plain=1 << 40),
    "chunk-header": ChunkHeader(archive=ARCHIVE, chunk=ChunkNumber(3), first_block=BlockNumber(7)),
    "chunk-footer": ChunkFooter(
        archive=ARCHIVE,
        chunk=ChunkNumber(3),
        blocks=2,
        length=1500,
        table_crc=crc32c(encode_table(TABLE)),
    ),
    "options-header": OptionsHeader(options=(Extension(id=OptionId.MEDIUM, value=b"tape-1"),)),
    "tag": TAG,
    "tag-plain": TagHeader(kind=TagKind.RAW, block=BlockNumber(0), length=Bytes(5), plain=Bytes(5)),
    "tag-route": TagHeader(
        kind=TagKind.DATA,
        block=BlockNumber(1),
        length=Bytes(5),
        plain=Bytes(5),
        public=with_route(258),
    ),
}


def encoded(record: object) -> bytes:
    """Return a record's bytes."""
    if isinstance(record, TagHeader):
        out = memoryview(bytearray(4096))
        return bytes(out[: record.encode_into(out)])
    return record.encode()


def vector(name: str) -> bytes:
    """Return frozen bytes."""
    return bytes.fromhex((VECTORS / f"{name}.hex").read_text())


@pytest.mark.parametrize("name", RECORDS)
def test_what_is_written_is_what_was_always_written(name):
    assert encoded(RECORDS[name]).hex() == vector(name).hex()


@pytest.mark.parametrize("name", RECORDS)
def test_what_was_written_is_still_read(name):
    assert type(RECORDS[name]).decode(memoryview(vector(name))) == RECORDS[name]


def test_the_block_table_is_frozen_too():
    data = vector("block-table")

    assert encode_table(TABLE).hex() == data.hex()
    assert decode_table(RECORDS["chunk-footer"], memoryview(data)) == TABLE


def test_what_a_cipher_authenticates_is_frozen():
    assert TAG.associated(ARCHIVE, 0).hex() == vector("tag-associated").hex()


def test_every_vector_is_tested():
    names = {path.stem for path in VECTORS.glob("*.hex")}

    assert names == {*RECORDS, "block-table", "tag-associated"}
