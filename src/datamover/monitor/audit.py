"""Find every buffer of a pipe while it stands still, and say what becomes of those of the dead.

    in a queue                         stays, unless the queue was within the dead task
    with a task that is alive          stays
    with the dead: of its own share    is free again
    with the dead: an input            is given to the one that takes its place
    freed, but in no free queue        is put there
    sent to the dead, but in no queue  it had read it: an input

Pure: it is given the table and the queues, and changes neither.

Source: SPEC X2; DESIGN D3; docs/spec/shm-layout.md, "After damage"; ADR 0017.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from datamover.errors import OwnershipError
from datamover.shm.segment import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Crew", "Found", "Place", "find"]


class Place(NamedTuple):
    """What the table says of one buffer."""

    state: int
    owner: int
    allocator: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """A dead task: all that ran in its process.

    Attributes:
        tasks: Their ids, first to last.
        senders: The tasks that send to the first.
    """

    tasks: tuple[int, ...]
    senders: frozenset[int]


@dataclass(slots=True)
class Found:
    """What is to be done.

    Attributes:
        free: Buffers that go back into the free queue of their allocator.
        inputs: What each dead crew had not finished with, by its first task; and whether it had
            begun with it.
    """

    free: list[int] = field(default_factory=list)
    inputs: dict[int, dict[int, bool]] = field(default_factory=dict)


def find(table: Sequence[Place], queued: Iterable[int], dead: Sequence[Crew]) -> Found:
    """Say what becomes of every buffer that no queue and nobody alive has.

    Args:
        table: Each buffer's descriptor.
        queued: Every buffer in a queue, but for those within dead crews.
        dead: The crews that are no more.

    Raises:
        OwnershipError: A buffer is in two places.
    """
    found = Found(inputs={crew.tasks[0]: {} for crew in dead})
    crews = {task: crew for crew in dead for task in crew.tasks}
    there: set[int] = set()
    for index in queued:
        if index in there:
            raise OwnershipError(index=index, reason="it is in two queues")
        there.add(index)
    for index, place in enumerate(table):
        if index not in there:
            _decide(index, place, found, crews, dead)
    return found


def _decide(
    index: int, place: Place, found: Found, crews: Mapping[int, Crew], dead: Sequence[Crew]
) -> None:
    crew = crews.get(place.owner)
    if place.state == State.FREE:
        # Marked by its allocator: it had read it in advance.  By another: it was on its way there.
        if crew is not None or place.allocator in crews:
            found.free.append(index)
    elif crew is not None:
        if place.allocator in crew.tasks:
            found.free.append(index)
        else:
            untouched = place.state == State.TAKEN and place.owner == crew.tasks[0]
            found.inputs[crew.tasks[0]][index] = not untouched
    elif place.state == State.QUEUED:
        for one in dead:
            if place.owner in one.senders:
                found.inputs[one.tasks[0]][index] = False
                return
