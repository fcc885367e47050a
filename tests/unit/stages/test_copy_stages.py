"""What survey, compare, collect and place make of two trees: the second becomes the first."""

from __future__ import annotations

import dataclasses
import errno
import os
import shutil
import stat
from contextlib import suppress
from random import Random

import pytest

from datamover.codec.codec import Codec
from datamover.errors import MalformedError, RestoreError
from datamover.files.entry import Entry, EntryFlag, Kind
from datamover.files.found import Found
from datamover.files.leftover import RESUMABLE, leftover_name
from datamover.files.table import decode_entries, encode_entry, write_table
from datamover.mover.copying import Plan, copying, matching
from datamover.mover.targets import sources, target
from datamover.pipe.definition import find
from datamover.testing.port import ScriptedPort
from datamover.testing.trees import assert_same_tree, make_tree
from datamover.wire.tag import TagHeader, TagKind

find_ = find
IS_ROOT = os.geteuid() == 0


class Run:
    """One copy, stage by stage."""

    def __init__(self, given, to, *, buffer_size=65536, kernel=True, **settings):
        if not isinstance(given, list):
            given = [given]
        given = [os.fsdecode(one) for one in given]
        named = sources(given, [Found.at(one) for one in given])
        found = Found.at(os.fsdecode(to))
        settings = {"codec": Codec.parse("none"), "sync": False, "compares": True, **settings}
        self.plan = Plan(
            sources=named,
            target=target(named, os.fsdecode(to), found),
            kernel=kernel,
            owners=found.is_root,
            **settings,
        )
        self.results = {}
        self.notices = []
        self.buffer_size = buffer_size
        self.outputs = {}
        self.run(copying(self.plan))
        if deferred := self.named("deferred"):
            self.run(matching(self.plan, deferred))
        if unmatched := self.named("unmatched"):
            self.run(matching(self.plan, unmatched, fresh=True))

    def run(self, spec):
        outputs = []
        for stage in spec.stages:
            definition = find(stage.use)
            port = ScriptedPort(
                [(one.tag, one.payload) for one in outputs],
                buffer_size=self.buffer_size,
                stage=stage.use,
            )
            definition.run(port, definition.convert(stage.settings))

            assert port.held == 0
            outputs = self.outputs[stage.use] = port.outputs
            results = self.results.setdefault(stage.use, {})
            for name, value in port.results.items():
                results[name] = results.get(name, 0) + value
            self.notices += [(one.kind, one.facts) for one in port.notices]

    def named(self, kind):
        return [(one["root"], bytes.fromhex(one["path"])) for one in self.told(kind)]

    def told(self, kind):
        return [facts for one, facts in self.notices if one == kind]

    def __getattr__(self, name):
        return self.results["place"][name] + self.results.get("duplicate", {}).get(name, 0)

    @property
    def did_nothing(self):
        return not any(
            getattr(self, name) for name in ("files", "other", "touched", "removed", "bytes")
        )


@pytest.fixture
def src(tmp_path):
    return make_tree(tmp_path / "src", 7)


@pytest.fixture(params=[True, False], ids=["kernel", "buffers"])
def kernel(request):
    return request.param


def leftovers(path):
    return [name for _, _, names in os.walk(os.fsencode(path)) for name in names
            if name.startswith(b".datamover-")]  # fmt: skip


@pytest.mark.parametrize("compares", [True, False])
def test_a_tree_arrives_whole(src, tmp_path, kernel, compares):
    Run(src, tmp_path / "dst", kernel=kernel, compares=compares)

    assert_same_tree(src, tmp_path / "dst")
    assert leftovers(tmp_path) == []


def test_a_second_copy_does_nothing(src, tmp_path, kernel):
    Run(src, tmp_path / "dst", kernel=kernel, compares=False)
    before = os.stat(tmp_path / "dst" / "plain").st_ctime_ns
    again = Run(f"{src}/", tmp_path / "dst", kernel=kernel)

    assert again.did_nothing
    assert os.stat(tmp_path / "dst" / "plain").st_ctime_ns == before
    assert again.results["compare"]["equal"] > 60


@pytest.mark.parametrize("seed", range(6))
def test_any_tree_becomes_any_other(src, tmp_path, kernel, seed):
    dst = make_tree(tmp_path / "dst", 100 + seed)
    _stir(dst, Random(seed))
    run = Run(f"{src}/", dst, kernel=kernel, removes=True)

    assert_same_tree(src, dst)
    assert leftovers(dst) == []
    assert run.told("failed") == []


def test_a_tree_that_changed_is_followed(src, tmp_path, kernel):
    dst = tmp_path / "dst"
    Run(src, dst, kernel=kernel)
    for seed in range(4):
        _stir(src, Random(seed))
        Run(f"{src}/", dst, kernel=kernel, removes=True)

        assert_same_tree(src, dst)


def test_without_delete_what_is_extra_stays(tmp_path, kernel):
    src, dst = _two(tmp_path)
    (dst / "mine").write_text("mine")
    run = Run(f"{src}/", dst, kernel=kernel)

    assert (dst / "mine").read_text() == "mine"
    assert (run.results["compare"]["extra"], run.removed) == (1, 0)


def test_delete_removes_what_is_extra(tmp_path):
    src, dst = _two(tmp_path)
    (dst / "gone" / "deep").mkdir(parents=True)
    (dst / "gone" / "deep" / "file").write_text("x")
    (dst / "gone" / "link").symlink_to(src)
    run = Run(f"{src}/", dst, removes=True)

    assert_same_tree(src, dst)
    assert (src / "same").exists()
    assert run.removed == 4


def test_nothing_is_removed_when_a_source_folder_is_unreadable(tmp_path, monkeypatch):
    src, dst = _two(tmp_path)
    (src / "closed").mkdir()
    (dst / "closed").mkdir()
    (dst / "closed" / "precious").write_text("x")
    (dst / "also").write_text("x")
    real = os.listdir

    def refuse(what):
        if isinstance(what, int) and os.readlink(f"/proc/self/fd/{what}") == str(src / "closed"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(what)

    monkeypatch.setattr(os, "listdir", refuse)
    run = Run(f"{src}/", dst, removes=True)

    assert (dst / "closed" / "precious").exists()
    assert (dst / "also").exists()
    assert run.removed == 0
    assert len(run.told("unreadable")) == 1


def test_what_is_excluded_is_protected(tmp_path):
    src, dst = _two(tmp_path)
    (src / "a.o").write_text("source's")
    (dst / "b.o").write_text("kept")
    (dst / "build").mkdir()
    (dst / "build" / "c.o").write_text("kept")
    (dst / "build" / "other").write_text("goes")
    run = Run(f"{src}/", dst, removes=True, excludes=("*.o",))

    assert not (dst / "a.o").exists()
    assert (dst / "b.o").read_text() == "kept"
    assert os.listdir(dst / "build") == ["c.o"]
    assert len(run.told("note")) == 1
    assert run.removed == 1


def test_excluded_names_go_when_asked_for(tmp_path):
    src, dst = _two(tmp_path)
    (dst / "b.o").write_text("goes")
    Run(f"{src}/", dst, removes=True, removes_excluded=True, excludes=("*.o",))

    assert not (dst / "b.o").exists()


def test_a_folder_in_the_way_of_a_file_goes_with_delete_alone(tmp_path, kernel):
    src, dst = _two(tmp_path)
    (src / "thing").write_text("a file")
    (dst / "thing" / "below").mkdir(parents=True)
    (dst / "thing" / "below" / "file").write_text("x")
    kept = Run(f"{src}/", dst, kernel=kernel)

    assert (dst / "thing" / "below" / "file").exists()
    assert len(kept.told("exists")) == 1

    Run(f"{src}/", dst, kernel=kernel, removes=True)

    assert_same_tree(src, dst)


def test_an_empty_folder_makes_way(tmp_path):
    src, dst = _two(tmp_path)
    (src / "thing").write_text("a file")
    (dst / "thing").mkdir()
    Run(f"{src}/", dst)

    assert_same_tree(src, dst)


def test_only_metadata_are_set_where_only_they_differ(tmp_path):
    src, dst = _two(tmp_path)
    os.chmod(src / "same", 0o640)
    os.setxattr(dst / "same", "user.old", b"1")
    inode = os.stat(dst / "same").st_ino
    run = Run(f"{src}/", dst)

    assert_same_tree(src, dst)
    assert os.stat(dst / "same").st_ino == inode
    assert (run.touched, run.files) == (1, 0)


def test_a_closed_folder_is_opened_for_what_is_new_in_it(tmp_path, kernel):
    src, dst = _two(tmp_path)
    for root in (src, dst):
        (root / "folder").mkdir()
    (src / "folder" / "new").write_text("new")
    for root in (src, dst):
        (root / "folder").chmod(0o500)
    Run(f"{src}/", dst, kernel=kernel)

    assert_same_tree(src, dst)


def test_checksum_finds_what_size_and_time_hide(tmp_path):
    src, dst = _two(tmp_path)
    times = os.stat(src / "same").st_mtime_ns
    (dst / "same").write_text("SAME")
    os.utime(dst / "same", ns=(times, times))
    blind = Run(f"{src}/", dst)

    assert blind.files == 0

    Run(f"{src}/", dst, checksum=True)

    assert_same_tree(src, dst)


def test_checksum_leaves_equal_data_with_another_time(tmp_path):
    src, dst = _two(tmp_path)
    os.utime(dst / "same", ns=(5, 5))
    run = Run(f"{src}/", dst, checksum=True)

    assert (run.files, run.touched) == (0, 1)
    assert_same_tree(src, dst)


def test_hard_links_are_regrouped(tmp_path, kernel):
    src, dst = tmp_path / "src", tmp_path / "dst"
    for root, groups in ((src, ["ab", "c"]), (dst, ["a", "bc"])):
        root.mkdir()
        for group in groups:
            (root / group[0]).write_text("data")
            for name in group[1:]:
                os.link(root / group[0], root / name)
            os.utime(root / group[0], ns=(10**9, 10**9))
    Run(f"{src}/", dst, kernel=kernel)

    assert_same_tree(src, dst)


def test_a_new_link_to_an_old_file_sends_no_data(tmp_path, kernel):
    src, dst = _two(tmp_path)
    os.link(src / "same", src / "second")
    run = Run(f"{src}/", dst, kernel=kernel)

    assert_same_tree(src, dst)
    assert (run.bytes, run.other) == (0, 1)


def test_a_replaced_file_breaks_no_other_name(tmp_path, kernel):
    src, dst = _two(tmp_path)
    os.link(dst / "same", tmp_path / "outside")
    (src / "same").write_text("something else")
    Run(f"{src}/", dst, kernel=kernel)

    assert (tmp_path / "outside").read_text() == "same"
    assert (dst / "same").read_text() == "something else"


def test_one_file_to_a_new_name(tmp_path, kernel):
    (tmp_path / "f").write_text("data")
    Run(tmp_path / "f", tmp_path / "g", kernel=kernel, compares=False)
    (tmp_path / "f").write_text("other data")
    Run(tmp_path / "f", tmp_path / "g", kernel=kernel)

    assert (tmp_path / "g").read_text() == "other data"


def test_several_sources_into_a_folder(tmp_path, kernel):
    src, dst = _two(tmp_path)
    (tmp_path / "f").write_text("data")
    Run([src, tmp_path / "f"], dst, kernel=kernel)

    assert (dst / "f").read_text() == "data"
    assert_same_tree(src, dst / "src")


def test_the_beginning_that_was_left_is_used(tmp_path):
    src, dst = _two(tmp_path)
    data = Random(1).randbytes(RESUMABLE + 12345)
    (src / "large").write_bytes(data)
    half = len(data) // 2
    left = dst / os.fsdecode(leftover_name(b"large"))
    left.write_bytes(data[:half])
    left.chmod(0o600)
    run = Run(f"{src}/", dst)

    assert_same_tree(src, dst)
    assert run.resumed == half // 4096 * 4096
    assert run.resumed + run.bytes == len(data)
    assert leftovers(dst) == []


def test_a_beginning_of_something_else_is_not_used(tmp_path, kernel):
    src, dst = _two(tmp_path)
    (src / "large").write_bytes(Random(1).randbytes(RESUMABLE))
    left = dst / os.fsdecode(leftover_name(b"large"))
    left.write_bytes(Random(2).randbytes(RESUMABLE + 7))
    left.chmod(0o600)
    run = Run(f"{src}/", dst, kernel=kernel)

    assert_same_tree(src, dst)
    assert run.resumed == 0


def test_leftovers_that_are_of_no_use_go(tmp_path):
    src, dst = _two(tmp_path)
    for name in (b"same", b"never heard of"):
        (dst / os.fsdecode(leftover_name(name))).write_bytes(b"x")
    run = Run(f"{src}/", dst)

    assert_same_tree(src, dst)
    assert run.removed == 2


@pytest.mark.skipif(not IS_ROOT, reason="ownership needs root")
def test_a_planted_beginning_is_not_written_to(tmp_path):
    src, dst = _two(tmp_path)
    (src / "large").write_bytes(b"x" * RESUMABLE)
    name = dst / os.fsdecode(leftover_name(b"large"))
    (tmp_path / "victim").write_bytes(b"x" * 4096)
    name.symlink_to(tmp_path / "victim")
    Run(f"{src}/", dst)
    name.hardlink_to(tmp_path / "victim")
    (src / "large").write_bytes(b"y" * RESUMABLE)
    Run(f"{src}/", dst)
    (src / "large").write_bytes(b"z" * RESUMABLE)
    name.write_bytes(b"z" * 4096)
    os.chown(name, 12345, 12345)
    theirs = os.open(name, os.O_RDWR)
    Run(f"{src}/", dst)
    os.pwrite(theirs, b"evil", 0)
    os.close(theirs)

    assert (tmp_path / "victim").read_bytes() == b"x" * 4096
    assert (dst / "large").read_bytes() == b"z" * RESUMABLE


def test_a_symlink_at_the_destination_leads_nowhere(tmp_path, kernel):
    src, dst = _two(tmp_path)
    (src / "sub").mkdir()
    (src / "sub" / "file").write_text("new")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("untouched")
    (dst / "sub").symlink_to(outside)
    Run(f"{src}/", dst, kernel=kernel, removes=True)

    assert (outside / "file").read_text() == "untouched"
    assert_same_tree(src, dst)


def _block(*entries):
    records = [encode_entry(one) for one in entries]
    out = memoryview(bytearray(65536))
    used = write_table(out, records)
    return TagHeader(kind=TagKind.DATA, block=0, length=used, plain=used), bytes(out[:used])


def _placed(base, *entries, removes=True):
    definition = find("place")
    port = ScriptedPort([_block(*entries)])
    settings = {
        "destination": str(base), "sources": ["src"], "targets": ["dst"], "removes": removes,
        "sync": False,
    }  # fmt: skip
    try:
        definition.run(port, definition.convert(settings))
    finally:
        for buffer, _ in list(port._owned.values()):
            port.free(buffer)
    return port


def test_a_hostile_source_removes_nothing_outside_its_target(tmp_path):
    (tmp_path / "precious").write_text("x")
    (tmp_path / "dst").mkdir()
    (tmp_path / "dst" / "out").symlink_to(tmp_path)
    with pytest.raises(MalformedError):
        _placed(tmp_path, Entry(b"precious", Kind.REMOVED, stat.S_IFREG))
    with pytest.raises(MalformedError):
        _placed(tmp_path, Entry(b"srcs", Kind.REMOVED, stat.S_IFREG))
    port = _placed(tmp_path, Entry(b"src/out/precious", Kind.REMOVED, stat.S_IFREG))

    assert (tmp_path / "precious").exists()
    assert port.results["removed"] == 0


def test_look_says_what_is_there(tmp_path):
    odd = tmp_path / os.fsdecode(b"odd \xff name")
    odd.mkdir()
    definition = find("look")
    port = ScriptedPort([])
    definition.run(port, definition.convert({"path": str(odd)}))

    assert Found.of(port.results) == Found.at(str(odd))
    assert Found.at(str(odd)).is_empty
    for facts in ({}, {**port.results, "full": "zz"}, {**port.results, "real": b"rel".hex()}):
        with pytest.raises(MalformedError):
            Found.of(facts)


@pytest.mark.parametrize("name", ["..", "a/../../b", "", ".", "/etc", "a//b"])
def test_names_that_lead_out_are_refused(tmp_path, name):
    place = {"destination": str(tmp_path), "sources": ["src"], "targets": [name]}
    sign = {"destination": str(tmp_path), "files": [name]}
    match = {"roots": [str(tmp_path)], "files": [[0, name]]}
    for use, settings in (("place", place), ("sign", sign), ("match", match)):
        definition = find(use)
        with pytest.raises(MalformedError, match="plain relative path"):
            definition.run(ScriptedPort([]), definition.convert(settings))


def test_nothing_is_removed_that_was_not_allowed(tmp_path):
    (tmp_path / "dst").mkdir()
    (tmp_path / "dst" / "file").write_text("x")
    port = _placed(tmp_path, Entry(b"src/file", Kind.REMOVED, stat.S_IFREG), removes=False)

    assert (tmp_path / "dst" / "file").exists()
    assert port.noticed("skipped")


def test_a_file_without_data_from_elsewhere_is_refused(tmp_path):
    bare = Entry(b"src", Kind.FILE, stat.S_IFREG | 0o644, size=5, flags=EntryFlag.BARE)
    with pytest.raises(MalformedError, match="without its data"):
        _placed(tmp_path, bare)


def test_a_survey_out_of_order_is_refused(tmp_path):
    src, _ = _two(tmp_path)
    definition = find("compare")
    survey = _block(
        Entry(b"dst", Kind.DIRECTORY, stat.S_IFDIR | 0o755),
        Entry(b"dst/b", Kind.FILE, stat.S_IFREG | 0o644),
        Entry(b"dst/a", Kind.FILE, stat.S_IFREG | 0o644),
    )
    port = ScriptedPort([survey])
    with pytest.raises(MalformedError, match="out of order"):
        definition.run(port, definition.convert({"roots": [str(src)], "targets": ["dst"]}))


def test_a_file_that_changes_while_it_is_copied_is_told(tmp_path, monkeypatch):
    src, dst = _two(tmp_path)
    (src / "log").write_text("one line")
    real = os.readv

    def grow(file, buffers):
        with suppress(OSError):
            if os.readlink(f"/proc/self/fd/{file}") == str(src / "log"):
                (src / "log").write_text("one line and another")
        return real(file, buffers)

    monkeypatch.setattr(os, "readv", grow)
    run = Run(f"{src}/", dst)

    assert len(run.told("changed")) == 1
    assert (dst / "log").exists()


def test_a_file_that_vanishes_is_told(tmp_path, kernel, monkeypatch):
    src, dst = _two(tmp_path)
    (src / "a").write_text("x")
    (dst / "a").write_text("older")
    real = os.open

    def vanish(path, flags, *rest, **more):
        if path == b"a" and flags & os.O_NONBLOCK and not flags & os.O_RDWR:
            with suppress(FileNotFoundError):
                (src / "a").unlink()
        return real(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", vanish)
    run = Run(f"{src}/", dst, kernel=kernel)

    assert len(run.told("unreadable")) == 1
    assert (dst / "a").read_text() == "older"


def test_a_full_disk_ends_it_and_the_old_file_stays(tmp_path, kernel, monkeypatch):
    src, dst = _two(tmp_path)
    (src / "same").write_text("something longer")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(RestoreError, match="No space left"):
        Run(f"{src}/", dst, kernel=kernel)

    assert (dst / "same").read_text() == "same"
    assert leftovers(dst) == []


def test_what_would_be_done_is_told_and_not_done(tmp_path):
    src, dst = _two(tmp_path)
    (src / "new").write_text("new")
    (src / "same").chmod(0o600)
    (dst / "extra").write_text("x")
    for folder in (src, dst):
        os.utime(folder, ns=(10**18, 10**18))
    run = Run(f"{src}/", dst, removes=True, dry_run=True)

    assert [(one["action"], one["path"]) for one in run.told("item")] == [
        ("create", "dst/new"),
        ("metadata", "dst/same"),
        ("remove", "dst/extra"),
    ]
    assert not (dst / "new").exists()
    assert (dst / "extra").exists()


@pytest.fixture
def old():
    return Random(3).randbytes(1_500_000)


def _delta(tmp_path, old, new, **settings):
    """Replace a file of a folder by a new one, with a leftover or without."""
    src, dst = _two(tmp_path)
    (dst / "large").write_bytes(old)
    (src / "large").write_bytes(new)
    os.setxattr(src / "large", "user.color", b"red")
    os.utime(src, ns=(10**18, 10**18))
    settings = {"kernel": False, "defers": 100_000, "resumes": True, **settings}
    run = Run(f"{src}/", dst, **settings)

    assert_same_tree(src, dst)
    assert leftovers(dst) == []
    return run


@pytest.mark.parametrize("buffer_size", [8192, 65536, 1 << 20])
def test_an_insertion_costs_about_what_it_inserts(tmp_path, old, buffer_size):
    new = old[:700_000] + b"inserted" * 100 + old[700_000:]
    run = _delta(tmp_path, old, new, buffer_size=buffer_size)

    assert [bytes.fromhex(one["path"]) for one in run.told("deferred")] == [b"src/large"]
    assert run.bytes < 250_000
    assert run.bytes + run.reused == len(new)
    assert sum(len(one.payload) for one in run.outputs["match"]) < 350_000


def test_pieces_may_move(tmp_path, old):
    run = _delta(tmp_path, old, old[800_000:] + old[:800_000])

    assert run.bytes < 300_000


def test_a_file_with_nothing_in_common_arrives(tmp_path, old):
    run = _delta(tmp_path, old, Random(4).randbytes(700_001))

    assert (run.bytes, run.reused) == (700_001, 0)


def test_a_sparse_file_stays_sparse(tmp_path, old):
    src, dst = _two(tmp_path)
    for root, at in ((src, 3 << 20), (dst, 2 << 20)):
        with open(root / "large", "wb") as file:
            file.truncate(64 << 20)
            file.seek(at)
            file.write(old)
    run = Run(f"{src}/", dst, kernel=False, defers=100_000)

    assert_same_tree(src, dst)
    assert run.bytes < 200_000


def test_small_and_linked_files_are_not_deferred(tmp_path):
    src, dst = _two(tmp_path)
    for root, byte in ((src, b"a"), (dst, b"b")):
        (root / "small").write_bytes(byte * 90_000)
        (root / "linked").write_bytes(byte * 200_000)
        os.link(root / "linked", root / "other")
    (src / "new").write_bytes(b"a" * 200_000)
    run = Run(f"{src}/", dst, kernel=False, defers=100_000)

    assert_same_tree(src, dst)
    assert run.told("deferred") == []


def test_an_old_file_that_changes_meanwhile_is_noticed(tmp_path, old, monkeypatch):
    definition = find("match")

    def spoil(port, settings):
        # The signature was made; now the old file becomes another.
        (tmp_path / "dst" / "large").write_bytes(bytes(len(old)))
        definition.run(port, settings)

    spoilt = [dataclasses.replace(definition, run=spoil)]
    monkeypatch.setitem(
        globals(), "find", lambda use: spoilt.pop() if use == "match" and spoilt else find_(use)
    )
    run = _delta(tmp_path, old, old + b"more")

    assert len(run.told("unmatched")) == 1
    assert run.bytes == len(old) + 4


@pytest.mark.parametrize("where", ["file", "folder"])
def test_a_delta_goes_on_with_what_was_left(tmp_path, where):
    src, dst = _two(tmp_path)
    older = Random(5).randbytes(RESUMABLE + (2 << 20))
    newer = Random(6).randbytes(4 << 20) + older
    name = "large"
    (dst / name).write_bytes(older)
    (src / name).write_bytes(newer)
    left = dst / os.fsdecode(leftover_name(name.encode()))
    left.write_bytes(newer[: (3 << 20) + 5] + b"torn")
    given = f"{src}/" if where == "folder" else src / name
    run = Run(given, dst if where == "folder" else dst / name, kernel=False, defers=1 << 20,
              resumes=True)  # fmt: skip

    assert (dst / name).read_bytes() == newer
    assert leftovers(dst) == []
    assert run.resumed == 3 << 20
    assert run.bytes < 3 << 20
    assert run.resumed + run.reused + run.bytes == len(newer)


def test_without_deltas_the_beginning_is_used_all_the_same(tmp_path):
    src, dst = _two(tmp_path)
    data = Random(6).randbytes(RESUMABLE + 77)
    (src / "large").write_bytes(data)
    (dst / os.fsdecode(leftover_name(b"large"))).write_bytes(data[: 5 << 20])
    run = Run(f"{src}/", dst, kernel=False, resumes=True)

    assert_same_tree(src, dst)
    assert (run.resumed, run.bytes) == (5 << 20, len(data) - (5 << 20))


def _two(tmp_path):
    """Make a source and a destination that are equal."""
    src, dst = tmp_path / "src", tmp_path / "dst"
    src.mkdir()
    (src / "same").write_text("same")
    os.utime(src / "same", ns=(10**18, 10**18))
    shutil.copytree(src, dst)
    os.utime(src, ns=(2 * 10**18, 2 * 10**18))
    shutil.copystat(src, dst)
    return src, dst


def _stir(root, random):  # noqa: C901 - a list of deeds
    """Change, remove, rename and retype some of a tree."""
    found = []
    for folder, folders, names in os.walk(os.fsencode(root)):
        found += [os.path.join(folder, name) for name in [*folders, *names]]
    for path in random.sample(found, len(found) // 3):
        if not os.path.lexists(path):
            continue
        is_folder = os.path.isdir(path) and not os.path.islink(path)
        match random.randrange(5):
            case 0 if is_folder:
                shutil.rmtree(path)
            case 0:
                os.unlink(path)
            case 1 if os.path.isfile(path) and not os.path.islink(path):
                os.chmod(path, 0o600)
                with open(path, "wb") as file:
                    file.write(random.randbytes(random.randrange(300_000)))
            case 2:
                with suppress(OSError):
                    os.rename(path, path[:-1] + b"%d" % random.randrange(10))
            case 3 if is_folder:
                shutil.rmtree(path)
                with open(path, "wb") as file:
                    file.write(b"was a folder")
            case 3:
                os.unlink(path)
                os.makedirs(os.path.join(path, b"sub"))
            case 4 if not os.path.islink(path):
                os.chmod(path, random.choice((0o700, 0o755, 0o750)))
                os.utime(path, ns=(10**18, random.randrange(10**18)))


def test_tables_carry_the_kind_of_a_copy():
    _, payload = _block(Entry(b"src", Kind.REMOVED, stat.S_IFREG))

    assert [one.kind for one in decode_entries(memoryview(payload))] == [Kind.REMOVED]
