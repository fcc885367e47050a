"""Where tokens arrive: the reading end of one queue, as one task sees it.

A lone consumer takes up to 64 tokens with one system call; instances that share a queue take one
at a time, so that whoever is free takes the next.

Source: seed, "Data Transfer Implementation"; SPEC A11, A12, B3; LIMITS: handoff, drained pipes.
"""

from __future__ import annotations

import os
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from datamover.errors import BufferTimeoutError, PipeError
from datamover.shm.statistics import Stand, Wait
from datamover.shm.tokens import END, TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable

    from datamover.pipe.counters import Counters
    from datamover.pipe.waiter import Waiter

__all__ = ["Inlet"]

_BATCH: Final = 64


class Inlet:
    """Takes tokens until every producer has sent its end.

    Attributes:
        box: Tokens that were read and not taken: this task's, and nobody else's.
    """

    __slots__ = (
        "_before_wait",
        "_counters",
        "_ends",
        "_place",
        "_read",
        "_reader",
        "_size",
        "_wait",
        "_waiter",
        "box",
    )

    def __init__(
        self,
        reader: int,
        *,
        ends: int,
        lone: bool,
        wait: Wait,
        waiter: Waiter,
        counters: Counters,
        before_wait: Callable[[float | None], None] | None = None,
    ) -> None:
        """Make the task's side of a queue.

        Args:
            reader: Its reading end.
            ends: How many end tokens there will be for this task.
            lone: No other task reads it.
            wait: What waiting for it is called in the statistics.
            waiter: How to wait.
            counters: Where to account it.
            before_wait: Called with the timeout before each wait; raises when it were for ever.
        """
        self._reader = reader
        self._ends = ends
        self._read = os.read
        self._size = TOKEN.size * (_BATCH if lone else 1)
        self._wait = wait
        self._place = Stand.AT_INPUT if wait is Wait.INPUT else Stand.AT_FREE
        self._waiter = waiter
        self._counters = counters
        self._before_wait = before_wait
        self.box: deque[tuple[int, int, int]] = deque()

    def take(self, timeout: float | None) -> tuple[int, int, int] | None:
        """Return the next token (index, used, sequence); ``None`` after the last end.

        Raises:
            BufferTimeoutError: None came in time; nothing was taken.
            StopRequestedError: The monitor wants this task to end.

        Blocking: until one comes, at most ``timeout`` seconds; with 0 never.
        """
        box = self.box
        while True:
            if not box:
                if not self._ends:
                    return None
                self._fill(timeout)
            token = box.popleft()
            if token[0] != END:
                return token
            self._ends -= 1

    @property
    def has_ended(self) -> bool:
        """Whether every producer's end was taken."""
        return not self._ends and not self.box

    def untaken(self) -> bytes:
        """Give up the tokens that were read in advance, as they were read."""
        left = b"".join(TOKEN.pack(*token) for token in self.box)
        self.box.clear()
        return left

    def _fill(self, timeout: float | None) -> None:
        try:
            data = self._read(self._reader, self._size)
        except BlockingIOError:
            if timeout == 0.0:  # whoever polls the queue beside others only looks
                raise BufferTimeoutError(waited_s=0.0) from None
            data = self._wait_for(timeout)
        self._keep(data)

    def _keep(self, data: bytes) -> None:
        if len(data) % TOKEN.size or not data:
            raise PipeError
        self.box.extend(TOKEN.iter_unpack(data))

    def _wait_for(self, timeout: float | None) -> bytes:
        if self._before_wait is not None:
            self._before_wait(timeout)
        deadline = None if timeout is None else time.monotonic() + timeout
        since = self._counters.begin_wait(self._wait)
        try:
            while True:
                if deadline is None:
                    self._counters.stand(self._place)
                ready = self._waiter.wait(self._reader, deadline)
                self._counters.stand(Stand.NOWHERE)
                if not ready:
                    raise BufferTimeoutError(waited_s=timeout or 0.0)
                try:
                    return self._read(self._reader, self._size)
                except BlockingIOError:
                    continue  # another instance was faster
        finally:
            self._counters.end_wait(self._wait, since)
