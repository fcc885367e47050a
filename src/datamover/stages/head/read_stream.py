"""Read a whole session, in any framing, from a file or standard input.

Role:       head, allocating
Instances:  one; a stream is read from its beginning
Copies:     one of each tag; payloads come straight into the buffer
Fails:      when the stream is cut or a header is damaged; a damaged payload is a notice
Source:     seed FIGs. 12 and 13; SPEC H1-H10, U19; docs/spec/wire-format.md
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from datamover.errors import CorruptError, MalformedError, TruncatedError
from datamover.pipe.stage import Role, StageInfo
from datamover.stages.flow import fill, opened_source
from datamover.units import Bytes
from datamover.wire.crc import crc32c
from datamover.wire.record import HEADER_MAX
from datamover.wire.stream import (
    ArchiveBegan,
    ArchiveEnded,
    BlockFound,
    ChunkEnded,
    StreamReader,
)

if TYPE_CHECKING:
    from datamover.pipe.ports import HeadPort
    from datamover.wire.stream import Event

__all__ = ["STAGE", "Settings", "run"]

STAGE: Final = StageInfo(name="read_stream", role=Role.HEAD, allocates=True, parallel=False)

_SKIP: Final = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of a read_stream stage.

    Attributes:
        path: A file; "-" for standard input.
    """

    path: str


def run(port: HeadPort, settings: Settings) -> None:
    """Read to the session's end.

    Sends the notices ``archive`` (archive, header: the encoded archive header in hexadecimal),
    ``incomplete`` (archive) and ``damaged`` (chunk, block, offset, reason), and leaves the result
    blocks and bytes.

    Raises:
        SourceError: The source cannot be read.
        FormatError: The stream is cut, damaged in a header, or no stream of ours.
        PipeError: From the port.
    """
    with opened_source(settings.path) as source:
        _Stream(port, source, settings.path).run()


class _Stream:
    def __init__(self, port: HeadPort, source: int, name: str) -> None:
        self._port = port
        self._source = source
        self._name = name
        self._reader = StreamReader()
        self._head = memoryview(bytearray(HEADER_MAX))
        self._spare = memoryview(bytearray(_SKIP))
        self._blocks = 0
        self._bytes = 0

    def run(self) -> None:
        while not self._reader.is_complete:
            self._take_record()
        self._port.result({"blocks": self._blocks, "bytes": self._bytes})

    def _take_record(self) -> None:
        prelude = self._reader.PRELUDE_SIZE
        self._fill(self._head[:prelude])
        size = self._reader.header_length(self._head)
        self._fill(self._head[prelude:size])
        block: BlockFound | None = None
        table_crc: int | None = None
        for event in self._reader.take(self._head[:size]):
            if isinstance(event, BlockFound):
                block = event
            elif isinstance(event, ChunkEnded) and event.footer is not None:
                table_crc = event.footer.table_crc
            else:
                self._tell(event)
        if block is not None:
            self._take_block(block, size)
        else:
            self._skip(self._reader.payload_length, table_crc)

    def _take_block(self, found: BlockFound, size: int) -> None:
        tag, length = found.tag, self._reader.payload_length
        buffer = self._port.alloc()
        room = len(buffer.data)
        if length > room:
            self._port.free(buffer)
            self._skip(length, None)
            error = MalformedError(what="block", reason=f"{length} bytes, a buffer holds {room}")
            self._damaged(found, str(error))
            return
        buffer.tag[:size] = self._head[:size]
        self._fill(buffer.data[:length])
        actual = crc32c(buffer.data[:length])
        if actual != tag.crc:
            self._port.free(buffer)
            error_text = str(CorruptError(what="payload", expected=tag.crc, actual=actual))
            self._damaged(found, error_text)
            return
        buffer.tag_used, buffer.used = size, length
        self._blocks += 1
        self._bytes += length
        self._port.send(buffer)

    def _tell(self, event: Event) -> None:
        if isinstance(event, ArchiveBegan):
            header = event.header
            self._port.notice("archive", archive=header.archive.hex(), header=header.encode().hex())
        elif isinstance(event, ArchiveEnded) and not (event.footer and event.footer.complete):
            self._port.notice("incomplete", archive=event.archive.hex())

    def _damaged(self, found: BlockFound, reason: str) -> None:
        self._port.notice(
            "damaged",
            chunk=found.tag.chunk,
            block=found.tag.block,
            offset=found.offset,
            reason=reason,
        )

    def _skip(self, length: int, expected: int | None) -> None:
        """Pass over a payload; hold a block table to its CRC on the way."""
        crc, left = 0, length
        while left:
            part = self._spare[: min(left, len(self._spare))]
            self._fill(part)
            crc = crc32c(part, crc)
            left -= len(part)
        if expected is not None and crc != expected:
            error = CorruptError(what="block table", expected=expected, actual=crc)
            offset = self._reader.position - length
            self._port.notice("damaged", name=self._name, offset=offset, reason=str(error))

    def _fill(self, into: memoryview) -> None:
        done = fill(self._port, self._source, into, name=self._name)
        if done < len(into):
            raise TruncatedError(what="stream", need=Bytes(len(into)), have=Bytes(done))
