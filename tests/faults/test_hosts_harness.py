"""Anybody of a job on two hosts can be killed at a drawn moment, and what it leaves is found."""

import functools
import os
import sys
from pathlib import Path

import pytest

from datamover.testing.chaos import Plan, complaints, observe, strike
from datamover.testing.hosts_job import HostsJob
from datamover.testing.processes import Snapshot, wait_clean

pytestmark = [pytest.mark.faults, pytest.mark.processes, pytest.mark.slow]

# A job of a task here and, through a remote shell, a task there; whoever misses another ends.
STAND_IN = r"""
import ctypes, json, os, shlex, subprocess, sys, time

def named(name):
    ctypes.CDLL(None).prctl(15, name.encode(), 0, 0, 0)

def work(name, folder):
    named(name)
    end = time.monotonic() + 0.4
    with open(f"{folder}/{name[3:]}", "ab", buffering=0) as file:
        while time.monotonic() < end:
            file.write(b"x" * 4096)
            time.sleep(0.005)

role, folder, rsh = sys.argv[1:4]
if role == "far":
    work("dm:write.0", folder)
    sys.exit(0)
here = shlex.join([sys.executable, __file__, "far", folder, "-"])
far = subprocess.Popen([*shlex.split(rsh), "destination", here], stdin=subprocess.PIPE)
near = os.fork()
if near == 0:
    work("dm:read.0", folder)
    os._exit(0)
children = {near: ("read", far.kill), far.pid: ("write", lambda: os.kill(near, 9))}
failed = ""
while children:
    pid, status = os.wait()
    name, end = children.pop(pid)
    if status and not failed:
        failed = name
        if children:
            end()
if failed:
    facts = {"stage": failed, "instance": 0}
    print(json.dumps({"event": "error", "code": "pipe.stage-failed", "facts": facts}))
    sys.exit(70)
"""


@pytest.fixture
def job(make_network, tmp_path):
    network = make_network("source", "destination")
    network.connect(*network.hosts)
    program, grows = tmp_path / "program.py", tmp_path / "grows"
    program.write_text(STAND_IN)
    grows.mkdir()
    command = [sys.executable, program, "near", grows, network.remote_shell()]
    start = functools.partial(HostsJob, on=network.hosts[0], hosts=network.hosts)
    return network, list(map(str, command)), {"grows": grows, "start": start}


def test_tasks_of_both_hosts_are_seen(job):
    _, command, how = job
    seen = observe(command, **how)

    assert {"main", "source/dm:read.0", "destination/dm:write.0"} <= set(seen.names)
    assert seen.grown >= 2 * 4096


@pytest.mark.parametrize("role", ["main", "source/dm:read.0", "destination/dm:write.0"])
def test_whoever_is_named_is_killed_and_only_an_end_of_all_is_well(job, role):
    _, command, how = job
    plan = Plan(name=role, after_bytes=20_000, after_s=0.05)
    struck = strike(command, plan, grace=1.0, **how)

    assert struck.task is not None
    assert struck.task.role == role
    if role == "main":  # the stand-in's tasks do not notice: the harness must
        assert struck.ended.status == -9
    else:
        assert complaints(struck) == []
        assert struck.ended.status == 70


def test_what_goes_on_there_after_the_end_here_is_a_complaint(job):
    _, command, how = job
    plan = Plan(name="main", after_bytes=0, after_s=0.0)
    struck = strike([*command[:1], "-c", LEAVER, *command[2:]], plan, grace=0.1, **how)

    assert [line.split()[0:2] for line in complaints(struck)] == [["left:", "sleep"]]


LEAVER = """
import shlex, subprocess, sys, time
far = ["destination", "setsid sleep 1000 </dev/null >/dev/null 2>&1 & echo started"]
subprocess.run([*shlex.split(sys.argv[3]), *far], stdout=subprocess.PIPE)
open(sys.argv[2] + "/grown", "w").write("x" * 100)
time.sleep(1000)
"""


def test_a_daemon_may_be_killed_and_is_not_missed_when_it_stays(job):
    network, command, how = job
    daemon = network.hosts[1].popen(["sh", "-c", "echo ready; exec sleep 1000"])
    daemon.stdout.readline()
    plan = Plan(name="destination/sleep", after_bytes=20_000, after_s=0.05)
    spared = strike(command, Plan(name="nobody", after_bytes=1 << 40, after_s=0), **how)
    assert complaints(spared) == []
    assert daemon.poll() is None

    struck = strike(command, plan, **how)
    assert struck.task is not None
    assert struck.ended.left == ()
    assert daemon.wait(10) == -9


HOLDER = """
import mmap, os, sys
print("ready", flush=True)
for line in sys.stdin:
    kind = line.strip()
    if kind == "descriptor":
        kept = os.open("/dev/null", os.O_RDONLY)
    elif kind == "pipe":
        kept = os.pipe()
    elif kind == "memory":
        number = os.memfd_create("kept")
        os.truncate(number, 4096)
        kept = mmap.mmap(number, 4096)
        os.close(number)
    elif kind == "process":
        if os.fork() == 0:
            sys.stdin.read()
    elif kind == "file":
        open(os.environ["DATAMOVER_RUNTIME"] + "/left", "w").close()
    elif kind == "nothing":
        os.close(os.open("/dev/null", os.O_RDONLY))
    print("did", flush=True)
"""


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("nothing", ""),
        ("descriptor", "holds 1 more: /dev/null"),
        ("pipe", "holds 2 more: pipe"),
        ("memory", "/memfd:kept"),
        ("process", "process: python"),
        ("file", "file: "),
    ],
)
def test_what_stays_behind_on_a_host_is_found(make_network, kind, told):
    (host,) = make_network("one").hosts
    ours, theirs = os.pipe()
    daemon = host.popen([sys.executable, "-c", HOLDER], stdin=ours)
    os.close(ours)
    folders = [Path(host.environment["DATAMOVER_RUNTIME"])]
    with open(theirs, "w") as tell:
        daemon.stdout.readline()
        before = Snapshot.take(host.processes, folders=folders)
        tell.write(kind + "\n")
        tell.flush()
        daemon.stdout.readline()
        left = wait_clean(before, host.processes, folders=folders, timeout=0.05)

        assert bool(left) == bool(told), left
        assert all(told in line for line in left)
