"""The comparison of trees sees every difference that a restore could make."""

import os

import pytest

from datamover.testing.trees import ODD_NAMES, assert_same_tree, make_tree, tree_differences


@pytest.fixture
def pair(tmp_path):
    return [make_tree(tmp_path / side, 7, files=6, large=5000) for side in ("a", "b")]


def test_the_same_seed_makes_the_same_tree(pair):
    assert_same_tree(*pair)


def test_another_seed_makes_another_tree(tmp_path):
    one = make_tree(tmp_path / "a", 1, files=6, large=5000)
    two = make_tree(tmp_path / "b", 2, files=6, large=5000)

    assert tree_differences(one, two)


def test_every_odd_name_is_in_the_tree(pair):
    assert set(ODD_NAMES) <= set(os.listdir(os.fsencode(pair[0] / "odd names")))


def flip(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    about = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


def fill(path):
    about = path.stat()
    data = path.read_bytes()
    path.write_bytes(data)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


def unlink_and_copy(path):
    about = path.stat()
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data)
    path.chmod(about.st_mode)
    os.chown(path, about.st_uid, about.st_gid)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


@pytest.mark.parametrize(
    ("name", "change", "word"),
    [
        ("special/attributes", flip, "bytes differ"),
        ("special/attributes", lambda p: os.setxattr(p, "user.plain", b"other"), "attributes"),
        ("special/attributes", lambda p: p.chmod(0o611), "mode"),
        ("special/attributes", lambda p: os.utime(p, ns=(5, p.stat().st_mtime_ns + 1)), "time"),
        ("special/sparse", fill, "sparse"),
        ("links/hard-1", unlink_and_copy, "hard links"),
        ("links", lambda p: os.utime(p, ns=(1, 1)), "time"),
        ("empty", lambda p: p.rmdir(), "missing"),
        ("empty", lambda p: (p / "more").mkdir(), "surplus"),
        ("special/fifo", lambda p: (p.unlink(), p.touch()), "kind"),
        ("links/0", lambda p: (p.unlink(), p.symlink_to("elsewhere")), "target"),
    ],
)
def test_a_difference_is_named(pair, name, change, word):
    change(pair[1] / name)

    found = tree_differences(*pair)

    assert any(word in line for line in found), found
    with pytest.raises(AssertionError, match="differ"):
        assert_same_tree(*pair)
