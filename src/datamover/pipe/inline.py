"""Stages as coroutines of one thread: for platforms, and tests, without parallel execution.

Each stage runs until it would wait; then the next one whose descriptor is readable goes on.  The
same stages, ports and queues as elsewhere; only the waiting differs.

Source: seed, "Detailed Description" (a task may be a procedure); SPEC A6; DESIGN D6.
"""

from __future__ import annotations

import select
import time
from typing import TYPE_CHECKING

import greenlet

from datamover.errors import OwnershipError, StopRequestedError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["InlineScheduler"]


class InlineScheduler:
    """Runs functions by turns; it is also the waiter of their ports."""

    def __init__(self) -> None:
        self._hub = greenlet.getcurrent()
        self._runnable: list[tuple[greenlet.greenlet, tuple[bool, ...]]] = []
        self._waiting: dict[greenlet.greenlet, tuple[int, float | None, bool]] = {}
        self._stopping = False

    def add(self, function: Callable[[], object]) -> None:
        """Take in a task; ``run`` starts it."""
        self._runnable.append((greenlet.greenlet(function), ()))

    def stop(self) -> None:
        """Make every wait end with StopRequestedError."""
        self._stopping = True

    def run(self) -> None:
        """Run every task to its end, in the calling thread.

        Raises:
            OwnershipError: Every task waits for another: none can go on.
        """
        self._hub = greenlet.getcurrent()
        while self._runnable or self._waiting:
            if not self._runnable:
                self._wake()
            task, given = self._runnable.pop(0)
            task.parent = self._hub
            task.switch(*given)

    def wait(self, descriptor: int, deadline: float | None, *, room: bool = False) -> bool:
        """Let the others go on until ``descriptor`` is readable; see ``Waiter``."""
        if self._stopping:
            raise StopRequestedError
        self._waiting[greenlet.getcurrent()] = (descriptor, deadline, room)
        found = bool(self._hub.switch())
        # The switch let others run, and one of them may have stopped the pipe.
        if self._is_stopping():
            raise StopRequestedError
        return found

    def _is_stopping(self) -> bool:
        return self._stopping

    def _wake(self) -> None:
        """Make at least one waiting task runnable."""
        poll = select.poll()
        for descriptor, _, room in self._waiting.values():
            poll.register(descriptor, select.POLLOUT if room else select.POLLIN)
        ends = [end for _, end, _ in self._waiting.values() if end is not None]
        left = max(0.0, min(ends) - time.monotonic()) * 1000 if ends else 0
        ready = {descriptor for descriptor, _ in poll.poll(0 if self._stopping else left)}
        now = time.monotonic()
        for task, (descriptor, end, _) in list(self._waiting.items()):
            if self._stopping or descriptor in ready or (end is not None and end <= now):
                del self._waiting[task]
                self._runnable.append((task, (descriptor in ready,)))
        if not self._runnable:
            raise OwnershipError(reason="every stage of the inline pipe waits for another")
