"""The drive starts when it is worth it, stops when there is little left, and gets every byte."""

from __future__ import annotations

import os
import threading

import pytest

from datamover.media.tape.buffer import StreamingBuffer
from datamover.units import Bytes


@pytest.fixture
def buffer():
    return StreamingBuffer(block=Bytes(10), capacity=Bytes(100), high=Bytes(60), low=Bytes(20))


def fill(buffer, data):
    left = memoryview(data)
    while left:
        left = buffer.put(left)


def in_a_thread(call):
    results = []
    thread = threading.Thread(target=lambda: results.append(call()))
    thread.start()
    return thread, results


def take(buffer):
    block = buffer.take()
    if block is None:
        return None
    taken = bytes(block)
    buffer.taken()
    return taken


def test_every_byte_passes_in_order(buffer):
    data = os.urandom(1003)
    thread, _ = in_a_thread(lambda: [fill(buffer, data[at : at + 7]) for at in range(0, 1003, 7)])
    thread2, blocks = in_a_thread(lambda: list(iter(lambda: take(buffer), None)))
    thread.join(20)
    buffer.end()
    thread2.join(20)

    assert b"".join(blocks[0]) == data
    assert [len(block) for block in blocks[0]] == [10] * 100 + [3]


def test_the_drive_waits_until_it_is_worth_starting(buffer):
    thread, results = in_a_thread(lambda: take(buffer))
    fill(buffer, b"x" * 59)
    thread.join(0.05)
    assert thread.is_alive()
    fill(buffer, b"x")
    thread.join(20)

    assert results == [b"x" * 10]


def test_once_started_it_runs_down_to_the_low_mark_and_stops_once(buffer):
    fill(buffer, b"x" * 60)
    assert [take(buffer) for _ in range(4)] == [b"x" * 10] * 4
    thread, results = in_a_thread(lambda: take(buffer))
    fill(buffer, b"x" * 30)
    thread.join(0.05)
    assert thread.is_alive()
    assert buffer.stops == 1
    fill(buffer, b"x" * 10)
    thread.join(20)

    assert results == [b"x" * 10]
    assert buffer.stops == 1


def test_what_is_left_comes_out_at_the_end(buffer):
    fill(buffer, b"x" * 25)
    buffer.end()

    assert [take(buffer) for _ in range(4)] == [b"x" * 10, b"x" * 10, b"x" * 5, None]
    assert buffer.stops == 0


def test_who_fills_waits_while_it_is_full(buffer):
    thread, _ = in_a_thread(lambda: fill(buffer, b"x" * 120))
    thread.join(0.05)
    assert thread.is_alive()
    assert buffer.is_full
    for _ in range(3):
        take(buffer)
    thread.join(20)

    assert not thread.is_alive()


@pytest.mark.parametrize("side", ["fill", "take"])
def test_breaking_off_lets_both_sides_go(buffer, side):
    call = (lambda: fill(buffer, b"x" * 999)) if side == "fill" else buffer.take
    thread, results = in_a_thread(call)
    thread.join(0.05)
    assert thread.is_alive()
    buffer.break_off()
    thread.join(20)

    assert results == [None]
