"""kill -9 of stages that are replaced: the pipe delivers the same, and every buffer comes home.

DATAMOVER_KILLS says how many seeded kills; a failure repeats with its seed.
"""

import os
import signal
import time
from random import Random

import pytest

from datamover.errors import StageFailedError, StopRequestedError
from datamover.monitor.supervisor import Monitor
from datamover.pipe.spec import OnDeath, PipeSpec
from datamover.testing.chaos import kills
from datamover.testing.stages import (
    Dropping,
    carry,
    count,
    digest,
    drop,
    expected,
    flip,
    gather,
    renew,
    sign,
    unsign,
)

pytestmark = [pytest.mark.faults, pytest.mark.processes]

SECONDS = 30.0
A_RUN = 5
RUNS = max(20, kills() // 4) // A_RUN


@pytest.fixture(scope="module")
def monitor():
    with Monitor() as found:
        found.warm_up()
        yield found


class Run:
    """A pipe under way; what was noticed, and when it is over, where its buffers are."""

    def __init__(self, monitor, stages, *, on_death=OnDeath.RETRY, **given):
        self.notices, self.home = [], {}
        spec = PipeSpec(
            name="retry", stages=stages, on_death=on_death, **{"buffer_size": 4096} | given
        )
        self.pipe = monitor.start(spec, on_notice=lambda *told: self.notices.append(told))
        self._close, self.pipe.wiring.close = self.pipe.wiring.close, self._look_and_close

    def _look_and_close(self):
        for task, queue in self.pipe.wiring.free.items():
            self.home[task] = sorted(token.index for token in queue.look())
        self._close()

    @property
    def crews(self):
        stages = self.pipe.layout.stages
        return [crew for crew in self.pipe.layout.crews() if stages[crew[0].stage].retried]

    def kill(self, task, number=signal.SIGKILL):
        pid = self.pipe.pids.get(task.id)
        if not pid:
            return False
        try:
            os.kill(pid, number)
        except ProcessLookupError:  # it has ended, and the monitor has not heard of it yet
            return False
        return True

    def until(self, condition):
        deadline = time.monotonic() + SECONDS
        while not condition():
            assert time.monotonic() < deadline, self.pipe.statistics()
            self.pipe.poll(0.002)

    def until_sent(self, more, crew=None):
        """Until a process that could be replaced, or all of them, have sent so many more buffers.

        Killed before it went on, it would be killed over the same input, which then were to blame.
        """

        def sent():
            stages = self.pipe.statistics().stages
            last = stages[self.crews[0][-1].stage].instances
            return sum(one.buffers_out for one in (last if crew is None else [last[crew]]))

        goal = sent() + more
        self.until(lambda: self.pipe.is_over or sent() >= goal)

    def outcome(self):
        self.until(lambda: self.pipe.is_over)
        return self.pipe.outcome()

    def assert_delivered(self, numbers, steps=()):
        found = self.outcome().results["gather"][0]
        due = expected(numbers, steps)

        assert (found["count"], found["digest"]) == (len(due), digest(due))
        assert self.home == {task.id: list(task.buffers) for task in self.pipe.layout.allocators()}


STEPS = (Dropping(every=5),)


def crew(instances, **settings):
    """Stages of every kind, in one process: one drops, one copies, four write where it lies."""
    return [
        carry.stage(instances=instances, **settings),
        *(
            stage.stage(instances=instances, joined=True, **given)
            for stage, given in [
                (drop, {"every": 5}),
                (sign, {}),
                (flip, {}),
                (renew, {}),
                (flip, {}),
                (unsign, {}),
            ]
        ),
    ]


@pytest.mark.parametrize("seed", range(RUNS))
def test_whatever_moment_a_task_is_killed_at_the_same_is_delivered(monitor, seed):
    random = Random(seed)
    total, instances = 4000, 1 + seed % 3
    run = Run(monitor, [count.stage(count=total), *crew(instances), gather.stage()])
    run.pipe.wait_ready()
    killed = 0
    for _ in range(A_RUN):
        chosen = random.randrange(instances)
        run.until_sent(random.randrange(20, 200), chosen)
        run.pipe.poll(random.uniform(0, 0.003))
        killed += run.kill(run.crews[chosen][0])
    run.assert_delivered(range(total), STEPS)

    told = [kind for _, _, kind, _ in run.notices]
    assert killed > 0
    assert len(told) == run.pipe.respawns > 0
    assert set(told) == {"respawned"}


@pytest.mark.parametrize("seed", range(RUNS))
def test_a_task_may_be_killed_while_its_pipe_ends(monitor, seed):
    """Ends are lost with the task that took them, and sent twice by the one in its place."""
    random = Random(1000 + seed)
    total, instances = random.choice([0, 1, 30, 120]), 1 + seed % 3
    run = Run(monitor, [count.stage(count=total), *crew(instances), gather.stage()])
    run.until(lambda: run.pipe.state != "starting")
    for chosen in random.sample(run.crews, instances):
        run.pipe.poll(random.uniform(0, 0.01))
        run.kill(chosen[0])
    run.assert_delivered(range(total), STEPS)


def test_all_instances_may_be_killed_at_once(monitor):
    stages = [count.stage(count=2000), *crew(3), gather.stage(delay_s=0.001)]
    run = Run(monitor, stages)
    run.pipe.wait_ready()
    run.until_sent(200)
    killed = [run.kill(crew[0]) for crew in run.crews]
    run.assert_delivered(range(2000), STEPS)

    assert killed == [True] * 3
    assert run.pipe.respawns == 3


def test_a_task_killed_while_it_waits_for_a_buffer_may_be_killed_over_and_over(monitor):
    """It is not to blame: the input that it holds does it no harm."""
    middles = [
        sign.stage(instances=2),
        renew.stage(instances=2, joined=True),
        unsign.stage(instances=2, joined=True),
    ]
    stages = [count.stage(count=60), *middles, gather.stage(delay_s=0.01)]
    run = Run(monitor, stages, buffers=6)
    run.pipe.wait_ready()
    for _ in range(10):
        respawns = run.pipe.respawns
        run.until(lambda: run.crews[0][0].id in run.pipe.pids)
        run.kill(run.crews[0][0])
        run.until(lambda before=respawns: run.pipe.respawns > before or run.pipe.is_over)
        run.until_sent(2)
    run.assert_delivered(range(60))

    assert run.pipe.respawns >= 5


def test_an_input_that_kills_its_stage_over_and_over_ends_the_pipe_and_is_named(monitor):
    run = Run(monitor, [count.stage(), carry.stage(instances=2, die_at=17), gather.stage()])
    with pytest.raises(StageFailedError) as caught:
        run.outcome()

    assert caught.value.stage == "carry"
    assert caught.value.sequence == 17
    assert "status 66, for the third time in a row over number 17" in caught.value.cause
    assert run.pipe.respawns == 2


def test_what_a_stage_reports_is_not_tried_again(monitor):
    run = Run(monitor, [count.stage(), carry.stage(instances=2, raise_at=17), gather.stage()])
    with pytest.raises(StageFailedError, match="number 17 is not welcome"):
        run.outcome()

    assert run.pipe.respawns == 0


@pytest.mark.parametrize("stage", [0, -1])
def test_a_head_or_tail_that_is_killed_ends_the_pipe(monitor, stage):
    run = Run(monitor, [count.stage(count=-1), *crew(2), gather.stage()])
    run.pipe.wait_ready()
    run.until_sent(50)
    run.kill(run.pipe.layout.tasks[stage])
    with pytest.raises(StageFailedError, match="signal 9") as caught:
        run.outcome()

    assert caught.value.stage == ("count", "gather")[stage]


def test_without_the_policy_a_killed_task_ends_the_pipe(monitor):
    stages = [count.stage(count=-1), *crew(2), gather.stage()]
    run = Run(monitor, stages, on_death=OnDeath.STOP)
    run.pipe.wait_ready()
    run.kill(run.pipe.layout.crews()[1][0])
    with pytest.raises(StageFailedError, match="signal 9"):
        run.outcome()


def test_a_pipe_can_be_stopped_while_one_of_it_is_replaced(monitor):
    run = Run(monitor, [count.stage(count=-1), *crew(2), gather.stage()])
    run.pipe.wait_ready()
    run.kill(run.crews[0][0])
    run.until(lambda: run.pipe.respawns)
    run.pipe.stop()
    with pytest.raises(StopRequestedError):
        run.outcome()


def test_replacing_leaves_no_descriptor_behind(monitor):
    def descriptors():
        return len(os.listdir("/proc/self/fd"))

    before = descriptors()
    run = Run(monitor, [count.stage(count=2000), *crew(2), gather.stage()])
    run.pipe.wait_ready()
    for _ in range(5):
        run.until_sent(50, 0)
        run.kill(run.crews[0][0])
    run.assert_delivered(range(2000), STEPS)

    assert run.pipe.respawns > 0
    assert descriptors() == before
