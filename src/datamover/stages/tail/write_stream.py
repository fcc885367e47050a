"""Write a whole session, in any framing, to a file or standard output.

Role:       tail
Instances:  one
Copies:     none; tag and payload go out in one call
Fails:      when the sink is full or refuses; the session has no footer then
Source:     seed FIGs. 12 and 13; SPEC H2-H8, U19; docs/spec/wire-format.md
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from datamover.errors import UsageError
from datamover.pipe.stage import Role, StageInfo
from datamover.stages.block import get_tag
from datamover.stages.flow import opened_sink, pour
from datamover.stages.heading import read_archive_header, start_session
from datamover.units import MIB, Bytes
from datamover.wire.crc import crc32c
from datamover.wire.framing import Framing, StreamWriter

if TYPE_CHECKING:
    from datamover.pipe.ports import TailPort

__all__ = ["STAGE", "Settings", "run"]

STAGE: Final = StageInfo(name="write_stream", role=Role.TAIL, parallel=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of a write_stream stage.

    Attributes:
        path: A file, which is emptied first; "-" for standard output.
        archive: The encoded archive header, in hexadecimal; empty for a fresh one.
        store: A store's id, in hexadecimal; empty when there is none.
        framing: "leading", "enclosing" or "full".
        chunk_size: Bytes of a chunk at most, unless one block alone is longer.
    """

    path: str
    archive: str = ""
    store: str = ""
    framing: str = "full"
    chunk_size: int = 64 * MIB


def run(port: TailPort, settings: Settings) -> None:
    """Write until the stage before has finished; leave the result bytes_stored, chunks, blocks.

    Raises:
        UsageError: There is no such framing.
        MediumFullError: No room.
        StoreError: The sink refuses.
        FormatError: A buffer's tag, or the archive header, is not one.
        PipeError: From the port.
    """
    stream = StreamWriter(start_session(_framing(settings.framing), settings.store))
    opening = stream.begin() + stream.begin_archive(
        read_archive_header(settings.archive, block_size=Bytes(port.buffer_size))
    )
    name, blocks = settings.path, 0
    with opened_sink(name) as sink:
        for buffer in port.incoming():
            tag = get_tag(buffer)
            is_full = stream.chunk_length + buffer.tag_used + buffer.used > settings.chunk_size
            if not blocks or (stream.chunk_blocks and is_full):
                opening += stream.next_chunk()
            payload = buffer.payload
            size = stream.block(tag, buffer.tag, crc=crc32c(payload))
            pour(port, sink, opening, buffer.tag[:size], payload, name=name)
            opening = b""
            blocks += 1
            port.free(buffer)
        closing = stream.end_archive()
        pour(port, sink, opening, closing, stream.end(), name=name)
    port.result({"bytes_stored": stream.position, "chunks": stream.chunk, "blocks": blocks})


def _framing(name: str) -> Framing:
    try:
        return Framing[name.upper()]
    except KeyError:
        known = ", ".join(one.name.lower() for one in Framing)
        raise UsageError(reason=f"no framing {name!r:.40}; there are {known}") from None
