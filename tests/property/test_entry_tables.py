"""Entry tables: what is encoded is decoded again, and no bytes do more harm than a FormatError."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from datamover.errors import FormatError, MalformedError, RestoreError
from datamover.files.destination import Destination
from datamover.files.entry import Entry, EntryFlag, Kind, Status
from datamover.files.listing import decode_contents, decode_index, encode_index
from datamover.files.recreate import Recreate
from datamover.files.table import (
    decode_entries,
    decode_sources,
    encode_entry,
    encode_plain,
    patch_status,
    table_size,
    write_table,
)

component = st.binary(min_size=1, max_size=12).filter(
    lambda name: name not in {b".", b".."} and b"/" not in name and b"\0" not in name
)
paths = st.lists(component, min_size=1, max_size=5).map(b"/".join)
names = st.binary(max_size=20).filter(lambda name: b"\0" not in name)
u32 = st.integers(0, (1 << 32) - 1)
u63 = st.integers(0, (1 << 63) - 1)
i64 = st.integers(-(1 << 63), (1 << 63) - 1)


@st.composite
def entries(draw):
    size = draw(u63)
    cuts = sorted(draw(st.lists(st.integers(0, min(size, 1 << 31)), max_size=6)))
    extents = tuple((a, b - a) for a, b in zip(cuts[::2], cuts[1::2], strict=False))
    kind = draw(st.sampled_from(Kind))
    return Entry(
        draw(paths), int(kind), draw(u32), draw(u32), draw(u32), size, draw(i64), draw(i64),
        draw(st.integers(0, 65535)), draw(st.integers(0, 65535)),
        draw(paths) if kind == Kind.HARD_LINK else draw(names), draw(names), draw(names),
        tuple(draw(st.lists(st.tuples(names, st.binary(max_size=30)), max_size=3))), extents,
        int(draw(st.sampled_from(Status))), draw(u63), draw(u63), draw(u32), draw(u32),
    )  # fmt: skip


def table_of(given_entries, data=b""):
    records = [encode_entry(entry) for entry in given_entries]
    out = bytearray(16 + sum(map(len, records)))
    assert write_table(memoryview(out), records) == len(out)
    return memoryview(bytes(out) + data)


def everything(payload):
    """Read the bytes as everything that they could be."""
    for read in (decode_entries, decode_sources, decode_index):
        try:
            for _ in read(payload):
                pass
        except FormatError:
            pass
    with suppress(FormatError):
        decode_contents(payload)


@given(st.lists(entries(), max_size=5))
def test_a_table_is_read_as_it_was_written(given_entries):
    payload = table_of(given_entries, b"data")

    assert list(decode_entries(payload)) == given_entries
    assert table_size(payload) == (len(payload) - 4, len(given_entries))


@given(st.lists(entries(), max_size=5))
def test_sources_are_the_files_with_data(given_entries):
    for entry in given_entries:
        if entry.kind != Kind.FILE:
            entry.extents = ()

    found = [source[1:] for source in decode_sources(table_of(given_entries))]

    assert found == [
        (e.root, *os.path.split(e.path), e.size, e.mtime_ns, e.extents)
        for e in given_entries
        if e.extents
    ]


@given(entries(), st.sampled_from([0, 1, 4096]))
def test_a_plain_file_is_encoded_as_any_other(entry, size):
    entry = Entry(
        entry.path, int(Kind.FILE), entry.mode, entry.uid, entry.gid, size, entry.mtime_ns,
        entry.ctime_ns, entry.root, 0, b"", entry.user, entry.group, (),
        ((0, size),) if size else (),
    )  # fmt: skip
    above, slash, name = entry.path.rpartition(b"/")

    status = SimpleNamespace(
        st_mode=entry.mode, st_uid=entry.uid, st_gid=entry.gid, st_size=size,
        st_mtime_ns=entry.mtime_ns, st_ctime_ns=entry.ctime_ns,
    )  # fmt: skip

    record = encode_plain(above + slash, name, status, entry.root, entry.user, entry.group)

    assert record == encode_entry(entry)


@pytest.mark.parametrize("second", [b"/", b"/x", b"../x", b"a/../x", b"a/b/", b"a/.", b"..", b""])
def test_a_path_is_looked_at_whatever_the_one_before_was(second):
    given_entries = [
        Entry(path, int(Kind.FILE), 0, size=1, extents=((0, 1),)) for path in (b"a/b", second)
    ]

    with pytest.raises(MalformedError):
        list(decode_sources(table_of(given_entries)))


@given(st.lists(entries(), min_size=1, max_size=4), st.data())
def test_a_patch_changes_one_entry_and_nothing_else(given_entries, data):
    for entry in given_entries:
        entry.kind, entry.size, entry.extents, entry.link = int(Kind.FILE), 9, ((0, 9),), b""
    payload = memoryview(bytearray(table_of(given_entries)))
    places = [source[0] for source in decode_sources(payload)]
    chosen = data.draw(st.integers(0, len(places) - 1))

    patch_status(payload, places[chosen], Status.SHORT, actual=7)

    given_entries[chosen].status, given_entries[chosen].actual = int(Status.SHORT), 7
    assert list(decode_entries(payload)) == given_entries


@given(st.binary(max_size=300))
@example(b"DMet")
@example(b"DMet\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0")
def test_garbage_is_refused_as_a_format_error(garbage):
    for start in (
        b"",
        b"DMet",
        b"DMix",
        b"DMco",
        b"DMet" + (len(garbage) + 12).to_bytes(4, "little"),
    ):
        everything(memoryview(start + garbage))


@given(st.lists(entries(), min_size=1, max_size=3), st.data())
def test_damage_is_refused_as_a_format_error(given_entries, data):
    table = bytes(table_of(given_entries))
    index = bytearray(len(table) + 28)
    encode_index(memoryview(index), [(0, table)])
    for original in (table, bytes(index)):
        damaged = bytearray(original)
        for _ in range(data.draw(st.integers(1, 4))):
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
        everything(memoryview(damaged))
        everything(memoryview(damaged)[: data.draw(st.integers(0, len(damaged)))])


@pytest.mark.parametrize(
    "path",
    [b"", b"/", b"/etc/passwd", b"..", b"../x", b"a/../x", b"a/..", b".", b"./a", b"a/./b", b"a//b",
     b"a/", b"a\0b"],
)  # fmt: skip
def test_a_path_that_is_not_plain_and_relative_is_refused(path):
    with pytest.raises(MalformedError):
        list(decode_entries(table_of([Entry(path, int(Kind.FILE), 0o100644)])))
    with pytest.raises(MalformedError):
        list(decode_sources(table_of([Entry(path, int(Kind.FILE), 0, size=1, extents=((0, 1),))])))


def test_a_hard_link_to_a_path_that_is_not_plain_is_refused():
    for link in (b"../../etc/passwd", b"/etc/passwd", b""):
        with pytest.raises(MalformedError):
            list(decode_entries(table_of([Entry(b"a", int(Kind.HARD_LINK), 0, link=link)])))


@pytest.mark.parametrize("extents", [((5, 6),), ((0, 11),), ((5, 2), (4, 1)), ((5, 2), (6, 1))])
def test_extents_out_of_order_or_beyond_the_file_are_refused(extents):
    with pytest.raises(MalformedError):
        list(decode_entries(table_of([Entry(b"a", int(Kind.FILE), 0, size=10, extents=extents)])))


hostile_names = st.sampled_from([b"a", b"b", b"c", b"out", b"link"])
hostile_paths = st.lists(hostile_names, min_size=1, max_size=3).map(b"/".join)


@st.composite
def hostile_entries(draw):
    kind = draw(st.sampled_from([1, 1, 2, 3, 3, 4, 5, 9]))
    link = b""
    if kind == Kind.SYMLINK:
        link = draw(st.sampled_from([b"../outside", b"/", b"..", b"a", b"../../outside", b"."]))
    if kind == Kind.HARD_LINK:
        link = draw(hostile_paths)
    size = draw(st.sampled_from([0, 4, 4, 8, 1 << 62]))
    extents = ((0, 4),) if kind == 1 and size >= 4 else ()
    flags = draw(st.sampled_from([0, 0, 1, 2, 3])) | EntryFlag.LINKED
    mode = draw(st.sampled_from([0o100644, 0o40755, 0o120777, 0o60666, 0o104755]))
    xattrs = draw(st.sampled_from([(), ((b"user.x", b"1"),), ((b"", b""),), ((b"\xff", b"z"),)]))
    return Entry(
        draw(hostile_paths), kind, mode, 12345, 12345, size, draw(i64), 0, 0, flags, link,
        draw(names), b"", xattrs, extents, draw(st.integers(0, 4)), draw(st.integers(0, 9)),
    )  # fmt: skip


@given(st.lists(hostile_entries(), max_size=12), st.booleans())
def test_no_archive_touches_anything_outside_its_destination(given_entries, overwrite):
    with TemporaryDirectory() as folder:
        outside, inside = Path(folder, "outside"), Path(folder, "inside")
        outside.mkdir()
        inside.mkdir()
        (outside / "a").write_bytes(b"untouched")
        (inside / "out").symlink_to("../outside")
        before = _seen(outside), _seen(Path(folder))
        data = b"data" * sum(len(entry.extents) for entry in given_entries)
        base = os.open(inside, os.O_RDONLY | os.O_DIRECTORY)

        with Destination(base, overwrite=overwrite) as destination:
            recreate = Recreate(destination, lambda *_: None)
            try:
                recreate.block(table_of(given_entries, data))
                recreate.finish()
            except (FormatError, RestoreError):
                pass
            finally:
                recreate.close()

        assert sorted(os.listdir(folder)) == ["inside", "outside"]
        assert (_seen(outside), _seen(Path(folder))) == before
        assert (outside / "a").read_bytes() == b"untouched"


def _seen(folder):
    return [
        (name, (status := os.lstat(folder / name)).st_mode, status.st_mtime_ns, status.st_nlink)
        for name in sorted(os.listdir(folder)) if name != "inside"
    ]  # fmt: skip
