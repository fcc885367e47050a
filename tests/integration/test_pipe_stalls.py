"""A pipe that can never go on is ended, and the stage that keeps everything is named."""

import time

import pytest

from datamover.errors import OwnershipError, StageFailedError
from datamover.monitor import live
from datamover.monitor.stall import find_stall
from datamover.monitor.supervisor import Monitor
from datamover.pipe.spec import Mode, PipeSpec
from datamover.testing.stages import (
    carry,
    copy,
    count,
    digest,
    drop,
    gather,
    hoards,
    patient,
)

MODES = [Mode.THREAD, pytest.param(Mode.PROCESS, marks=pytest.mark.processes)]


@pytest.fixture(scope="module")
def monitor():
    with Monitor() as found:
        found.warm_up()
        yield found


def ends(pipe) -> None:
    assert pipe.poll(30.0)


@pytest.mark.parametrize("mode", MODES)
def test_a_tail_that_keeps_all_it_can_get_is_named(monitor: Monitor, mode: Mode) -> None:
    stages = [count.stage(count=100), carry.stage(instances=2), hoards.stage()]
    pipe = monitor.start(PipeSpec(name="hoard", stages=stages, buffers=4, mode=mode))
    ends(pipe)

    with pytest.raises(StageFailedError, match="hoards holds 4 buffers and waits") as caught:
        pipe.wait()
    assert (caught.value.stage, caught.value.sequence) == ("hoards", 3)
    assert caught.value.cause_code == OwnershipError.code


@pytest.mark.parametrize("mode", MODES)
def test_a_short_stream_may_be_kept_whole(monitor: Monitor, mode: Mode) -> None:
    stages = [count.stage(count=4), hoards.stage()]
    pipe = monitor.start(PipeSpec(name="fits", stages=stages, buffers=4, mode=mode))
    ends(pipe)

    pipe.wait()


def test_instances_that_keep_all_only_together_are_found(monitor: Monitor) -> None:
    stages = [count.stage(count=100), copy.stage(share=3), hoards.stage(instances=2)]
    pipe = monitor.start(PipeSpec(name="two", stages=stages, buffers=6, mode=Mode.THREAD))
    ends(pipe)

    with pytest.raises(StageFailedError, match=r"hoards, instance [01], holds [23] buffers and"):
        pipe.wait()


def test_a_wait_that_has_a_deadline_is_no_stall(monitor: Monitor, monkeypatch) -> None:
    monkeypatch.setattr(live, "_LOOK", 0.0)
    stages = [count.stage(count=10), patient.stage()]
    pipe = monitor.start(PipeSpec(name="patient", stages=stages, buffers=4, mode=Mode.THREAD))
    while not pipe.poll(0.01):
        continue

    assert pipe.wait().results["patient"][0]["waits"] >= 2


def test_the_smallest_pipes_that_go_on_are_never_stopped(monitor: Monitor, monkeypatch) -> None:
    monkeypatch.setattr(live, "_LOOK", 0.0)
    looks = []

    def look(wiring, told):
        looks.append(find_stall(wiring, told=told))
        return looks[-1]

    monkeypatch.setattr(live, "find_stall", look)
    for seed in range(4):
        stages = [
            count.stage(count=300, share=2, instances=2),
            copy.stage(instances=2, share=2, delay_s=0.0003, seed=seed),
            drop.stage(every=3, instances=2),
            gather.stage(),
        ]
        spec = PipeSpec(name="busy", stages=stages, buffers=8, mode=Mode.THREAD, buffer_size=64)
        pipe = monitor.start(spec)
        while not pipe.poll(0.0002):
            continue
        numbers = [n for n in range(300) if n % 3]
        assert pipe.wait().results["gather"][0]["digest"] == digest(numbers)

    assert len(looks) > 100
    assert set(looks) == {None}


def test_nobody_is_blamed_while_a_failure_is_on_its_way(monitor: Monitor, monkeypatch) -> None:
    stages = [count.stage(count=100), carry.stage(raise_at=0), gather.stage()]
    pipe = monitor.start(PipeSpec(name="late", stages=stages, buffers=4, mode=Mode.THREAD))
    limit = time.monotonic() + 10.0
    while not all(rests(pipe, task) for task in range(3)):  # nobody reads what they say
        assert time.monotonic() < limit
    monkeypatch.setattr(live, "_LOOK", 0.0)
    pipe._look = 0.0
    pipe.check_stall()
    ends(pipe)

    with pytest.raises(StageFailedError, match="number 0 is not welcome"):
        pipe.wait()


def rests(pipe, task: int) -> bool:
    with pipe.wiring.segment.record(task) as record:
        return bool(record[8] or record[12])
