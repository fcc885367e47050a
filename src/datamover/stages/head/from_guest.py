"""Take in what a program brings that is no task of the pipe: a gate at the pipe's head.

Role:       head, allocating
Instances:  one
Copies:     one, from the guest's segment: what it does to its memory later changes nothing here
Fails:      GuestError when the guest breaks a rule, or is gone before it has said its end
Source:     seed, "Attachments" (unbound modules); SPEC C6, C10, X4, U19; docs/spec/attach-abi.md
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from datamover.errors import GuestError
from datamover.link.gate import Gate, Visit, attach_door
from datamover.link.places import runtime_folder
from datamover.pipe.stage import Role, StageInfo
from datamover.shm.statistics import Wait
from datamover.stages.token import read_token
from datamover.wire.attach import GuestPlace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from datamover.pipe.ports import HeadPort

__all__ = ["STAGE", "Settings", "run"]

STAGE: Final = StageInfo(name="from_guest", role=Role.HEAD, allocates=True, parallel=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of a from_guest stage.

    Attributes:
        pipe: What guests call the pipe.
        token: 32 hexadecimal digits that guests must know; empty: none.
        buffers: How many a guest has.
        on_loss: When a guest is lost the pipe shall "fail", "end", or "wait" for another.
    """

    pipe: str
    token: str = ""
    buffers: int = 4
    on_loss: Literal["fail", "end", "wait"] = "fail"


def run(port: HeadPort, settings: Settings) -> None:
    """Take in what guests bring, until one says that it was all; leave the result bytes, guests.

    Raises:
        GuestError: A guest was lost, and nobody is to go on.
        UsageError: A setting makes no sense; nobody was let in.
        PipeError: From the port.
    """
    total = guests = 0
    token = read_token(settings.token)
    door = attach_door(runtime_folder(), settings.pipe, GuestPlace.HEAD)
    with Gate(
        door, place=GuestPlace.HEAD, token=token, buffers=settings.buffers, size=port.buffer_size
    ) as gate:
        while True:
            with gate.admit(port, Wait.INPUT) as visit:
                guests, before = guests + 1, total
                port.notice("paths", path=0, guest=visit.pid, state="attached")
                try:
                    for taken in _brought(port, visit):
                        total += taken
                    visit.acknowledge(total - before)
                    port.notice("paths", path=0, guest=visit.pid, state="finished")
                    break
                except GuestError as error:
                    port.notice("paths", path=0, guest=visit.pid, state="lost")
                    if settings.on_loss == "fail":
                        raise
                    port.notice("guest", reason=error.reason)
                    if settings.on_loss == "end":
                        break
    port.result({"bytes": total, "guests": guests})


def _brought(port: HeadPort, visit: Visit) -> Iterator[int]:
    for index, used in visit.tokens(port, Wait.INPUT):
        buffer = port.alloc()
        with visit.data(index, used) as theirs:
            buffer.data[:used] = theirs
        buffer.used = used
        port.send(buffer)
        yield used
        visit.give(index)
