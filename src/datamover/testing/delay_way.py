"""One way of one connection over a line: when each block comes out at the far end.

    leaves = max(now, line free) + length / rate         the line is shared, and busy until then
    due    = max(leaves + delay, due of the one before)  order is kept, whatever the settings do

Nothing more is taken while what is on its way (until an acknowledgement would be back) is the
window, nor while the line is busy for more than ``_BACKLOG_S`` ahead: so memory is bounded by
rate times delay, and by ``_HELD_MAX`` where there is no rate.  No clock is read here.

Source: SPEC G9.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from random import Random

    from datamover.testing.delay import LineSettings

__all__ = ["Way", "Wire"]

_BLOCK: Final = 256 * 1024
_BLOCK_MIN: Final = 2 * 1024
_BLOCK_S: Final = 0.002  # a block takes no longer than this to go over the line
_BACKLOG_S: Final = 0.02  # what routers queue
_HELD_MAX: Final = 32 << 20
_LOSS_UNIT: Final = 64 * 1024


@dataclass(slots=True)
class Wire:
    """One direction of the line, which all connections share.

    Attributes:
        free: When the last block that was taken will have left.
        delivered: Bytes that came out.
        lost: Blocks that were held up.
    """

    free: float = 0.0
    delivered: int = 0
    lost: int = 0


@dataclass(slots=True)
class Way:
    """What one connection has on one direction of the line.

    Attributes:
        queue: (due, block), in order; an empty block is the end.
        held: Bytes in the queue.
        ended: Whether the end was taken.
    """

    wire: Wire
    queue: deque[tuple[float, memoryview]] = field(default_factory=deque)
    held: int = 0
    ended: bool = False
    _unacknowledged: deque[tuple[float, int]] = field(default_factory=deque)
    _in_flight: int = 0
    _due: float = 0.0

    def room(self, line: LineSettings, now: float) -> int:
        """How many bytes may be taken now; 0 for none."""
        while self._unacknowledged and self._unacknowledged[0][0] <= now:
            self._in_flight -= self._unacknowledged.popleft()[1]
        window = (line.window - self._in_flight) if line.window else _BLOCK
        held = max(_HELD_MAX, int(line.mbit * 125 * line.delay_ms)) - self.held
        if self.ended or self._busy_s(line, now) > 0:
            return 0
        block = min(_BLOCK, max(_BLOCK_MIN, int(line.mbit * 125_000 * _BLOCK_S)))
        return max(0, min(window, held, block if line.mbit else _BLOCK))

    def wakes(self, line: LineSettings, now: float) -> float:
        """Return the seconds until ``room`` may be more, if nothing comes out before."""
        waits = [self._busy_s(line, now)]
        if line.window and self._unacknowledged:
            waits.append(self._unacknowledged[0][0] - now)
        return max([wait for wait in waits if wait > 0], default=inf)

    def take(self, block: bytes, line: LineSettings, random: Random, now: float) -> None:
        """Put a block on the line; an empty one ends the way."""
        delay = line.delay_ms / 1000
        busy = len(block) / (line.mbit * 125_000) if line.mbit else 0.0
        self.wire.free = max(now, self.wire.free) + busy
        due = self.wire.free + delay
        if line.loss and random.random() < line.loss * len(block) / _LOSS_UNIT:
            self.wire.lost += 1
            due += line.stall_ms / 1000
        self._due = max(self._due, due)
        self.queue.append((self._due, memoryview(block)))
        self._unacknowledged.append((self._due + delay, len(block)))
        self._in_flight += len(block)
        self.held += len(block)
        self.ended = not block

    def gave(self, sent: int) -> None:
        """So many bytes of the first block came out."""
        due, block = self.queue.popleft()
        if sent < len(block):
            self.queue.appendleft((due, block[sent:]))
        self.held -= sent
        self.wire.delivered += sent

    def _busy_s(self, line: LineSettings, now: float) -> float:
        return self.wire.free - now - _BACKLOG_S if line.mbit else 0.0
