"""Run the tasks that share one process, or one thread.

A task alone waits in the kernel.  Joined tasks are coroutines: what one sends is at once taken by
the next, without a switch between processes, and while it is in the processor's nearest cache.

Source: SPEC A6; docs/decisions/0011-joined-stages.md.
"""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

from datamover.pipe.control import SocketControl
from datamover.pipe.custody import Custody
from datamover.pipe.inline import InlineScheduler
from datamover.pipe.task import run_task
from datamover.pipe.waiter import PollWaiter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from datamover.pipe.definition import Definition
    from datamover.pipe.facts import TaskFacts
    from datamover.pipe.waiter import Waiter

__all__ = ["run_crew"]


def run_crew(
    crew: Sequence[TaskFacts],
    *,
    definitions: Sequence[Definition] | None = None,
    prepare: Callable[[], None] | None = None,
) -> bool:
    """Run tasks to their end, in the calling thread; return whether all ended well.

    Args:
        crew: The tasks, in the order of their stages.
        definitions: Their stages, where they are known.
        prepare: Called before the first; what it raises is reported like an error of its stage.

    Blocking: until every stage has returned or was stopped.
    Ownership: takes the control sockets, and closes them; other descriptors stay the caller's.
    """
    good: list[bool] = []
    with contextlib.ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.socket(fileno=facts.descriptors.control)) for facts in crew
        ]

        custody = Custody(crew[0].crew) if crew[0].crew else None

        def run(place: int, waiter: Waiter) -> None:
            good.append(
                run_task(
                    crew[place],
                    control=SocketControl(sockets[place]),
                    waiter=waiter,
                    custody=custody,
                    definition=definitions[place] if definitions else None,
                    prepare=prepare if place == 0 else None,
                )
            )

        if len(crew) == 1:
            run(0, PollWaiter(sockets[0].fileno()))
        else:
            scheduler = InlineScheduler([one.fileno() for one in sockets])
            for place in range(len(crew)):
                scheduler.add(lambda place=place: run(place, scheduler))  # type: ignore[misc]
            scheduler.run()
    return len(good) == len(crew) and all(good)
