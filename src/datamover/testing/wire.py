"""Hypothesis strategies for every record, and in-memory streams made of them.

Source: docs/spec/wire-format.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hypothesis import strategies as st

from datamover.ids import ArchiveId, BlockNumber
from datamover.units import Bytes, Nanoseconds
from datamover.wire.archive import ArchiveFooter, ArchiveHeader
from datamover.wire.chunk import ChunkFooter, ChunkHeader
from datamover.wire.crc import crc32c
from datamover.wire.framing import Framing, StreamWriter
from datamover.wire.options import OptionsHeader
from datamover.wire.record import HEADER_MAX
from datamover.wire.session import SessionFooter, SessionHeader
from datamover.wire.tag import Extension, TagHeader, TagKind, Transform

if TYPE_CHECKING:
    from collections.abc import Sequence

    from datamover.wire.chunk import BlockEntry

__all__ = ["ARCHIVE", "Written", "encode", "extensions", "records", "tags", "write_stream"]

ARCHIVE = ArchiveId(bytes(range(1, 17)))

_U16 = st.integers(0, 2**16 - 1)
_U32 = st.integers(0, 2**32 - 1)
_U64 = st.integers(0, 2**64 - 1)
_ID = st.binary(min_size=16, max_size=16)

extensions = st.lists(st.builds(Extension, id=_U16, value=st.binary(max_size=40)), max_size=4).map(
    tuple
)

_transforms = st.lists(
    st.builds(Transform, id=_U16, parameter=_U16, length=_U32, inner=_U16), max_size=16
).map(tuple)

tags = st.builds(
    TagHeader,
    kind=_U16,
    block=_U64,
    length=_U32,
    plain=_U32,
    flags=_U16,
    chunk=_U32,
    offset=_U64,
    crc=_U32,
    transforms=_transforms,
    public=extensions,
    private=extensions,
    origin=_U32,
)

records = st.one_of(
    tags,
    st.builds(
        SessionHeader,
        session=_ID, created_ns=_U64, framing=_U16, store=_ID, extensions=extensions,
    ),
    st.builds(
        SessionFooter,
        session=_ID, blocks=_U64, length=_U64, last_chunk_footer=_U64,
        complete=st.booleans(), extensions=extensions,
    ),
    st.builds(
        ArchiveHeader,
        archive=_ID, created_ns=_U64, block_size=_U32, cipher=_U16,
        wrapped_key=st.binary(max_size=64), label=st.binary(max_size=64),
        transforms=st.lists(_U16, max_size=8).map(tuple), extensions=extensions,
    ),
    st.builds(
        ArchiveFooter,
        archive=_ID, chunks=_U32, blocks=_U64, plain=_U64,
        complete=st.booleans(), extensions=extensions,
    ),
    st.builds(
        ChunkHeader, archive=_ID, chunk=_U32, first_block=_U64, extensions=extensions
    ),
    st.builds(
        ChunkFooter,
        archive=_ID, chunk=_U32, blocks=st.integers(0, 1 << 20), length=_U64, table_crc=_U32,
        extensions=extensions,
    ),
    st.builds(OptionsHeader, options=extensions),
)  # fmt: skip


def encode(
    record: TagHeader
    | SessionHeader
    | SessionFooter
    | ArchiveHeader
    | ArchiveFooter
    | ChunkHeader
    | ChunkFooter
    | OptionsHeader,
) -> bytes:
    """Return the bytes of any record."""
    if not isinstance(record, TagHeader):
        return record.encode()
    out = memoryview(bytearray(HEADER_MAX))
    return bytes(out[: record.encode_into(out)])


class Written(NamedTuple):
    """A stream, and what is true of it.

    Attributes:
        data: All its bytes.
        blocks: Number and payload of each block, in order.
        chunks: The storage map: number, offset and length of each chunk.
        entries: The data index: where each block lies.
    """

    data: bytes
    blocks: list[tuple[int, bytes]]
    chunks: list[tuple[int, int, int]]
    entries: list[BlockEntry]


def write_stream(
    framing: Framing, chunks: Sequence[Sequence[bytes]], archive: ArchiveId = ARCHIVE
) -> Written:
    """Return one session with one archive, whose chunks hold these payloads."""
    writer = StreamWriter(
        SessionHeader(session=bytes(16), created_ns=Nanoseconds(1), framing=framing)
    )
    data = bytearray(writer.begin())
    data += writer.begin_archive(
        ArchiveHeader(archive=archive, created_ns=Nanoseconds(1), block_size=Bytes(1024))
    )
    blocks: list[tuple[int, bytes]] = []
    places: list[tuple[int, int, int]] = []
    entries: list[BlockEntry] = []
    room = memoryview(bytearray(HEADER_MAX))
    for payloads in chunks:
        data += writer.next_chunk()
        start = writer.position - writer.chunk_length
        for payload in payloads:
            tag = TagHeader(
                kind=TagKind.DATA,
                block=BlockNumber(len(blocks)),
                length=Bytes(len(payload)),
                plain=Bytes(len(payload)),
            )
            data += room[: writer.block(tag, room, crc=crc32c(payload))]
            data += payload
            blocks.append((tag.block, payload))
        entries += writer.chunk_blocks
        places.append((writer.chunk, start, writer.chunk_length))
    data += writer.end_archive() + writer.end()
    return Written(bytes(data), blocks, places, entries)
