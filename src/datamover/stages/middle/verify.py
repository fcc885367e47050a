"""Check and strip the CRC-32C of each block, where it is what was done last.

Role:       middle
Instances:  any
Copies:     none
Fails:      never on data; a block whose checksum does not match is dropped and reported
Death:      replaced
Source:     seed FIG. 9, 914 (in-line CRC generator); SPEC G7
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from datamover.codec.checksum import check_checksum
from datamover.errors import FormatError
from datamover.pipe.stage import Role, StageInfo
from datamover.stages.block import get_tag, pop_transform, set_tag, top_transform
from datamover.stages.damage import drop_damaged
from datamover.wire.tag import TransformId

if TYPE_CHECKING:
    from datamover.pipe.ports import MiddlePort

__all__ = ["STAGE", "Settings", "run"]

STAGE: Final = StageInfo(name="verify", role=Role.MIDDLE, replayable=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A verify stage has none."""


def run(port: MiddlePort, settings: Settings) -> None:
    """Verify until the stage before has finished.

    Raises:
        FormatError: A buffer's tag cannot be read.
        PipeError: From the port.
    """
    del settings
    for buffer in port.incoming():
        tag = get_tag(buffer)
        if top_transform(tag) != TransformId.CRC32C:
            port.send(buffer)
            continue
        try:
            below = pop_transform(tag, check_checksum(buffer.data, tag.length))
        except FormatError as error:
            drop_damaged(port, buffer, tag, str(error))
            continue
        buffer.used = below.length
        set_tag(buffer, below)
        port.send(buffer)
