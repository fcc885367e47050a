"""A limit holds to within what may go out at once, at every rate, and when it changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.link.limit import Limit


def run(limit: Limit, rate: int, seconds: float, start: float, *, late: float = 0.0) -> int:
    """Write as fast as is allowed; return the bytes."""
    now, total = start, 0
    while now < start + seconds:
        allowed = limit.allowed(rate, now)
        total += allowed
        limit.spent(allowed)
        now += max(limit.wait, 1e-6) + late
    return total


@given(st.integers(10_000, 10_000_000_000), st.floats(0, 0.01))
def test_a_rate_is_held(rate: int, late: float) -> None:
    total = run(Limit(0.0), rate, 10.0, 0.0, late=late)

    assert total == pytest.approx(rate * 10, rel=0.03)


def test_a_rate_that_changes_is_held_from_then_on() -> None:
    limit = Limit(0.0)
    run(limit, 1_000_000, 5.0, 0.0)
    slow = run(limit, 200_000, 5.0, 5.0)
    fast = run(limit, 5_000_000, 5.0, 10.0)

    assert slow == pytest.approx(1_000_000, rel=0.05)
    assert fast == pytest.approx(25_000_000, rel=0.05)


def test_a_pause_earns_no_burst() -> None:
    limit = Limit(0.0)
    limit.allowed(1_000_000, 0.0)

    assert limit.allowed(1_000_000, 100.0) <= 100_000


def test_without_a_limit_everything_may_go() -> None:
    limit = Limit(0.0)

    assert limit.allowed(0, 0.0) > 1 << 60
    assert limit.wait == 0
    assert limit.allowed(1000, 0.0) == 0
    assert limit.wait > 0
