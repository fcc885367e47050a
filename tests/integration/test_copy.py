"""Copies by the real program, with real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from random import Random

import pytest

from datamover.testing.program import Program
from datamover.testing.trees import assert_same_tree, make_tree

pytestmark = [pytest.mark.slow, pytest.mark.processes]

PROGRAM = Program(passphrase=None)


def summary_of(ended):
    return [one for one in ended.events if one["event"] == "summary"][-1]


@pytest.mark.parametrize("way", [[], ["--through-buffers"], ["--compress", "zstd-1"]])
def test_copy_follows_a_tree(tmp_path, way):
    src, dst = make_tree(tmp_path / "src", 3, files=300), tmp_path / "dst"
    PROGRAM.run("copy", src, dst, *way).check(0)

    assert_same_tree(src, dst)

    (src / "plain" / "more").write_bytes(Random(1).randbytes(5_000_000))
    os.mkdir(dst / "extra")
    ended = PROGRAM.run("copy", f"{src}/", dst, "--delete", *way).check(0)
    found = summary_of(ended)

    assert_same_tree(src, dst)
    assert (found["files"], found["bytes_out"], found["removed"]) == (1, 5_000_000, 1)
    assert found["equal"] > 300


def test_a_dry_run_lists_and_does_nothing(tmp_path):
    src, dst = make_tree(tmp_path / "src", 3), tmp_path / "dst"
    dst.mkdir()
    (dst / "extra").write_text("x")
    words = ["copy", f"{src}/", str(dst), "--delete", "--dry-run", "--quiet"]
    ended = subprocess.run(
        [sys.executable, "-m", "datamover", *words], capture_output=True, text=True, check=True
    )
    lines = ended.stdout.splitlines()

    assert "create\tdst/plain" in lines
    assert lines[-1] == "remove\tdst/extra"
    assert os.listdir(dst) == ["extra"]


def test_what_cannot_be_copied_is_said_and_ends_in_three(tmp_path):
    src, dst = make_tree(tmp_path / "src", 3), tmp_path / "dst"
    (src / "plain" / "taken").write_text("a file")
    (dst / "plain" / "taken").mkdir(parents=True)
    (dst / "plain" / "taken" / "x").write_text("x")
    ended = PROGRAM.run("copy", f"{src}/", dst).check(3)

    assert [one["kind"] for one in ended.events if one["event"] == "notice"] == ["exists"]


def test_it_is_not_copied_into_itself(tmp_path):
    (tmp_path / "src").mkdir()
    ended = PROGRAM.run("copy", tmp_path / "src", tmp_path / "src" / "below" / "deeper").check(64)

    assert ended.code == "usage"
    assert not (tmp_path / "src" / "below").exists()


@pytest.mark.parametrize("way", [["--through-buffers"], ["--compress", "lz4"]])
def test_a_large_file_that_changed_is_sent_as_what_changed(tmp_path, way):
    src, dst = tmp_path / "src", tmp_path / "dst"
    old = Random(1).randbytes(20_000_000)
    for root, data in ((src, old[:9_000_000] + b"new" + old[9_000_000:]), (dst, old)):
        root.mkdir()
        for name in ("one", "two"):
            (root / name).write_bytes(data)
            os.utime(root / name, ns=(10**18, 10**18 + len(data)))
    found = summary_of(PROGRAM.run("copy", f"{src}/", dst, *way).check(0))

    assert_same_tree(src, dst)
    assert found["files"] == 2
    assert found["reused"] + found["bytes_out"] == 40_000_006
    assert found["bytes_out"] < 2_000_000


def test_without_delta_it_is_sent_whole(tmp_path):
    src, dst = tmp_path / "src", tmp_path / "dst"
    src.write_bytes(bytes(3_000_000))
    dst.write_bytes(bytes(3_000_001))
    words = ("copy", src, dst, "--through-buffers", "--delta-from", "0")
    found = summary_of(PROGRAM.run(*words).check(0))

    assert (found["bytes_out"], found["reused"]) == (3_000_000, 0)
    assert dst.read_bytes() == bytes(3_000_000)
