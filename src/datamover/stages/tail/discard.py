"""Take buffers and keep nothing: the end of a dry run, or of a verification.

Role:       tail
Instances:  any
Copies:     none
Fails:      never
Source:     SPEC U11, U21; seed, "tail"
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from datamover.pipe.stage import Role, StageInfo

if TYPE_CHECKING:
    from datamover.pipe.ports import TailPort

__all__ = ["STAGE", "Settings", "run"]

STAGE: Final = StageInfo(name="discard", role=Role.TAIL, parallel=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A discard stage has no settings."""


def run(port: TailPort, settings: Settings) -> None:  # noqa: ARG001 - every stage takes them
    """Free until the stage before has finished; leave how much it was."""
    blocks = length = 0
    for buffer in port.incoming():
        blocks += 1
        length += buffer.used
        port.free(buffer)
    port.result({"blocks": blocks, "bytes": length})
