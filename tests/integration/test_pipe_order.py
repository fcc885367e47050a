"""What arrives at the tail is what the stages as plain functions make of the head's numbers.

However many stages and instances there are, and whatever tasks they are (SPEC A2-A6, A9-A14,
A17, A18, A23, A27, B1-B5, C20).
"""

import time

import pytest

from datamover.errors import StageFailedError
from datamover.monitor.supervisor import Monitor
from datamover.pipe.definition import head, middle, tail
from datamover.pipe.spec import Mode, PipeSpec
from datamover.testing.stages import (
    Dropping,
    Splitting,
    carry,
    copy,
    count,
    digest,
    drop,
    expected,
    gather,
    split,
)

pytestmark = pytest.mark.processes
COUNT = 60


@pytest.fixture(scope="module")
def monitor():
    with Monitor(preload=["datamover.testing.stages"]) as found:
        found.warm_up()
        yield found


def spec(*stages, mode: Mode = Mode.PROCESS, **more) -> PipeSpec:
    return PipeSpec(name="order", stages=stages, **{"mode": mode, "buffer_size": 64} | more)


def check(outcome, numbers: list[int]) -> None:
    gathered = outcome.results["gather"]

    assert sum(r["count"] for r in gathered) == len(numbers)
    assert sum(r["sum"] for r in gathered) == sum(numbers)
    assert all(r["grew"] for r in gathered)
    if len(gathered) == 1:
        assert gathered[0]["digest"] == digest(numbers)


@pytest.mark.parametrize("stages", [2, 3, 10])
def test_pipes_of_any_length_deliver_every_byte_in_order(monitor: Monitor, stages: int) -> None:
    middles = [copy.stage() if i % 3 == 1 else carry.stage() for i in range(stages - 2)]
    outcome = monitor.start(spec(count.stage(count=COUNT), *middles, gather.stage())).wait()

    check(outcome, list(range(COUNT)))


@pytest.mark.parametrize("place", [0, 1, 2, 3])
@pytest.mark.parametrize("instances", [2, 4])
def test_instances_at_any_one_stage_change_nothing(
    monitor: Monitor, place: int, instances: int
) -> None:
    p = [instances if i == place else 1 for i in range(4)]
    outcome = monitor.start(
        spec(
            count.stage(count=COUNT, instances=p[0]),
            carry.stage(instances=p[1], delay_s=0.002, seed=place),
            copy.stage(instances=p[2], delay_s=0.002, seed=place),
            gather.stage(instances=p[3]),
        )
    ).wait()

    check(outcome, list(range(COUNT)))


@pytest.mark.parametrize("mode", list(Mode))
def test_every_mode_and_several_ordered_regions_give_the_same(monitor: Monitor, mode: Mode) -> None:
    outcome = monitor.start(
        spec(
            count.stage(count=COUNT, instances=2),
            carry.stage(instances=3, delay_s=0.001),
            drop.stage(every=3),
            split.stage(instances=2, parts=3, delay_s=0.001),
            copy.stage(instances=2),
            gather.stage(),
            mode=mode,
        )
    ).wait()

    check(outcome, expected(range(COUNT), [Dropping(every=3), Splitting(parts=3)]))


def test_threads_and_processes_work_in_one_pipe(monitor: Monitor) -> None:
    outcome = monitor.start(
        spec(
            count.stage(count=COUNT, mode=Mode.THREAD),
            copy.stage(instances=2, delay_s=0.001),
            split.stage(instances=2, parts=2, mode=Mode.THREAD),
            gather.stage(),
        )
    ).wait()

    check(outcome, expected(range(COUNT), [Splitting(parts=2)]))


@pytest.mark.parametrize("mode", list(Mode))
def test_instances_that_drop_leave_no_gap(monitor: Monitor, mode: Mode) -> None:
    outcome = monitor.start(
        spec(count.stage(count=COUNT), drop.stage(instances=3, every=2), gather.stage(), mode=mode)
    ).wait()

    check(outcome, expected(range(COUNT), [Dropping(every=2)]))


def test_an_instance_that_lingers_after_it_dropped_is_waited_for(monitor: Monitor) -> None:
    outcome = monitor.start(
        spec(
            count.stage(count=COUNT),
            drop.stage(instances=3, every=7, linger_s=0.02),
            gather.stage(),
            buffers=4,
        )
    ).wait()

    check(outcome, expected(range(COUNT), [Dropping(every=7)]))


def test_instances_that_drop_more_than_a_queue_can_say_wait_for_the_receiver(
    monitor: Monitor,
) -> None:
    outcome = monitor.start(
        spec(
            count.stage(count=9001),
            keep_some.stage(instances=2),
            sleepy.stage(),
            mode=Mode.THREAD,
        )
    ).wait()

    assert outcome.results["sleepy"][0]["count"] == 2


@middle
def keep_some(port) -> None:
    for buffer in port.incoming():
        if buffer.sequence % 9000:
            port.free(buffer)
        else:
            port.send(buffer)


@tail
def sleepy(port) -> None:
    found = 0
    for buffer in port.incoming():
        found += 1  # 4,096 completions fill the queue meanwhile
        time.sleep(0.4)
        port.free(buffer)
    port.result({"count": found})


@head(parallel=False)
def hand_written(port) -> None:
    for number in range(5):
        buffer = port.alloc()
        buffer.data[0] = number
        buffer.tag[:3], buffer.tag_used = b"tag", 3
        buffer.used = 1
        port.send(buffer)


@middle(allocates=True)
def all_four_verbs(port) -> None:
    while (old := port.receive()) is not None:
        new = port.alloc()
        new.data[:1], new.used = old.payload, old.used
        new.adopt(old)
        port.free(old)
        port.send(new)


@tail
def lists(port) -> None:
    found = []
    while (buffer := port.receive()) is not None:
        found.append(f"{buffer.data[0]}:{bytes(buffer.tag[: buffer.tag_used]).decode()}")
        port.free(buffer)
    port.result({"found": " ".join(found)})


@pytest.mark.parametrize("mode", [Mode.THREAD, Mode.INLINE])
def test_a_stage_written_against_the_four_verbs_alone_runs_and_tags_travel(
    monitor: Monitor, mode: Mode
) -> None:
    outcome = monitor.start(
        spec(hand_written.stage(), all_four_verbs.stage(instances=2), lists.stage(), mode=mode)
    ).wait()

    assert outcome.results["lists"][0]["found"] == "0:tag 1:tag 2:tag 3:tag 4:tag"


@pytest.mark.parametrize("mode", list(Mode))
def test_copies_are_counted_and_passing_on_makes_none(monitor: Monitor, mode: Mode) -> None:
    outcome = monitor.start(
        spec(count.stage(count=COUNT), carry.stage(), copy.stage(), gather.stage(), mode=mode)
    ).wait()
    copied = {s.stage: sum(i.copied for i in s.instances) for s in outcome.statistics.stages}
    sent = sum(i.bytes_out for i in outcome.statistics.stages[0].instances)

    assert copied == {"count": 0, "carry": 0, "copy": sent, "gather": 0}


@pytest.mark.parametrize("mode", list(Mode))
def test_statistics_add_up(monitor: Monitor, mode: Mode) -> None:
    outcome = monitor.start(
        spec(
            count.stage(count=COUNT),
            carry.stage(instances=2),
            drop.stage(every=4),
            gather.stage(),
            mode=mode,
        )
    ).wait()
    stages = outcome.statistics.stages
    flows = [
        tuple(
            sum(getattr(i, name) for i in stage.instances)
            for name in ("buffers_in", "buffers_out", "bytes_in", "bytes_out")
        )
        for stage in stages
    ]

    assert [f[:2] for f in flows] == [(0, 60), (60, 60), (60, 45), (45, 0)]
    assert [f[3] for f in flows[:-1]] == [f[2] for f in flows[1:]]
    for stage in stages:
        for found in stage.instances:
            waited = found.wait_input_s + found.wait_buffer_s + found.wait_output_s
            assert found.busy_s + waited == pytest.approx(found.elapsed_s, abs=1e-3)
            assert 0 < found.elapsed_s <= outcome.seconds
            assert found.held == 0


def test_pipes_at_the_same_time_share_no_buffer(monitor: Monitor) -> None:
    first = monitor.start(spec(count.stage(count=COUNT), copy.stage(), gather.stage(delay_s=0.002)))
    second = monitor.start(spec(count.stage(count=2 * COUNT), gather.stage(delay_s=0.001)))
    third = monitor.start(spec(count.stage(count=3 * COUNT), gather.stage(), mode=Mode.THREAD))

    assert len({p.wiring.segment.identity for p in (first, second, third)}) == 3
    assert len({p.name for p in (first, second, third)}) == 3
    check(third.wait(), list(range(3 * COUNT)))
    check(first.wait(), list(range(COUNT)))
    check(second.wait(), list(range(2 * COUNT)))


def test_one_pipe_that_fails_leaves_the_other_alone(monitor: Monitor) -> None:
    good = monitor.start(spec(count.stage(count=COUNT), gather.stage(delay_s=0.003)))
    bad = monitor.start(spec(count.stage(count=COUNT), carry.stage(raise_at=5), gather.stage()))
    with pytest.raises(StageFailedError):
        bad.wait()

    check(good.wait(), list(range(COUNT)))
