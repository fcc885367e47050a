"""However several instances interleave, the resequencer's output is their sorted input."""

from hypothesis import given
from hypothesis import strategies as st

from datamover.pipe.order import Resequencer

WINDOW = 10_000

# How many parts each number has; None: one part that says itself that it is the last.
streams = st.lists(st.none() | st.integers(0, 3), max_size=30)


def lanes_of(stream, instances: int, draw):
    """Deal numbers to instances: what each one says, in its order."""
    lanes = [[] for _ in range(instances)]
    for number, parts in enumerate(stream):
        lane = lanes[draw(st.integers(0, instances - 1))]
        if parts is None:
            lane.append((number, 0, True))
        else:
            lane += [(number, part, False) for part in range(parts)]
            lane.append((number, parts, None))
    return lanes


@given(stream=streams, instances=st.integers(1, 4), data=st.data())
def test_output_is_sorted_input_and_nothing_is_held_too_long(stream, instances, data) -> None:
    lanes = lanes_of(stream, instances, data.draw)
    order = Resequencer[tuple[int, int]](window=WINDOW)
    out, came = [], set()
    while any(lanes):
        lane = data.draw(st.sampled_from([lane for lane in lanes if lane]))
        number, part, last = lane.pop(0)
        if last is None:
            out += order.complete(number, part)
            came.add((number, "end"))
        else:
            out += order.push(number, (number, part), part=part, last=last)
            came |= {(number, part)} | ({(number, "end")} if last else set())

        assert out == due(came)
        # Before each range of empty numbers is one that is still out, or one with parts.
        still_out = {number for lane in lanes for number, _, _ in lane}
        with_parts = sum(1 for parts in stream if parts != 0)
        assert order.remembered <= len(still_out) + 2 * with_parts
    order.finish()

    assert out == sorted(out)
    assert order.held == 0


def due(came) -> list[tuple[int, int]]:
    """What may have left by now: every part whose predecessors all came."""
    found, number = [], 0
    while True:
        part = 0
        while (number, part) in came:
            found.append((number, part))
            part += 1
        if (number, "end") not in came:
            return found
        number += 1


@given(numbers=st.permutations(range(12)), window=st.integers(1, 12))
def test_no_more_is_held_than_the_window(numbers, window) -> None:
    from datamover.errors import SequenceError

    order = Resequencer[int](window=window)
    try:
        for number in numbers:
            order.push(number, number)
            assert order.held < window
    except SequenceError:
        assert order.held == window
