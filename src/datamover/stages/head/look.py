"""Look at one path, and leave what is there as the result; no buffer is sent.

Role:       head
Instances:  one
Copies:     none
Fails:      never; what the system refuses is in the result
Source:     docs/spec/copy-pipes.md, "Looking"
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from datamover.files.found import Found
from datamover.pipe.stage import Role, StageInfo

if TYPE_CHECKING:
    from datamover.pipe.ports import HeadPort

__all__ = ["STAGE", "Settings", "run"]

STAGE: Final = StageInfo(name="look", role=Role.HEAD, allocates=True, parallel=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of the look stage.

    Attributes:
        path: Where to look.
        real: Where that leads, when whoever permits it has found out; both are straight then.
    """

    path: str
    real: str = ""


def run(port: HeadPort, settings: Settings) -> None:
    """Look once."""
    port.result(Found.at(settings.path, settings.real).facts())
