"""Append a CRC-32C to each block, as a transform: what follows treats it as payload.

Role:       middle
Instances:  any
Copies:     none
Fails:      RoomError when four bytes do not fit behind a block
Death:      replaced
Source:     seed FIG. 9, 914 (in-line CRC generator); SPEC G7
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from datamover.codec.checksum import append_checksum
from datamover.pipe.stage import Role, StageInfo
from datamover.stages.block import get_tag, push_transform, set_tag
from datamover.wire.tag import TransformId

if TYPE_CHECKING:
    from datamover.pipe.ports import MiddlePort

__all__ = ["STAGE", "Settings", "run"]

STAGE: Final = StageInfo(name="checksum", role=Role.MIDDLE, replayable=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A checksum stage has none."""


def run(port: MiddlePort, settings: Settings) -> None:
    """Append checksums until the stage before has finished.

    Raises:
        RoomError: A checksum does not fit behind a block.
        PipeError: From the port.
    """
    del settings
    for buffer in port.incoming():
        tag = get_tag(buffer)
        buffer.used = append_checksum(buffer.data, tag.length)
        set_tag(buffer, push_transform(tag, TransformId.CRC32C, length=buffer.used))
        port.send(buffer)
