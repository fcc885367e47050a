"""How many bytes may go out now: a token bucket that is told the time.  Pure.

Source: docs/spec/link-protocol.md, 6; SPEC N7.
"""

from __future__ import annotations

from typing import Final

__all__ = ["Limit"]

_BURST: Final = 0.02  # seconds' worth that may go out at once
_PIECE: Final = 1500  # a write of less costs more than it moves
_ALL: Final = 1 << 62


class Limit:
    """Holds a rate to within what goes out at once."""

    def __init__(self, now: float) -> None:
        self._rate = 0
        self._tokens = 0.0
        self._at = now

    def allowed(self, rate: int, now: float) -> int:
        """Return how many bytes may go out now; 0: wait for ``wait`` seconds.

        Args:
            rate: Bytes a second, as of now; 0: no limit.
            now: Monotonic seconds.
        """
        if not rate:
            self._rate = 0
            return _ALL
        if not self._rate:
            self._tokens, self._at = 0.0, now
        # What was earned at the old rate is kept, as far as the new one lets it be.
        self._tokens += (now - self._at) * (self._rate or rate)
        self._tokens = min(self._tokens, max(rate * 4 * _BURST, 2 * _PIECE))
        self._rate, self._at = rate, now
        return int(self._tokens) if self._tokens >= self._piece else 0

    def spent(self, done: int) -> None:
        """Count bytes that went out."""
        self._tokens -= done

    @property
    def wait(self) -> float:
        """Seconds until enough may go out that it is worth it."""
        if not self._rate:
            return 0.0
        return max(0.0, (self._piece - self._tokens) / self._rate)

    @property
    def _piece(self) -> float:
        return max(self._rate * _BURST, float(_PIECE))
