"""The harness sees what it is there to see: shown with a stand-in that does one thing wrong."""

import sys

import pytest

from datamover.testing.chaos import (
    Life,
    Observation,
    Plan,
    Struck,
    complaints,
    leftovers,
    observe,
    strike,
)
from datamover.testing.job import Ended, Job, Task

pytestmark = [pytest.mark.faults, pytest.mark.processes]

STAND_IN = r"""
import ctypes, json, os, signal, sys, time
folder, fault = sys.argv[1:]
children = {}

def task(name, seconds):
    pid = os.fork()
    if pid == 0:
        if fault == "leaks":
            os.setsid()
        ctypes.CDLL(None).prctl(15, f"dm:{name}.0".encode(), 0, 0, 0)
        end = time.monotonic() + seconds
        with open(f"{folder}/{name}", "ab", buffering=0) as file:
            while time.monotonic() < end:
                file.write(b"x" * 4096)
                time.sleep(0.005)
        os._exit(0)
    children[pid] = name

for name in ("scan", "compress", "store"):
    task(name, 0.3)
while children:
    pid, status = os.wait()
    name = children.pop(pid)
    if status:
        if fault == "traceback":
            print("Traceback (most recent call last):", file=sys.stderr)
        if fault != "leaks":
            for other in children:
                os.kill(other, signal.SIGKILL)
        if fault == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        said = "scan" if fault == "blames another" else name
        facts = {"stage": said, "instance": 0}
        error = {"event": "error", "code": "pipe.stage-failed", "facts": facts}
        if fault != "silent":
            print(json.dumps(error), file=sys.stderr)
        sys.exit(0 if fault == "hides" else 70)
"""


@pytest.fixture
def command(tmp_path):
    (tmp_path / "store").mkdir()
    return lambda fault="": [sys.executable, "-c", STAND_IN, str(tmp_path / "store"), fault]


def struck(command, fault, tmp_path, name="dm:store.0", **when):
    plan = Plan(name=name, after_bytes=when.get("after_bytes"), after_s=0.05)
    return strike(command(fault), plan, grows=tmp_path / "store", grace=0.05)


def test_a_clean_run_shows_its_tasks_and_its_growth(command, tmp_path):
    seen = observe(command(), grows=tmp_path / "store")

    assert seen.names == ("dm:compress.0", "dm:scan.0", "dm:store.0", "main")
    assert seen.grown >= 3 * 4096


def test_plans_go_round_all_tasks_and_repeat(command, tmp_path):
    seen = observe(command(), grows=tmp_path / "store")

    assert {Plan.draw(seed, seen).name for seed in range(4)} == set(seen.names)
    assert Plan.draw(3, seen) == Plan.draw(3, seen)


def test_a_plan_falls_within_the_life_of_its_task():
    seen = Observation(
        lives={"early": Life(0.1, 0, 0.2, 0), "late": Life(0.5, 1000, 0.9, 2000)}, grown=2000
    )
    plans = [Plan.draw(seed, seen) for seed in range(40)]

    assert {plan.after_bytes for plan in plans if plan.name == "early"} == {None}
    assert all(0.1 <= plan.after_s <= 0.2 for plan in plans if plan.name == "early")
    late = {plan.after_bytes for plan in plans if plan.name == "late"} - {None}
    assert len(late) > 1
    assert all(1000 <= one < 2000 for one in late)


def test_an_error_may_name_any_stage_that_shared_the_killed_task():
    ended = Ended(
        status=70,
        stdout="",
        stderr='{"event": "error", "facts": {"stage": "compress", "instance": 1}}',
        seconds=1.0,
        left=(),
    )
    crews = [("collect", "inspect"), ("checksum", "compress")]

    assert complaints(Struck(task=Task(1, "dm:checksum.1"), ended=ended), crews=crews) == []
    for name in ("dm:checksum.0", "dm:collect.1"):
        assert complaints(Struck(task=Task(1, name), ended=ended), crews=crews)


def test_a_well_behaved_program_gives_no_complaint(command, tmp_path):
    found = struck(command, "", tmp_path)

    assert found.task is not None
    assert found.ended.status == 70
    assert complaints(found) == []


def test_a_kill_waits_for_the_bytes_of_its_plan(command, tmp_path):
    found = struck(command, "", tmp_path, after_bytes=100_000)

    assert sum(p.stat().st_size for p in (tmp_path / "store").iterdir()) > 100_000
    assert found.task is not None


def test_a_moment_that_never_comes_kills_nobody(command, tmp_path):
    found = struck(command, "", tmp_path, after_bytes=1 << 40)

    assert found.task is None
    assert found.ended.status == 0
    assert complaints(found) == []


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        ("leaks", "left: dm:"),
        ("traceback", "traceback"),
        ("silent", "no error was told"),
        ("blames another", "the error is of another"),
        ("dies", "ended by signal 9"),
    ],
)
def test_what_a_program_does_wrong_is_named(command, tmp_path, fault, word):
    found = struck(command, fault, tmp_path)

    assert word in " ".join(complaints(found))


def test_a_process_in_a_session_of_its_own_is_found_and_ended(command):
    job = Job(command("leaks"))
    job.kill(job.wait_task("dm:scan.0", timeout=5))
    left = job.wait(grace=0).left

    assert {task.name for task in left} >= {"dm:compress.0"}
    assert job._wait_gone(1) == ()


def test_a_file_of_unfinished_work_is_found(tmp_path):
    (tmp_path / "tmp" / "deep").mkdir(parents=True)
    (tmp_path / "chunks").mkdir()
    (tmp_path / "tmp" / "deep" / "chunk").touch()
    (tmp_path / "chunks" / "active").touch()

    assert leftovers(tmp_path) == [tmp_path / "tmp" / "deep" / "chunk"]
