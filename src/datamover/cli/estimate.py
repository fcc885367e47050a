"""How fast, and how long still: smoothed, and silent rather than wrong.  Pure: reads no clock.

Two windows are kept.  The short one is the rate that is shown; the long one is what an estimate
is made from.  While the two disagree the job is not steady, and any estimate would be a guess.
"""

from __future__ import annotations

import math
from typing import Final

__all__ = ["Estimator"]

_SHORT_S: Final = 3.0
_LONG_S: Final = 20.0
_EARLIEST_S: Final = 2.0
_DISAGREEMENT: Final = 2.0
_LONGEST_S: Final = 100 * 3600.0


class Estimator:
    """Follows one growing number over time."""

    def __init__(self) -> None:
        self._elapsed: float = 0.0
        self._done: int = 0
        self._short = _Window(_SHORT_S)
        self._long = _Window(_LONG_S)

    def update(self, *, elapsed: float, done: int) -> None:
        """Take one reading: ``done`` after ``elapsed`` seconds since the beginning."""
        passed, grown = elapsed - self._elapsed, done - self._done
        if passed <= 0 or grown < 0:
            return
        self._elapsed, self._done = elapsed, done
        self._short.add(grown, passed)
        self._long.add(grown, passed)

    @property
    def rate(self) -> float:
        """What is done a second, over the last few seconds."""
        return self._short.rate

    def remaining(self, total: int | None) -> float | None:
        """Return the seconds still to go; None when nothing honest can be said.

        That is: the total is unknown or was passed, the job is younger than two seconds, it
        stands still, or its rate is changing.
        """
        if total is None or self._done > total or self._elapsed < _EARLIEST_S:
            return None
        short, long = self._short.rate, self._long.rate
        if min(short, long) * _DISAGREEMENT < max(short, long) or long <= 0:
            return None
        seconds = (total - self._done) / long
        return seconds if seconds < _LONGEST_S else None


class _Window:
    """A mean that forgets exponentially, and is unbiased from the first reading on."""

    def __init__(self, span: float) -> None:
        self._span = span
        self._amount: float = 0.0
        self._time: float = 0.0

    def add(self, amount: float, seconds: float) -> None:
        kept = math.exp(-seconds / self._span)
        self._amount = self._amount * kept + amount
        self._time = self._time * kept + seconds

    @property
    def rate(self) -> float:
        return self._amount / self._time if self._time else 0.0
