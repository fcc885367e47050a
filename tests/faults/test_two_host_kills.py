"""kill -9 of anybody on either of two hosts, or a cut of the cables, in a copy or a backup.

The run that was struck names what was killed, leaves nothing on either host, and the same command
goes on: the trees are equal, and what had arrived is not sent again.

DATAMOVER_HOST_KILLS says how many seeded kills: 20 where CI is set, 4 elsewhere, 500 for
``make kills-hosts``; DATAMOVER_HOST_KILLS_FROM the first seed.  A failure repeats with its seed.

Source: docs/spec/link-protocol.md, 4; docs/spec/copy-pipes.md, "Leftovers"; docs/spec/resume.md;
SPEC C15, C16, G9, X1.
"""

import functools
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import pytest

from datamover.errors import ForkServerError
from datamover.files.leftover import RESUMABLE, is_leftover, leftover_name
from datamover.mover.pipes import BLOCK_SIZE
from datamover.mover.route import WINDOW
from datamover.testing.chaos import (
    Observation,
    Plan,
    Struck,
    complaints,
    leftovers,
    observe,
    strike,
)
from datamover.testing.hosts_job import HostsJob
from datamover.testing.job import Task, running
from datamover.testing.processes import Snapshot, wait_clean
from datamover.testing.program import Program
from datamover.testing.trees import assert_same_tree, make_tree

pytestmark = [pytest.mark.faults, pytest.mark.processes, pytest.mark.slow]

KILLS = int(os.environ.get("DATAMOVER_HOST_KILLS") or (20 if os.environ.get("CI") else 4))
FIRST = int(os.environ.get("DATAMOVER_HOST_KILLS_FROM") or 0)
DATAMOVER = (sys.executable, "-m", "datamover")
ERRORS = Path(__file__).parents[2] / "docs/reference/errors.md"
PORT, DEADLINE_S = 4747, 90
ROLE = re.compile(r"main|(near|far)/(dm:.*|monitor|serve|serve-path|shell|shell-path)")
# Stages of a backup that share a task.
CREWS = [("collect", "inspect"), ("checksum", "compress", "encrypt")]
PATHS = {"serve-path", "shell-path"}
LEADS_THERE = {"monitor", "serve", "shell"}
CUTS = ("cut/one", "cut/both")
STORED = 16 << 20  # what two hosts' sockets hold of what was sent and is not read yet
PAGE = 4096
CHUNKS = 1 << 20  # where an old file is cut anew, a chunk at either end may not be found
CHANGES = "changes"
BESIDE = os.fsdecode(leftover_name(os.fsencode(CHANGES)))


@dataclass(frozen=True)
class Scene:
    """One way between the hosts, and one direction.

    Attributes:
        name: Of both.
        words: What is given to datamover.
        seen: What a clean run looks like.
        carried: Bytes that it put on the cables.
        start: Makes a job of it.
    """

    name: str
    words: tuple
    seen: Observation
    carried: int
    start: functools.partial

    @property
    def sent(self):
        """Bytes of data that it sent."""
        return summary_of(self.seen.ended)["bytes_out"]


def summary_of(ended):
    (summary,) = [one for one in ended.events if one["event"] == "summary"]
    return summary


class BesideDaemon(HostsJob):
    """A job whose daemon may begin its fork server anew, and keep it."""

    def left(self):
        return [task for task in super().left() if task.role != "far/dm:forkserver"]


class World:
    """Two hosts, a daemon on one of them, and two versions of a tree.

    Attributes:
        new: What is copied.
        dst: Where to; it begins as an older version.
        hit: How often each role of each scene was struck.
    """

    def __init__(self, network, folder):
        self.near, self.far = self.hosts = network.hosts
        self.links = [network.connect(*self.hosts) for _ in range(2)]
        disk = self.near.disk(2048)
        self.new, self.old, self.dst = disk / "new", disk / "old", disk / "dst"
        self.daemon, self.log = 0, folder / "daemon.log"
        self.store = disk / "store"
        self.hit, self.resumed = Counter(), 0
        self._fill()
        self._found()
        shell = ("--rsh", network.remote_shell(), "--remote-command", " ".join(DATAMOVER))
        daemon = ("--via", "link1,link2")
        self.scenes = [
            self._scene(f"{way}-{direction}", (*trees, "--delete", "--jobs", "2", *words))
            for way, words in (("shell", shell), ("daemon", daemon))
            for direction, trees in (
                ("push", (f"{self.new}/", f"far:{self.dst}/")),
                ("pull", (f"far:{self.new}/", f"{self.dst}/")),
            )
        ]

    def _fill(self):
        make_tree(self.new, 7, files=30)
        random = Random(8)
        for number in range(24):
            (self.new / f"noise-{number}").write_bytes(random.randbytes(1 << 20))
        (self.new / "plain" / "grows").write_bytes(random.randbytes(24 << 20))
        shutil.copytree(
            self.new, self.old, symlinks=True, ignore=lambda *_: ["special", "odd names"]
        )
        shutil.rmtree(self.old / "links")
        for number in range(20):
            (self.old / f"noise-{number}").unlink()
        (self.old / "noise-23").write_bytes(b"another version")
        (self.old / "plain" / "grows").unlink()
        (self.old / "removed").mkdir()
        (self.old / "removed" / "file").write_text("goes")
        # One that is sent as what differs.
        old = bytearray(random.randbytes(40 << 20))
        (self.old / CHANGES).write_bytes(old)
        for at in range(0, len(old), 2 << 20):
            old[at : at + (1 << 20)] = random.randbytes(1 << 20)
        (self.new / CHANGES).write_bytes(old)

    def _found(self):
        """Make a fleet of both hosts, and start far's daemon."""
        self.far.run([*DATAMOVER, "fleet", "init", "--name", "far"])
        self.serve()
        allow = ("extend", "status", f"path:write:{self.dst}", f"path:read:{self.new}")
        grants = [word for one in allow for word in ("--allow", one)]
        address = ("--address", f"far:{PORT}")
        invited = [*DATAMOVER, "fleet", "invite", "--quiet", "--name", "near", *address, *grants]
        token = self.far.run(invited).stdout
        joining = [*DATAMOVER, "fleet", "join", "--name", "near", "--token-file", "-"]
        self.near.run(joining, given=token)
        self.warm_up()

    def warm_up(self):
        """Have the daemon start its fork server, which stays."""
        self.near.run([*DATAMOVER, "copy", ERRORS, f"far:{self.dst}/"], timeout=DEADLINE_S)

    def serve(self):
        """Start far's daemon; return when it listens."""
        # No child of the test's, which may come to an end before it does.
        leave = f'"$@" </dev/null >>{self.log} 2>&1 & echo $!'
        words = [*DATAMOVER, "monitor", "--listen", f"0.0.0.0:{PORT}", "--drain", "0"]
        self.daemon = int(self.far.run(["sh", "-c", leave, "sh", *words]).stdout)
        asking = (
            "import socket, sys, time\n"
            f"end = time.monotonic() + {DEADLINE_S}\n"
            "while True:\n"
            "    try: socket.create_connection(('far', int(sys.argv[1])), 1).close()\n"
            "    except OSError:\n"
            "        if time.monotonic() > end: raise\n"
            "        time.sleep(0.01)\n"
            "    else: break\n"
        )
        self.near.python(asking, str(PORT), timeout=DEADLINE_S + 10)

    def mend(self):
        """Start what was killed of the daemon; say whether something was."""
        there = self.far.processes()
        if self.daemon not in there:
            self.serve()
        names = [name for pid, name, *_ in running() if pid in there]
        if self.daemon in there and "dm:forkserver" in names:
            return False
        self.warm_up()
        (self.dst / ERRORS.name).unlink()
        return True

    def _scene(self, name, words):
        self.reset()
        before = self.carried()
        command = [*DATAMOVER, "copy", *words, "--json"]
        is_daemon = name.startswith("daemon")
        start = functools.partial(
            BesideDaemon if is_daemon else HostsJob,
            on=self.near,
            hosts=self.hosts,
            residents=is_daemon,
        )
        seen = observe(command, grows=self.dst, start=start)
        assert_same_tree(self.new, self.dst)
        lives = {role: life for role, life in seen.lives.items() if ROLE.fullmatch(role)}
        if is_daemon:
            lives |= dict.fromkeys(CUTS, lives["main"])
        return Scene(name, command, replace(seen, lives=lives), self.carried() - before, start)

    def reset_store(self, template):
        """Put an empty store in place, and forget what is known of it."""
        for folder in (self.store, Path(self.near.environment["DATAMOVER_STATE"])):
            shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(template, self.store)

    def reset(self):
        """Make the destination an older version again."""
        shutil.rmtree(self.dst, ignore_errors=True)
        subprocess.run(["cp", "-a", self.old, self.dst], check=True)

    def carried(self):
        """Bytes that left either host on the cables so far."""
        found = [host.traffic() for host in self.hosts]
        return sum(one[link.name][1] for one in found for link in self.links)

    def snapshot(self):
        return Snapshot.take(self.processes, folders=self.folders)

    def processes(self):
        return [pid for host in self.hosts for pid in host.processes()]

    @property
    def folders(self):
        return [Path(value) for host in self.hosts for value in set(host.environment.values())]

    def left(self, before, *, files=True, timeout=8.0):
        """What both hosts have that they had not; a fork server of the daemon is its own."""
        folders = self.folders if files else ()
        found = wait_clean(before, self.processes, folders=folders, timeout=timeout)
        return [one for one in found if not one.startswith("process: dm:forkserver")]


@pytest.fixture(scope="module")
def world(make_lasting_network, tmp_path_factory):
    return World(make_lasting_network("near", "far"), tmp_path_factory.mktemp("world"))


def halves(world):
    """Names that have neither their old nor their new content."""
    found = []
    for folder, _, names in os.walk(world.dst):
        for name in names:
            path = Path(folder, name)
            if is_leftover(os.fsencode(name)) or path.is_symlink() or not path.is_file():
                continue
            inside = path.relative_to(world.dst)
            versions = [root / inside for root in (world.old, world.new)]
            if not any(one.is_file() and _same(one, path) for one in versions):
                found.append(inside)
    return found


def _same(one, other):
    return one.stat().st_size == other.stat().st_size and one.read_bytes() == other.read_bytes()


def arrived(world):
    """Bytes of data that need not be sent again: of whole files, of beginnings of long ones."""
    found = 0
    for folder, _, names in os.walk(world.dst):
        for name in names:
            path = Path(folder, name)
            there = path.lstat()
            if name == BESIDE:
                found += there.st_size // 2  # the other half is the old file's
            elif is_leftover(os.fsencode(name)):
                found += there.st_size // PAGE * PAGE if there.st_size >= RESUMABLE else 0
            elif stat.S_ISREG(there.st_mode) and there.st_blocks * 512 >= there.st_size:
                new, old = (root / path.relative_to(world.dst) for root in (world.new, world.old))
                is_new = new.is_file() and new.stat().st_mtime_ns == there.st_mtime_ns
                was_new = old.is_file() and old.stat().st_mtime_ns == there.st_mtime_ns
                if is_new and not was_new and there.st_nlink == 1:
                    found += there.st_size // (2 if name == CHANGES else 1)
    return found


def struck_by(world, scene, plan):
    """Do what the plan says; return what came of it."""
    if plan.name not in CUTS:
        how = {"grows": world.dst, "start": scene.start, "timeout": DEADLINE_S, "grace": 8.0}
        return strike(scene.words, plan, **how)
    random = Random(repr(plan))
    cut = world.links if plan.name == "cut/both" else [random.choice(world.links)]
    job = scene.start(scene.words)
    until = job.started + plan.after_s
    while job.is_running() and time.monotonic() < until:
        time.sleep(0.005)
    happened = job.is_running()
    is_silent = random.random() < 0.5
    for link in cut:
        link.lose(100) if is_silent else link.down()
    until = time.monotonic() + random.uniform(0.1, 2.0)
    while job.is_running() and time.monotonic() < until:
        time.sleep(0.005)
    for link in cut:
        link.lose(0) if is_silent else link.up()
    ended = job.wait(timeout=DEADLINE_S, grace=8.0)
    return Struck(task=Task(0, plan.name) if happened else None, ended=ended)


@functools.cache
def documented():
    """Exit status of each code of docs/reference/errors.md."""
    rows = re.findall(r"^\| `([a-z.-]+)` \| (\d+) \|", ERRORS.read_text(), re.MULTILINE)
    return {code: int(status) for code, status in rows}


def said_wrong(struck, *, crews=()):
    """What is wrong with how a run ended; empty when all is well."""
    ended, task = struck.ended, struck.task
    if task is None or ended.status == 0 or task.name == "main":
        return complaints(struck)
    facts = ended.error.get("facts", {})
    told = f"{ended.error or ended.stderr[-2000:]}"
    kind = task.name if task.role in CUTS or task.name in PATHS | LEADS_THERE else ""
    refused = facts.get("peer"), facts.get("cause_code")
    if task.name == "dm:forkserver" and refused == (task.host, ForkServerError.code):
        kind = task.name  # it was killed as it was asked: the host refuses, and says why
    found = [] if kind else complaints(struck, crews=crews)
    if "Traceback" in ended.stderr:
        found.append(f"traceback: {ended.stderr[-2000:]}")
    if ended.error.get("code") not in documented():
        found.append(f"no documented error: {told}")
    if kind and facts.get("peer") != "far" and facts.get("cause_code", "")[:5] != "peer.":
        found.append(f"{task.role} was struck, and far is not named: {told}")
    if (
        task.stage
        and not kind
        and facts.get("machine", "") != (task.host if task.host == "far" else "")
    ):
        found.append(f"{task.role} was killed, and the machine is wrong: {told}")
    status = facts.get("cause_status") or documented().get(ended.error.get("code"))
    if ended.status != status:
        found.append(f"status {ended.status} is not that of the error: {told}")
    return found


@pytest.mark.timeout(4 * DEADLINE_S)
@pytest.mark.parametrize("seed", range(FIRST, FIRST + KILLS))
def test_a_copy_between_hosts_survives(seed, world):
    scene = world.scenes[seed % len(world.scenes)]
    plan = Plan.draw(seed // len(world.scenes), scene.seen)
    told = f"seed {seed}: {scene.name}: {plan}"
    world.reset()
    world.mend()  # one that failed may have left it to this one
    before, carried = world.snapshot(), world.carried()
    struck = struck_by(world, scene, plan)

    assert said_wrong(struck) == [], told
    is_monitor = plan.name in {"main", "far/monitor", "far/serve"}
    assert world.left(before, files=not is_monitor) == [], told
    assert halves(world) == [], told

    if struck.task is not None:
        world.hit[scene.name, plan.name] += 1
    if world.mend():
        assert plan.name in {"far/monitor", "far/dm:forkserver"}, told
        before = world.snapshot()
    there = arrived(world)
    again = scene.start(scene.words).wait(timeout=DEADLINE_S, grace=8.0).check(0)

    assert_same_tree(world.new, world.dst)
    assert world.left(before) == [], told
    assert "Traceback" not in world.log.read_text(), told
    assert summary_of(again)["bytes_out"] <= scene.sent - there + CHUNKS, told
    if scene.name.startswith("daemon"):
        twice = world.carried() - carried - scene.carried
        assert twice <= scene.carried // 20 + WINDOW * BLOCK_SIZE + RESUMABLE + STORED, told


SECRET = {"DATAMOVER_PASSPHRASE": "correct"}
CHUNK = 4 << 20


@pytest.fixture(scope="module")
def backup(world, make_store, tmp_path_factory):
    """A backup from one host to the other: its words, and what a clean run looks like."""
    template = make_store(tmp_path_factory.mktemp("template") / "store")
    world.reset_store(template)
    shell = world.scenes[0].words[world.scenes[0].words.index("--rsh") :]
    words = [*DATAMOVER, "backup", str(world.new), "--to", f"far:{world.store}", "--name", "killed"]
    words += ["--chunk-size", str(CHUNK), "--jobs", "2", *shell]
    start = functools.partial(HostsJob, on=world.near, hosts=world.hosts, residents=False)
    seen = observe(words, grows=world.store, environment=SECRET, start=start)
    lives = {role: life for role, life in seen.lives.items() if ROLE.fullmatch(role)}
    return template, words, replace(seen, lives=lives), start


@pytest.mark.timeout(4 * DEADLINE_S)
@pytest.mark.parametrize("seed", range(FIRST, FIRST + max(1, KILLS // 10)))
def test_a_backup_between_hosts_survives(seed, world, backup, tmp_path):
    template, words, seen, start = backup
    plan = Plan.draw(seed, seen)
    told = f"seed {seed}: {plan}"
    world.reset_store(template)
    before = world.snapshot()
    how = {"grows": world.store, "environment": SECRET, "start": start, "timeout": DEADLINE_S}
    struck = strike(words, plan, grace=8.0, **how)

    assert said_wrong(struck, crews=CREWS) == [], told
    assert world.left(before, files=False) == [], told

    again = struck.ended
    if struck.ended.status != 0:
        again = start(words, environment=SECRET).wait(timeout=DEADLINE_S, grace=8.0).check(0)
    assert leftovers(world.store) == [], told
    assert world.left(before) == [], told
    summary = summary_of(again)
    if summary.get("attempt"):
        assert summary["bytes_again"] <= WINDOW * BLOCK_SIZE + CHUNK, told
        world.resumed += summary["bytes_taken_over"] > 0
    program = Program()
    program.restore(world.store, tmp_path / "into").check(0)
    assert_same_tree(world.new, tmp_path / "into" / world.new.name)
    world.hit["backup", plan.name] += struck.task is not None


@pytest.mark.skipif(KILLS < 100, reason="it takes as long as silence is borne")
@pytest.mark.timeout(4 * DEADLINE_S)
@pytest.mark.parametrize("name", ["daemon-push", "daemon-pull"])
def test_a_cut_that_lasts_ends_both_halves_and_the_copy_goes_on(name, world):
    (scene,) = [one for one in world.scenes if one.name == name]
    world.reset()
    before = world.snapshot()
    words = [*scene.words, "--limit", "20MB/s"]
    job = scene.start(words)
    carried = world.carried()
    while job.is_running() and world.carried() < carried + (24 << 20):
        time.sleep(0.005)
    for link in world.links:
        link.lose(100)
    ended = job.wait(timeout=DEADLINE_S, grace=DEADLINE_S)
    left = world.left(before, timeout=DEADLINE_S)
    for link in world.links:
        link.lose(0)

    assert said_wrong(Struck(task=Task(0, "cut/both"), ended=ended)) == []
    assert ended.status != 0
    assert left == []
    there = arrived(world)
    again = scene.start(scene.words).wait(timeout=DEADLINE_S).check(0)
    assert_same_tree(world.new, world.dst)
    assert summary_of(again)["bytes_out"] <= scene.sent - there + CHUNKS


@pytest.mark.skipif(KILLS < 400, reason="only many kills reach everybody")
def test_everybody_was_struck(world):
    """Runs after the kills: with enough of them none may have been spared."""
    everybody = {(scene.name, role) for scene in world.scenes for role in scene.seen.names}

    assert {one for one in world.hit if one[0] != "backup"} == everybody
    assert world.hit.total() >= KILLS * 3 // 4
    assert world.resumed >= KILLS // 100
