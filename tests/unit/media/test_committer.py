"""Chunks become durable in order, behind the stream's back, and an error is never lost."""

from __future__ import annotations

import threading

import pytest

from datamover.errors import MediumFullError, StoreError
from datamover.media.committer import Committer
from datamover.media.directory import DirectoryMedium
from datamover.testing.media import FailingMedium


class GatedWriter:
    """A writer whose commit waits for a gate."""

    name = "gated"
    length = 0

    def __init__(self, gate):
        self.gate, self.done, self.was_abandoned = gate, False, False

    def commit(self):
        assert self.gate.wait(10)
        self.done = True

    def abandon(self):
        self.was_abandoned = not self.done


def test_the_stream_goes_on_while_a_chunk_is_committed():
    gate = threading.Event()
    with Committer() as committer:
        committer.submit(GatedWriter(gate), "first")

        assert committer.finished() == []
        gate.set()
        assert committer.drain() == ["first"]


def test_chunks_are_reported_in_order_and_once(tmp_path):
    with DirectoryMedium(tmp_path) as medium, Committer() as committer:
        reported = []
        for number in range(5):
            writer = medium.create(f"{number}.dmc")
            writer.write([b"x"])
            committer.submit(writer, number)
            reported += committer.finished()
        reported += committer.drain()

        assert reported == [0, 1, 2, 3, 4]
        assert list(medium.names()) == [f"{n}.dmc" for n in range(5)]


def test_an_error_surfaces_and_no_later_chunk_is_kept(tmp_path):
    with DirectoryMedium(tmp_path) as inner:
        medium = FailingMedium(inner, ".F.")
        with Committer(depth=9) as committer:
            for number in range(3):
                committer.submit(medium.create(f"{number}.dmc"), number)
            with pytest.raises(MediumFullError):
                committer.drain()
            with pytest.raises(MediumFullError):
                committer.finished()

        assert list(inner.names()) == ["0.dmc"]
        assert inner.clean() == []


def test_at_most_depth_chunks_wait():
    gate = threading.Event()
    timer = threading.Timer(0.05, gate.set)
    with Committer(depth=1) as committer:
        first, second = GatedWriter(gate), GatedWriter(gate)
        committer.submit(first, 1)
        timer.start()
        committer.submit(second, 2)

        assert first.done
        committer.drain()


def test_closing_early_abandons_what_was_not_begun():
    gate = threading.Event()
    writers = [GatedWriter(gate) for _ in range(3)]
    with Committer(depth=5) as committer:
        for writer in writers:
            committer.submit(writer, 0)
        threading.Timer(0.05, gate.set).start()

    assert [w.was_abandoned for w in writers[1:]] == [True, True]


def test_an_error_of_another_kind_is_not_swallowed():
    class Odd(GatedWriter):
        def commit(self):
            raise ZeroDivisionError

    with Committer() as committer:
        committer.submit(Odd(None), 0)
        with pytest.raises(ZeroDivisionError):
            committer.drain()
        late = GatedWriter(None)
        committer.submit(late, 1)
        with pytest.raises((ZeroDivisionError, StoreError)):
            committer.drain()
    assert late.was_abandoned
