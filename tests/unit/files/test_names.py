"""Names as text, excludes, owners and selections."""

from __future__ import annotations

import os

import pytest

from datamover.files.entry import Entry, EntryFlag, Kind
from datamover.files.exclude import Excludes
from datamover.files.owner import gid_of, group_name, uid_of, user_name
from datamover.files.printable import printable
from datamover.files.selection import Selection, stand_ins


@pytest.mark.parametrize(
    ("path", "expected"),
    [(b"plain name", "plain name"), ("é試".encode(), "é試"), (b"a\nb", "a\\x0ab"),
     (b"\xff\x80", "\\xff\\x80"), (b"\x1b[31m", "\\x1b[31m"),
     ("\u202e".encode(), "\\xe2\\x80\\xae")],
)  # fmt: skip
def test_a_printed_name_holds_no_control_and_no_broken_characters(path, expected):
    assert printable(path) == expected


def test_a_long_name_is_printed_in_bounds():
    text = printable(b"start" + b"x" * 60_000 + b"end")

    assert len(text) < 1100
    assert text.startswith("start")
    assert text.endswith("end")


@pytest.mark.parametrize(
    ("pattern", "directory", "name", "expected"),
    [
        ("*.o", b"/a", b"x.o", True),
        ("*.o", b"/a", b"x.c", False),
        ("cache", b"/a", b"cache", True),
        ("cache", b"/a", b"mycache", False),
        ("cache/", b"/a", b"cache", True),
        ("x/cache", b"/a/x", b"cache", True),
        ("x/cache", b"/a/xx", b"cache", False),
        ("/a/b", b"/a", b"b", True),
        ("/a/b", b"/x/a", b"b", False),
        ("\udcff*", b"/a", b"\xffz", True),
        ("", b"/a", b"b", False),
    ],
)
def test_patterns_match_names_tails_and_whole_paths(pattern, directory, name, expected):
    assert Excludes([pattern]).match(directory, name) is expected


def test_no_patterns_exclude_nothing():
    assert not Excludes()
    assert not Excludes(["", "/"])


def test_owners_have_names_and_unknown_numbers_have_none():
    assert (user_name(0), group_name(0)) == (b"root", b"root")
    assert (user_name(3_999_999_999), group_name(3_999_999_999)) == (b"", b"")
    assert (uid_of(b"root", 77), gid_of(b"root", 77)) == (0, 0)
    assert (uid_of(b"no such user", 77), gid_of(b"\xff", 77), uid_of(b"", 5)) == (77, 77, 5)


@pytest.mark.parametrize(
    ("path", "kind", "expected"),
    [
        (b"src/a", Kind.DIRECTORY, True),
        (b"src/a/b/c", Kind.FILE, True),
        (b"src", Kind.DIRECTORY, True),
        (b"src", Kind.SYMLINK, False),
        (b"src/ab", Kind.FILE, False),
        (b"src/b", Kind.DIRECTORY, False),
        (b"other", Kind.FILE, False),
    ],
)
def test_a_path_selects_itself_what_is_below_and_the_way_to_it(path, kind, expected):
    assert Selection([b"/src/a/"]).wants(path, kind) is expected


def test_nothing_or_the_root_selects_everything():
    for paths in ([], [b"/"], [b"", b"a"]):
        selection = Selection(paths)

        assert selection.wants(b"anything", Kind.FILE)
        assert selection.unseen == []


def test_the_first_wanted_link_stands_in_for_an_unwanted_first_name():
    linked = int(EntryFlag.LINKED)
    entries = [
        Entry(b"a/1", int(Kind.FILE), 0, flags=linked),
        Entry(b"b/0", int(Kind.FILE), 0, flags=linked),
        Entry(b"b/1", int(Kind.HARD_LINK), 0, link=b"a/1"),
        Entry(b"b/2", int(Kind.HARD_LINK), 0, link=b"a/1"),
        Entry(b"b/3", int(Kind.HARD_LINK), 0, link=b"b/0"),
        Entry(b"c/1", int(Kind.HARD_LINK), 0, link=b"a/1"),
    ]

    assert stand_ins(entries, Selection([b"b"])) == {b"a/1": b"b/1"}
    assert stand_ins(entries, Selection()) == {}
    assert os.fsencode("a") not in stand_ins(entries, Selection([b"a"]))
