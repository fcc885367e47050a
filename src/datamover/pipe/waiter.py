"""How a task waits for a descriptor: it polls, and watches its control socket meanwhile.

Source: seed, "Control Messages" (modules poll the control socket); SPEC A11, C14; DESIGN D2.
"""

from __future__ import annotations

import select
import time
from typing import Protocol

from datamover.errors import StopRequestedError

__all__ = ["PollWaiter", "Waiter"]


class Waiter(Protocol):
    """Waits for a descriptor to become readable, or to have room."""

    def wait(self, descriptor: int, deadline: float | None, *, room: bool = False) -> bool:
        """Return whether it became readable before ``deadline`` (monotonic seconds).

        Args:
            descriptor: One end of a queue.
            deadline: When to give up; None: never.
            room: Wait until it can be written instead.

        Raises:
            StopRequestedError: The monitor wants this task to end, or is gone.

        Blocking: until then.
        """
        ...

    def hand_over(self) -> None:
        """Let the task go on that was just sent a buffer, if it shares this one's process.

        Raises:
            StopRequestedError: The monitor wants this task to end.
        """
        ...


class PollWaiter:
    """Waits in the kernel, for tasks that are processes or threads."""

    def __init__(self, control: int) -> None:
        self._control = control
        self._polls: dict[int, select.poll] = {}

    def wait(self, descriptor: int, deadline: float | None, *, room: bool = False) -> bool:
        """See ``Waiter``; a readable control socket means stop, for nothing else is sent there."""
        poll = self._polls.get(descriptor)
        if poll is None:
            poll = self._polls[descriptor] = select.poll()
            poll.register(descriptor, select.POLLOUT if room else select.POLLIN)
            poll.register(self._control, select.POLLIN)
        left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
        ready = [found for found, _ in poll.poll(left)]
        if self._control in ready:
            raise StopRequestedError
        return bool(ready)

    def hand_over(self) -> None:
        """Go on: nobody shares this process."""
