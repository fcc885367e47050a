"""Stalls: every task stands at a queue, and nothing is on its way to any of them.

    look 1     every task stands without a deadline, and since when
    queues     where each of them stands, there is nothing to go on with
    look 2     the same as the first

A task takes its mark back before it takes a token, so what stands in both looks stood in between,
and nobody was there to put a token anywhere.  This is certain, however busy the machine is; a
stage that waits for the outside (a disk, a network, a timeout) has no mark and is never blamed.
Nor is anybody while the last word of a task that has ended is on its way: it may have failed.

Source: seed, "Fairness" (no stage may starve the others); SPEC A26, C15; docs/spec/shm-layout.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from datamover.errors import OwnershipError
from datamover.shm.statistics import Stand

if TYPE_CHECKING:
    from collections.abc import Collection

    from datamover.monitor.wiring import Wiring
    from datamover.pipe.layout import Task

__all__ = ["Stall", "find_stall"]

_STARTED, _ENDED, _SINCE, _STANDS, _SEQUENCE = 7, 8, 10, 12, 13
_STANDS_OF: Final = {int(stand): stand for stand in Stand}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall:
    """A pipe that can never go on.

    Attributes:
        task: The one to blame: that waits for input and holds the most buffers.
        sequence: The number that it received last; -1: none.
        error: What it did.
    """

    task: int
    sequence: int
    error: OwnershipError


def find_stall(wiring: Wiring, *, told: Collection[int]) -> Stall | None:
    """Return what keeps the pipe from ever going on; None while it may.

    Args:
        wiring: The pipe's.
        told: The tasks of whose end the monitor has heard.

    Blocking: never.
    """
    before = _look(wiring, told)
    if before is None:
        return None
    tasks = wiring.layout.tasks
    if not all(wiring.is_stuck(tasks[task], stand) for task, (stand, _, _) in before.items()):
        return None
    return _blame(wiring, before) if _look(wiring, told) == before else None


def _look(wiring: Wiring, told: Collection[int]) -> dict[int, tuple[Stand, int, int]] | None:
    """Return where each task that has not ended stands, and since when; None if one does not."""
    found: dict[int, tuple[Stand, int, int]] = {}
    for task in wiring.layout.tasks:
        with wiring.segment.record(task.id) as record:
            values = record.tolist()
        if values[_ENDED]:
            if task.id not in told:
                return None
            continue
        stand = _STANDS_OF.get(values[_STANDS], Stand.NOWHERE)
        if not values[_STARTED] or stand is Stand.NOWHERE:
            return None
        found[task.id] = (stand, values[_SINCE], values[_SEQUENCE] - 1)
    return found or None


def _blame(wiring: Wiring, standing: dict[int, tuple[Stand, int, int]]) -> Stall:
    held = wiring.held()
    waiting = [task for task, (stand, _, _) in standing.items() if stand is Stand.AT_INPUT]
    chosen = max(waiting or standing, key=lambda task: (held[task], task))
    name = _name(wiring, wiring.layout.tasks[chosen])
    reason = f"every stage waits for another: {name} holds {held[chosen]} buffers"
    if held[chosen] and chosen in waiting:
        reason += " and waits for one more, which is never to come: send or free one first"
    return Stall(task=chosen, sequence=standing[chosen][2], error=OwnershipError(reason=reason))


def _name(wiring: Wiring, task: Task) -> str:
    stage = wiring.layout.stages[task.stage]
    return stage.name if stage.instances == 1 else f"{stage.name}, instance {task.instance},"
