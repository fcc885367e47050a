"""A stage may poll descriptors of its own beside the queues: nothing is missed, nothing is lost.

A port reads tokens in advance, so a queue may look empty that is not; the rule (try until the verb
times out, then poll) holds all the same.
"""

import select

import pytest

from datamover.errors import BufferTimeoutError, SpecError, StageFailedError, StopRequestedError
from datamover.monitor.supervisor import Monitor, run
from datamover.pipe.definition import head, middle, tail
from datamover.pipe.spec import Mode, PipeSpec
from datamover.testing.stages import carry, count, digest, gather, read_number, write_number

COUNT = 300


def poll(*descriptors: int) -> set[int]:
    found = select.poll()
    for one in descriptors:
        found.register(one, select.POLLIN)
    return {one for one, _ in found.poll(10_000)}


@head
def polling_head(port) -> None:
    """Takes every free buffer ahead, and sends the oldest."""
    watched, ahead = port.watched, []
    for number in range(COUNT):
        try:
            while True:
                ahead.append(port.alloc(timeout=0))
        except BufferTimeoutError:
            if not ahead:
                assert poll(watched.free, watched.control) == {watched.free}
                ahead.append(port.alloc(timeout=0))
        buffer = ahead.pop(0)
        write_number(buffer, number)
        port.send(buffer)
    for buffer in ahead:
        port.free(buffer)


@tail
def polling_tail(port) -> None:
    watched, numbers, waits = port.watched, [], 0
    while True:
        try:
            buffer = port.receive(timeout=0)
        except BufferTimeoutError:
            waits += 1
            assert poll(watched.input, watched.control) == {watched.input}
            continue
        if buffer is None:
            break
        numbers.append(read_number(buffer))
        port.free(buffer)
    port.result({"digest": digest(numbers), "waits": waits})


@tail
def stopped_tail(port) -> None:
    watched = port.watched
    port.notice("here")
    assert watched.control in poll(watched.control)
    port.check()


@tail
def limited(port) -> None:
    """Says the limit that it finds, until there is none."""
    told = 0
    while (limit := port.limit) or not told:
        port.check()
        if limit not in {0, told}:
            told = limit
            port.notice("limit", limit=limit)
    for buffer in port.incoming():
        port.free(buffer)


@middle
def looking(port) -> None:
    assert port.watched
    for buffer in port.incoming():
        port.send(buffer)


def test_stages_that_poll_miss_nothing() -> None:
    spec = PipeSpec(
        name="polling",
        stages=[polling_head.stage(), carry.stage(instances=2), polling_tail.stage()],
        buffers=6,
        buffer_size=64,
        mode=Mode.THREAD,
    )

    outcome = run(spec)

    assert outcome.results["polling_tail"][0]["digest"] == digest(range(COUNT))
    assert outcome.results["polling_tail"][0]["waits"] < 3 * COUNT + 3


def test_a_stop_wakes_a_stage_that_polls() -> None:
    spec = PipeSpec(
        name="polling", stages=[count.stage(count=-1), stopped_tail.stage()], mode=Mode.THREAD
    )
    told: list[str] = []
    with Monitor() as monitor:
        pipe = monitor.start(spec, on_notice=lambda *given: told.append(given[2]))
        while not told:
            pipe.poll(0.1)
        pipe.stop()

        with pytest.raises(StopRequestedError):
            pipe.wait()


def test_a_limit_that_changes_is_seen() -> None:
    spec = PipeSpec(name="limit", stages=[count.stage(), limited.stage()], mode=Mode.THREAD)
    told: list[int] = []
    with Monitor() as monitor:
        pipe = monitor.start(spec, on_notice=lambda *given: told.append(given[3]["limit"]))
        for limit in (5_000_000, 1 << 40, 0):
            pipe.wiring.segment.set_limit(limit)
            while limit and told[-1:] != [limit]:
                pipe.poll(0.05)
        pipe.wait()

    assert told == [5_000_000, 1 << 40]


def test_joined_stages_cannot_poll() -> None:
    spec = PipeSpec(
        name="joined",
        stages=[count.stage(), carry.stage(), looking.stage(joined=True), gather.stage()],
        mode=Mode.THREAD,
    )

    with pytest.raises(StageFailedError, match="join it to no other") as caught:
        run(spec)
    assert caught.value.cause_code == SpecError.code


def test_a_look_costs_no_poll(monkeypatch) -> None:
    """``timeout=0`` neither waits nor accounts a wait."""
    counted: list[float] = []

    @head
    def hungry(port) -> None:
        ahead = []
        while len(ahead) < 2:
            ahead.append(port.alloc(timeout=0))
        monkeypatch.setattr(port._waiter, "wait", lambda *_, **__: counted.append(1.0))
        for _ in range(10):
            with pytest.raises(BufferTimeoutError):
                port.alloc(timeout=0)
        for buffer in ahead:
            port.free(buffer)

    run(
        PipeSpec(
            name="look",
            stages=[hungry.stage(), gather.stage()],
            buffers=2,
            buffer_size=64,
            mode=Mode.THREAD,
        )
    )

    assert not counted
