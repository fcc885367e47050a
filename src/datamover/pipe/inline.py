"""Stages as coroutines of one thread: a whole inline pipe, or the joined tasks of one process.

Each stage runs until it would wait; then the next one whose descriptor is readable goes on.  The
same stages, ports and queues as elsewhere; only the waiting differs.

Source: seed, "Detailed Description" (a task may be a procedure); SPEC A6; DESIGN D6; ADR 0005.
"""

from __future__ import annotations

import select
import time
from typing import TYPE_CHECKING

import greenlet

from datamover.errors import OwnershipError, StopRequestedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["InlineScheduler"]


class InlineScheduler:
    """Runs functions by turns; it is also the waiter of their ports."""

    def __init__(self, controls: Sequence[int] = ()) -> None:
        """Make one without tasks.

        Args:
            controls: Control sockets to watch meanwhile; none when the whole pipe runs here, for
                then nothing can come from outside.
        """
        self._hub = greenlet.getcurrent()
        self._controls = controls
        self._handing: list[greenlet.greenlet] = []
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
        while self._runnable or self._waiting or self._handing:
            while not self._runnable:
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

    def hand_over(self) -> None:
        """Let those go on first that can: the next stage, while the buffer is in the cache."""
        self._handing.append(greenlet.getcurrent())
        self._hub.switch()
        if self._stopping:
            raise StopRequestedError

    def _is_stopping(self) -> bool:
        return self._stopping

    def _wake(self) -> None:
        """Make at least one task runnable."""
        poll = select.poll()
        for control in self._controls:
            poll.register(control, select.POLLIN)
        for descriptor, _, room in self._waiting.values():
            poll.register(descriptor, select.POLLOUT if room else select.POLLIN)
        ends = [end for _, end, _ in self._waiting.values() if end is not None]
        left = max(0.0, min(ends) - time.monotonic()) * 1000 if ends else None
        if self._stopping or self._handing or (left is None and not self._controls):
            left = 0
        ready = {descriptor for descriptor, _ in poll.poll(left)}
        self._stopping = self._stopping or not ready.isdisjoint(self._controls)
        now = time.monotonic()
        for task, (descriptor, end, _) in list(self._waiting.items()):
            if self._stopping or descriptor in ready or (end is not None and end <= now):
                del self._waiting[task]
                self._runnable.append((task, (descriptor in ready,)))
        # The latest first: it is the one furthest down the pipe.
        self._runnable += [(task, ()) for task in reversed(self._handing)]
        self._handing.clear()
        if not self._runnable and not self._controls:
            raise OwnershipError(reason="every stage of the inline pipe waits for another")
