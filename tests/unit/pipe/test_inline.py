"""Stages that take turns in one thread: each runs until it would wait, and a deadlock is said."""

import pytest

from datamover.errors import OwnershipError, StopRequestedError
from datamover.monitor.core import State
from datamover.monitor.supervisor import Monitor
from datamover.pipe.definition import tail
from datamover.pipe.inline import InlineScheduler
from datamover.pipe.spec import Mode, PipeSpec
from datamover.shm.tokens import Token, TokenQueue
from datamover.testing.stages import count


@pytest.fixture
def queue():
    made = TokenQueue(4)
    yield made
    made.close()


def test_whoever_waits_lets_the_others_go_on(queue: TokenQueue) -> None:
    scheduler, said = InlineScheduler(), []

    def reader() -> None:
        said.append("reader waits")
        assert scheduler.wait(queue.reader, None)
        said.append("reader goes on")

    def writer() -> None:
        said.append("writer writes")
        queue.put(Token(1, 2, 3))

    scheduler.add(reader)
    scheduler.add(writer)
    scheduler.run()

    assert said == ["reader waits", "writer writes", "reader goes on"]


def test_a_deadline_ends_a_wait(queue: TokenQueue) -> None:
    scheduler, found = InlineScheduler(), []
    scheduler.add(lambda: found.append(scheduler.wait(queue.reader, 0.0)))
    scheduler.run()

    assert found == [False]


def test_a_stop_ends_every_wait(queue: TokenQueue) -> None:
    scheduler, ended = InlineScheduler(), []

    def waits() -> None:
        try:
            scheduler.wait(queue.reader, None)
        except StopRequestedError:
            ended.append("stopped")

    scheduler.add(waits)
    scheduler.add(scheduler.stop)
    scheduler.add(waits)
    scheduler.run()

    assert ended == ["stopped", "stopped"]


def test_stages_that_wait_for_each_other_are_an_error(queue: TokenQueue) -> None:
    scheduler = InlineScheduler()
    scheduler.add(lambda: scheduler.wait(queue.reader, None))

    with pytest.raises(OwnershipError, match="every stage of the inline pipe waits for another"):
        scheduler.run()


@tail
def hoards(port) -> None:
    kept = list(port.incoming())
    for buffer in kept:
        port.free(buffer)


def test_a_tail_that_hoards_is_an_error_and_the_monitor_closes_at_once() -> None:
    with Monitor() as monitor:
        pipe = monitor.start(
            PipeSpec(name="i", stages=[count.stage(), hoards.stage()], mode=Mode.INLINE)
        )
        with pytest.raises(OwnershipError):
            pipe.wait()

    assert pipe.state is State.STOPPED
