"""Tokens come out whole and in order, and the kernel counts them."""

import fcntl
import os

import pytest

from datamover.errors import PipeError
from datamover.shm.tokens import COMPLETE, END, TOKEN, Token, TokenQueue


@pytest.fixture
def queue():
    made = TokenQueue(8)
    yield made
    made.close()


def test_a_token_is_16_bytes_as_specified() -> None:
    assert TOKEN.pack(1, 2, 3) == b"\1\0\0\0\2\0\0\0\3\0\0\0\0\0\0\0"
    assert (END, COMPLETE) == (0xFFFFFFFF, 0xFFFFFFFE)


def test_tokens_come_out_in_order(queue: TokenQueue) -> None:
    given = [Token(i, i * 2, i * 3) for i in range(8)]
    for token in given:
        queue.put(token)

    assert queue.drain() == given
    assert queue.drain() == []


def test_the_depth_is_what_was_put_less_what_was_taken(queue: TokenQueue) -> None:
    for i in range(5):
        queue.put(Token(i, 0, 0))
    os.read(queue.reader, 2 * TOKEN.size)

    assert queue.depth() == 3


@pytest.mark.parametrize("tokens", [1, 255, 256, 257, 4096, 4097, 20000])
def test_a_queue_takes_as_many_tokens_as_it_was_made_for(tokens: int) -> None:
    queue = TokenQueue(tokens)
    for i in range(tokens):
        queue.put(Token(i, 0, 0))

    assert queue.depth() == tokens
    queue.close()


@pytest.mark.parametrize("tokens", [256, 4096, 5000])
def test_a_page_that_was_read_in_part_does_not_cost_its_room(tokens: int) -> None:
    queue = TokenQueue(tokens)
    for i in range(tokens):
        queue.put(Token(i, 0, 0))
    for i in range(3 * tokens):
        os.read(queue.reader, TOKEN.size)
        queue.put(Token(i, 0, 0))

    assert queue.depth() == tokens
    queue.close()


def test_a_full_queue_says_so(queue: TokenQueue) -> None:
    capacity = fcntl.fcntl(queue.writer, 1032)  # F_GETPIPE_SZ
    for _ in range(capacity // TOKEN.size):
        queue.put(Token(0, 0, 0))

    with pytest.raises(PipeError):
        queue.put(Token(0, 0, 0))


def test_no_descriptor_outlives_an_exec(queue: TokenQueue) -> None:
    assert not os.get_inheritable(queue.reader)
    assert not os.get_inheritable(queue.writer)
