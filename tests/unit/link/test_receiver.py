"""A number is passed on once; the sender is told of every buffer, whichever path dies."""

from __future__ import annotations

from datamover.link.receiver import Receiver


def receiver(*, credit: int = 10, paths: int = 2) -> Receiver[str]:
    found: Receiver[str] = Receiver(silence=3.0)
    found.granted(credit)
    for path in range(paths):
        found.open(path, 0.0)
    return found


def take(found: Receiver[str], path: int, number: int) -> list[str]:
    assert found.begin(path, number, 0.0)
    return found.arrive(path, 1, 0, 0.0, str(number))


def test_what_is_early_waits_for_its_predecessors() -> None:
    found = receiver()

    assert take(found, 0, 1) == []
    assert take(found, 1, 2) == []
    assert take(found, 0, 0) == ["0", "1", "2"]


def test_what_is_here_is_skipped_and_still_acknowledged() -> None:
    found = receiver()
    take(found, 0, 0)
    take(found, 0, 2)
    for number in (0, 2):
        assert not found.begin(1, number, 0.0)
        assert found.arrive(1, 1, 7, 0.0) == []

    said = {one.path: one for one in found.acknowledgements(0.0, {0, 1})}
    assert said[1].received == 2
    assert said[1].stamp == 7
    assert found.lanes[1].repeated == 2


def test_a_number_that_comes_again_while_it_arrives_gives_the_old_path_away() -> None:
    found = receiver(paths=3)
    found.begin(0, 4, 0.0)
    found.begin(1, 5, 0.0)
    found.begin(2, 4, 0.0)

    assert found.rivals(2) == [0]
    assert found.rivals(1) == []
    found.close(0)
    assert found.rivals(2) == []


def test_a_frame_that_its_path_took_down_may_come_again() -> None:
    found = receiver()
    found.begin(0, 0, 0.0)
    found.close(0)

    assert take(found, 1, 0) == ["0"]


def test_credit_is_told_where_something_is_acknowledged() -> None:
    found = receiver()
    found.acknowledgements(0.0, {0, 1})
    take(found, 1, 0)
    found.granted()

    assert [(one.path, one.credit) for one in found.acknowledgements(0.01, {0, 1})] == [(1, 11)]


def test_news_of_the_credit_goes_everywhere_in_the_end() -> None:
    found = receiver(credit=1)
    found.acknowledgements(0.0, {0, 1})
    for path in (0, 1):
        found.pinged(path, 1.0 + path / 100)
    found.acknowledgements(1.01, {0, 1})
    found.granted()

    assert [one.path for one in found.acknowledgements(1.02, {0, 1})] == [1]
    assert 0 < found.next_due(1.02) <= 0.05
    assert [one.path for one in found.acknowledgements(1.07, {0, 1})] == [0]
    assert found.next_due(1.07) is None
    assert found.acknowledgements(2.0, {0, 1}) == []


def test_news_of_the_credit_waits_while_the_sender_has_enough() -> None:
    found = receiver(credit=10, paths=1)
    found.acknowledgements(0.0, {0})
    found.granted(2)

    assert found.acknowledgements(0.01, {0}) == []
    assert 0 < found.next_due(0.01) <= 0.05
    for number in range(7):
        take(found, 0, number)
        (said,) = found.acknowledgements(0.02, {0})
    assert said.credit == 12
    found.granted(4)
    assert found.acknowledgements(0.03, {0}) == []
    found.granted(1)
    assert [one.credit for one in found.acknowledgements(0.03, {0})] == [17]


def test_a_new_path_is_told_at_once() -> None:
    found = receiver(paths=1)
    found.acknowledgements(0.0, {0})
    found.open(1, 0.0)

    assert [(one.path, one.credit) for one in found.acknowledgements(0.0, {0, 1})] == [(1, 10)]


def test_it_is_complete_when_as_many_as_were_said_have_gone_on() -> None:
    found = receiver()
    take(found, 0, 1)
    found.end(0, 2, 0.0)
    assert not found.is_complete
    take(found, 1, 0)

    assert found.is_complete


def test_a_stream_of_nothing_is_complete_at_its_end() -> None:
    found = receiver()
    assert not found.is_complete
    found.end(1, 0, 0.0)

    assert found.is_complete


def test_a_path_without_a_byte_is_silent() -> None:
    found = receiver()
    found.pinged(1, 2.0)

    assert found.silent(2.9) == []
    assert found.silent(3.1) == [0]


def test_whatever_comes_on_a_path_shows_that_it_lives() -> None:
    found = receiver(paths=5)
    found.begin(0, 0, 10.0)
    found.begin(1, 1, 0.0)
    found.arrive(1, 1, 0, 10.0, "1")
    found.end(2, 5, 10.0)
    found.pinged(3, 10.0)
    found.heard(4, 10.0)

    assert found.silent(13.0) == []
    assert found.silent(13.1) == [0, 1, 2, 3, 4]


def test_what_a_path_carried_is_counted() -> None:
    found = receiver(paths=1)
    for number in range(3):
        found.begin(0, number, 0.0)
        found.arrive(0, 100 + number, 0, 0.0, "x")

    assert (found.lanes[0].frames, found.lanes[0].bytes) == (3, 303)


def test_nothing_is_remembered_of_what_was_passed_on() -> None:
    """A stream of any length takes no more memory than its window."""
    found = receiver(credit=1000)
    for number in range(0, 1000, 2):
        take(found, 0, number + 1)
        take(found, 1, number)

    assert found._early == set()
    assert not found.begin(0, 999, 0.0)
