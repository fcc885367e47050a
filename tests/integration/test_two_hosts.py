"""Two machines of one fleet: their daemons, two shaped links between them, and what may happen."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from datamover.testing.trees import assert_same_tree, make_tree

pytestmark = [pytest.mark.processes, pytest.mark.slow]

DATAMOVER = (sys.executable, "-m", "datamover")
DEADLINE_S = 60
PORT = 4747


def until(condition, what):
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


class Fleet:
    """Hosts ``near`` and ``far``; far's daemon runs, and near may put things into its inbox."""

    def __init__(self, network, tmp_path):
        self.near, self.far = network.hosts
        self.inbox = tmp_path / "inbox"
        self.inbox.mkdir()
        self.far.run([*DATAMOVER, "fleet", "init", "--name", "far"])
        self.serve()
        allow = ("extend", "status", f"path:write:{self.inbox}", f"store:append:{self.inbox}/store")
        grants = [word for one in allow for word in ("--allow", one)]
        address = ("--address", f"far:{PORT}")
        invited = [*DATAMOVER, "fleet", "invite", "--quiet", "--name", "near", *address, *grants]
        token = self.far.run(invited).stdout
        joining = [*DATAMOVER, "fleet", "join", "--name", "near", "--token-file", "-"]
        self.near.run(joining, given=token)

    def serve(self):
        listen = ("--listen", f"0.0.0.0:{PORT}", "--drain", "0")
        self.daemon = self.far.popen([*DATAMOVER, "monitor", *listen], stdout=None)
        asking = (
            "import socket, sys\n"
            "try: socket.create_connection(('far', int(sys.argv[1])), 1).close()\n"
            "except OSError: sys.exit(1)"
        )
        command = [sys.executable, "-c", asking, str(PORT)]
        until(lambda: self.near.run(command, check=False).returncode == 0, "the daemon listens")

    def copy(self, source, *options, check=True):
        words = ["copy", source, f"far:{self.inbox}/", "--json", *options]
        return self.near.run([*DATAMOVER, *words], check=check, timeout=DEADLINE_S)


@pytest.fixture
def fleet(make_network, tmp_path):
    network = make_network("near", "far")
    near, far = network.hosts
    links = network.connect(near, far, mbit=200), network.connect(near, far, mbit=100)
    fleet = Fleet(network, tmp_path)
    fleet.links = links
    return fleet


def noise(path, mebibytes):
    path.write_bytes(os.urandom(mebibytes << 20))
    return path


def summary(done):
    return json.loads(done.stdout.splitlines()[-1])


def test_a_tree_is_copied_sealed_and_backed_up_through_the_daemon(fleet, tmp_path):
    source = make_tree(tmp_path / "src", 5)
    fleet.copy(source)
    secret = {"DATAMOVER_PASSPHRASE": "correct horse"}
    store = f"far:{fleet.inbox}/store"
    fleet.near.run([*DATAMOVER, "init", store], env=secret)
    fleet.near.run([*DATAMOVER, "backup", source, "--to", store], env=secret)
    back = tmp_path / "back"
    fleet.near.run([*DATAMOVER, "restore", "--from", store, "--to", back], env=secret)

    assert_same_tree(source, fleet.inbox / "src")
    assert_same_tree(source, back / "src")


def test_both_links_carry_what_one_could_not(fleet, tmp_path):
    source = noise(tmp_path / "noise", 64)
    one = summary(fleet.copy(source, "--via", "link2"))
    (fleet.inbox / "noise").unlink()
    both = summary(fleet.copy(source, "--via", "link1,link2"))

    assert (fleet.inbox / "noise").read_bytes() == source.read_bytes()
    assert one["seconds"] > 5.1  # 64 MiB at 100 Mbit/s take 5.4 s
    assert both["seconds"] < 5.1


def test_a_link_that_is_cut_and_comes_back_costs_no_more_than_what_was_on_it(fleet, tmp_path):
    source = noise(tmp_path / "noise", 96)
    words = ["copy", source, f"far:{fleet.inbox}/", "--via", "link1,link2", "--json"]
    running = fleet.near.popen([*DATAMOVER, *map(str, words)])
    carried = lambda: fleet.near.traffic()["link1"][1] > 8 << 20  # noqa: E731 - a condition
    until(carried, "the first link carries data")
    fleet.links[0].down()
    before = fleet.near.traffic()["link2"][1]
    until(lambda: fleet.near.traffic()["link2"][1] > before + (8 << 20), "the second goes on")
    fleet.links[0].up()
    said, _ = running.communicate(timeout=DEADLINE_S)

    assert running.returncode == 0, said
    assert (fleet.inbox / "noise").read_bytes() == source.read_bytes()


def test_a_killed_daemon_is_named_and_the_same_command_goes_on_when_it_is_back(fleet, tmp_path):
    source = noise(tmp_path / "noise", 96)
    words = ["copy", source, f"far:{fleet.inbox}/", "--json"]
    running = fleet.near.popen([*DATAMOVER, *map(str, words)], stderr=-1)
    until(lambda: fleet.near.traffic()["link1"][1] > 16 << 20, "data flows")
    os.kill(_daemon(fleet), signal.SIGKILL)
    _, told = running.communicate(timeout=DEADLINE_S)
    fleet.serve()
    done = fleet.copy(source)

    assert running.returncode != 0
    assert b"far" in told
    assert b"Traceback" not in told
    assert summary(done)["files"] == 1
    assert (fleet.inbox / "noise").read_bytes() == source.read_bytes()


def test_a_backup_goes_on_when_the_daemon_that_was_killed_is_back(fleet, tmp_path):
    source, store = noise(tmp_path / "noise", 24), fleet.inbox / "store"
    secret = {"DATAMOVER_PASSPHRASE": "correct horse"}
    to = f"far:{store}"
    fleet.near.run([*DATAMOVER, "init", to], env=secret)
    words = [*DATAMOVER, "backup", str(source), "--to", to, "--chunk-size", "1MiB", "--json"]
    running = fleet.near.popen([*words, "--limit", "8MB/s"], stderr=-1, env=secret)
    until(lambda: len(list((store / "chunks").iterdir())) > 4, "chunks are durable")
    os.kill(_daemon(fleet), signal.SIGKILL)
    _, told = running.communicate(timeout=DEADLINE_S)
    until(lambda: not fleet.far.processes(), "the daemon's tasks end")
    kept = {path.name: path.stat().st_size for path in (store / "chunks").iterdir()}
    fleet.serve()
    done = summary(fleet.near.run(words, env=secret, timeout=DEADLINE_S))
    after = {path.name: path.stat().st_size for path in (store / "chunks").iterdir()}
    back = tmp_path / "back"
    fleet.near.run([*DATAMOVER, "restore", "--from", to, "--to", back], env=secret)

    assert running.returncode != 0
    assert b"Traceback" not in told
    assert kept.items() <= after.items()
    assert (done["attempt"], done["bytes_taken_over"]) == (1, sum(kept.values()))
    assert (back / "noise").read_bytes() == source.read_bytes()


def test_what_was_not_granted_is_refused_with_the_place_and_a_hint(fleet, tmp_path):
    source = noise(tmp_path / "noise", 1)
    words = ["copy", source, "far:/etc/"]
    done = fleet.near.run([*DATAMOVER, *map(str, words)], check=False)

    assert done.returncode == 77
    assert "/etc" in done.stderr
    assert "peers.toml" in done.stderr
    assert not Path("/etc/noise").exists()


def _daemon(fleet):
    """The process of the daemon itself, inside its namespace."""
    for pid in fleet.far.processes():
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"monitor" in words and b"-m" in words:
            return pid
    raise AssertionError("no daemon runs")
