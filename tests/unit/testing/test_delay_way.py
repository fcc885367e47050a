"""A line keeps order, holds what it promises to hold, and takes as long as it says: no clock."""

from random import Random

import pytest

from datamover.testing.delay import LineSettings
from datamover.testing.delay_way import Way, Wire


def fill(way, line, now, random=None):
    """Take all there is room for; return how much that was."""
    taken = 0
    while room := way.room(line, now):
        way.take(bytes(room), line, random or Random(1), now)
        taken += room
    return taken


def test_a_block_comes_out_after_the_delay():
    way = Way(Wire())
    way.take(b"x", LineSettings(delay_ms=25), Random(1), 10.0)

    assert way.queue[0][0] == pytest.approx(10.025)


def test_a_rate_is_shared_by_all_ways_of_a_wire():
    wire, line = Wire(), LineSettings(mbit=8)
    for _ in range(5):
        for way in (Way(wire), Way(wire)):
            way.take(bytes(100_000), line, Random(1), 0.0)

    assert wire.free == pytest.approx(1.0)


def test_a_line_with_a_rate_holds_no_more_than_its_backlog():
    line = LineSettings(mbit=80, delay_ms=1000)
    way = Way(Wire())

    assert fill(way, line, 0.0) == pytest.approx(10e6 * 0.02, rel=0.2)
    assert way.wakes(line, 0.0) < 0.01
    held = 0
    for tick in range(1, 1000):
        fill(way, line, tick / 1000)
        held = way.held
    assert held == pytest.approx(10e6 * 1.02, rel=0.02)


def test_memory_is_bounded_where_there_is_no_rate():
    assert fill(Way(Wire()), LineSettings(delay_ms=10_000), 0.0) == 32 << 20


def test_a_window_opens_when_the_acknowledgement_is_back():
    way, line = Way(Wire()), LineSettings(delay_ms=25, window=300_000)

    assert fill(way, line, 0.0) == 300_000
    way.gave(len(way.queue[0][1]))
    assert way.room(line, 0.049) == 0
    assert way.wakes(line, 0.040) == pytest.approx(0.010)
    assert way.room(line, 0.051) > 0


def test_order_is_kept_when_the_delay_gets_shorter():
    way = Way(Wire())
    way.take(b"1", LineSettings(delay_ms=100), Random(1), 0.0)
    way.take(b"2", LineSettings(delay_ms=1), Random(1), 0.01)

    assert way.queue[1][0] >= way.queue[0][0]


def test_a_lost_block_holds_up_all_behind_it():
    way, line = Way(Wire()), LineSettings(loss=1.0, stall_ms=200)
    way.take(bytes(65536), line, Random(1), 0.0)
    way.take(b"small", LineSettings(), Random(1), 0.0)

    assert [due for due, _ in way.queue] == pytest.approx([0.2, 0.2])
    assert way.wire.lost == 1


def test_loss_is_as_likely_as_was_asked_for():
    way, line, random = Way(Wire()), LineSettings(loss=0.05), Random(7)
    for _ in range(4000):
        way.take(bytes(32768), line, random, 0.0)

    assert way.wire.lost == pytest.approx(100, rel=0.3)


def test_what_came_out_in_part_stays_first():
    way = Way(Wire())
    way.take(b"abcdef", LineSettings(), Random(1), 0.0)
    way.gave(4)

    assert bytes(way.queue[0][1]) == b"ef"
    assert (way.held, way.wire.delivered) == (2, 4)
