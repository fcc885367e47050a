"""A descent finds directories by path, through no symlink, with few descriptors."""

from __future__ import annotations

import os

import pytest

from datamover.files.descent import Descent


@pytest.fixture
def open_descriptors():
    return lambda: len(os.listdir("/proc/self/fd"))


def descend(path, **given):
    return Descent(os.open(path, os.O_RDONLY | os.O_DIRECTORY), **given)


def same(descriptor, path):
    return os.path.samestat(os.fstat(descriptor), os.stat(path))


def test_directories_are_found_up_down_and_sideways(tmp_path):
    for name in ("a/b/c", "a/d", "e"):
        (tmp_path / name).mkdir(parents=True)

    with descend(tmp_path) as descent:
        for path in ("a/b/c", "a/d", "a", "e", "a/b", "a/b/c", ""):
            assert same(descent.enter(path.encode()), tmp_path / path)


@pytest.mark.parametrize("keep", [1, 64])
def test_any_way_from_one_directory_to_another_is_found(tmp_path, keep):
    paths = ["", "a", "a/b", "a/b/c", "a/bc", "a/bc/c", "ab", "ab/b", "ab/b/c", "a/b/c/d"]
    for path in paths:
        (tmp_path / path).mkdir(exist_ok=True)

    with descend(tmp_path, keep=keep) as descent:
        for first in paths:
            for second in paths:
                descent.enter(first.encode())
                assert same(descent.enter(second.encode()), tmp_path / second)


@pytest.mark.parametrize("path", [b"/a", b"a/", b"a//b", b"/"])
def test_a_path_with_an_empty_component_is_not_there(tmp_path, path):
    (tmp_path / "a/b").mkdir(parents=True)

    with descend(tmp_path) as descent:
        for first in (b"", b"a", b"a/b"):
            descent.enter(first)
            with pytest.raises(FileNotFoundError):
                descent.enter(path)


def test_a_symlink_is_never_a_directory(tmp_path):
    (tmp_path / "real" / "below").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")

    with descend(tmp_path) as descent:
        for path in (b"link", b"link/below"):
            with pytest.raises(OSError):  # noqa: PT011 - ELOOP or ENOTDIR, by the kernel's choice
                descent.enter(path)
        assert same(descent.enter(b"real/below"), tmp_path / "real" / "below")


@pytest.mark.parametrize("keep", [1, 2, 5])
def test_a_deep_tree_needs_few_descriptors(tmp_path, open_descriptors, keep):
    paths = ["/".join("abcdefghijkl"[: depth + 1]) for depth in range(12)]
    (tmp_path / paths[-1]).mkdir(parents=True)
    (tmp_path / "a/b/c/x/y").mkdir(parents=True)
    before = open_descriptors()

    with descend(tmp_path, keep=keep) as descent:
        for path in [*paths, *reversed(paths), paths[-1], "a/b/c/x/y", paths[3], ""]:
            assert same(descent.enter(path.encode()), tmp_path / path)
            assert open_descriptors() <= before + 1 + keep

    assert open_descriptors() == before


def test_after_an_error_it_goes_on_and_nothing_leaks(tmp_path, open_descriptors):
    (tmp_path / "a/b/c/d").mkdir(parents=True)
    before = open_descriptors()

    with descend(tmp_path, keep=1) as descent:
        descent.enter(b"a/b/c/d")
        with pytest.raises(FileNotFoundError):
            descent.enter(b"a/b/missing/d")
        assert same(descent.enter(b"a/b"), tmp_path / "a/b")
        descent.enter(b"a/b/c/d")
        (tmp_path / "a/b").rename(tmp_path / "a/moved")
        with pytest.raises(FileNotFoundError):
            descent.enter(b"a/b/c")
        assert same(descent.enter(b"a/moved/c"), tmp_path / "a/moved/c")

    assert open_descriptors() == before
