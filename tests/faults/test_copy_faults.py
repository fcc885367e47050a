"""A copy that is killed, or runs out of disk: each name has its old or new content, and it goes on.

DATAMOVER_KILLS says how many seeded kills, both ways of moving data together.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path
from random import Random

import pytest

from datamover.files.leftover import is_leftover, leftover_name
from datamover.testing.chaos import kills
from datamover.testing.program import Program
from datamover.testing.trees import assert_same_tree

pytestmark = [pytest.mark.faults, pytest.mark.processes, pytest.mark.slow]

PROGRAM = Program(passphrase=None)
WAYS = {"kernel": [], "buffers": ["--through-buffers"], "whole": ["--through-buffers",
        "--delta-from", "0"]}  # fmt: skip
LARGE = 48 << 20
PAGE = 4096


def fill(root, seed):
    """Make a version of a tree: small files, and two large ones."""
    random = Random(seed)
    for folder in range(8):
        (root / f"dir-{folder}").mkdir(parents=True)
        for number in range(60):
            data = b"%d %d %d\n" % (seed, folder, number) * random.randrange(1, 400)
            (root / f"dir-{folder}" / f"file-{number}").write_bytes(data)
    block = Random(99).randbytes(1 << 20)
    for name in ("changes", "dir-3/other"):
        with (root / name).open("wb") as file:
            # Half of it is in every version, moved by some bytes.
            file.write(random.randbytes(LARGE // 2 + seed))
            for number in range(LARGE // 2 >> 20):
                file.write(block[number:] + block[:number])
    return root


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    root = tmp_path_factory.mktemp("versions")
    return fill(root / "old", 1), fill(root / "new", 2)


@pytest.fixture(scope="module", params=list(WAYS))
def way(request, versions, tmp_path_factory):
    """A way of moving data, and how long a copy takes that way."""
    dst = Path(shutil.copytree(versions[0], tmp_path_factory.mktemp("timed") / "dst"))
    ended = PROGRAM.run("copy", f"{versions[1]}/", dst, *WAYS[request.param]).check(0)
    shutil.rmtree(dst)
    return WAYS[request.param], ended.seconds


def halves(dst, old, new):
    """Return the names that have neither content."""
    found = []
    for folder, _, names in os.walk(dst):
        for name in names:
            path = Path(folder, name)
            if is_leftover(os.fsencode(name)):
                continue
            inside = path.relative_to(dst)
            data = path.read_bytes()
            if data not in [(root / inside).read_bytes() for root in (old, new)]:
                found.append(inside)
    return found


def left(dst, name):
    """Return how much of a large file an interrupted copy has left."""
    path = dst / name
    beside = path.with_name(os.fsdecode(leftover_name(os.fsencode(path.name))))
    return beside.stat().st_size if beside.exists() else 0


def summary_of(ended):
    return [one for one in ended.events if one["event"] == "summary"][-1]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(max(3, kills() // 6)))
def test_a_killed_copy_leaves_nothing_half_and_goes_on(seed, way, versions, tmp_path):
    old, new = versions
    words, usual = way
    random = Random(f"{seed} {words}")
    dst = Path(shutil.copytree(old, tmp_path / "dst"))
    command = ("copy", f"{new}/", dst, *words)
    resumed = 0
    for _ in range(2):
        job = PROGRAM.start(*command)
        moment = job.started + random.uniform(0.3, 1.0) * usual
        while job.is_running() and time.monotonic() < moment:
            time.sleep(0.005)
        # Everything at once, as when a machine dies; or one task, and the others notice.
        tasks = job.tasks()
        for task in tasks if random.random() < 0.5 else random.sample(tasks, min(1, len(tasks))):
            job.kill(task, signal.SIGKILL)
        job.wait()

        assert halves(dst, old, new) == []

        resumed = left(dst, "changes") + left(dst, "dir-3/other")
    found = summary_of(PROGRAM.run(*command).check(0))

    assert_same_tree(new, dst)
    # A leftover is used to its last whole page; of one, for the other may come to be of no use.
    assert found["resumed"] >= resumed - 2 * PAGE
    assert not [name for _, _, names in os.walk(os.fsencode(dst)) for name in names
                if is_leftover(name)]  # fmt: skip


@pytest.mark.parametrize("words", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("room", [0, 300_000, 20 << 20])
def test_a_full_disk_is_an_error_and_the_copy_goes_on(disk, tmp_path, words, room):
    src, dst = tmp_path / "src", disk.path / "dst"
    src.mkdir()
    dst.mkdir()
    for number in range(40):
        (src / f"file-{number:02}").write_bytes(b"new %d" % number * 2000)
        (dst / f"file-{number:02}").write_bytes(b"old %d" % number * 100)
    (src / "large").write_bytes(Random(1).randbytes(24 << 20))
    disk.leave(room)
    ended = PROGRAM.run("copy", f"{src}/", dst, *words).check(73)

    assert ended.code == "restore"
    assert "No space left" in str(ended.error)
    for number in range(40):
        data = (dst / f"file-{number:02}").read_bytes()
        assert data in (b"new %d" % number * 2000, b"old %d" % number * 100)

    there = left(dst, "large")
    disk.free()
    found = summary_of(PROGRAM.run("copy", f"{src}/", dst, *words).check(0))

    assert_same_tree(src, dst)
    assert found["resumed"] >= there - PAGE
    assert there > 8 << 20 or room < 20 << 20


@pytest.mark.timeout(180)
@pytest.mark.parametrize("words", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("has_old", [False, True])
def test_a_large_file_goes_on_where_it_was_killed(tmp_path, words, has_old):
    src, dst = tmp_path / "src", tmp_path / "dst"
    src.mkdir()
    dst.mkdir()
    random, size = Random(5), 160 << 20
    with (src / "large").open("wb") as file:
        for _ in range(size >> 20):
            file.write(random.randbytes(1 << 20))
    if has_old:
        (dst / "large").write_bytes(random.randbytes(9 << 20))
    command = ("copy", f"{src}/", dst, "--no-sync", *words)
    before, ever = 0, False
    for _ in range(3):
        job = PROGRAM.start(*command)
        goal = min(before + (30 << 20), size - (1 << 20))
        while job.is_running() and left(dst, "large") < goal:
            time.sleep(0.001)
        for task in job.tasks():
            job.kill(task, signal.SIGKILL)
        job.wait()
        before = left(dst, "large")
        ever = ever or before > 0
    found = summary_of(PROGRAM.run(*command).check(0))

    assert ever, "it was never caught in the middle"
    assert_same_tree(src, dst)
    assert left(dst, "large") == 0
    if before:
        assert found["resumed"] in range(before - PAGE, before + 1)
        assert found["resumed"] + found["bytes_out"] + found["reused"] == size
