"""Read a file, a device or standard input as it is, a buffer at a time.

Role:       head, allocating
Instances:  any on a file; one on what cannot be sought
Copies:     none
Fails:      when the source cannot be read, or shrinks while several instances read it
Source:     SPEC A3, A27, U19
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from datamover.errors import SourceError, UsageError
from datamover.pipe.stage import Role, StageInfo
from datamover.shm.statistics import Wait
from datamover.stages.flow import fill, opened_source, refuse_source

if TYPE_CHECKING:
    from datamover.pipe.ports import HeadPort

__all__ = ["STAGE", "Settings", "run"]

STAGE: Final = StageInfo(name="read", role=Role.HEAD, allocates=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of a read stage.

    Attributes:
        path: A file or a device; "-" for standard input.
    """

    path: str


def run(port: HeadPort, settings: Settings) -> None:
    """Read to the end; leave the result bytes.

    Raises:
        SourceError: The source cannot be read.
        UsageError: Several instances of what cannot be sought.
        PipeError: From the port.
    """
    with opened_source(settings.path) as source:
        if port.instances > 1:
            done = _stripes(port, source, settings.path)
        else:
            done = _stream(port, source, settings.path)
    port.result({"bytes": done})


def _stream(port: HeadPort, source: int, name: str) -> int:
    total = 0
    while True:
        buffer = port.alloc()
        buffer.used = fill(port, source, buffer.data[: port.buffer_size], name=name)
        if not buffer.used:
            port.free(buffer)
            return total
        total += buffer.used
        port.send(buffer)


def _stripes(port: HeadPort, source: int, name: str) -> int:
    """Read every p-th stripe of a size that is settled at the start."""
    try:
        end = os.lseek(source, 0, os.SEEK_END)
    except OSError:
        raise UsageError(reason=f"{name} cannot be sought: one instance reads it") from None
    size, total = port.buffer_size, 0
    for stripe in range(port.instance, -(-end // size), port.instances):
        buffer = port.alloc()
        want = min(size, end - stripe * size)
        with refuse_source(name), port.waiting(Wait.INPUT):
            done = _read_at(source, buffer.data[:want], stripe * size)
        if done < want:
            port.free(buffer)
            raise SourceError(path=name, reason="it shrank while it was read")
        buffer.used = done
        total += done
        port.send(buffer, sequence=stripe)
    return total


def _read_at(source: int, into: memoryview, offset: int) -> int:
    done = 0
    while done < len(into):
        more = os.preadv(source, [into[done:]], offset + done)
        if not more:
            break
        done += more
    return done
