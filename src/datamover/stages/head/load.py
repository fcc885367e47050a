"""Load the blocks of an archive from its chunk files.

Role:       head, allocating
Instances:  any, one where the medium only goes forward; instance i of p loads every p-th block
Copies:     none; tag and payload come from the disk into the buffer in one call
Fails:      never on damage; a damaged block or a missing chunk is a notice, and the rest goes on
Source:     seed FIG. 10 (1030), FIG. 13; SPEC F5, G6, G7, H1; docs/spec/media-format.md
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Final

from datamover.errors import (
    ChunkMissingError,
    CorruptError,
    FormatError,
    MalformedError,
    StoreError,
    TruncatedError,
    UsageError,
)
from datamover.ids import BlockNumber
from datamover.media.naming import parse_chunk_name
from datamover.pipe.stage import Role, StageInfo
from datamover.shm.statistics import Wait
from datamover.stages.block import set_tag
from datamover.stages.chunk_medium import chunk_medium
from datamover.stages.chunk_reader import ChunkReader
from datamover.stages.heading import read_hex
from datamover.units import Bytes
from datamover.wire.crc import crc32c
from datamover.wire.framing import origin_of
from datamover.wire.tag import TagHeader, TagKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from datamover.media.medium import Medium, Reader
    from datamover.pipe.ports import HeadPort
    from datamover.shm.buffer import Buffer
    from datamover.wire.chunk import BlockEntry

__all__ = ["STAGE", "Settings", "run"]

STAGE: Final = StageInfo(name="load", role=Role.HEAD, allocates=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of a load stage.

    Attributes:
        directory: The store's folder; chunks lie in ``chunks/`` in it.
        medium: Instead of a folder: a medium's address, as "s3://bucket/prefix".
        archive: The archive's id, in hexadecimal; empty for that of the chunks, if it is one.
        chunks: Names of chunk files, in order.
        listed: Take the names from the medium instead: all that it has of the archive.
        extents: The first block of each chunk and the one after its last, as the catalog knows
            them, so that each block of a chunk that is beyond reading is named; may be empty.
        ranges: First and last-but-one block numbers of what is wanted, rising; all when empty.
    """

    directory: str = ""
    medium: str = ""
    archive: str = ""
    chunks: tuple[str, ...] = ()
    listed: bool = False
    extents: tuple[tuple[int, int], ...] = ()
    ranges: tuple[tuple[int, int], ...] = ()


def run(port: HeadPort, settings: Settings) -> None:
    """Load what is wanted.

    Sends the notices ``missing`` (chunk) and ``damaged`` (chunk, block, offset, reason), in which
    ``chunk`` is the file's name.  Without ``block``, any block of the chunk may be lost; damage
    that costs no block comes with ``name`` in place of ``chunk``.  Leaves the result blocks and
    bytes.

    Raises:
        UsageError: The archive's id is none, the chunks are of several archives, a name is not
            that of a chunk, extents are given and not one for each chunk, or where chunks lie is
            not said, or said twice.
        MediaError: The medium is out of reach.
        StoreError: The medium cannot say what is on it.
        PipeError: From the port.
    """
    with chunk_medium(settings.directory, settings.medium) as medium:
        if port.instances > 1 and medium.traits.sequential:
            raise UsageError(reason="a medium that only goes forward has one reader: instances = 1")
        _Load(port, settings, medium).run()


class _Load:
    """Goes through the chunks; every instance counts all blocks and loads its own."""

    def __init__(self, port: HeadPort, settings: Settings, medium: Medium) -> None:
        self._port = port
        self._medium = medium
        self._archive, self._chunks = _chosen(settings, medium)
        self._extents = settings.extents
        if self._extents and len(self._extents) != len(self._chunks):
            raise UsageError(reason=f"{len(self._extents)} extents for {len(self._chunks)} chunks")
        self._ranges = _merged(settings.ranges)
        self._starts = [start for start, _ in self._ranges]
        self._origin = origin_of(self._archive)
        self._many = port.instances > 1
        self._sequence = 0
        self._blocks = 0
        self._bytes = 0

    def run(self) -> None:
        for name, extent in zip_longest(self._chunks, self._extents):
            self._load_chunk(name, extent)
        self._port.result({"blocks": self._blocks, "bytes": self._bytes})

    def _load_chunk(self, name: str, extent: tuple[int, int] | None) -> None:
        named = parse_chunk_name(name)
        if named is None:
            raise UsageError(reason=f"not the name of a chunk file: {name!r:.100}")
        try:
            reader = self._medium.open(name)
        except ChunkMissingError:
            self._tell("missing", chunk=name)
            return
        except StoreError as error:
            self._tell("damaged", chunk=name, reason=str(error))
            return
        with reader:
            chunk = ChunkReader(
                reader,
                archive=self._archive,
                chunk=named[1],
                extent=extent,
                lost=lambda block, offset, reason: self._lost(name, block, offset, reason),
                dented=lambda offset, reason: self._tell(
                    "damaged", name=name, offset=offset, reason=reason
                ),
            )
            if not self._port.instance:
                chunk.check_opening()
            for entry in chunk.entries():
                if self._is_wanted(entry.block):
                    self._load_block(reader, entry, named[1])

    def _load_block(self, reader: Reader, entry: BlockEntry, chunk: int) -> None:
        sequence = self._sequence
        self._sequence += 1
        if sequence % self._port.instances != self._port.instance:
            self._port.check()
            return
        buffer = self._port.alloc()
        try:
            self._fetch(reader, entry, chunk, buffer)
        except (FormatError, StoreError) as error:
            self._port.notice(
                "damaged",
                chunk=reader.name,
                block=entry.block,
                offset=entry.offset,
                reason=str(error),
            )
            if not self._many:
                self._port.free(buffer)
                return
            # Its number is owed: a gap would hold back all that follow.
            _make_lost(buffer, entry.block)
        else:
            self._blocks += 1
            self._bytes += entry.length
        self._port.send(buffer, sequence=sequence if self._many else None)

    def _fetch(self, reader: Reader, entry: BlockEntry, chunk: int, buffer: Buffer) -> None:
        """Read tag and payload into the buffer, and hold them to each other.

        Raises:
            FormatError: They do not fit.
            StoreError: The medium cannot read them.
        """
        header, length = entry.header, entry.length
        if length > len(buffer.data):
            room = len(buffer.data)
            raise MalformedError(what="block", reason=f"{length} bytes, a buffer holds {room}")
        with self._port.waiting(Wait.INPUT):
            done = reader.read_into([buffer.tag[:header], buffer.data[:length]], entry.offset)
        if done < header + length:
            raise TruncatedError(what="block", need=Bytes(header + length), have=done)
        tag = TagHeader.decode(buffer.tag[:header])
        where = (tag.origin, tag.chunk, tag.block, tag.length)
        if where != (self._origin, chunk, entry.block, length):
            raise MalformedError(what="tag header", reason="of another block")
        actual = crc32c(buffer.data[:length])
        if actual != tag.crc:
            raise CorruptError(what="payload", expected=tag.crc, actual=actual)
        buffer.tag_used = header
        buffer.used = length

    def _is_wanted(self, block: int) -> bool:
        if not self._ranges:
            return True
        at = bisect_right(self._starts, block) - 1
        return at >= 0 and block < self._ranges[at][1]

    def _lost(self, name: str, block: int | None, offset: int, reason: str) -> None:
        if block is None:
            self._tell("damaged", chunk=name, offset=offset, reason=reason)
        elif self._is_wanted(block):
            self._tell("damaged", chunk=name, block=block, offset=offset, reason=reason)

    def _tell(self, kind: str, **given: str | int) -> None:
        """Say what every instance sees once."""
        if not self._port.instance:
            self._port.notice(kind, **given)


def _chosen(settings: Settings, medium: Medium) -> tuple[bytes, tuple[str, ...]]:
    """Return the archive and the names of its chunks, as far as the settings say them."""
    names = tuple(medium.names()) if settings.listed else settings.chunks
    named = [(found[0], name) for name in names if (found := parse_chunk_name(name))]
    archive = read_hex("archive", settings.archive)
    if not archive:
        archives = {found for found, _ in named}
        if len(archives) != 1:
            raise UsageError(reason=f"chunks of {len(archives)} archives: say which one to load")
        (archive,) = archives
    if settings.listed:
        names = tuple(name for found, name in named if found == archive)
    return archive, names


def _make_lost(buffer: Buffer, block: int) -> None:
    set_tag(
        buffer,
        TagHeader(kind=TagKind.LOST, block=BlockNumber(block), length=Bytes(0), plain=Bytes(0)),
    )
    buffer.used = 0


def _merged(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the ranges sorted, those that touch as one."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
