"""A job that gives up has stopped its pipe before whoever called it cleans up."""

import os

import pytest

from datamover.monitor.supervisor import Monitor
from datamover.mover.job import Job
from datamover.mover.report import Silent
from datamover.pipe.spec import PipeSpec, StageSpec
from datamover.testing.job import running

pytestmark = pytest.mark.processes

STAGES = "datamover.testing.stages"
# Stages of this process alone: others may run this test beside it.
HEAD, MIDDLE, TAIL = (f"{kind}{os.getpid()}" for kind in "hmt")


class GivesUpError(Exception):
    """Stands for an interrupt, or a store that refuses."""


def tasks():
    ours = {f"dm:{name}" for name in (HEAD, MIDDLE, TAIL)}
    return {(pid, name) for pid, name, _, _ in running() if name.rpartition(".")[0] in ours}


def test_no_task_lives_when_the_job_has_raised():
    """The pipe never ends by itself, so that a job that left it running would always be seen."""
    spec = PipeSpec(
        name="endless",
        buffers=4,
        buffer_size=4096,
        stages=(
            StageSpec(use=f"{STAGES}:count", name=HEAD, settings={"count": -1, "delay_s": 0.01}),
            StageSpec(use=f"{STAGES}:noticing", name=MIDDLE),
            StageSpec(use=f"{STAGES}:gather", name=TAIL),
        ),
    )
    seen = []

    def give_up(_):
        seen.append(tasks())
        raise GivesUpError

    with Monitor() as monitor:
        job = Job("test", Silent(), monitor=monitor, counts=HEAD)
        job.after("seen", give_up)
        with pytest.raises(GivesUpError):
            job.run(spec)
        left = tasks()

    assert seen
    assert seen[0]
    assert not left & seen[0]
