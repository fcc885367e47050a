"""Pass buffers on in order: the engine puts it between two stages of several instances.

Its port is a single receiver, which puts back in order, and a single sender, which stamps anew;
the stage itself has nothing to do.

Role:       middle
Instances:  one
Copies:     none
Fails:      never
Source:     seed FIG. 7 (17, 23, 33), "Data Integrity"; SPEC B1, B2, B5
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from datamover.pipe.stage import Role, StageInfo

if TYPE_CHECKING:
    from datamover.pipe.ports import MiddlePort

__all__ = ["STAGE", "Settings", "run"]

STAGE: Final = StageInfo(name="order", role=Role.MIDDLE, parallel=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """An order stage has no settings."""


def run(port: MiddlePort, settings: Settings) -> None:  # noqa: ARG001 - every stage takes them
    """Pass on until the stage before has finished."""
    for buffer in port.incoming():
        port.send(buffer)
