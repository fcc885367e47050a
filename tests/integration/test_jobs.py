"""A copy that was left to the monitor goes on by itself: without a network, and after a kill.

The other machine is behind a remote shell that can be cut.  SPEC G9, C16, C19; docs/spec/jobs.md.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from random import Random
from secrets import token_hex
from typing import TYPE_CHECKING

import pytest

from datamover.errors import DataMoverError, PeerRefusedError
from datamover.monitor.here import Here
from datamover.testing.chaos import kills
from datamover.testing.daemon import Daemon, gone, until
from datamover.testing.trees import assert_same_tree, make_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from datamover.wire.account import Account

pytestmark = [pytest.mark.processes, pytest.mark.slow]

MIB = 1 << 20
SHELL = """#!/bin/sh
[ -e {cut} ] && {{ echo "cut off" >&2; exit 255; }}
shift
exec sh -c "exec $*"
"""


class World:
    """Daemons one after the other, a source, and another machine that can be cut off."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cut = folder / "cut"
        shell = folder / "rsh"
        shell.write_text(SHELL.format(cut=self.cut))
        shell.chmod(0o755)
        self._environment = {
            "DATAMOVER_RSH": str(shell),
            "DATAMOVER_REMOTE": shlex.join([sys.executable, "-m", "datamover"]),
        }
        self.source = make_tree(folder / "source", 3, files=20)
        (self.source / "noise").write_bytes(Random(4).randbytes(16 * MIB))
        self.target = folder
        self.daemons: list[Daemon] = []
        self.start()

    def start(self) -> None:
        self.daemons.append(Daemon(self.folder, environment=self._environment))
        self.daemon.wait_event("monitor.started", len(self.daemons))

    def close(self) -> None:
        for one in self.daemons:
            one.kill()

    @property
    def daemon(self) -> Daemon:
        return self.daemons[-1]

    def copy(self, *, bytes_per_s: int = 0) -> str:
        """Begin a job as ``copy --daemon`` does, to a target of its own; return its name."""
        self.target = self.folder / f"target-{token_hex(4)}"
        given = {
            "folder": str(self.folder),
            "sources": [f"{self.source}/"],
            "target": f"far:{self.target}",
            "travel": {"limit": bytes_per_s},
            "what": "copy",
        }
        with self.daemon.program() as program:
            return str(program.call("job.start", {"kind": "copy", "given": given})["job"])

    def limit(self, name: str, bytes_per_s: int) -> None:
        Here(self.daemon.runtime).set_limit(name, bytes_per_s)

    def hurry(self, name: str) -> dict[str, object]:
        """Take the limit away, of whatever attempt runs, until the job is done."""

        def is_done() -> bool:
            if self.job(name)["state"] != "done":
                with suppress(DataMoverError):  # it was done just now
                    self.limit(name, 0)
                time.sleep(0.2)
            return self.job(name)["state"] == "done"

        until(is_done, f"{name} is done: {self.job(name)}")
        return self.job(name)

    def job(self, name: str) -> dict[str, object]:
        return json.loads((self.folder / "state/jobs" / f"{name}.json").read_text())

    def account(self, name: str) -> Account:
        return Here(self.daemon.runtime).accounts(name)[0]

    def wait_state(self, name: str, *states: str) -> dict[str, object]:
        until(lambda: self.job(name)["state"] in states, f"{name} is {states}: {self.job(name)}")
        return self.job(name)

    def wait_flowing(self, name: str) -> int:
        """Wait until data arrives; return the process of the attempt."""
        until(lambda: size_of(self.target) >= MIB, "data arrives")
        return self.account(name).pid


def size_of(folder: Path) -> int:
    total = 0
    for at, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(at, name)).st_size
            except FileNotFoundError:
                continue
    return total


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One for all tests, and a daemon at the end of each."""
    found = World(tmp_path_factory.mktemp("jobs"))
    yield found
    found.close()


def test_the_command_leaves_a_copy_to_the_monitor_which_keeps_it_as_done(world: World) -> None:
    target = world.folder / "commanded"
    words = ["copy", f"{world.source}/", f"far:{target}", "--daemon", "--json"]
    done = world.daemon.datamover(*words)
    assert done.returncode == 0, done.stderr
    name = json.loads(done.stdout)["job"]
    job = world.wait_state(name, "done")
    shown = world.daemon.datamover("jobs").stdout

    assert_same_tree(world.source, target)
    assert job["attempts"] == 1
    assert job["summary"]["files"] > 10
    assert name in shown
    assert f"copy {world.source}/" in shown
    until(lambda: Here(world.daemon.runtime).accounts() == [], "nothing is left of it")


def test_without_a_way_there_it_waits_and_says_so_until_there_is_one(world: World) -> None:
    world.cut.touch()
    name = world.copy()
    until(lambda: world.account(name).state == "waiting", "it waits")
    text = world.daemon.datamover("status").stdout
    until(lambda: "could not connect" in world.account(name).note, "it says why")
    until(lambda: world.job(name)["attempts"] >= 2, "it tries again")
    world.cut.unlink()
    job = world.wait_state(name, "done")

    assert name in text
    assert "attempt" in text
    assert job["attempts"] >= 2
    assert_same_tree(world.source, world.target)


def test_a_lost_machine_and_a_killed_attempt_cost_the_rest(world: World) -> None:
    name = world.copy(bytes_per_s=2 * MIB)
    world.wait_flowing(name)
    world.cut.touch()
    for pid in serving(world):
        os.kill(pid, signal.SIGKILL)
    until(lambda: world.job(name)["state"] == "waiting", "it waits")
    world.cut.unlink()
    attempt = until(lambda: world.account(name).pid, "another attempt runs")
    os.kill(attempt, signal.SIGKILL)
    job = world.hurry(name)

    assert job["attempts"] >= 3
    assert job["given"]["travel"]["limit"] == 0
    assert_same_tree(world.source, world.target)


def test_after_a_killed_daemon_and_one_that_ended_the_next_goes_on(tmp_path: Path) -> None:
    """What is in the folder and is no job is left alone, and logged."""
    world = World(tmp_path)
    try:
        name = world.copy(bytes_per_s=2 * MIB)
        attempt = world.wait_flowing(name)
        world.daemon.kill()
        until(lambda: gone(attempt), "the attempt ends with it")
        assert world.job(name)["state"] == "running"
        bad = {"job-00000000": "{", "job-00000001": "[]", "job-00000002": '{"id": "job-00000003"}'}
        for one, text in bad.items():
            (tmp_path / f"state/jobs/{one}.json").write_text(text)
        world.start()
        attempt = until(lambda: world.account(name).pid, "an attempt runs")
        assert world.daemon.end() == 0  # and does not wait for the job
        until(lambda: gone(attempt), "the attempt ends with it")
        assert world.job(name)["state"] in {"running", "waiting"}
        world.start()
        job = world.hurry(name)

        assert [one["job"] for one in world.daemon.events("job.resumed")] == [name, name]
        unreadable = {one["file"] for one in world.daemon.events("job.unreadable")}
        assert unreadable == {f"{one}.json" for one in bad}
        assert job["attempts"] == 3
        assert_same_tree(world.source, world.target)
    finally:
        world.close()


@pytest.mark.skipif(kills() < 300, reason="long: `make soak` runs it")
def test_a_backup_that_lost_its_machine_goes_on_where_it_was(world: World) -> None:
    secret = world.folder / "passphrase"
    secret.write_text("correct horse\n")
    store = f"far:{world.folder}/store"
    made = world.daemon.datamover("init", store, "--passphrase-file", str(secret))
    assert made.returncode == 0, made.stderr
    words = ["backup", str(world.source), "--to", store, "--passphrase-file", str(secret)]
    words += ["--daemon", "--json", "--limit", "2MB/s", "--chunk-size", "2MiB", "--codec", "none"]
    begun = world.daemon.datamover(*words)
    assert begun.returncode == 0, begun.stderr
    name = json.loads(begun.stdout)["job"]
    until(lambda: size_of(world.folder / "store/chunks") > 4 * MIB, "some of it is durable")
    for pid in serving(world):
        os.kill(pid, signal.SIGKILL)
    job = world.hurry(name)
    restore = ["restore", "--from", store, "--to", str(world.folder / "back")]
    back = world.daemon.datamover(*restore, "--passphrase-file", str(secret))

    assert back.returncode == 0, back.stderr
    assert job["attempts"] >= 2
    assert_same_tree(world.source, world.folder / "back/source")


def test_it_is_limited_and_stopped_while_it_runs_and_while_it_waits(world: World) -> None:
    name = world.copy(bytes_per_s=2 * MIB)
    attempt = world.wait_flowing(name)
    world.limit(name, 1_000_000)

    def limits() -> set[int]:
        return {one.limit for one in Here(world.daemon.runtime).accounts() if one.pipe != name}

    until(lambda: 1_000_000 in limits(), "the attempt is limited")
    assert world.job(name)["given"]["travel"]["limit"] == 1_000_000
    assert world.daemon.datamover("stop", name).returncode == 0
    assert world.wait_state(name, "stopped")["ended"] > 0
    until(lambda: gone(attempt), "the attempt ends")
    world.cut.touch()
    name = world.copy()
    until(lambda: world.job(name)["state"] == "waiting", "it waits")
    Here(world.daemon.runtime).stop(name, "somebody")
    world.wait_state(name, "stopped")
    world.cut.unlink()


def test_what_no_second_try_would_change_fails_at_once(world: World) -> None:
    given = {"folder": str(world.folder), "sources": ["nowhere"], "target": "far:x"}
    with world.daemon.program() as program:
        name = program.call("job.start", {"kind": "copy", "given": given})["job"]
        for wrong in ({"kind": "dance", "given": {}}, {"kind": "copy"}, {}):
            with pytest.raises(PeerRefusedError):
                program.call("job.start", wrong)
        for _ in range(4):  # what is listed fits a message, whatever the jobs are given
            program.call("job.start", {"kind": "copy", "given": {"junk": "x" * 500_000}})
        listed = program.call("job.list", {})["jobs"]
        assert len(listed) >= 5
        assert name in [one["id"] for one in listed]
    job = world.wait_state(name, "failed")

    assert job["attempts"] == 1
    assert "nowhere" in job["reason"]


def serving(world: World) -> list[int]:
    """The processes of the other machine: they know the daemon's folder, and serve."""
    mark = f"DATAMOVER_RUNTIME={world.daemon.runtime}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if mark in (entry / "environ").read_bytes() and "serve" in words_of(int(entry.name)):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def words_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
