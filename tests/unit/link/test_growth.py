"""Paths are added while they bring more, and no longer."""

from __future__ import annotations

import pytest

from datamover.link.growth import Growth

FRAME = 2 << 20


def grown(*, first: int, most: int, line: float, each: float, seconds: float = 30.0) -> int:
    """Run a line that takes ``line`` bytes a second, and ``each`` a path; return the paths."""
    growth, now, size = Growth(first, most, 0.0), 0.0, 0.0
    while now < seconds:
        now += 0.05
        size += 0.05 * min(line, each * growth.wanted)
        growth.look(int(size) // FRAME, int(size) // FRAME * FRAME, now)
    return growth.wanted


@pytest.mark.parametrize(
    ("each", "paths"),
    # One that is full with the first four, one that eight fill, one that is never full.
    [(100e6, 8), (25e6, 8), (13e6, 12), (1e6, 16)],
)
def test_there_are_as_many_paths_as_fill_the_line_and_at_most_a_step_more(each, paths) -> None:
    assert grown(first=4, most=16, line=100e6, each=each) == paths


def test_a_number_that_was_asked_for_stays() -> None:
    growth = Growth(0, 3, 0.0)

    assert growth.is_over
    assert grown(first=0, most=3, line=100e6, each=1e6) == 3


def test_never_more_than_there_may_be() -> None:
    assert grown(first=4, most=6, line=100e6, each=1e6) == 6
    assert grown(first=8, most=6, line=100e6, each=1e6) == 6


def test_what_says_too_little_is_waited_for() -> None:
    slow = Growth(4, 16, 0.0)
    for tick in range(1, 200):
        now = tick / 20
        assert not slow.look(int(now), int(now) * FRAME, now)
