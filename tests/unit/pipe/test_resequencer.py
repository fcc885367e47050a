"""Whatever order items come in, they leave sorted, each as soon as it can."""

import pytest

from datamover.errors import SequenceError
from datamover.pipe.order import Resequencer


def test_an_item_in_turn_leaves_at_once() -> None:
    order = Resequencer[str](window=4)

    assert [order.push(i, f"{i}") for i in range(3)] == [["0"], ["1"], ["2"]]


def test_an_early_item_leaves_with_its_last_predecessor() -> None:
    order = Resequencer[str](window=4)

    assert order.push(2, "2") == []
    assert order.push(1, "1") == []
    assert order.held == 2
    assert order.push(0, "0") == ["0", "1", "2"]
    assert order.held == 0


def test_parts_leave_one_by_one_while_their_number_is_due() -> None:
    order = Resequencer[str](window=4)

    assert order.push(0, "0.0", part=0, last=False) == ["0.0"]
    assert order.push(1, "1.0", part=0, last=False) == []
    assert order.push(0, "0.1", part=1, last=False) == ["0.1"]
    assert order.complete(0, 2) == ["1.0"]


def test_a_number_without_parts_is_passed_over() -> None:
    order = Resequencer[str](window=4)

    assert order.push(2, "2") == []
    assert order.complete(0, 0) == []
    assert order.complete(1, 0) == ["2"]


def test_a_completion_may_come_before_its_turn() -> None:
    order = Resequencer[str](window=4)

    assert order.complete(1, 0) == []
    assert order.push(0, "0") == ["0"]
    assert order.push(2, "2") == ["2"]
    order.finish()


def test_a_number_that_came_before_is_refused() -> None:
    order = Resequencer[str](window=4)
    order.push(0, "0")
    order.push(2, "2")

    for again in (0, 2):
        with pytest.raises(SequenceError, match=f"sequence {again}: part 0 was seen before"):
            order.push(again, "again")


def test_a_number_is_complete_once() -> None:
    order = Resequencer[str](window=4)
    order.complete(0, 0)
    order.complete(2, 1)

    for again in (0, 2):
        with pytest.raises(SequenceError, match=f"sequence {again}: was complete before"):
            order.complete(again, 1)


def test_fewer_parts_than_came_are_refused() -> None:
    order = Resequencer[str](window=4)
    order.push(0, "0.0", part=0, last=False)
    order.push(0, "0.1", part=1, last=False)

    with pytest.raises(SequenceError, match="sequence 0: more than 1 parts came"):
        order.complete(0, 1)


def test_a_gap_that_nothing_can_close_is_said() -> None:
    order = Resequencer[str](window=3)
    order.push(1, "1")
    order.push(2, "2")

    with pytest.raises(SequenceError, match="sequence 0: no buffer is left to bring it"):
        order.push(3, "3")


@pytest.mark.parametrize("leave", ["an item", "a completion", "a part"])
def test_an_end_before_its_time_is_said(leave: str) -> None:
    order = Resequencer[str](window=4)
    if leave == "an item":
        order.push(1, "1")
    elif leave == "a completion":
        order.complete(1, 0)
    else:
        order.push(0, "0.0", part=0, last=False)

    with pytest.raises(SequenceError, match="sequence 0: it never came"):
        order.finish()


def test_what_the_others_drop_while_one_is_slow_takes_no_room() -> None:
    order = Resequencer[str](window=8)
    slow = {0, 70_000}
    for number in range(100_000):
        if number not in slow:
            assert order.complete(number, 0) == []

    assert order.remembered == 2
    assert order.push(0, "0") == ["0"]
    assert order.push(70_000, "70000") == ["70000"]
    assert order.remembered == 0
    assert order.next_due == 100_000


@pytest.mark.parametrize("again", [1, 2, 3, 5])
def test_a_number_without_parts_is_complete_once(again: int) -> None:
    order = Resequencer[str](window=4)
    for number in (1, 3, 2, 5):
        order.complete(number, 0)

    with pytest.raises(SequenceError, match=f"sequence {again}: was complete before"):
        order.complete(again, 0)
    assert order.complete(4, 0) == []
    assert order.remembered == 1


def late_order():
    dropped = []
    return Resequencer[str](window=8, late=dropped.append), dropped


def test_a_late_twin_is_given_back_where_twins_are_expected():
    order, dropped = late_order()
    order.push(0, "0")
    order.push(2, "2")

    assert order.push(0, "0'") == []
    assert order.push(2, "2'") == []
    assert dropped == ["0'", "2'"]
    assert order.push(1, "1") == ["1", "2"]


def test_a_completion_counts_once_where_twins_are_expected():
    order, dropped = late_order()

    assert order.complete(1, 0) == []
    assert order.complete(1, 0) == []
    assert order.push(0, "0") == ["0"]
    assert order.complete(0, 0) == []
    assert order.complete(1, 0) == []
    order.finish()
    assert dropped == []


def test_twins_that_disagree_whether_there_is_an_item_do_not_block_the_order():
    order, dropped = late_order()
    order.push(1, "1")
    order.complete(1, 0)
    order.complete(2, 0)

    assert order.push(2, "2'") == []
    assert order.push(0, "0") == ["0", "1"]
    order.finish()
    assert dropped == ["2'"]
