"""Shares belong to instances: with one pool for a stage's instances, bad timing locks them up.

Two allocating instances stand before a stage that puts their buffers in order.  The one that got
number 0 is slow; the other one takes every buffer it can, for numbers that must wait for 0.
SPEC A20, A26, B6; docs/decisions/0003-free-queue-is-the-quota.md.
"""

import threading

import pytest

from datamover.errors import BufferTimeoutError, StageFailedError
from datamover.monitor.supervisor import Monitor
from datamover.monitor.wiring import Wiring
from datamover.pipe.definition import middle
from datamover.pipe.spec import Mode, PipeSpec
from datamover.shm.tokens import TOKEN
from datamover.testing.stages import count, digest, gather, read_number, write_number

EXHAUSTED = threading.Event()
COUNT = 30


@middle(allocates=True)
def adverse(port) -> None:
    port._share._size = TOKEN.size  # a pool for several would be read one token at a time
    for buffer in port.incoming():
        number = read_number(buffer)
        if number == 0:
            assert EXHAUSTED.wait(5.0)
        try:
            fresh = port.alloc(timeout=0.05 if number else None)
        except BufferTimeoutError:
            EXHAUSTED.set()
            fresh = port.alloc()
        write_number(fresh, number)
        port.free(buffer)
        port.send(fresh)


@pytest.fixture
def monitor():
    EXHAUSTED.clear()
    with Monitor() as found:
        yield found


def spec() -> PipeSpec:
    return PipeSpec(
        name="shares",
        stages=[count.stage(count=COUNT, share=8), adverse.stage(instances=2), gather.stage()],
        buffers=8 + 2 * 2,
        buffer_size=64,
        mode=Mode.THREAD,
    )


def test_the_least_shares_are_enough_whatever_the_timing(monitor: Monitor) -> None:
    outcome = monitor.start(spec()).wait()

    assert EXHAUSTED.is_set()
    assert outcome.results["gather"][0]["digest"] == digest(range(COUNT))


def test_a_pool_that_instances_share_locks_up(monitor: Monitor, monkeypatch) -> None:
    own = Wiring.facts

    def facts(wiring: Wiring, task):
        first, second = (t.id for t in wiring.layout.tasks if t.stage == 1)
        for token in wiring.free[second].drain():
            wiring.free[first].put(token)
        found = own(wiring, task)
        shared = wiring.free[first]
        descriptors = found.descriptors
        free = {key: shared.reader for key in descriptors.free if task.stage == 1}
        release = {
            key: shared.writer if int(key) in {first, second} else number
            for key, number in descriptors.release.items()
        }
        changed = type(descriptors)(
            **{name: getattr(descriptors, name) for name in ("segment", "control", "input")},
            output=descriptors.output,
            free=free or descriptors.free,
            release=release,
        )
        return type(found)(
            **{name: getattr(found, name) for name in found.__struct_fields__}
            | {"descriptors": changed}
        )

    monkeypatch.setattr(Wiring, "facts", facts)
    pipe = monitor.start(spec())

    assert pipe.poll(10.0)
    with pytest.raises(StageFailedError, match="every stage waits for another"):
        pipe.wait()
    waits = [instance.wait_buffer_s for instance in pipe.statistics().stages[1].instances]
    assert min(waits) > 0.0  # both of them waited for a buffer,
    assert pipe.statistics().stages[2].instances[0].buffers_out == 0
    assert pipe.statistics().stages[2].instances[0].buffers_in == 0  # and none could be freed
