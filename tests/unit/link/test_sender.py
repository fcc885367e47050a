"""A number is in one place at a time, and goes where it arrives soonest."""

from __future__ import annotations

import pytest

from datamover.errors import PeerProtocolError
from datamover.link.sender import Order, Sender


def sender(*, credit: int = 100, paths: int = 2, stall: float = 5.0) -> Sender[str]:
    found: Sender[str] = Sender(stall=stall)
    for path in range(paths):
        found.open(path, 0.0)
        found.acknowledge(path, received=0, credit=credit, stamp=0, now=0.0)
    return found


def chosen(found: Sender[str], path: int, now: float = 0.0) -> int | None:
    order = found.choose(path, now)
    return order.data.sequence if order is not None and order.data is not None else None


def at_rate(found: Sender[str], path: int, rate: float) -> None:
    """Have one frame delivered at a rate."""
    found.offer("measure", int(rate))
    chosen(found, path, 0.0)
    found.acknowledge(path, received=1, credit=100, stamp=0, now=1.0)


def test_nothing_is_wanted_before_the_credit_allows_it() -> None:
    found = sender(credit=1)
    assert found.wants
    found.offer("a", 1)

    assert not found.wants
    assert chosen(found, 0) == 0
    assert not found.wants
    found.acknowledge(1, received=0, credit=2, stamp=0, now=0.0)
    assert found.wants


def test_an_older_word_does_not_take_credit_back() -> None:
    found = sender(credit=5, paths=1)
    found.acknowledge(0, received=0, credit=3, stamp=0, now=0.0)
    for _ in range(5):
        assert found.wants
        found.offer("x", 1)
        chosen(found, 0)

    assert not found.wants


def test_what_a_lost_path_carried_goes_first_and_lowest_first() -> None:
    found = sender()
    for path in (0, 1):
        found.offer("x", 1)
        chosen(found, path)
        found.lanes[path].rate = 1.0
    for path in (1, 0):
        found.offer("x", 1)
        chosen(found, path)
    found.close(1)
    found.offer("new", 1)
    found.close(0)
    found.open(2, 0.0)

    assert found.resent == 4
    assert [chosen(found, 2) for _ in range(6)] == [0, 1, 2, 3, 4, None]


def test_an_acknowledgement_gives_back_the_oldest() -> None:
    found = sender(paths=1)
    for item in "abc":
        found.offer(item, 1)
        chosen(found, 0)

    first = found.acknowledge(0, received=2, credit=9, stamp=0, now=1.0)
    assert [one.item for one in first] == ["a", "b"]
    assert found.close(0) == 1


def test_the_end_is_said_on_every_path_and_on_those_that_come_later() -> None:
    found = sender()
    found.offer("a", 1)
    found.end()
    assert chosen(found, 0) == 0
    ends = [found.choose(path, 0.0) for path in (0, 1)]
    found.close(1)
    found.open(1, 0.0)

    assert [(one.data, one.total) for one in ends] == [(None, 1), (None, 1)]
    assert found.has_for(1)
    assert found.choose(1, 0.0).total == 1
    assert found.choose(1, 0.0) is None
    assert not found.has_for(1)


def test_done_gives_back_everything_even_what_nobody_acknowledged() -> None:
    found = sender(paths=1)
    for item in "ab":
        found.offer(item, 1)
        chosen(found, 0)
    found.end()
    found.choose(0, 0.0)

    assert sorted(one.item for one in found.finish(0)) == ["a", "b"]
    assert found.is_done
    assert found.acknowledge(0, received=2, credit=2, stamp=0, now=0.0) == []


def test_a_slow_path_gets_no_frame_that_would_keep_the_window_waiting() -> None:
    found = sender()
    at_rate(found, 0, 1_000_000)
    at_rate(found, 1, 1_000)
    found.acknowledge(0, received=1, credit=12, stamp=0, now=1.0)
    found._credit = 12
    found.offer("x", 100_000)  # 0.1 s on the one, 100 s on the other; the window takes 1 s

    assert chosen(found, 1, 1.0) is None
    assert chosen(found, 0, 1.0) == 2


def test_a_slow_path_helps_when_the_window_is_wide_enough() -> None:
    found = sender()
    at_rate(found, 0, 200_000)
    at_rate(found, 1, 100_000)
    counts = [0, 0]
    for number in range(30):
        found.offer("x", 1000)
        path = 1 if chosen(found, 1, 1.0) is not None else 0
        if path == 0:
            assert chosen(found, 0, 1.0) == number + 2
        counts[path] += 1

    assert counts[1] > 0


def test_a_path_that_nobody_has_measured_gets_one_frame() -> None:
    found = sender()
    found.offer("x", 1)
    assert chosen(found, 0) is not None
    found.offer("x", 1)

    assert chosen(found, 0) is None
    assert chosen(found, 1) is not None


def test_the_only_path_is_always_good_enough() -> None:
    found = sender(paths=1)
    for _ in range(50):
        found.offer("x", 1 << 20)
        assert chosen(found, 0) is not None


def test_a_path_stalls_when_it_neither_answers_nor_takes_anything() -> None:
    found = sender(paths=1)
    at_rate(found, 0, 1000)
    found.offer("x", 1)
    chosen(found, 0, 10.0)

    assert found.stalled(14.9) == []
    found.progressed(0, 14.0)
    assert found.stalled(15.1) == []
    assert found.stalled(19.1) == [0]


def test_a_path_gets_the_time_that_its_rate_needs() -> None:
    found = sender(paths=1)
    at_rate(found, 0, 1000)
    found.offer("x", 3000)
    chosen(found, 0, 10.0)

    assert found.stalled(21.0) == []
    assert found.stalled(22.1) == [0]


def test_a_path_whose_rate_nobody_knows_gets_more_time() -> None:
    found = sender(paths=1)
    found.offer("x", 1)
    chosen(found, 0, 10.0)

    assert found.stalled(29.0) == []
    assert found.stalled(30.1) == [0]


def test_a_silent_path_is_pinged_once_and_stalls_without_an_answer() -> None:
    found = sender()

    assert found.pings(2.0) == []
    assert found.pings(2.6) == [0, 1]
    assert found.pings(2.7) == []
    found.acknowledge(1, received=0, credit=0, stamp=0, now=3.0)
    assert found.stalled(7.7) == [0]


def test_a_rate_is_that_of_acknowledged_bytes() -> None:
    found = sender(paths=1)
    for n in range(40):
        found.offer("x", 10_000)
        chosen(found, 0, n * 0.1)
        found.acknowledge(0, received=n + 1, credit=100, stamp=0, now=n * 0.1 + 0.1)

    assert found.lanes[0].rate == pytest.approx(100_000, rel=0.01)
    assert found.lanes[0].under_way == 0
    assert found.lanes[0].bytes == 400_000


def test_a_round_trip_is_measured_across_the_wrap_of_the_clock() -> None:
    found = sender(paths=1)
    found.offer("x", 1)
    chosen(found, 0)
    found.acknowledge(0, received=1, credit=9, stamp=(1 << 32) - 500_000, now=1.0)

    assert found.lanes[0].round_trip == pytest.approx(1.5)


@pytest.mark.parametrize("received", [-1, 2])
def test_impossible_acknowledgements_are_refused(received: int) -> None:
    found = sender()
    found.offer("x", 1)
    chosen(found, 0)

    with pytest.raises(PeerProtocolError):
        found.acknowledge(0, received=received, credit=9, stamp=0, now=0.0)


def test_who_has_just_spoken_is_not_asked() -> None:
    found = sender(paths=1)
    found.acknowledge(0, received=0, credit=100, stamp=0, now=20.0)

    assert found.pings(22.5) == []
    assert found.pings(22.6) == [0]


def test_an_acknowledgement_gives_the_path_its_time_again() -> None:
    found = sender(paths=1)
    at_rate(found, 0, 1_000_000)
    for _ in range(2):
        found.offer("x", 1)
        chosen(found, 0, 10.0)
    found.acknowledge(0, received=2, credit=100, stamp=0, now=14.0)

    assert found.stalled(18.9) == []
    assert found.stalled(19.0) == []
    assert found.stalled(19.1) == [0]


def test_a_rate_is_measured_from_the_acknowledgement_before() -> None:
    """What was sent earlier has waited behind others: that time is not its own."""
    found = sender(paths=1)
    for _ in range(2):
        found.offer("x", 1000)
        chosen(found, 0, 0.0)
    found.acknowledge(0, received=1, credit=100, stamp=0, now=1.0)
    found.acknowledge(0, received=2, credit=100, stamp=0, now=2.0)

    assert found.lanes[0].rate == pytest.approx(1000)


def test_a_new_rate_counts_for_more_the_longer_it_was_measured() -> None:
    found = sender(paths=1)
    at_rate(found, 0, 1000)
    found.offer("x", 2000)
    chosen(found, 0, 1.0)
    found.acknowledge(0, received=2, credit=100, stamp=0, now=1.5)

    # Half a second at 4000 bytes a second, against 1000: all but a third of the way.
    assert found.lanes[0].rate == pytest.approx(1000 + 3000 * (1 - 0.36788), rel=0.001)


def test_a_sender_is_idle_when_nothing_waits_and_nothing_is_under_way() -> None:
    found = sender(paths=2)
    assert found.is_idle
    found.offer("x", 1)
    assert not found.is_idle
    chosen(found, 1)
    assert not found.is_idle
    found.acknowledge(1, received=1, credit=9, stamp=0, now=0.0)

    assert found.is_idle


def test_done_leaves_nothing_to_send_and_counts_what_had_arrived() -> None:
    found = sender(paths=1)
    for item in "abc":
        found.offer(item, 10)
        chosen(found, 0)
    found.end()
    found.choose(0, 0.0)
    found.close(0)
    found.open(0, 0.0)
    for _ in range(2):
        chosen(found, 0)
    left = found.finish(0)
    lane = found.lanes[0]

    assert sorted(one.item for one in left) == ["a", "b", "c"]
    assert (lane.frames, lane.bytes, lane.under_way) == (2, 20, 0)
    assert found.choose(0, 0.0) == Order(None, 3)  # nothing but the end, on a path that came late
    assert found.choose(0, 0.0) is None
    assert found.is_idle


def test_a_frame_goes_on_a_slow_path_as_long_as_the_window_is_not_done_before() -> None:
    """At 100 bytes a second it takes 10 s; what may go out besides takes 9 or 10 at 1100."""
    for credit, expected in ((10, None), (11, 1)):
        found: Sender[str] = Sender(stall=5.0)
        for path, rate in ((0, 1000.0), (1, 100.0)):
            found.open(path, 0.0)
            found.lanes[path].rate = rate
        found.acknowledge(0, received=0, credit=credit + 1, stamp=0, now=0.0)
        found.offer("x", 1000)
        assert chosen(found, 0) == 0
        found.offer("x", 1000)

        assert chosen(found, 1) == expected
