"""What a task of an accounted pipe has taken is in the table before it does anything else."""

import os

import pytest

from datamover.errors import BufferTimeoutError
from datamover.pipe.accounted import AccountedInlet, Moments, ends_sent, is_between, took_end
from datamover.pipe.counters import Counters
from datamover.pipe.waiter import PollWaiter
from datamover.shm.segment import OWNER, SAVED, SAVED_AT, State, owner_word
from datamover.shm.statistics import Wait
from datamover.shm.tokens import END, TOKEN

ME = 3


class Bench:
    """A queue, a table of four buffers, and the inlet between them."""

    def __init__(self, *, ends=2, lone=True, saves=False, replay=()):
        self.reader, self.writer = os.pipe2(os.O_NONBLOCK)
        self.table = memoryview(bytearray(4 * 64))
        self.word = memoryview(bytearray(8)).cast("Q")
        for at in range(4):
            SAVED.pack_into(self.table, at * 64 + SAVED_AT, 1, 7, 7)
        self.inlet = AccountedInlet(
            self.reader,
            ends=ends,
            lone=lone,
            wait=Wait.INPUT,
            waiter=PollWaiter(self.reader),
            counters=Counters(memoryview(bytearray(128)).cast("Q")),
        )
        self.inlet.account(
            owner_word(State.TAKEN, ME),
            self.table,
            Moments(self.word),
            buffers=4,
            saves=saves,
            replay=replay,
        )

    def put(self, *tokens):
        os.write(self.writer, b"".join(TOKEN.pack(*token) for token in tokens))

    def owner(self, index):
        return OWNER.unpack_from(self.table, index * 64)

    def saved(self, index):
        return SAVED.unpack_from(self.table, index * 64 + SAVED_AT)[0]


@pytest.fixture
def bench():
    made = []

    def make(**given):
        made.append(Bench(**given))
        return made[-1]

    yield make
    for one in made:
        os.close(one.reader)
        os.close(one.writer)


def test_what_was_read_ahead_is_marked_as_taken(bench):
    one = bench()
    one.put((2, 10, 0), (0, 10, 1))

    assert one.inlet.take(0.0) == (2, 10, 0)
    assert [one.owner(index) for index in (2, 0)] == [(State.TAKEN, ME)] * 2
    assert one.owner(1) == (0, 0)
    assert not is_between(one.word[0])


def test_who_shares_a_queue_takes_one_token_and_says_that_it_is_not_saved(bench):
    one = bench(lone=False, saves=True)
    one.put((2, 10, 0), (0, 10, 1))
    one.inlet.take(0.0)

    assert (one.owner(0), one.saved(2), one.saved(0)) == ((0, 0), 0, 1)


def test_an_empty_queue_leaves_no_moment_open(bench):
    one = bench()
    with pytest.raises(BufferTimeoutError):
        one.inlet.take(0.0)

    assert not is_between(one.word[0])


def test_an_end_that_comes_again_counts_once(bench):
    """A replaced instance sends its end a second time; the other one has not ended for that."""
    one = bench(ends=2)
    one.put((END, 0, 0), (END, 0, 0))
    with pytest.raises(BufferTimeoutError):
        one.inlet.take(0.0)
    one.put((END, 0, 0), (1, 5, 9))

    assert one.inlet.take(0.0) == (1, 5, 9)
    one.put((END, 1, 0))
    assert one.inlet.take(0.0) is None
    assert one.inlet.has_ended


def test_a_successor_begins_with_what_it_is_given(bench):
    one = bench(ends=1, lone=False, replay=[(3, 5, 7), (END, 0, 0)])

    assert took_end(one.word[0])
    assert one.inlet.take(0.0) == (3, 5, 7)
    assert one.inlet.take(0.0) is None


def test_a_word_goes_on_from_that_of_a_predecessor():
    word = memoryview(bytearray(8)).cast("Q")
    first = Moments(word)
    first.begin()
    first.end_sent()
    first.end_taken()
    first.begin()
    assert is_between(word[0])
    Moments(word).end()

    assert (is_between(word[0]), took_end(word[0]), ends_sent(word[0])) == (False, True, 1)
