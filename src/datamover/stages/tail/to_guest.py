"""Hand what arrives to a program that is no task of the pipe: a gate at the pipe's tail.

Role:       tail
Instances:  one
Copies:     one, into the guest's segment: it never sees the pool
Fails:      GuestError when the guest breaks a rule, or is gone before it has taken everything
Source:     seed, "Attachments" (unbound modules); SPEC C6, C10, X4, U19; docs/spec/attach-abi.md
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from datamover.errors import GuestError
from datamover.link.gate import Gate, attach_door
from datamover.link.places import runtime_folder
from datamover.pipe.stage import Role, StageInfo
from datamover.shm.buffer import TRAILER_SIZE
from datamover.shm.statistics import Wait
from datamover.stages.token import read_token
from datamover.wire.attach import GuestPlace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from datamover.pipe.ports import TailPort

__all__ = ["STAGE", "Settings", "run"]

STAGE: Final = StageInfo(name="to_guest", role=Role.TAIL, parallel=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of a to_guest stage.

    Attributes:
        pipe: What guests call the pipe.
        token: 32 hexadecimal digits that guests must know; empty: none.
        buffers: How many a guest has.
    """

    pipe: str
    token: str = ""
    buffers: int = 4


def run(port: TailPort, settings: Settings) -> None:
    """Hand over until the stage before has finished and the guest has taken it; leave bytes.

    Raises:
        GuestError: The guest was lost: what it had not given back may not have arrived.
        UsageError: A setting makes no sense; nobody was let in.
        PipeError: From the port.
    """
    total = 0
    token = read_token(settings.token)
    door = attach_door(runtime_folder(), settings.pipe, GuestPlace.TAIL)
    # What a trailer added travels too: a guest's buffer holds what the pipe's does.
    size = port.buffer_size + int(TRAILER_SIZE)
    with (
        Gate(door, place=GuestPlace.TAIL, token=token, buffers=settings.buffers, size=size) as gate,
        gate.admit(port, Wait.OUTPUT) as visit,
    ):
        port.notice("paths", path=0, guest=visit.pid, state="attached")
        given = visit.tokens(port, Wait.OUTPUT)
        for buffer in port.incoming():
            if not visit.free:
                _back(given)
            index, used = visit.free[0], buffer.used
            with visit.data(index, used) as theirs:
                theirs[:] = buffer.payload
            sequence = buffer.sequence
            port.free(buffer)
            visit.give(index, used, sequence)
            total += used
        visit.give_end()
        while visit.out:
            _back(given)
        visit.wait_gone(port, Wait.OUTPUT)
    port.result({"bytes": total})


def _back(given: Iterator[tuple[int, int]]) -> None:
    """Wait for a buffer that the guest gives back.

    Raises:
        GuestError: It breaks a rule, or is gone.
    """
    if next(given, None) is None:
        raise GuestError(reason="it wrote an end, which is not a tail's to say")
