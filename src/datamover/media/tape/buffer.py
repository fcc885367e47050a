"""What keeps a tape streaming: blocks gather until it is worth starting it, then it runs.

    filling   ──held ≥ high──▶ draining        the drive gets block after block
    draining  ──held ≤ low───▶ filling         it stops once, instead of at every block

A drive that gets too little to do stops, goes back and starts again for each block, which wears
the tape and takes seconds.

Source: issue 4; SPEC F13; ADR 0027.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datamover.units import Bytes

__all__ = ["StreamingBuffer"]


class StreamingBuffer:
    """Bytes go in in any lengths, and come out in blocks; one thread on each side.

    Attributes:
        stops: How often the drive was let stop before the end.
    """

    def __init__(self, *, block: Bytes, capacity: Bytes, high: Bytes, low: Bytes) -> None:
        """Choose sizes: ``block`` <= ``low`` <= ``high`` <= ``capacity``."""
        self.stops = 0
        self._block = block
        self._capacity = capacity
        self._high = high
        self._low = low
        self._change = threading.Condition()
        self._blocks: deque[memoryview] = deque()
        self._free: list[memoryview] = []
        self._open: memoryview | None = None
        self._used = 0
        self._held = 0
        self._is_draining = False
        self._is_ended = False
        self._is_broken = False

    @property
    def is_high(self) -> bool:
        """Whether it is worth starting the drive."""
        return self._held >= self._high

    @property
    def is_broken(self) -> bool:
        """Whether what is held is wanted no more."""
        return self._is_broken

    @property
    def is_full(self) -> bool:
        """Whether the next block would have to wait."""
        return self._held + self._block > self._capacity

    def put(self, view: memoryview) -> memoryview:
        """Copy what fits the block that is open; return what is left of ``view``.

        Blocking: while the buffer is full, unless it is broken.
        """
        with self._change:
            while self._open is None and self.is_full and not self._is_broken:
                self._change.wait()
            if self._is_broken:
                return view[len(view) :]
            if self._open is None:
                self._open = self._free.pop() if self._free else memoryview(bytearray(self._block))
            area = self._open
        size = min(len(view), self._block - self._used)
        area[self._used : self._used + size] = view[:size]
        self._used += size
        if self._used == self._block:
            self._close_block()
        return view[size:]

    def end(self) -> None:
        """Say that nothing more comes; the last block may be short."""
        if self._used:
            self._close_block()
        with self._change:
            self._is_ended = True
            self._change.notify_all()

    def take(self) -> memoryview | None:
        """Return the next block; None when there is no more.

        Blocking: until the drive is worth starting again, or nothing more comes.
        """
        with self._change:
            if self._is_draining and self._held <= self._low and not self._is_ended:
                self._is_draining = False
                self.stops += 1
            while not (self._is_ended or self._is_broken or self._is_draining):
                if self._held >= self._high:
                    self._is_draining = True
                else:
                    self._change.wait()
            return self._blocks[0] if self._blocks and not self._is_broken else None

    def taken(self) -> None:
        """Say that the block which ``take`` gave last is on the tape; its bytes are gone."""
        with self._change:
            block = self._blocks.popleft()
            self._held -= len(block)
            whole = block.obj
            if isinstance(whole, bytearray):
                self._free.append(memoryview(whole))
            self._change.notify_all()

    def break_off(self) -> None:
        """Let both sides go: what is held is wanted no more."""
        with self._change:
            self._is_broken = True
            self._change.notify_all()

    def _close_block(self) -> None:
        with self._change:
            assert self._open is not None  # noqa: S101 - put opened it
            self._blocks.append(self._open[: self._used])
            self._held += self._used
            self._open, self._used = None, 0
            self._change.notify_all()
