"""A store on another machine does all that one here does, through a remote shell.

The other machine is a folder, with an environment and a runtime folder of its own; the shell is a
stand-in that joins words and relays input and output as ssh does.
"""

import contextlib
import json
import os
import signal
import time
from pathlib import Path

import pytest

from datamover.testing.trees import assert_same_tree, make_tree

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]
DEADLINE_S = 60


@pytest.fixture
def source(tmp_path):
    return make_tree(tmp_path / "src", 7)


def good(done):
    assert done.returncode == 0, done.stderr
    return done


def until(condition):
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def alive(words):
    """The processes whose command line has all the words."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if all(word in " ".join(line) for word in words):
                found.append(int(folder.name))
    return found


def test_what_is_backed_up_there_is_listed_verified_and_comes_back(near, source, tmp_path):
    good(near("init", "vault:store"))
    good(near("backup", source, "--to", "vault:store", "--name", "far"))
    good(near("verify", "vault:store"))
    good(near("restore", "far", "--from", "vault:store", "--to", tmp_path / "back"))
    listed = good(near("archives", "vault:store")).stdout
    inside = good(near("ls", "vault:store", "far")).stdout
    about = good(near("info", "vault:store")).stdout

    assert (near.vault / "store" / "store.json").exists()
    assert "far" in listed
    assert "src" in inside
    assert "aes-256-gcm" in about
    assert_same_tree(source, tmp_path / "back" / "src")
    assert list((near.vault / "run").glob("door-*")) == []


def test_the_rules_of_a_store_elsewhere_hold_here(near, tmp_path):
    source = tmp_path / "text"
    source.write_bytes(b"the same words again and again\n" * 40_000)
    good(near("init", "vault:store"))
    rules = near.vault / "store" / "placement.toml"
    rules.write_text("[[rule]]\ncontent = 'text/*'\ncodec = 'none'\n")
    plain = good(near("backup", source, "--to", "vault:store", "--json"))
    packed = good(near("backup", source, "--to", "vault:store", "--json", "--codec", "zstd-1"))
    told = good(near("placement", "explain", source, "--to", "vault:store"))
    rules.write_text("[default]\ncopies = 2\n")
    refused = near("backup", source, "--to", "vault:store")
    stored = [json.loads(one.stdout.splitlines()[-1])["bytes_out"] for one in (plain, packed)]

    assert stored[0] > source.stat().st_size > 10 * stored[1]
    assert "content text/plain fits text/*" in told.stdout
    assert refused.returncode == 64
    assert "placement.toml:2: copies cannot be followed" in refused.stderr


@pytest.mark.parametrize("paths", ["1", "4"])
def test_any_number_of_paths_gives_the_same(near, source, tmp_path, paths):
    good(near("init", "vault:store"))
    good(near("backup", source, "--to", "vault:store", "--paths", paths))
    good(near("restore", "--from", "vault:store", "--to", tmp_path / "back", "--paths", paths))

    assert_same_tree(source, tmp_path / "back" / "src")


def test_what_was_stored_from_afar_is_a_store_like_any_other(near, source, tmp_path):
    good(near("init", "vault:store"))
    good(near("backup", source, "--to", "vault:store"))
    good(near("verify", near.vault / "store"))
    good(near("restore", "--from", near.vault / "store", "--to", tmp_path / "back"))

    assert_same_tree(source, tmp_path / "back" / "src")


@pytest.mark.slow
def test_a_limit_holds_both_ways(near, tmp_path):
    source = tmp_path / "noise"
    source.write_bytes(os.urandom(24 << 20))
    good(near("init", "vault:store"))
    sent = good(near("backup", source, "--to", "vault:store", "--limit", "8MB/s", "--json"))
    came = good(
        near(
            "restore", "--from", "vault:store", "--to", tmp_path / "b", "--limit", "8MB/s", "--json"
        )
    )

    for done in (sent, came):
        summary = json.loads(done.stdout.splitlines()[-1])
        assert summary["seconds"] > 2.5  # 25 MB, less what goes at once


def test_the_passphrase_and_the_keys_stay_here(near, source):
    good(near("init", "vault:store"))
    wrong = near("backup", source, "--to", "vault:store", DATAMOVER_PASSPHRASE="wrong")

    assert wrong.returncode != 0
    assert "passphrase" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_a_host_that_is_not_there_is_an_error_of_one_line_and_a_hint(near):
    done = near("archives", "nowhere:store")

    assert done.returncode not in {0, 1}
    assert "could not resolve hostname nowhere" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_store_there_says_so(near):
    done = near("archives", "vault:missing")

    assert done.returncode != 0
    assert "no store here" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_killed_far_side_is_named_and_nothing_of_the_archive_stays(near, source, tmp_path):
    good(near("init", "vault:store"))
    big = tmp_path / "big"
    big.mkdir()
    (big / "file").write_bytes(os.urandom(64 << 20))
    running = near("backup", big, "--to", "vault:store", "--limit", "4MB/s", start=True)
    until(lambda: list((near.vault / "store" / "tmp").glob("*")))
    (server,) = [
        pid
        for pid in alive(["datamover", "serve", "--stdio"])
        if f"DATAMOVER_RUNTIME={near.vault}/run" in Path(f"/proc/{pid}/environ").read_text()
        and "remote_shell" not in Path(f"/proc/{pid}/cmdline").read_text()
        and Path(f"/proc/{pid}/comm").read_text().startswith("python")
    ]
    os.kill(server, signal.SIGKILL)
    said = running.communicate(timeout=DEADLINE_S)[1]
    good(near("backup", source, "--to", "vault:store"))
    good(near("verify", "vault:store"))

    assert running.returncode != 0
    assert "vault" in said
    assert "Traceback" not in said
    assert near("archives", "vault:store", "--json").stdout.count('"event": "archive"') == 1


def test_both_halves_are_seen_limited_and_stopped_from_here(near, tmp_path):
    (tmp_path / "big").write_bytes(os.urandom(64 << 20))
    good(near("init", "vault:store"))
    running = near(
        "backup", tmp_path / "big", "--to", "vault:store", "--limit", "2MB/s", start=True
    )
    seen = []

    def flows():
        pipes = json.loads(good(near("status", "--json")).stdout)["pipes"]
        seen[:] = [one for one in pipes if len(one["parts"]) == 2 and one["parts"][1]["paths"]]
        return seen

    until(flows)
    here, there = seen[0]["parts"]
    store = there["stages"][-1]["instances"][0]
    good(near("limit", str(running.pid), "3MB/s"))
    (far,) = json.loads(good(near("status", "--on", "vault", "--json")).stdout)["pipes"]
    stopped = good(near("stop", seen[0]["pipe"]))
    said = running.communicate(timeout=DEADLINE_S)[1]

    assert (here["machine"], there["machine"]) == ("", "vault")
    assert (seen[0]["state"], seen[0]["pid"]) == ("running", running.pid)
    assert [one["stage"] for one in there["stages"]] == ["net_receive", "store"]
    assert (far["pipe"], far["limit"]) == (seen[0]["pipe"], 3_000_000)
    assert "is stopping" in stopped.stdout
    assert running.returncode == 75
    assert "stopped by" in said
    until(lambda: not Path(f"/proc/{store['pid']}").exists())
    until(lambda: not list((near.vault / "run").glob("door-*")))
