"""Each buffer of a pipe that stands still is in one place, and each place has one consequence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.errors import OwnershipError
from datamover.monitor.audit import Crew, Place, find
from datamover.shm.segment import State

# A head 0, two processes of two tasks, (1, 3) and (2, 4), and a tail 5.
DEAD = Crew(tasks=(1, 3), senders=frozenset({0}))
OTHER = Crew(tasks=(2, 4), senders=frozenset({0}))
HEAD, FIRST, SECOND, ALIVE, TAIL = 0, 1, 3, 4, 5


def found(place, queued=()):
    result = find([place], queued, [DEAD])
    return result.free, result.inputs[FIRST]


@pytest.mark.parametrize("state", [State.OWNED, State.TAKEN, State.QUEUED])
@pytest.mark.parametrize("owner", [FIRST, SECOND])
def test_what_the_dead_had_of_another_is_an_input_and_of_its_own_is_free(state, owner):
    begun = state is not State.TAKEN or owner != FIRST

    assert found(Place(state, owner, HEAD)) == ([], {0: begun})
    assert found(Place(state, owner, SECOND)) == ([0], {})


@pytest.mark.parametrize("place", [Place(*fields) for fields in [
    (State.OWNED, FIRST, HEAD), (State.QUEUED, SECOND, HEAD), (State.QUEUED, HEAD, HEAD),
    (State.FREE, SECOND, HEAD), (State.FREE, SECOND, SECOND),
]])  # fmt: skip
def test_what_is_in_a_queue_stays_there(place):
    assert found(place, [0]) == ([], {})


def test_what_was_sent_to_the_dead_and_is_in_no_queue_had_been_read():
    assert found(Place(State.QUEUED, HEAD, HEAD)) == ([], {0: False})


@pytest.mark.parametrize("place", [Place(*fields) for fields in [
    (State.OWNED, TAIL, HEAD), (State.TAKEN, TAIL, SECOND), (State.OWNED, ALIVE, HEAD),
    (State.QUEUED, ALIVE, HEAD), (State.FREE, HEAD, HEAD), (State.FREE, TAIL, HEAD),
]])  # fmt: skip
def test_what_the_living_have_stays_theirs(place):
    assert found(place) == ([], {})


@pytest.mark.parametrize("place", [Place(*fields) for fields in [
    (State.FREE, SECOND, SECOND), (State.FREE, TAIL, SECOND), (State.FREE, SECOND, HEAD),
]])  # fmt: skip
def test_what_was_on_its_way_to_a_free_queue_goes_there(place):
    assert found(place) == ([0], {})


def test_of_two_dead_each_gets_its_own_inputs_and_one_that_either_read_goes_to_one():
    table = [
        Place(State.OWNED, 2, HEAD),
        Place(State.OWNED, SECOND, HEAD),
        Place(State.QUEUED, HEAD, HEAD),
        Place(State.OWNED, 4, SECOND),
    ]
    result = find(table, [], [DEAD, OTHER])

    assert result.free == []
    assert {0: True, 3: True}.items() <= result.inputs[2].items()
    assert {1: True}.items() <= result.inputs[1].items()
    assert sum(2 in inputs for inputs in result.inputs.values()) == 1


def test_a_buffer_in_two_queues_is_refused():
    with pytest.raises(OwnershipError, match="two queues"):
        find([Place(State.QUEUED, HEAD, HEAD)], [0, 0], [DEAD])


places = st.builds(
    Place, st.sampled_from(list(State)), st.integers(0, TAIL), st.sampled_from([HEAD, SECOND])
)


@given(st.lists(st.tuples(places, st.booleans()), max_size=12))
def test_nothing_is_in_two_places_afterwards(table):
    queued = [index for index, (_, there) in enumerate(table) if there]
    result = find([place for place, _ in table], queued, [DEAD])
    moved = [*result.free, *result.inputs[FIRST]]

    assert len(set(moved)) == len(moved)
    assert not set(moved) & set(queued)
