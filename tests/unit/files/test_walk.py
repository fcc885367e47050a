"""A walk sees every file once, in order, with what belongs to it."""

from __future__ import annotations

import errno
import os
import stat

import pytest

from datamover.files import names, xattr
from datamover.files.entry import EntryFlag, Kind
from datamover.files.exclude import Excludes
from datamover.files.table import encode_entry, plain_facts
from datamover.files.walk import Walk, archived_root, data_extents
from datamover.testing.trees import make_tree


def walked(*roots, **given):
    notices = []
    walk = Walk(
        [os.fsencode(root) for root in roots], notice=lambda *what: notices.append(what), **given
    )
    return list(walk), notices


@pytest.fixture
def root(tmp_path):
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.mark.parametrize(
    ("path", "expected"),
    [(b"/a/src", (b"/a", b"src")), (b"/a/src//", (b"/a", b"src")), (b"/src", (b"/", b"src")),
     (b"/", (b"/", b"")), (b"//", (b"/", b""))],
)  # fmt: skip
def test_a_source_is_archived_below_its_own_name(path, expected):
    assert archived_root(path) == expected


def test_every_kind_is_told_from_the_others(root):
    (root / "a-file").write_bytes(b"12345")
    (root / "b-dir").mkdir()
    (root / "c-link").symlink_to("nowhere")
    os.mkfifo(root / "d-fifo")
    os.link(root / "a-file", root / "e-hard")

    entries, notices = walked(root)

    assert notices == []
    assert [(entry.path, entry.kind) for entry in entries] == [
        (b"root", Kind.DIRECTORY),
        (b"root/a-file", Kind.FILE),
        (b"root/b-dir", Kind.DIRECTORY),
        (b"root/c-link", Kind.SYMLINK),
        (b"root/d-fifo", Kind.FIFO),
        (b"root/e-hard", Kind.HARD_LINK),
    ]
    assert (entries[1].size, entries[1].flags) == (5, EntryFlag.LINKED)
    assert entries[3].link == b"nowhere"
    assert (entries[5].link, entries[5].size) == (b"root/a-file", 5)
    assert stat.S_ISDIR(entries[0].mode)
    assert entries[1].mtime_ns == (root / "a-file").stat().st_mtime_ns


def test_links_whose_names_were_all_seen_are_forgotten(root):
    (root / "a").write_bytes(b"")
    os.link(root / "a", root / "b")
    os.link(root / "a", root / "c")
    walk = Walk([os.fsencode(root)], notice=lambda *_: None)

    kinds = [entry.kind for entry in walk]

    assert kinds == [Kind.DIRECTORY, Kind.FILE, Kind.HARD_LINK, Kind.HARD_LINK]
    assert not walk._links


def test_the_data_of_a_sparse_file_is_found(root):
    with (root / "sparse").open("wb") as file:
        file.truncate(3 << 20)
        file.seek(1 << 20)
        file.write(b"x" * 4096)
    found = {}
    walk = Walk([os.fsencode(root)], notice=lambda *_: None)

    for entry in walk:
        if entry.flags & EntryFlag.SPARSE:
            found[entry.path] = list(walk.extents(entry))

    assert found == {b"root/sparse": [(1 << 20, 4096)]}


def test_where_holes_cannot_be_asked_for_the_rest_is_data(root, monkeypatch):
    (root / "file").write_bytes(b"x" * 100)

    def refuse(*_):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "lseek", refuse)
    with (root / "file").open("rb") as file:
        extents = list(data_extents(file.fileno(), 100))

    assert extents == [(0, 100)]


@pytest.mark.parametrize("one_file_system", [True, False])
def test_plain_files_take_a_faster_way_to_the_same_entries(tmp_path, one_file_system):
    make_tree(tmp_path / "root", 21, files=60, large=100_000)
    given = {"excludes": Excludes(["*7"]), "one_file_system": one_file_system}
    expected = []
    for entry in walked(tmp_path / "root", **given)[0]:
        if entry.kind == Kind.FILE and entry.size and not entry.flags & EntryFlag.SPARSE:
            entry.extents = ((0, entry.size),)
        expected.append((entry.path, encode_entry(entry)))
    found, plain = [], []

    def take(record, size):
        plain.append(size)
        found.append(record)

    roots = [os.fsencode(tmp_path / "root")]
    walk = Walk(roots, notice=lambda *_: None, plain=take, plain_size=20_000, **given)
    for entry in walk:
        if entry.kind == Kind.FILE and entry.size and not entry.flags & EntryFlag.SPARSE:
            entry.extents = ((0, entry.size),)
        found.append(encode_entry(entry))

    assert found == [record for _, record in expected]
    assert 40 < len(plain) < len(expected)
    assert max(plain) <= 20_000


def test_what_is_not_plain_is_yielded(root):
    (root / "large").write_bytes(b"x" * 101)
    (root / "linked").write_bytes(b"x")
    os.link(root / "linked", root / "second")
    with (root / "sparse").open("wb") as file:
        file.truncate(100)
    (root / "with").write_bytes(b"x")
    (root / "without").write_bytes(b"x" * 100)
    deep = root / ("d" * 255)
    deep.mkdir()
    (deep / "far").write_bytes(b"x")
    try:
        os.setxattr(root / "with", "user.a", b"b")
    except OSError:
        (root / "with").unlink()
    plain = []
    walk = Walk(
        [os.fsencode(root)], notice=print, plain=lambda _, size: plain.append(size), plain_size=100
    )

    found = {os.path.basename(entry.path) for entry in walk if entry.kind != Kind.DIRECTORY}

    assert found - {b"with"} == {b"large", b"linked", b"second", b"sparse", b"far"}
    assert (b"with" in found) == (root / "with").exists()
    assert plain == [100]


@pytest.mark.parametrize("fast", [True, False])
def test_extended_attributes_are_those_of_the_file_itself(root, monkeypatch, fast):
    if not fast:
        monkeypatch.setattr(xattr, "_list_size", None)
    elif xattr._list_size is None:
        pytest.skip("this kernel has no listxattrat")
    (root / "file").write_bytes(b"")
    (root / "link").symlink_to("file")
    (root / "none").write_bytes(b"")
    try:
        os.setxattr(root / "file", "user.b", b"\0binary\xff")
        os.setxattr(root / "file", "user.a", b"")
    except OSError:
        pytest.skip("this file system has no extended attributes")

    found = {entry.path: entry.xattrs for entry in walked(root)[0]}

    assert found[b"root/link"] == found[b"root/none"] == ()
    assert found[b"root/file"] == ((b"user.a", b""), (b"user.b", b"\0binary\xff"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
def test_another_file_system_is_an_empty_directory():
    entries, _ = walked("/proc/sys", one_file_system=True)
    inside = {entry.path for entry in entries}

    everywhere = walked("/dev", one_file_system=True)[0]

    assert b"sys/kernel" in inside
    mounts = [entry.path for entry in everywhere if entry.path == b"dev/shm"]
    below = [entry.path for entry in everywhere if entry.path.startswith(b"dev/shm/")]
    if os.stat("/dev").st_dev == os.stat("/dev/shm").st_dev:
        pytest.skip("/dev/shm is no file system of its own here")
    assert mounts == [b"dev/shm"]
    assert below == []


def test_a_directory_that_refuses_is_a_notice_and_the_walk_goes_on(root, monkeypatch):
    for name in ("a", "b", "c"):
        (root / name).mkdir()
        (root / name / "file").write_bytes(b"")
    listdir = os.listdir
    calls = []

    def refuse_the_third(directory):
        calls.append(directory)
        if len(calls) == 3:
            raise PermissionError(13, "Permission denied")
        return listdir(directory)

    monkeypatch.setattr(os, "listdir", refuse_the_third)

    entries, notices = walked(root)

    assert notices == [("unreadable", os.fsencode(root / "b"), "Permission denied")]
    assert [entry.path for entry in entries] == [
        b"root", b"root/a", b"root/a/file", b"root/b", b"root/c", b"root/c/file",
    ]  # fmt: skip


def test_a_file_that_vanishes_between_listing_and_looking_is_a_notice(root):
    for name in ("a", "b", "c"):
        (root / name).write_bytes(b"")
    notices = []
    seen = []
    for entry in Walk([os.fsencode(root)], notice=lambda *what: notices.append(what)):
        seen.append(entry.path)
        if entry.path == b"root/a":
            (root / "b").unlink()

    assert seen == [b"root", b"root/a", b"root/c"]
    assert [notice[:2] for notice in notices] == [("unreadable", os.fsencode(root / "b"))]


def test_a_very_large_directory_gives_the_same_entries(tmp_path, monkeypatch) -> None:
    make_tree(tmp_path / "root", 22, files=60, large=10_000)
    expected = walked(tmp_path / "root")
    monkeypatch.setattr(names, "_LARGE", 0)
    monkeypatch.setattr(names, "_PART", 3)

    assert walked(tmp_path / "root") == expected


def test_what_lies_in_the_root_directory_can_be_left_out_by_its_path():
    patterns = [f"/{name}" for name in os.listdir("/")]
    walk = Walk([b"/"], notice=lambda *_: None, excludes=Excludes(patterns))

    assert list(walk) == []


def test_the_beginning_of_a_file_can_be_looked_at_while_it_is_walked(tmp_path):
    (tmp_path / "root" / "deep").mkdir(parents=True)
    (tmp_path / "root" / "deep" / "file").write_bytes(b"0123456789")
    (tmp_path / "root" / "plain").write_bytes(b"abc")
    seen = {}

    def look(path):
        directory, _, name = path.rpartition(b"/")
        seen[name] = walk.folder(directory), walk.head(name, 4)

    def plain(record, _):
        look(plain_facts(record)[0])
        (tmp_path / "root" / "plain").unlink(missing_ok=True)
        assert walk.head(b"plain", 4) is None

    root = os.fsencode(tmp_path / "root")
    walk = Walk([root], notice=lambda *_: None, plain=plain, plain_size=5)
    for entry in walk:
        if entry.kind == Kind.FILE:
            look(entry.path)

    assert seen == {b"file": (root + b"/deep", b"0123"), b"plain": (root, b"abc")}


def test_a_plain_entry_tells_what_rules_ask_for(tmp_path):
    (tmp_path / "a name").write_bytes(b"x")
    os.utime(tmp_path / "a name", ns=(1, -5_000_000_007))
    records = []
    walk = Walk(
        [os.fsencode(tmp_path)],
        notice=lambda *_: None,
        plain_size=9,
        plain=lambda record, _: records.append(record),
    )
    list(walk)

    name = os.fsencode(tmp_path.name) + b"/a name"
    assert [plain_facts(record) for record in records] == [(name, -5_000_000_007)]
