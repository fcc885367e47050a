"""A silent task is a dead task: stopped, or hanging for longer than its pipe allows."""

import os
import signal
import time

import pytest

from datamover.errors import StageFailedError
from datamover.monitor import silent
from datamover.monitor.supervisor import Monitor
from datamover.pipe.spec import OnDeath, PipeSpec, StageSpec
from datamover.testing.stages import carry, count, gather

pytestmark = [pytest.mark.processes, pytest.mark.slow]

SECONDS = 60.0


@pytest.fixture(scope="module")
def monitor():
    with Monitor() as found:
        found.warm_up()
        yield found


@pytest.fixture(autouse=True)
def looks_often(monkeypatch):
    monkeypatch.setattr(silent, "_LOOK_S", 0.25)


def pipe(*stages, **given):
    return PipeSpec(name="silence", stages=stages, buffers=12, buffer_size=4096, **given)


def ended(live):
    deadline = time.monotonic() + SECONDS
    while not live.poll(0.1):
        assert time.monotonic() < deadline
    return live.outcome()


def test_a_task_that_hangs_is_killed_and_named(monitor):
    live = monitor.start(pipe(count.stage(), carry.stage(hang_at=7), gather.stage(), silence_s=0.3))
    with pytest.raises(StageFailedError, match=r"stage carry.*sequence 7.*silent for") as caught:
        ended(live)

    assert caught.value.cause_code == "silent"


def test_waiting_is_no_silence(monitor, tmp_path):
    """The head waits for its source, the others for the head, for longer than any may be silent."""
    os.mkfifo(tmp_path / "fifo")
    read = StageSpec(use="read", settings={"path": str(tmp_path / "fifo")})
    live = monitor.start(pipe(read, StageSpec(use="discard"), silence_s=0.3))
    with (tmp_path / "fifo").open("wb"):
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            assert not live.poll(0.1)

    assert ended(live).results["discard"][0]["bytes"] == 0


def test_one_that_can_be_replaced_is_and_what_it_always_hangs_over_is_named(monitor):
    spec = pipe(
        count.stage(),
        carry.stage(hang_at=7, instances=2),
        gather.stage(),
        silence_s=0.3,
        on_death=OnDeath.RETRY,
    )
    notices = []
    live = monitor.start(spec, on_notice=lambda *told: notices.append(told[2]))
    with pytest.raises(StageFailedError, match="for the third time in a row over number 7"):
        ended(live)

    assert notices == ["respawned", "respawned"]


def test_a_task_that_somebody_stopped_is_killed_and_named(monitor, monkeypatch):
    monkeypatch.setattr(silent, "STOPPED_S", 0.5)
    live = monitor.start(pipe(count.stage(count=-1), carry.stage(), gather.stage()))
    live.wait_ready()
    (task,) = [one for one in live.layout.tasks if one.stage == 1]
    os.kill(live.pids[task.id], signal.SIGSTOP)
    with pytest.raises(StageFailedError, match=r"stage carry.*was stopped, and not continued"):
        ended(live)


def test_one_that_is_continued_in_time_goes_on(monitor, monkeypatch):
    monkeypatch.setattr(silent, "STOPPED_S", 30.0)
    live = monitor.start(pipe(count.stage(count=-1), carry.stage(), gather.stage()))
    live.wait_ready()
    (task,) = [one for one in live.layout.tasks if one.stage == 1]
    os.kill(live.pids[task.id], signal.SIGSTOP)
    live.poll(1.5)
    os.kill(live.pids[task.id], signal.SIGCONT)
    before = live.statistics().stages[-1].instances[0].buffers_in
    deadline = time.monotonic() + SECONDS
    while live.statistics().stages[-1].instances[0].buffers_in <= before:
        assert time.monotonic() < deadline
        live.poll(0.1)
    live.stop()
    live.poll(SECONDS)
