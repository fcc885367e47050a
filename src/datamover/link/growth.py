"""How many paths are worth having: more, as long as they bring more.  Pure: no sockets, no clock.

    first ── settle, measure ──▶ some more ── settle, measure ──▶ ... until it is not faster, or all

One connection carries at most its window in each round trip, and a long line holds more than that.
What does not help is kept: closing a path would send again what is under way on it.

Source: docs/spec/link-protocol.md, 6; SPEC N2; DESIGN D8.
"""

from __future__ import annotations

from typing import Final

__all__ = ["Growth"]

_STEP: Final = 4
_SETTLE: Final = 0.5
"""Seconds that new connections have to find their speed."""
_MEASURE: Final = 1.0
_FRAMES: Final = 16
"""Fewer say too little of a rate: whole frames are counted."""
_BETTER: Final = 1.15


class Growth:
    """Decides, from what has arrived, when there are to be more paths.

    Attributes:
        wanted: How many there are to be now.
    """

    def __init__(self, first: int, most: int, now: float) -> None:
        """Begin with ``first`` paths; 0: with ``most``, and that is all."""
        self.wanted = min(first, most) or most
        self._most = most
        self._before = 0.0
        self._at: float | None = None
        self._had = self._size = 0
        self._from = now + _SETTLE

    @property
    def is_over(self) -> bool:
        """Whether there will be no more."""
        return self.wanted >= self._most

    def look(self, frames: int, size: int, now: float) -> bool:
        """Learn what has arrived since the start; return whether more paths are wanted now.

        Args:
            frames: How many, on all paths.
            size: Their bytes.
            now: Monotonic seconds.
        """
        if self.is_over or now < self._from:
            return False
        if self._at is None:
            self._at, self._had, self._size = now, frames, size
            return False
        if now - self._at < _MEASURE or frames - self._had < _FRAMES:
            return False
        rate = (size - self._size) / (now - self._at)
        if rate < self._before * _BETTER:
            self._most = self.wanted
            return False
        self._before = rate
        self.wanted = min(self.wanted + _STEP, self._most)
        self._from, self._at = now + _SETTLE, None
        return True
