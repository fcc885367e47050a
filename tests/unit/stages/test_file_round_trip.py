"""What scan, collect and index make of a real tree, restore makes a tree of again."""

from __future__ import annotations

import errno
import os
import stat
import tracemalloc
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from datamover.errors import FormatError, RestoreError, UsageError
from datamover.files.entry import Kind, Status
from datamover.files.listing import decode_contents, decode_index, index_tables
from datamover.files.selection import Selection, stand_ins
from datamover.files.table import decode_entries, table_size
from datamover.stages.head import scan
from datamover.stages.middle import collect, index
from datamover.stages.tail import restore
from datamover.testing.port import Output, ScriptedPort
from datamover.testing.trees import assert_same_tree, make_tree
from datamover.wire.tag import TagFlag, TagKind

IS_ROOT = os.geteuid() == 0


def scanned(*roots, buffer_size=65536, **settings):
    port = ScriptedPort(buffer_size=buffer_size, stage="scan")
    scan.run(port, scan.Settings(roots=tuple(os.fsdecode(root) for root in roots), **settings))

    assert port.held == 0
    return port


def collected(outputs, *roots, buffer_size=65536):
    port = ScriptedPort(
        [(one.tag, one.payload) for one in outputs], buffer_size=buffer_size, stage="collect"
    )
    collect.run(port, collect.Settings(roots=tuple(os.fsdecode(root) for root in roots)))

    assert port.held == 0
    return port


def indexed(outputs, *, buffer_size=65536, **settings):
    port = ScriptedPort([(one.tag, one.payload) for one in outputs], buffer_size=buffer_size)
    index.run(port, index.Settings(**settings))

    assert port.held == 0
    return port


def restored(outputs, destination, *, buffer_size=65536, **settings):
    port = ScriptedPort([(one.tag, one.payload) for one in outputs], buffer_size=buffer_size)
    settings = {"sync": False, **settings}
    restore.run(port, restore.Settings(destination=os.fsdecode(destination), **settings))

    assert port.held == 0
    return port


def archived(*roots, buffer_size=65536):
    blocks = collected(
        scanned(*roots, buffer_size=buffer_size).outputs, *roots, buffer_size=buffer_size
    )
    return indexed(blocks.outputs, buffer_size=buffer_size).outputs


def entries(outputs):
    return [
        entry
        for one in outputs
        if one.tag.kind == TagKind.DATA
        for entry in decode_entries(memoryview(one.payload))
    ]


def by_path(outputs):
    return {entry.path: entry for entry in entries(outputs)}


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "source"
    root.mkdir()
    return root


@pytest.mark.slow
@pytest.mark.parametrize("buffer_size", [4096, 65536, 1 << 20])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_tree_comes_back_byte_for_byte_with_its_metadata(tmp_path, seed, buffer_size):
    source = make_tree(tmp_path / "source", seed, large=700_000)

    planned = scanned(source, buffer_size=buffer_size).results
    outputs = archived(source, buffer_size=buffer_size)
    port = restored(outputs, tmp_path / "back", buffer_size=buffer_size)

    assert port.notices == []
    for what in ("files", "directories", "other"):
        assert port.results[what] == planned[what]
    assert_same_tree(source, tmp_path / "back" / "source")
    assert port.results["skipped"] == 0


def test_the_folder_itself_comes_back_with_its_metadata(source, tmp_path):
    source.chmod(0o2751)
    os.utime(source, ns=(1, 123_456_789_012_345_678))

    restored(archived(source), tmp_path / "back")

    back = (tmp_path / "back" / "source").stat()
    assert stat.S_IMODE(back.st_mode) == 0o2751
    assert back.st_mtime_ns == 123_456_789_012_345_678


def test_a_single_file_and_a_symlink_can_be_sources(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")

    restored(archived(tmp_path / "file", tmp_path / "link"), tmp_path / "back")

    assert (tmp_path / "back" / "file").read_bytes() == b"content"
    assert os.readlink(tmp_path / "back" / "link") == "file"


def test_a_tree_deeper_than_any_path_name_comes_back(source, tmp_path):
    at = os.open(source, os.O_RDONLY)
    for level in range(500):
        name = b"%03d" % level + b"n" * 20
        os.mkdir(name, 0o755, dir_fd=at)
        below = os.open(name, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
        if level % 100 == 99:
            file = os.open(b"file", os.O_CREAT | os.O_WRONLY, dir_fd=at)
            os.write(file, b"level %d" % level)
            os.close(file)
    os.utime(at, ns=(5, 5))
    os.close(at)

    outputs = archived(source, buffer_size=1 << 20)
    port = restored(outputs, tmp_path / "back", buffer_size=1 << 20)

    assert port.notices == []
    assert port.results["directories"] == 501
    again = entries(archived(tmp_path / "back" / "source", buffer_size=1 << 20))
    assert [(e.path, e.mtime_ns, e.size) for e in again] == [
        (e.path, e.mtime_ns, e.size) for e in entries(outputs)
    ]


def test_entries_stand_in_the_order_of_their_path_components(source):
    for name in (b"a", b"a-b", b"a/z", b"a.txt", b"\xff", b"b", b"a/\xc3", b"A"):
        path = os.path.join(os.fsencode(source), name)
        if name == b"a":
            os.mkdir(path)
        else:
            Path(os.fsdecode(path)).write_bytes(b"")

    paths = [entry.path.split(b"/") for entry in entries(scanned(source).outputs)]

    assert len(paths) == 9
    assert paths == sorted(paths)


def test_block_numbers_are_dense_and_offsets_add_up(source):
    for number in range(300):
        (source / f"file-{number}").write_bytes(b"x" * number * 7)

    outputs = archived(source, buffer_size=8192)

    assert [one.tag.block for one in outputs] == list(range(len(outputs)))
    at = 0
    for one in outputs:
        assert (one.tag.offset, one.tag.plain, one.tag.length) == (
            at,
            len(one.payload),
            len(one.payload),
        )
        assert len(one.payload) <= 8192
        at += len(one.payload)


def test_a_large_file_is_cut_and_each_part_says_whose_it_is(source):
    data = Random(1).randbytes(100_000)
    (source / "large").write_bytes(data)

    outputs = collected(
        scanned(source, buffer_size=16384).outputs, source, buffer_size=16384
    ).outputs

    parts = [entry for entry in entries(outputs) if entry.path == b"source/large"]
    assert len(parts) > 5
    assert [entry.before for entry in parts] == [entry.extents[0][0] for entry in parts]
    assert [bool(one.tag.flags & TagFlag.CONTINUED) for one in outputs] == [False] + [True] * (
        len(outputs) - 1
    )
    assert (
        b"".join(one.payload[table_size(memoryview(one.payload))[0] :] for one in outputs) == data
    )


def test_the_index_lists_every_file_once_without_data(source):
    (source / "large").write_bytes(b"y" * 50_000)
    for number in range(200):
        (source / f"{number:03}").write_bytes(b"x" * number)

    outputs = indexed(
        collected(scanned(source, buffer_size=8192).outputs, source, buffer_size=8192).outputs,
        buffer_size=8192,
        index_size=4096,
    ).outputs

    listed = [
        (block, entry.path)
        for one in outputs
        if one.tag.kind == TagKind.INDEX
        for block, entry in decode_index(memoryview(one.payload))
    ]
    assert [path for _, path in listed] == [
        b"source", *(b"source/%03d" % number for number in range(200)), b"source/large",
    ]  # fmt: skip
    for block, path in listed:
        assert outputs[block].tag.kind == TagKind.DATA
        assert path in {entry.path for entry in decode_entries(memoryview(outputs[block].payload))}


def test_the_contents_name_every_index_block_and_add_up(source):
    for number in range(400):
        (source / f"{number:03}").write_bytes(b"x" * number)

    outputs = indexed(
        collected(scanned(source, buffer_size=4096).outputs, source, buffer_size=4096).outputs,
        buffer_size=4096,
    ).outputs

    parts = [
        decode_contents(memoryview(one.payload))
        for one in outputs
        if one.tag.kind == TagKind.CONTENTS
    ]
    named = [place for part in parts for place in part.index]
    data = [one for one in outputs if one.tag.kind == TagKind.DATA]
    assert len(parts) > 1
    assert [part.part for part in parts] == list(range(len(parts)))
    assert [part.is_last for part in parts] == [False] * (len(parts) - 1) + [True]
    assert [place.block for place in named] == [
        one.tag.block for one in outputs if one.tag.kind == TagKind.INDEX
    ]
    for place in named:
        tables = list(index_tables(memoryview(outputs[place.block].payload)))
        assert tables[0][0] == place.first_block
        assert next(decode_entries(tables[0][1])).path == place.first_path
        assert sum(table_size(table)[1] for _, table in tables) == place.entries
    assert {(part.blocks, part.entries, part.bytes) for part in parts} == {
        (len(data), 401, sum(len(one.payload) for one in data))
    }


def test_an_empty_archive_still_has_contents():
    outputs = indexed([]).outputs

    contents = decode_contents(memoryview(outputs[0].payload))
    assert [one.tag.kind for one in outputs] == [TagKind.CONTENTS]
    assert (contents.is_last, contents.entries, contents.index) == (True, 0, ())


def test_a_file_that_vanished_is_marked_and_the_rest_goes_on(source, tmp_path):
    for name in ("a", "gone", "z"):
        (source / name).write_bytes(name.encode() * 100)
    blocks = scanned(source).outputs
    (source / "gone").unlink()

    port = collected(blocks, source)
    back = restored(port.outputs, tmp_path / "back")

    assert [fact["path"] for fact in port.noticed("unreadable")] == [str(source / "gone")]
    assert by_path(port.outputs)[b"source/gone"].status == Status.MISSING
    assert [fact["path"] for fact in back.noticed("missing")] == ["source/gone"]
    assert sorted(os.listdir(tmp_path / "back" / "source")) == ["a", "z"]
    assert (tmp_path / "back" / "source" / "z").read_bytes() == b"z" * 100


def test_a_file_that_shrank_comes_back_as_long_as_it_was(source, tmp_path):
    (source / "log").write_bytes(b"0123456789" * 1000)
    blocks = scanned(source, buffer_size=4096).outputs
    os.truncate(source / "log", 5005)

    port = collected(blocks, source, buffer_size=4096)
    restored(port.outputs, tmp_path / "back", buffer_size=4096)

    assert [fact["reason"] for fact in port.noticed("changed")] == [
        "it changed while it was read",
        "it shrank from 10000 to 5005 bytes",
    ]
    assert (tmp_path / "back" / "source" / "log").read_bytes() == (b"0123456789" * 1000)[:5005]


def test_a_small_file_that_shrank_leaves_nothing_of_the_buffer_in_the_archive(source):
    (source / "secret").write_bytes(b"s" * 1000)
    blocks = scanned(source).outputs
    os.truncate(source / "secret", 10)
    blocks = [Output(one.tag, one.payload.replace(b"\0", b"\0"), None) for one in blocks]

    payload = collected(blocks, source).outputs[0].payload

    assert payload.endswith(b"s" * 10 + bytes(990))
    assert by_path(collected(blocks, source).outputs)[b"source/secret"].actual == 10


def test_who_takes_the_place_of_a_dead_one_marks_a_block_anew(source):
    """What was gone when it died is there again; nothing that it had marked or read stays."""
    (source / "gone").write_bytes(b"now it is here")
    (source / "short").write_bytes(b"0123456789")
    blocks = scanned(source).outputs
    (source / "gone").rename(source.parent / "gone")
    (source / "short").write_bytes(b"01234")
    before = collected(blocks, source)
    (source.parent / "gone").rename(source / "gone")
    (source / "short").write_bytes(b"0123456789")
    for name in ("gone", "short"):
        mtime = by_path(blocks)[b"source/" + name.encode()].mtime_ns
        os.utime(source / name, ns=(0, mtime))
    again = collected(before.outputs, source)
    fresh = collected(blocks, source)

    assert by_path(before.outputs)[b"source/gone"].status == Status.MISSING
    assert by_path(before.outputs)[b"source/short"].status == Status.SHORT
    assert [one.payload for one in again.outputs] == [one.payload for one in fresh.outputs]


def test_a_file_that_grew_is_marked_changed_and_comes_back_as_planned(source, tmp_path):
    (source / "log").write_bytes(b"before")
    blocks = scanned(source).outputs
    with (source / "log").open("ab") as file:
        file.write(b" and after")

    port = collected(blocks, source)
    restored(port.outputs, tmp_path / "back")

    assert by_path(port.outputs)[b"source/log"].status == Status.CHANGED
    assert len(port.noticed("changed")) == 1
    assert (tmp_path / "back" / "source" / "log").read_bytes() == b"before"


@pytest.mark.parametrize("becomes", ["symlink", "directory", "fifo"])
def test_a_file_that_became_something_else_is_not_read_through(source, tmp_path, becomes):
    (tmp_path / "outside").write_bytes(b"do not read")
    (source / "file").write_bytes(b"0123456789")
    blocks = scanned(source).outputs
    (source / "file").unlink()
    if becomes == "symlink":
        (source / "file").symlink_to(tmp_path / "outside")
    elif becomes == "directory":
        (source / "file").mkdir()
    else:
        os.mkfifo(source / "file")

    port = collected(blocks, source)

    assert by_path(port.outputs)[b"source/file"].status == Status.MISSING
    assert port.outputs[0].payload.endswith(bytes(10))


def test_a_directory_that_became_a_symlink_is_not_followed(source, tmp_path):
    (source / "dir").mkdir()
    (source / "dir" / "file").write_bytes(b"mine")
    blocks = scanned(source).outputs
    (source / "dir").rename(tmp_path / "elsewhere")
    (source / "dir").symlink_to(tmp_path / "elsewhere")

    port = collected(blocks, source)

    assert by_path(port.outputs)[b"source/dir/file"].status == Status.MISSING


def test_a_part_that_is_missing_leaves_no_file(source, tmp_path):
    (source / "large").write_bytes(b"z" * 30_000)
    blocks = scanned(source, buffer_size=8192).outputs
    first = collected(blocks[:2], source, buffer_size=8192).outputs
    (source / "large").unlink()
    rest = collected(blocks[2:], source, buffer_size=8192).outputs

    port = restored(first + rest, tmp_path / "back", buffer_size=8192)

    assert len(port.noticed("missing")) == 1
    assert os.listdir(tmp_path / "back" / "source") == []


@pytest.mark.parametrize("lost", [0, 2, -1])
def test_a_lost_block_costs_what_is_in_it_and_no_more(source, tmp_path, lost):
    data = Random(2).randbytes(60_000)
    (source / "large").write_bytes(data)
    (source / "other").write_bytes(b"whole")
    blocks = collected(scanned(source, buffer_size=8192).outputs, source, buffer_size=8192).outputs
    data_blocks = [one for one in blocks if b"source/large" in by_path([one])]
    victim = data_blocks[lost]
    gone = by_path([victim])[b"source/large"].extents[0]

    port = restored(
        [one for one in blocks if one is not victim], tmp_path / "back", buffer_size=8192
    )

    begin, length = gone
    expected = data[:begin] + bytes(length) + data[begin + length :]
    assert (tmp_path / "back" / "source" / "large").read_bytes() == expected
    assert [fact["path"] for fact in port.noticed("incomplete")] == ["source/large"]


def test_an_unreadable_root_is_a_notice(source, tmp_path):
    (source / "a").write_bytes(b"a")

    port = scanned(tmp_path / "nothing", source)

    assert [fact["path"] for fact in port.noticed("unreadable")] == [str(tmp_path / "nothing")]
    assert [entry.path for entry in entries(port.outputs)] == [b"source", b"source/a"]


def test_a_socket_is_left_out_with_a_notice(source, monkeypatch):
    import socket

    monkeypatch.chdir(source)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("here")
        port = scanned(source)

    assert [entry.path for entry in entries(port.outputs)] == [b"source"]
    assert port.noticed("skipped") == [{"path": str(source / "here"), "reason": "a socket"}]


def test_excludes_leave_out_names_tails_and_absolute_paths(source):
    for name in ("keep/x.txt", "keep/x.o", "cache/tmp/x", "other/tmp/x", "there/x"):
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")

    port = scanned(source, excludes=("*.o", "cache/tmp", f"{source}/there", "nothing*"))

    assert [entry.path.removeprefix(b"source") for entry in entries(port.outputs)] == [
        b"", b"/cache", b"/keep", b"/keep/x.txt", b"/other", b"/other/tmp", b"/other/tmp/x",
    ]  # fmt: skip


def test_xattrs_too_long_for_a_block_are_dropped_with_a_notice(source, tmp_path):
    (source / "file").write_bytes(b"data")
    try:
        os.setxattr(source / "file", "user.long", b"v" * 3000)
    except OSError:
        pytest.skip("this file system has no room for extended attributes")

    port = scanned(source, buffer_size=4096)
    restored(collected(port.outputs, source).outputs, tmp_path / "back")

    assert [fact["path"] for fact in port.noticed("xattrs-dropped")] == ["source/file"]
    assert (tmp_path / "back" / "source" / "file").read_bytes() == b"data"


def test_a_name_too_long_for_a_block_is_left_out_with_a_notice(source):
    deep = source
    for _ in range(8):
        deep /= "d" * 250
    deep.mkdir(parents=True)

    port = scanned(source, buffer_size=2048)

    assert len(port.noticed("skipped")) > 0
    assert all(len(one.payload) <= 2048 for one in port.outputs)


def test_hard_links_are_one_file_again(source, tmp_path):
    (source / "b").mkdir()
    (source / "b" / "first").write_bytes(b"shared")
    (source / "a").symlink_to("b/first")
    os.link(source / "b" / "first", source / "c")
    os.link(source / "a", source / "d", follow_symlinks=False)

    outputs = archived(source)
    port = restored(outputs, tmp_path / "back")

    assert by_path(outputs)[b"source/c"].kind == Kind.HARD_LINK
    assert port.notices == []
    assert_same_tree(source, tmp_path / "back" / "source")


def test_a_selected_path_comes_with_what_is_below_and_its_parents_modes(source, tmp_path):
    for name in ("a/b/c", "a/b2", "a-b", "z"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(name.encode())
    (source / "a").chmod(0o711)

    port = restored(
        archived(source), tmp_path / "back", selected=("/source/a/b/", "source/nothing")
    )

    found = sorted(
        str(path.relative_to(tmp_path / "back")) for path in (tmp_path / "back").rglob("*")
    )
    assert found == ["source", "source/a", "source/a/b", "source/a/b/c"]
    assert stat.S_IMODE((tmp_path / "back" / "source" / "a").stat().st_mode) == 0o711
    assert [fact["path"] for fact in port.noticed("missing")] == ["source/nothing"]


def test_a_selected_hard_link_gets_the_data_of_its_unwanted_first_name(source, tmp_path):
    (source / "a").mkdir()
    (source / "b").mkdir()
    (source / "a" / "first").write_bytes(b"shared" * 5000)
    os.link(source / "a" / "first", source / "b" / "second")
    os.link(source / "a" / "first", source / "b" / "third")
    outputs = archived(source, buffer_size=8192)
    found = stand_ins(entries(outputs), Selection([b"source/b"]))

    port = restored(
        outputs, tmp_path / "back", buffer_size=8192, selected=("source/b",),
        stand_ins=tuple((os.fsdecode(a), os.fsdecode(b)) for a, b in found.items()),
    )  # fmt: skip

    back = tmp_path / "back" / "source"
    assert port.notices == []
    assert os.listdir(back) == ["b"]
    assert (back / "b" / "second").read_bytes() == b"shared" * 5000
    assert (back / "b" / "second").samefile(back / "b" / "third")
    assert (back / "b").stat().st_mtime_ns == (source / "b").stat().st_mtime_ns


def test_without_a_stand_in_a_hard_link_never_takes_what_was_there_before(source, tmp_path):
    (source / "first").write_bytes(b"right")
    os.link(source / "first", source / "second")
    (tmp_path / "back" / "source").mkdir(parents=True)
    (tmp_path / "back" / "source" / "first").write_bytes(b"wrong!")

    port = restored(archived(source), tmp_path / "back")

    assert (tmp_path / "back" / "source" / "first").read_bytes() == b"wrong!"
    assert not (tmp_path / "back" / "source" / "second").exists()
    assert [fact["path"] for fact in port.noticed("missing")] == ["source/second"]


def test_a_different_file_is_kept_unless_overwriting_is_asked_for(source, tmp_path):
    (source / "file").write_bytes(b"archived")
    (source / "link").symlink_to("file")
    outputs = archived(source)
    back = tmp_path / "back" / "source"
    back.mkdir(parents=True)
    (back / "file").write_bytes(b"mine")
    (back / "link").write_bytes(b"mine too")

    port = restored(outputs, tmp_path / "back")

    assert (back / "file").read_bytes() == b"mine"
    assert [fact["path"] for fact in port.noticed("exists")] == ["source/file", "source/link"]

    again = restored(outputs, tmp_path / "back", overwrite=True)

    assert again.notices == []
    assert_same_tree(source, back)


def test_restoring_twice_keeps_what_is_the_same(tmp_path):
    source = make_tree(tmp_path / "source", 3, files=10, large=200_000)
    outputs = archived(source)
    restored(outputs, tmp_path / "back")

    port = restored(outputs, tmp_path / "back")

    assert port.notices == []
    assert (port.results["files"], port.results["other"], port.results["bytes"]) == (0, 0, 0)
    assert_same_tree(source, tmp_path / "back" / "source")


def test_overwriting_never_writes_through_a_symlink_or_a_hard_link(source, tmp_path):
    (source / "file").write_bytes(b"archived")
    (source / "dir").mkdir()
    (source / "dir" / "file").write_bytes(b"archived")
    back = tmp_path / "back" / "source"
    back.mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "victim").write_bytes(b"untouched")
    (back / "file").symlink_to(tmp_path / "victim")
    (back / "dir").symlink_to(tmp_path / "outside")

    restored(archived(source), tmp_path / "back", overwrite=True)

    assert (tmp_path / "victim").read_bytes() == b"untouched"
    assert os.listdir(tmp_path / "outside") == []
    assert_same_tree(source, back)


def test_a_symlink_in_the_place_of_a_directory_is_not_followed(source, tmp_path):
    (source / "dir").mkdir()
    (source / "dir" / "file").write_bytes(b"archived")
    (source / "z").write_bytes(b"the rest")
    (tmp_path / "outside").mkdir()
    back = tmp_path / "back" / "source"
    back.mkdir(parents=True)
    (back / "dir").symlink_to(tmp_path / "outside")

    port = restored(archived(source), tmp_path / "back")

    assert os.listdir(tmp_path / "outside") == []
    assert [fact["path"] for fact in port.noticed("exists")] == ["source/dir"]
    assert (back / "z").read_bytes() == b"the rest"


@pytest.mark.skipif(not IS_ROOT, reason="only root gives files away")
def test_setuid_survives_the_change_of_owner(source, tmp_path):
    (source / "tool").write_bytes(b"#!")
    os.chown(source / "tool", 4321, 4322)
    (source / "tool").chmod(0o6755)
    (source / "closed").mkdir(mode=0)

    restored(archived(source), tmp_path / "back")

    back = (tmp_path / "back" / "source" / "tool").stat()
    assert (back.st_uid, back.st_gid, stat.S_IMODE(back.st_mode)) == (4321, 4322, 0o6755)
    assert_same_tree(source, tmp_path / "back" / "source")


def test_syncing_reaches_the_medium_without_an_error(source, tmp_path):
    (source / "file").write_bytes(b"durable")

    port = restored(archived(source), tmp_path / "back", sync=True)

    assert len(port.waits) == 1
    assert (tmp_path / "back" / "source" / "file").read_bytes() == b"durable"


@pytest.fixture
def nobody(tmp_path):
    """Run as a user without any right of root's, where root runs the tests."""
    tmp_path.chmod(0o777)
    for above in list(tmp_path.parents)[:3]:
        if not above.stat().st_mode & stat.S_IXOTH:
            above.chmod(0o755)
    if IS_ROOT:
        os.seteuid(65534)
    yield
    if IS_ROOT:
        os.seteuid(0)


@pytest.mark.usefixtures("nobody")
def test_without_root_what_may_not_be_read_is_a_notice_and_the_rest_comes_back(tmp_path):
    source = tmp_path / "source"
    for name in ("a", "closed/below", "z"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(b"data")
    (source / "a").chmod(0)
    (source / "closed").chmod(0)

    scan_port = scanned(source)
    port = collected(scan_port.outputs, source)
    back = restored(port.outputs, tmp_path / "back")

    (source / "closed").chmod(0o700)
    assert [fact["path"] for fact in scan_port.noticed("unreadable")] == [str(source / "closed")]
    assert [fact["path"] for fact in port.noticed("unreadable")] == [str(source / "a")]
    assert [fact["path"] for fact in back.noticed("missing")] == ["source/a"]
    assert (tmp_path / "back" / "source" / "z").read_bytes() == b"data"


@pytest.mark.usefixtures("nobody")
def test_without_root_directories_that_forbid_writing_are_filled_first(tmp_path):
    source = tmp_path / "source"
    (source / "dir" / "below").mkdir(parents=True)
    (source / "dir" / "file").write_bytes(b"data")
    with suppress(OSError):  # no support here
        os.setxattr(source / "dir" / "file", "user.x", b"1")
    (source / "dir" / "file").chmod(0o400)
    (source / "dir").chmod(0o555)

    port = restored(archived(source), tmp_path / "back")

    assert port.notices == []
    assert stat.S_IMODE((tmp_path / "back" / "source" / "dir").stat().st_mode) == 0o555
    assert_same_tree(source, tmp_path / "back" / "source")
    for tree in (source, tmp_path / "back" / "source"):
        (tree / "dir").chmod(0o755)


@pytest.mark.skipif(not IS_ROOT, reason="only root makes what others may not restore")
def test_without_root_devices_and_set_user_bits_of_others_do_not_come_back(
    tmp_path, source, request
):
    (source / "tool").write_bytes(b"#!")
    (source / "tool").chmod(0o4755)
    os.mknod(source / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mkfifo(source / "fifo")
    outputs = archived(source)
    request.getfixturevalue("nobody")

    port = restored(outputs, tmp_path / "back")

    back = tmp_path / "back" / "source"
    assert [fact["path"] for fact in port.noticed("failed")] == ["source/null"]
    assert stat.S_IMODE((back / "tool").stat().st_mode) == 0o755
    assert stat.S_ISFIFO((back / "fifo").stat().st_mode)


def test_no_descriptor_outlives_a_stage(tmp_path):
    source = make_tree(tmp_path / "source", 4, files=10, large=200_000)
    before = os.listdir("/proc/self/fd")

    outputs = archived(source, buffer_size=8192)
    restored(outputs, tmp_path / "back", buffer_size=8192)
    with pytest.raises(FormatError):
        restored([*outputs[:5], outputs[5]._replace(payload=b"x" * len(outputs[5].payload))],
                 tmp_path / "again", buffer_size=8192)  # fmt: skip

    assert os.listdir("/proc/self/fd") == before


def test_a_destination_that_takes_nothing_more_ends_the_restore(source, tmp_path, monkeypatch):
    (source / "file").write_bytes(b"data")
    outputs = archived(source)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(RestoreError) as caught:
        restored(outputs, tmp_path / "back")

    assert caught.value.reason == "No space left on device"
    assert os.listdir(tmp_path / "back" / "source") == []


def test_a_destination_that_is_a_file_is_refused(source, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RestoreError):
        restored(archived(source), tmp_path / "file")


def test_sources_that_make_no_sense_are_refused(tmp_path):
    for roots in (("relative",), (f"{tmp_path}/a/x", f"{tmp_path}/b/x")):
        with pytest.raises(UsageError):
            scan.run(ScriptedPort(), scan.Settings(roots=roots))
    with pytest.raises(UsageError):
        scan.run(ScriptedPort(), scan.Settings(roots=("/x",), block_size=1 << 30))


def test_links_become_copies_where_links_cannot_be(source, tmp_path, monkeypatch):
    (source / "first").write_bytes(b"shared" * 100)
    os.link(source / "first", source / "second")
    outputs = archived(source)

    def refuse(*_, **__):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    port = restored(outputs, tmp_path / "back")

    back = tmp_path / "back" / "source"
    assert port.notices == []
    assert (back / "second").read_bytes() == b"shared" * 100
    assert (back / "second").stat().st_mtime_ns == (source / "second").stat().st_mtime_ns
    assert not (back / "second").samefile(back / "first")


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_files(source):
    class Forgetful(ScriptedPort):
        def send(self, buffer, *, sequence=None):
            super().send(buffer, sequence=sequence)
            self.outputs.clear()

    def peak(directories):
        for number in range(directories):
            (source / f"{number:03}").mkdir(exist_ok=True)
            for name in range(50):
                (source / f"{number:03}" / f"{name:03}").write_bytes(b"")
        port = Forgetful(buffer_size=4096)
        tracemalloc.start()
        scan.run(port, scan.Settings(roots=(str(source),)))
        taken = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return taken

    peak(2)  # what is kept once for all: names of owners, buffers
    few, many = peak(4), peak(60)

    assert many < few + 16_000
