"""Workers that are killed on either side of a job over two machines cost it nothing but a moment.

The other machine is a folder with an environment of its own, behind a stand-in for ssh.
DATAMOVER_KILLS makes it longer.  SPEC X2, G9; ADR 0017, 0024.
"""

from __future__ import annotations

import os
import shlex
import sys
from random import Random

import pytest

from datamover.testing.chaos import kills
from datamover.testing.program import Program
from datamover.testing.remote_shell import Reached, remote_shell
from datamover.testing.trees import assert_same_tree, make_tree

pytestmark = [pytest.mark.faults, pytest.mark.processes, pytest.mark.slow]

MIB = 1 << 20
RUNS = max(1, kills() // 300)
SECONDS = 90.0
soak = pytest.mark.skipif(kills() < 300, reason="long: `make soak` runs it")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """100 MiB: more than the pools of both machines hold, so that workers wait for the network."""
    root = make_tree(tmp_path_factory.mktemp("retry") / "source", 9, files=40)
    random = Random(10)
    for number in range(16):
        (root / f"noise-{number}").write_bytes(random.randbytes(6 * MIB))
        line = b"%d line of text %d\n"
        (root / f"text-{number}").write_bytes(b"".join(line % (i, i * i) for i in range(10_000)))
    return root


@pytest.fixture
def away(tmp_path, monkeypatch):
    """Commands that reach the machine ``vault``; its home folder is ``tmp_path / "vault"``."""
    vault = tmp_path / "vault"
    (vault / "run").mkdir(parents=True, mode=0o700)
    own = {"HOME": str(vault), "DATAMOVER_RUNTIME": str(vault / "run")}
    shell = remote_shell(
        tmp_path / "hosts.json", {"vault": Reached(folder=str(vault), environment=own)}
    )
    monkeypatch.setenv("DATAMOVER_RSH", shell)
    monkeypatch.setenv("DATAMOVER_REMOTE", shlex.join([sys.executable, "-m", "datamover"]))
    monkeypatch.setenv("DATAMOVER_CONFIG", str(tmp_path / "config"))
    return Program()


def grown(*folders):
    found = 0
    for folder in folders:
        for at, _, names in os.walk(folder):
            for name in names:
                try:
                    found += os.lstat(os.path.join(at, name)).st_size
                except FileNotFoundError:  # moved while it was looked at
                    continue
    return found


def struck(job, victims, folder, seed, most=5):
    """Kill one victim after the other, each after some more has arrived; return how many died."""
    random, killed, due = Random(seed), 0, grown(folder) + MIB
    while job.is_running() and killed < most:
        done = grown(folder)
        if done < due:
            continue
        task = job.wait_task(f"dm:{victims[killed % len(victims)]}", timeout=5)
        killed += task is not None and job.kill(task)
        due = done + random.randrange(4 * MIB, 8 * MIB)
    return killed


def replaced(ended):
    ended.check(0)
    notices = [event for event in ended.events if event.get("event") == "notice"]
    assert {event["kind"] for event in notices} <= {"respawned"}, notices
    return {str(event["given"]["task"]).partition(".")[0] for event in notices}


@soak
@pytest.mark.parametrize("seed", range(RUNS))
def test_a_backup_to_another_machine_and_back(seed, source, make_store, away, tmp_path):
    store = make_store(tmp_path / "vault/store")
    victims = ["checksum.0", "collect.1", "checksum.1", "collect.0"]
    words = ["backup", source, "--to", "vault:store", "--name", "a", "--jobs", "2"]
    job = away.start(*words, "--limit", "40MB/s")
    killed = struck(job, victims, store, seed)
    names = replaced(job.wait(timeout=SECONDS))
    assert killed > 0
    assert names
    assert names <= {"checksum", "collect"}
    words = ["restore", "--from", "vault:store", "--to", tmp_path / "back", "--jobs", "2"]
    job = away.start(*words, "--on-death", "retry", "--limit", "40MB/s")
    killed = struck(job, ["decrypt.0", "decrypt.1"], tmp_path / "back", seed)
    names = replaced(job.wait(timeout=SECONDS))

    assert killed > 0
    assert names
    assert names <= {"decrypt"}
    away.run("verify", "vault:store", "--on-death", "retry", timeout=SECONDS).check(0)
    assert_same_tree(source, tmp_path / "back" / source.name)


@pytest.mark.parametrize("seed", range(RUNS))
def test_a_copy_whose_workers_die_on_both_sides(seed, source, away, tmp_path):
    target = tmp_path / "vault/out"
    words = ["copy", source, "vault:out", "--compress", "zstd-1", "--jobs", "2"]
    job = away.start(*words, "--on-death", "retry", "--limit", "40MB/s")
    killed = struck(
        job, ["expand.0", "collect.1", "expand.1", "collect.0"], tmp_path / "vault", seed
    )
    names = replaced(job.wait(timeout=SECONDS))

    assert killed > 0
    assert names
    assert names <= {"expand", "collect"}
    assert_same_tree(source, target)


@soak
def test_without_the_policy_a_killed_worker_there_ends_the_copy_and_is_named(
    source, away, tmp_path
):
    words = ["copy", source, "vault:out", "--compress", "zstd-1", "--jobs", "2"]
    job = away.start(*words, "--limit", "40MB/s")
    assert struck(job, ["expand.1"], tmp_path / "vault", 0, most=1) == 1
    ended = job.wait(timeout=SECONDS)

    assert ended.status != 0
    assert not ended.left
    assert ended.error["facts"]["stage"] == "expand"
    assert ended.error["facts"]["machine"] == "vault"


@soak
def test_a_pipe_whose_compressor_is_on_the_other_machine(source, away, tmp_path):
    """The stage that dies is between two network stages there; the payload comes back here."""
    big = tmp_path / "big"
    big.write_bytes(b"".join(path.read_bytes() for path in sorted(source.glob("noise-*"))[:8]))
    stages = "".join(
        f"[[stage]]\nuse = {use!r}\n{more}\n"
        for use, more in [
            ("read", f"settings = {{ path = {str(big)!r} }}"),
            ("compress", "at = 'vault'\ninstances = 2\nsettings = { level = 3 }"),
            ("expand", "at = 'vault'\ninstances = 2"),
            ("write", f"settings = {{ path = {str(tmp_path / 'out')!r} }}"),
        ]
    )
    pipe = tmp_path / "pipe.toml"
    pipe.write_text(f"name = 'away'\non_death = 'retry'\nbuffer_size = '256KiB'\n{stages}")
    job = away.start("pipe", "run", pipe, "--limit", "40MB/s")
    killed = struck(job, ["compress.0", "expand.1", "compress.1"], tmp_path, 1, most=4)
    names = replaced(job.wait(timeout=SECONDS))

    assert killed > 0
    assert names
    assert names <= {"compress", "expand"}
    assert (tmp_path / "out").read_bytes() == big.read_bytes()
