"""Write payloads, one behind the other, and nothing else.

Role:       tail
Instances:  one
Copies:     none
Fails:      when the sink is full or refuses; what was written stays
Source:     SPEC A27, U19
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from datamover.pipe.stage import Role, StageInfo
from datamover.stages.flow import opened_sink, pour

if TYPE_CHECKING:
    from datamover.pipe.ports import TailPort

__all__ = ["STAGE", "Settings", "run"]

STAGE: Final = StageInfo(name="write", role=Role.TAIL, parallel=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of a write stage.

    Attributes:
        path: A file, which is emptied first; "-" for standard output.
    """

    path: str


def run(port: TailPort, settings: Settings) -> None:
    """Write until the stage before has finished; leave the result bytes.

    Raises:
        MediumFullError: No room.
        StoreError: The sink refuses.
        PipeError: From the port.
    """
    sent = 0
    with opened_sink(settings.path) as sink:
        for buffer in port.incoming():
            sent = pour(port, sink, buffer.payload, name=settings.path, sent=sent)
            port.free(buffer)
    port.result({"bytes": sent})
