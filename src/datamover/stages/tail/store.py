"""Store blocks in chunk files, and say when each chunk is durable.

Role:       tail
Instances:  one
Copies:     into a staging area, which the disk takes directly, past the page cache
Fails:      when the medium is full or refuses; the open chunk is dropped
Source:     seed FIG. 10 (1030), FIG. 13; SPEC F9, F16; docs/spec/media-format.md
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from datamover.ids import BlockNumber, ChunkNumber, StoreId
from datamover.media.committer import Committer
from datamover.media.label import Owner
from datamover.media.naming import chunk_name
from datamover.pipe.stage import Role, StageInfo
from datamover.shm.statistics import Wait
from datamover.stages.block import get_tag
from datamover.stages.chunk_medium import chunk_medium
from datamover.stages.heading import read_archive_header, read_hex, start_session
from datamover.units import MIB, Nanoseconds
from datamover.wire.archive import ArchiveFooter, finished_at
from datamover.wire.chunk import BlockEntry
from datamover.wire.crc import crc32c
from datamover.wire.framing import Framing, StreamWriter
from datamover.wire.tag import TagKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from datamover.media.medium import Medium, Writer
    from datamover.pipe.ports import TailPort
    from datamover.shm.buffer import Buffer

__all__ = ["STAGE", "Settings", "run"]

STAGE: Final = StageInfo(name="store", role=Role.TAIL, parallel=False)

_PAGES: Final = frozenset({TagKind.INDEX, TagKind.CONTENTS})
# What a chunk holds beside its blocks: footers, and a line of the table for each block.
_CLOSING: Final = 256
_LINE: Final = 28
_TAG_GROWS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of a store stage.

    Attributes:
        directory: The store's folder; chunks go to ``chunks/`` in it.
        medium: Instead of a folder: a medium's address, as "s3://bucket/prefix".
        archive: The encoded archive header, in hexadecimal; empty for a fresh one.
        store: The store's id, in hexadecimal; a medium is labelled with it.
        description: What a medium's label says beside it: the store's description, as text.
        chunk_size: Bytes of a chunk file at most, unless one block alone is longer.
        chunks: Chunks that the archive has already; so many blocks and plain bytes are in them.
        blocks: See ``chunks``.
        plain: See ``chunks``.
        first_block: The number of the first block that comes, where an archive has none.
    """

    directory: str = ""
    medium: str = ""
    archive: str = ""
    store: str = ""
    description: str = ""
    chunk_size: int = 64 * MIB
    chunks: int = 0
    blocks: int = 0
    plain: int = 0
    first_block: int = 0


@dataclass(frozen=True, slots=True)
class _Stored:
    """A chunk on its way to the disk."""

    name: str
    number: int
    first_block: int
    length: int
    blocks: list[BlockEntry]


def run(port: TailPort, settings: Settings) -> None:
    """Store until the stage before has finished.

    Sends the notices ``chunk`` (name, number, first_block, blocks, length) and ``page`` (block,
    chunk, offset, header, length, tag_kind) once a chunk is durable, and leaves the result
    bytes_stored of this run, and chunks, blocks and plain of the whole archive.

    Raises:
        UsageError: Where chunks go is not said, or said twice.
        MediumFullError: No room; the open chunk is dropped.
        StoreError: The medium refuses; likewise.
        FormatError: A buffer's tag, or the archive header, is not one.
        PipeError: From the port.
    """
    with (
        chunk_medium(settings.directory, settings.medium, _owner(settings)) as medium,
        Committer[_Stored]() as committer,
        _Store(port, settings, medium, committer) as store,
    ):
        medium.clean()
        for buffer in port.incoming():
            store.take(buffer)
            port.free(buffer)
        store.finish()


def _owner(settings: Settings) -> Owner | None:
    if not settings.store:
        return None
    identity = read_hex("store", settings.store)
    return Owner(store=StoreId(identity), description=settings.description.encode())


class _Store:
    """The archive that is being stored; a context manager that drops the open chunk."""

    def __init__(
        self, port: TailPort, settings: Settings, medium: Medium, committer: Committer[_Stored]
    ) -> None:
        self._port = port
        self._size = settings.chunk_size
        self._archive = read_archive_header(settings.archive)
        self._session = start_session(Framing.FULL, settings.store)
        self._medium = medium
        self._committer = committer
        self._stream: StreamWriter | None = None
        self._writer: Writer | None = None
        self._first = BlockNumber(0)
        self._next = settings.first_block
        self._chunks = settings.chunks
        self._blocks = settings.blocks
        self._plain = settings.plain
        self._stored = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._writer is not None:
            self._writer.abandon()

    def take(self, buffer: Buffer) -> None:
        """Write one block, into the next chunk when this one has no room."""
        tag = get_tag(buffer)
        if self._is_full(buffer):
            self._close()
        opening = [] if self._stream else [self._open(tag.block)]
        stream, writer = self._now()
        payload = buffer.payload
        size = stream.block(tag, buffer.tag, crc=crc32c(payload))
        with self._port.waiting(Wait.OUTPUT):
            writer.write([*opening, buffer.tag[:size], payload])
        self._next = tag.block + 1
        self._blocks += 1
        self._plain += tag.plain
        self._report(self._committer.finished())

    def finish(self) -> None:
        """Close the archive, wait for the disk, and leave the result."""
        if self._stream is None:
            opening = self._open(BlockNumber(self._next))
            self._now()[1].write([opening])
        self._close(
            ArchiveFooter(
                archive=self._archive.archive,
                chunks=self._chunks,
                blocks=self._blocks,
                plain=self._plain,
                extensions=(finished_at(Nanoseconds(time.time_ns())),),
            )
        )
        with self._port.waiting(Wait.OUTPUT):
            left = self._committer.drain()
        self._report(left)
        self._port.result(
            {
                "bytes_stored": self._stored,
                "chunks": self._chunks,
                "blocks": self._blocks,
                "plain": self._plain,
            }
        )

    def _is_full(self, buffer: Buffer) -> bool:
        stream = self._stream
        if stream is None or not stream.chunk_blocks:
            return False
        more = buffer.tag_used + _TAG_GROWS + buffer.used
        table = _LINE * (len(stream.chunk_blocks) + 1)
        return stream.position + more + table + _CLOSING > self._size

    def _open(self, first: BlockNumber) -> bytes:
        """Start the next chunk file; return the records that it begins with."""
        self._first = first
        number = ChunkNumber(self._chunks)
        self._writer = self._medium.create(chunk_name(self._archive.archive, number))
        self._stream = stream = StreamWriter(self._session)
        self._chunks += 1
        opening = stream.begin() + stream.begin_archive(self._archive, chunk=number, block=first)
        return opening + stream.next_chunk()

    def _close(self, footer: ArchiveFooter | None = None) -> None:
        """End the chunk file, with the archive when there is a footer; the disk has its time."""
        stream, writer = self._now()
        closing = stream.end_archive(footer) if footer else b""
        closing += stream.end()
        with self._port.waiting(Wait.OUTPUT):
            writer.write([closing])
            # From here on it is the committer's, whatever happens.
            self._stream = self._writer = None
            self._stored += writer.length
            ticket = _Stored(
                writer.name, self._chunks - 1, self._first, writer.length, stream.chunk_blocks
            )
            self._committer.submit(writer, ticket)

    def _now(self) -> tuple[StreamWriter, Writer]:
        assert self._stream is not None  # noqa: S101 - take and finish open one first
        assert self._writer is not None  # noqa: S101 - likewise
        return self._stream, self._writer

    def _report(self, durable: Iterable[_Stored]) -> None:
        for chunk in durable:
            self._port.notice(
                "chunk",
                name=chunk.name,
                number=chunk.number,
                first_block=chunk.first_block,
                blocks=len(chunk.blocks),
                length=chunk.length,
            )
            for entry in chunk.blocks:
                if entry.kind in _PAGES:
                    self._port.notice(
                        "page",
                        block=entry.block,
                        chunk=chunk.number,
                        offset=entry.offset,
                        header=entry.header,
                        length=entry.length,
                        tag_kind=int(entry.kind),
                    )
