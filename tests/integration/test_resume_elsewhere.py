"""A backup to another machine goes on, whatever was killed, on either side, or cut between them.

DATAMOVER_RESUMES says how many seeded deaths; a failure repeats with its seed.
"""

import contextlib
import json
import os
import signal
import time
from pathlib import Path
from random import Random

import pytest

from datamover.testing.trees import assert_same_tree, make_tree

pytestmark = [pytest.mark.processes, pytest.mark.faults, pytest.mark.slow]

DEATHS = int(os.environ.get("DATAMOVER_RESUMES", "1"))
DEADLINE_S = 120
CHUNK = 1 << 20
# The open chunk, and those that the disk has not confirmed: one in its hands, and two that wait.
UNCONFIRMED = 4 * CHUNK
ROLES = ("cut", "dm:store", "main", "serve", "dm:net_send", "dm:net_receive", "dm:forkserver")
OPTIONS = ("--chunk-size", "1MiB", "--json")


def until(condition):
    deadline = time.monotonic() + DEADLINE_S
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return found


def processes(near):
    """Every process of this test's machines: number, name, and command line."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str(near.vault.parent) in (folder / "environ").read_bytes().decode(errors="replace"):
                line = (folder / "cmdline").read_bytes().decode(errors="replace")
                yield int(folder.name), (folder / "comm").read_text().strip(), line


def victims(near, role, running):
    """Whom to kill."""
    if role == "main":
        return [running.pid]
    found = list(processes(near))
    if role == "cut":
        return [pid for pid, _, line in found if "testing.remote_shell" in line]
    if role == "serve":
        return [
            pid
            for pid, name, line in found
            if "serve\0--stdio" in line and "remote_shell" not in line and name[:6] == "python"
        ]
    return [pid for pid, name, _ in found if name.startswith(role)]


def arrived(store):
    """Bytes of all chunk files, those that are being written too."""
    total = 0
    for path in [*(store / "chunks").glob("*"), *(store / "tmp").glob("*")]:
        with contextlib.suppress(FileNotFoundError):  # moved meanwhile
            total += path.stat().st_size
    return total


def durable(store):
    return {path.name: path.stat().st_size for path in (store / "chunks").iterdir()}


def summary(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def source(tmp_path):
    source = make_tree(tmp_path / "src", 7, files=12, large=300_000)
    (source / "noise").write_bytes(Random(3).randbytes(20 << 20))
    return source


@pytest.mark.timeout(200)
@pytest.mark.parametrize("seed", range(DEATHS))
def test_the_same_command_goes_on(near, source, tmp_path, seed):
    random, store = Random(seed), near.vault / "store"
    role = ROLES[seed % len(ROLES)]
    near("init", "vault:store").check_returncode()
    command = ("backup", source, "--to", "vault:store", *OPTIONS)
    running = near(*command, "--limit", "16MB/s", start=True)
    wanted = random.randrange(2 * CHUNK, 16 * CHUNK)
    until(lambda: running.poll() is not None or arrived(store) >= wanted)
    pids = until(lambda: victims(near, role, running) or running.poll() is not None)
    assert running.poll() is None, "it ended before it could be killed"
    before = arrived(store)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    said = running.communicate(timeout=DEADLINE_S)[1]
    # All of the first run has gone, on both sides, and writes no more.
    until(lambda: not list(processes(near)))
    kept = durable(store)
    done = summary(near(*command))
    after = durable(store)

    assert running.returncode != 0, (role, said)
    assert "Traceback" not in said
    assert kept
    assert before - sum(kept.values()) <= UNCONFIRMED, role
    assert kept.items() <= after.items()
    assert (done["attempt"], done["bytes_taken_over"]) == (1, sum(kept.values()))
    assert done["bytes_out"] == sum(after.values())
    assert list((store / "active").iterdir()) == list((store / "tmp").iterdir()) == []
    near("restore", "--from", "vault:store", "--to", tmp_path / "back").check_returncode()
    assert_same_tree(source, tmp_path / "back" / "src")
    assert '"archives": 1, "incomplete": 0' in near("info", "vault:store", "--json").stdout


def test_an_interrupt_keeps_what_is_durable_and_says_so(near, source):
    store = near.vault / "store"
    near("init", "vault:store").check_returncode()
    running = near(
        "backup", source, "--to", "vault:store", *OPTIONS, "--limit", "16MB/s", start=True
    )
    until(lambda: len(durable(store)) > 2)
    running.send_signal(signal.SIGINT)
    told = running.communicate(timeout=DEADLINE_S)[0]
    until(lambda: not list(processes(near)))
    shown = json.loads(near("info", "vault:store", "--json").stdout)

    assert running.returncode == 130
    assert '"kept"' in told
    assert shown["incomplete"] == 1
    assert 0 < shown["bytes_incomplete"] <= sum(durable(store).values())
    assert list((store / "tmp").iterdir()) == []
