"""kill -9 of any task of a pipe: the error names it, and no process or descriptor is left."""

import sys

import pytest

from datamover.testing.chaos import Plan, complaints, kills, observe, strike
from datamover.testing.job import Job

pytestmark = [pytest.mark.faults, pytest.mark.processes]

KILLS = max(6, kills() // 10)

# A program as a user would write it: numbers go in, are worked on in parallel, and are written.
PROGRAM = """
import json, os, sys
import datamover
from datamover.errors import PipeError, facts

SIZE = 65536

@datamover.head
def produce(port):
    for number in range(int(os.environ["COUNT"])):
        buffer = port.alloc()
        buffer.data[:8] = number.to_bytes(8, "little")
        buffer.data[8:SIZE] = bytes(SIZE - 8)
        buffer.used = SIZE
        port.send(buffer)

@datamover.middle(allocates=True)
def renew(port):
    for buffer in port.incoming():
        fresh = port.alloc()
        fresh.data[:SIZE] = buffer.data[:SIZE]
        fresh.used = buffer.used
        port.free(buffer)
        port.send(fresh)

@datamover.middle
def through(port):
    for buffer in port.incoming():
        port.send(buffer)

@datamover.tail
def consume(port):
    expected = 0
    with open(os.environ["OUT"], "wb", buffering=0) as file:
        for buffer in port.incoming():
            assert int.from_bytes(buffer.data[:8], "little") == expected
            expected += 1
            file.write(buffer.data[:SIZE])
            port.free(buffer)
    port.result({"count": expected})

if __name__ == "__main__":
    spec = datamover.PipeSpec(name="victim", buffer_size=SIZE, buffers=24, stages=[
        produce.stage(), renew.stage(instances=2), through.stage(instances=2), consume.stage()])
    before = len(os.listdir("/proc/self/fd"))
    with datamover.Monitor() as monitor:
        for attempt in range(2):
            try:
                outcome = monitor.start(spec).wait()
                count = outcome.results["consume"][0]["count"]
                print(json.dumps({"event": "done", "count": count}))
                break
            except PipeError as error:
                failed = {"event": "error", "code": error.code, "facts": facts(error)}
        else:
            print("never", file=sys.stderr)
    after = len(os.listdir("/proc/self/fd"))
    print(json.dumps({"event": "descriptors", "more": after - before}))
    if attempt:
        print(json.dumps(failed), file=sys.stderr)
        sys.exit(70)
"""
COUNT = 600


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "victim.py"
    path.write_text(PROGRAM)
    (tmp_path / "out").mkdir()
    return [sys.executable, str(path)]


@pytest.fixture
def environment(tmp_path):
    return {"COUNT": str(COUNT), "OUT": str(tmp_path / "out" / "file")}


NAMES = (
    "dm:produce.0",
    "dm:renew.0",
    "dm:renew.1",
    "dm:through.0",
    "dm:through.1",
    "dm:consume.0",
)


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What a clean run looks like."""
    root = tmp_path_factory.mktemp("seen")
    (root / "out").mkdir()
    (root / "victim.py").write_text(PROGRAM)
    return observe(
        [sys.executable, str(root / "victim.py")],
        grows=root / "out",
        environment={"COUNT": str(COUNT), "OUT": str(root / "out" / "file")},
    )


def test_a_clean_run_has_a_process_for_each_instance(seen):
    assert set(seen.names) >= set(NAMES) | {"main", "dm:forkserver"}
    assert seen.grown == COUNT * 65536


@pytest.mark.parametrize("seed", range(KILLS))
def test_a_killed_task_is_named_and_the_next_pipe_runs(seed, seen, program, environment, tmp_path):
    """The program tries twice in one monitor: what the kill cost must not cost the second pipe."""
    plan = Plan.draw(seed, seen)
    struck = strike(program, plan, grows=tmp_path / "out", environment=environment)
    events = {event["event"]: event for event in struck.ended.events}

    assert complaints(struck) == [], plan
    if plan.name != "main":
        assert events["done"]["count"] == COUNT, plan
        assert events["descriptors"]["more"] == 0, plan


@pytest.mark.parametrize("name", ["dm:produce.0", "dm:renew.1", "dm:consume.0"])
def test_a_task_that_is_only_stopped_does_not_outlive_the_program(name, program, environment):
    """A stopped process obeys nobody; when the program ends, it must end too."""
    import signal

    job = Job(program, environment=environment)
    task = job.wait_task(name, timeout=20)
    assert job.kill(task, signal.SIGSTOP)
    for one in job.tasks():
        if one.name == "main":
            job.kill(one, signal.SIGTERM)
    ended = job.wait(timeout=20)

    assert ended.left == ()
