"""On a straight path no link is followed; on any other, as the system does."""

from __future__ import annotations

import errno
import os
import stat

import pytest

from datamover.disk.straight import make_straight, open_file, open_folder, shown, status_of

READ = os.O_RDONLY | os.O_CLOEXEC


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "real" / "in").mkdir(parents=True)
    (tmp_path / "real" / "in" / "file").write_bytes(b"data")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "real" / "in" / "last").symlink_to("file")
    (tmp_path / "real" / "here").symlink_to("in")
    return tmp_path


def read(path):
    file = open_file(path, READ)
    try:
        return os.read(file, 100)
    finally:
        os.close(file)


def names(path, **more):
    folder = open_folder(path, **more)
    try:
        return sorted(os.listdir(folder))
    finally:
        os.close(folder)


@pytest.mark.parametrize("kind", [str, os.fsencode])
def test_a_path_without_links_is_the_same_either_way(tree, kind):
    for path in (f"{tree}/real/in", make_straight(f"{tree}/real/in")):
        assert names(kind(path)) == ["file", "last"]
        assert read(kind(f"{path}/file")) == b"data"
        assert status_of(kind(f"{path}/file")).st_size == 4
        assert status_of(kind(f"{path}/none")) is None


@pytest.mark.parametrize("below", ["link/in/file", "real/here/file", "real/in/last"])
def test_a_link_on_a_straight_path_or_at_its_end_is_an_error(tree, below):
    assert read(f"{tree}/{below}") == b"data"
    with pytest.raises(OSError, match=r".") as refused:
        open_file(make_straight(f"{tree}/{below}"), READ)
    assert refused.value.errno in (errno.ELOOP, errno.ENOTDIR)


@pytest.mark.parametrize("below", ["link", "link/in", "real/here"])
def test_a_folder_is_not_reached_by_a_link(tree, below):
    assert names(f"{tree}/{below}", make=True)
    for make in (False, True):
        with pytest.raises(OSError, match=r"."):
            open_folder(make_straight(f"{tree}/{below}"), make=make)


def test_what_is_missing_is_made_below_what_is_there_and_never_through_a_link(tree):
    assert names(make_straight(f"{tree}/real/new/folder"), make=True) == []
    with pytest.raises(OSError, match=r"."):
        open_folder(make_straight(f"{tree}/link/new2/folder"), make=True)
    assert sorted(os.listdir(tree / "real")) == ["here", "in", "new"]


def test_the_status_of_a_link_is_its_own_and_behind_one_is_nothing(tree):
    assert stat.S_ISLNK(status_of(make_straight(f"{tree}/real/in/last")).st_mode)
    assert status_of(make_straight(f"{tree}/link/in/file")) is None
    assert status_of(f"{tree}/link/in/file").st_size == 4


def test_a_folder_on_the_way_need_not_be_readable(tree):
    (tree / "real").chmod(0o311)
    try:
        assert names(make_straight(f"{tree}/real/in")) == ["file", "last"]
    finally:
        (tree / "real").chmod(0o755)


def test_what_leads_up_is_refused(tree):
    with pytest.raises(OSError, match=r"no \.\."):
        open_folder(f"/.{tree}/real/../real")


def test_people_see_the_path_that_they_know():
    assert shown(make_straight("/srv/data")) == "/srv/data"
    assert shown(b"/./srv") == b"/srv"
    assert shown("/.srv") == "/.srv"
    assert shown("/srv/./x") == "/srv/./x"
    assert shown("/.") == "/"
    assert make_straight("/") == "/"
    with pytest.raises(ValueError, match="relative"):
        make_straight("relative")


def test_the_root_is_straight():
    assert names("/.") == names("/")
    assert stat.S_ISDIR(status_of("/.").st_mode)


def test_no_descriptor_is_left(tree):
    before = len(os.listdir("/proc/self/fd"))
    for below in ("real/in/file", "real/in/none", "link/in/file", "real/none/none"):
        path = make_straight(f"{tree}/{below}")
        for use in (read, names, status_of):
            try:
                use(path)
            except OSError:
                continue
    assert len(os.listdir("/proc/self/fd")) == before
