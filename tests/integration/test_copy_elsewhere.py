"""`copy` to, from and between other machines does what it does on one."""

import json
import os

import pytest

from datamover.testing.trees import assert_same_tree, make_tree

pytestmark = pytest.mark.processes


@pytest.fixture
def source(tmp_path):
    return make_tree(tmp_path / "src", 11)


def summary(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_tree_goes_there_and_comes_back(near, source, tmp_path):
    summary(near("copy", source, "vault:", "--json"))
    summary(near("copy", "vault:src", tmp_path / "back", "--json"))

    assert_same_tree(source, near.vault / "src")
    assert_same_tree(source, tmp_path / "back")


def test_a_tree_goes_from_one_other_machine_to_another(near, source):
    summary(near("copy", source, "vault:", "--json"))
    summary(near("copy", "vault:src", "attic:", "--paths", "3", "--json"))

    assert_same_tree(source, near.attic / "src")


def test_what_is_there_and_equal_is_not_sent_again(near, source):
    summary(near("copy", source, "vault:", "--json"))
    again = summary(near("copy", source, "vault:", "--json"))

    assert again["files"] == 0
    assert again["bytes_out"] == 0


def test_only_what_changed_of_a_large_file_is_sent(near, tmp_path):
    source = tmp_path / "image"
    data = bytearray(os.urandom(16 << 20))
    source.write_bytes(data)
    summary(near("copy", source, "vault:", "--json"))
    data[5 << 20 : 5 << 20] = b"inserted"
    source.write_bytes(data)
    again = summary(near("copy", source, "vault:", "--json"))

    assert (near.vault / "image").read_bytes() == bytes(data)
    assert again["reused"] > 14 << 20


def test_what_the_source_has_not_is_removed_there_when_asked(near, source):
    summary(near("copy", source, "vault:", "--json"))
    (near.vault / "src" / "extra").mkdir()
    (near.vault / "src" / "extra" / "file").write_text("x")
    summary(near("copy", f"{source}/", "vault:src", "--delete", "--json"))

    assert_same_tree(source, near.vault / "src")


def test_a_dry_run_changes_nothing_there(near, source):
    done = near("copy", source, "vault:", "--dry-run")

    assert done.returncode == 0, done.stderr
    assert sorted(one.name for one in near.vault.iterdir()) == ["run"]


def test_compression_between_the_two_changes_nothing(near, source):
    summary(near("copy", source, "vault:", "--compress", "zstd-1", "--json"))

    assert_same_tree(source, near.vault / "src")


def test_sources_on_several_machines_are_refused(near):
    done = near("copy", "vault:a", "attic:b", "/tmp")

    assert done.returncode == 64
    assert "several machines" in done.stderr


def test_what_is_not_there_is_said_with_its_name(near, tmp_path):
    done = near("copy", "vault:missing", tmp_path / "x")

    assert done.returncode == 64
    assert "missing: no such file or folder" in done.stderr
