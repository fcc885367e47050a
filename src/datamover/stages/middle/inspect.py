"""Look what each block holds and write it into the block's tag; the bytes are not touched.

Role:       middle
Instances:  any
Copies:     none
Fails:      never on data; transformed blocks, index blocks and contents blocks go on unread
Death:      replaced
Source:     seed FIG. 9, 906 (in-line snooping); SPEC E4, G3; docs/spec/inspection.md
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from datamover.codec.content import entropy, sniff
from datamover.codec.inspection import Inspection
from datamover.pipe.stage import Role, StageInfo
from datamover.stages.block import get_tag, set_tag
from datamover.units import Bytes
from datamover.wire.tag import Extension, ExtensionId, TagKind

if TYPE_CHECKING:
    from datamover.pipe.ports import MiddlePort
    from datamover.wire.tag import TagHeader

__all__ = ["STAGE", "Settings", "run"]

STAGE: Final = StageInfo(name="inspect", role=Role.MIDDLE, replayable=True)

# A data block opens with its entry table: at offset 4, the table's length with this header.
_TABLE_LENGTH: Final = struct.Struct("<I")
_TABLE_LENGTH_AT: Final = 4
_TABLE_HEADER_SIZE: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """An inspect stage has none."""


def run(port: MiddlePort, settings: Settings) -> None:
    """Inspect until the stage before has finished.

    Raises:
        FormatError: A buffer's tag cannot be read, or is full.
        PipeError: From the port.
    """
    del settings
    for buffer in port.incoming():
        tag = get_tag(buffer)
        if tag.kind in {TagKind.DATA, TagKind.RAW} and not tag.transforms:
            found = _inspect(tag, buffer.payload)
            set_tag(buffer, _with_content(tag, found))
        port.send(buffer)


def _inspect(tag: TagHeader, payload: memoryview) -> Inspection:
    data = payload[_data_start(payload) :] if tag.kind == TagKind.DATA else payload
    return Inspection(content_type=sniff(data), entropy=entropy(data), size=Bytes(len(data)))


def _data_start(payload: memoryview) -> int:
    """Return where file data begins; 0 when there is no table, which is then data like any."""
    if len(payload) < _TABLE_HEADER_SIZE:
        return 0
    (length,) = _TABLE_LENGTH.unpack_from(payload, _TABLE_LENGTH_AT)
    return length if _TABLE_HEADER_SIZE <= length <= len(payload) else 0


def _with_content(tag: TagHeader, found: Inspection) -> TagHeader:
    others = (one for one in tag.private if one.id != ExtensionId.CONTENT)
    content = Extension(id=ExtensionId.CONTENT, value=found.encode())
    return replace(tag, private=(*others, content))
