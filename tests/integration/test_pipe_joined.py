"""Joined stages share a task, and the pipe delivers the same as without."""

import pytest

from datamover.errors import SpecError, StageFailedError
from datamover.monitor.supervisor import Monitor
from datamover.pipe.definition import middle
from datamover.pipe.layout import lay_out
from datamover.pipe.spec import Mode, PipeSpec
from datamover.pipe.stage import FanOut
from datamover.testing.stages import carry, copy, count, drop, gather, split


@middle
def stopping_at_forty(port):
    for buffer in port.incoming():
        if buffer.sequence == 40:
            raise ValueError("forty")
        port.send(buffer)


@middle(fan_out=FanOut.MANY)
def many(port):
    for buffer in port.incoming():
        port.send(buffer)


@pytest.fixture(scope="module")
def monitor():
    with Monitor() as found:
        found.warm_up()
        yield found


def spec(instances=2, mode=Mode.PROCESS, joined=True):
    return PipeSpec(
        name="joined",
        mode=mode,
        buffer_size=64,
        stages=[
            count.stage(count=200),
            carry.stage(instances=instances),
            drop.stage(instances=instances, every=3, joined=joined),
            copy.stage(instances=instances, joined=joined),
            gather.stage(),
        ],
    )


@pytest.mark.processes
@pytest.mark.parametrize("mode", [Mode.PROCESS, Mode.THREAD, Mode.INLINE])
@pytest.mark.parametrize("instances", [1, 2, 4])
def test_joining_changes_nothing_of_what_arrives(monitor, instances, mode):
    apart = monitor.start(spec(instances, mode, joined=False)).wait().results["gather"]
    joined = monitor.start(spec(instances, mode)).wait().results["gather"]

    assert joined == apart


@pytest.mark.processes
def test_joined_stages_share_a_process(monitor):
    pipe = monitor.start(spec())
    pipe.wait_ready()
    crews = [[task.id for task in crew] for crew in pipe.layout.crews()]
    pids = dict(pipe.pids)
    pipe.wait()

    assert [len(crew) for crew in crews] == [1, 3, 3, 1]
    assert all(len({pids[task] for task in crew if task in pids}) <= 1 for crew in crews)
    assert len(set(pids.values())) <= 4


@pytest.mark.processes
def test_a_stage_that_fails_is_named_and_not_the_one_whose_process_it_shares(monitor):
    stages = [
        count.stage(count=100),
        carry.stage(instances=2),
        stopping_at_forty.stage(instances=2, joined=True),
        copy.stage(instances=2, joined=True),
        gather.stage(),
    ]
    with pytest.raises(StageFailedError) as caught:
        monitor.start(
            PipeSpec(name="failing", mode=Mode.THREAD, stages=stages, buffer_size=64)
        ).wait()

    assert caught.value.stage == "stopping_at_forty"
    assert caught.value.sequence == 40
    assert "forty" in caught.value.cause


@pytest.mark.processes
@pytest.mark.faults
def test_a_killed_process_ends_the_pipe_with_all_that_shared_it(monitor):
    stages = [
        count.stage(count=-1),
        carry.stage(instances=2),
        copy.stage(instances=2, joined=True),
        gather.stage(),
    ]
    pipe = monitor.start(PipeSpec(name="killed", stages=stages, buffer_size=64))
    pipe.wait_ready()
    monitor.kill(pipe, pipe.layout.crews()[1][0].id)
    with pytest.raises(StageFailedError) as caught:
        pipe.wait()

    assert caught.value.stage in {"carry", "copy"}
    assert "signal 9" in caught.value.cause


def test_the_order_is_kept_around_the_crew_and_not_within():
    layout = lay_out(spec())

    assert [stage.stamps for stage in layout.stages] == [True, False, False, False, False]
    assert [stage.resequences for stage in layout.stages] == [False] * 4 + [True]
    assert not any(stage.inserted for stage in layout.stages)


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([count.stage(joined=True), gather.stage()], "none to be joined to"),
        ([count.stage(), carry.stage(instances=2), copy.stage(joined=True), gather.stage()],
         "as many instances: 2, not 1"),
        ([count.stage(), carry.stage(), copy.stage(joined=True, mode=Mode.THREAD), gather.stage()],
         "in another mode"),
        ([count.stage(), many.stage(instances=2), copy.stage(instances=2, joined=True),
          gather.stage()], "many buffers for one"),
    ],
)  # fmt: skip
def test_what_cannot_be_joined_is_refused(stages, message):
    with pytest.raises(SpecError, match=message):
        lay_out(PipeSpec(name="wrong", stages=stages))


def test_a_split_stage_may_be_the_last_of_a_crew():
    layout = lay_out(
        PipeSpec(
            name="split",
            stages=[
                count.stage(),
                carry.stage(instances=2),
                split.stage(instances=2, joined=True),
                gather.stage(),
            ],
        )
    )

    assert layout.stages[2].joined
