"""Archives without a pipe: chunk files written straight from entries, for tests.

What comes out is what a backup leaves: DATA, INDEX and CONTENTS blocks, compressed, sealed,
in chunk files of framing FULL.

Source: docs/spec/media-format.md; docs/spec/entry-table.md.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from datamover.codec.checksum import append_checksum
from datamover.codec.cipher import Cipher
from datamover.codec.envelope import seal_block
from datamover.codec.zstd import Zstd
from datamover.files.listing import Contents, IndexBlock, encode_contents, encode_index
from datamover.files.table import encode_entry, write_table
from datamover.ids import BlockNumber
from datamover.media.directory import DirectoryMedium
from datamover.media.naming import chunk_name
from datamover.mover.count import Counts
from datamover.mover.enter import enter_chunk, finish_archive
from datamover.mover.label import Label
from datamover.units import Bytes, Nanoseconds
from datamover.wire.archive import ArchiveFooter, ArchiveHeader, finished_at
from datamover.wire.crc import crc32c
from datamover.wire.framing import Framing, StreamWriter
from datamover.wire.session import SessionHeader
from datamover.wire.tag import TagHeader, TagKind, Transform, TransformId

if TYPE_CHECKING:
    from collections.abc import Sequence

    from datamover.files.entry import Entry
    from datamover.mover.store import NewArchive, Store

__all__ = ["Block", "backup_without_a_pipe", "make_blocks", "make_label", "write_chunks"]

_ROOM: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Block:
    """One block before its transforms."""

    kind: TagKind
    payload: bytes


def make_label(name: str = "test", *, started_ns: int | None = None) -> Label:
    """Return a label."""
    started = time.time_ns() if started_ns is None else started_ns
    return Label(name=name, host="h", user="u", sources=("/src",), started_ns=Nanoseconds(started))


def make_blocks(tables: Sequence[Sequence[Entry]], *, tables_per_index: int = 2) -> list[Block]:
    """Return the blocks of an archive: one DATA block a table, its indexes, its contents."""
    blocks: list[Block] = []
    waiting: list[tuple[int, bytes]] = []
    places: list[IndexBlock] = []
    room = memoryview(bytearray(_ROOM))

    def flush() -> None:
        if waiting:
            places.append(IndexBlock(BlockNumber(len(blocks)), BlockNumber(waiting[0][0]), 0, b""))
            size = encode_index(room, waiting)
            blocks.append(Block(TagKind.INDEX, bytes(room[:size])))
            waiting.clear()

    for entries in tables:
        size = write_table(room, [encode_entry(entry) for entry in entries])
        table = bytes(room[:size])
        length = sum(extent[1] for entry in entries for extent in entry.extents)
        waiting.append((len(blocks), table))
        blocks.append(Block(TagKind.DATA, table + b"x" * length))
        if len(waiting) == tables_per_index:
            flush()
    flush()
    contents = Contents(
        part=0, is_last=True, blocks=len(tables), entries=0, bytes=0, index=tuple(places)
    )
    size = encode_contents(room, contents)
    blocks.append(Block(TagKind.CONTENTS, bytes(room[:size])))
    return blocks


def write_chunks(
    store: Store, archive: NewArchive, blocks: Sequence[Block], *, per_chunk: int = 3
) -> list[str]:
    """Write the chunk files of an archive; return their names."""
    names = []
    with DirectoryMedium(store.path) as medium:
        for number, first in enumerate(range(0, len(blocks), per_chunk)):
            name = chunk_name(archive.id, number)
            is_last = first + per_chunk >= len(blocks)
            data = _chunk(store, archive, blocks, number, range(first, first + per_chunk), is_last)
            writer = medium.create(name)
            writer.write([data])
            writer.commit()
            names.append(name)
    return names


def backup_without_a_pipe(
    store: Store, tables: Sequence[Sequence[Entry]], *, name: str = "test", per_chunk: int = 3
) -> NewArchive:
    """Write an archive and enter it into the catalog in the order of a backup."""
    archive = store.new_archive(make_label(name))
    with store.reserve(archive.id):
        store.catalog.map.begin(archive.record())
        files = [
            enter_chunk(store.catalog, store.chunks, one)
            for one in write_chunks(store, archive, make_blocks(tables), per_chunk=per_chunk)
        ]
        counts = Counts()
        for page in store.catalog.index.pages(archive.id):
            counts.add(page, key=archive.key)
        finish_archive(store.catalog, files[-1], counts)
    return archive


def _chunk(
    store: Store,
    archive: NewArchive,
    blocks: Sequence[Block],
    number: int,
    numbers: range,
    is_last: bool,
) -> bytes:
    created = Nanoseconds(archive.created_ns + number)
    session = SessionHeader(
        session=os.urandom(16), created_ns=created, framing=Framing.FULL, store=store.id
    )
    header = ArchiveHeader(
        archive=archive.id,
        created_ns=archive.created_ns,
        block_size=Bytes(_ROOM),
        cipher=archive.cipher,
        wrapped_key=archive.wrapped_key,
        label=archive.label,
        transforms=(
            TransformId.ZSTD,
            *([archive.cipher] if archive.key else []),
            TransformId.CRC32C,
        ),
    )
    writer = StreamWriter(session)
    out = bytearray(writer.begin())
    out += writer.begin_archive(header, chunk=number, block=numbers.start)  # type: ignore[arg-type]  # plain ints
    out += writer.next_chunk()
    for block in numbers[: len(blocks) - numbers.start]:
        out += _block(writer, archive, BlockNumber(block), blocks[block])
    if is_last:
        footer = ArchiveFooter(
            archive=archive.id,
            chunks=number + 1,
            blocks=len(blocks),
            plain=sum(len(block.payload) for block in blocks),
            extensions=(finished_at(Nanoseconds(time.time_ns())),),
        )
        out += writer.end_archive(footer)
    out += writer.end()
    return bytes(out)


def _block(writer: StreamWriter, archive: NewArchive, number: BlockNumber, block: Block) -> bytes:
    """Compress, seal and add a checksum, as a pipe does."""
    plain = Bytes(len(block.payload))
    tag = TagHeader(kind=block.kind, block=number, length=plain, plain=plain)
    room = memoryview(bytearray(plain + 4096))
    size = Zstd().compress_into(memoryview(block.payload), room)
    if size is None:
        room[:plain] = block.payload
    else:
        step = Transform(id=TransformId.ZSTD, parameter=1, length=plain)
        tag = replace(tag, length=size, transforms=(step,))
    if archive.key:
        cipher = Cipher(TransformId(archive.cipher), archive.key)
        tag = seal_block(tag, room, cipher=cipher, archive=archive.id, layer=0)
    step = Transform(id=TransformId.CRC32C, length=tag.length)
    tag = replace(tag, length=append_checksum(room, tag.length), transforms=(*tag.transforms, step))
    payload = bytes(room[: tag.length])
    head = bytearray(4096)
    size = writer.block(tag, memoryview(head), crc=crc32c(payload))
    return bytes(head[:size]) + payload
