"""An interrupted backup goes on, whatever became of its source meanwhile.

Every stage runs in this process, with small blocks and chunks; a run is interrupted by a medium
that refuses a chunk.
"""

from __future__ import annotations

import os
import shutil
import stat
import time
from contextlib import suppress
from random import Random

import pytest
from msgspec.structs import replace

from datamover.catalog.rows import ArchiveState, PageKind
from datamover.codec.keys import KdfParameters
from datamover.errors import StageFailedError, StoreError, UsageError
from datamover.files.listing import index_tables
from datamover.files.table import decode_entries
from datamover.ids import ATTEMPT_BLOCKS
from datamover.media.directory import DirectoryWriter
from datamover.monitor.supervisor import Monitor
from datamover.mover.backup import BackupSettings, backup
from datamover.mover.listing import archives, entries, info
from datamover.mover.mark import KEPT_S
from datamover.mover.open_block import open_record
from datamover.mover.rebuild import rebuild_catalog
from datamover.mover.report import Silent
from datamover.mover.restore import RestoreSettings, restore
from datamover.mover.store import Store, create_store
from datamover.mover.verify import verify
from datamover.pipe.spec import Mode
from datamover.testing.trees import assert_same_tree, make_tree
from datamover.wire.stream import BlockFound, StreamReader
from datamover.wire.tag import TransformId

CHEAP = KdfParameters(salt=b"0123456789abcdef", memory_kib=64, iterations=1, lanes=1)
BLOCK, CHUNK_SIZE = 32 << 10, 128 << 10


class Inline(Monitor):
    def warm_up(self):
        pass

    def start(self, spec, *, on_notice=None):
        spec = replace(spec, mode=Mode.INLINE)
        return super().start(spec, on_notice=on_notice)


class Heard(Silent):
    def __init__(self):
        self.kinds = []
        self.reasons = {}

    def notice(self, notice):
        self.kinds.append(notice.kind)
        self.reasons[notice.kind] = str(notice.given.get("reason"))


class Refusing:
    """A medium that takes so many chunks and no more."""

    left = None

    def commit(self, writer, commit):
        if self.left is not None:
            if self.left <= 0:
                writer.abandon()
                raise StoreError(store="medium", reason="refused")
            self.left -= 1
        commit(writer)


@pytest.fixture
def medium(monkeypatch, tmp_path):
    monkeypatch.setenv("DATAMOVER_STATE", str(tmp_path / "state"))
    for module in ("pipes", "archiving"):
        monkeypatch.setattr(f"datamover.mover.{module}.BLOCK_SIZE", BLOCK)
    for name in ("backup", "restore", "verify"):
        monkeypatch.setattr(f"datamover.mover.{name}.Monitor", Inline)
    # Nothing here loses power, and a disk that waits for each of some hundred small chunks is slow.
    monkeypatch.setattr("os.fsync", lambda _: None)
    refusing, commit = Refusing(), DirectoryWriter.commit
    monkeypatch.setattr(DirectoryWriter, "commit", lambda self: refusing.commit(self, commit))
    return refusing


@pytest.fixture
def place(tmp_path):
    create_store(tmp_path / "store", passphrase=b"p", cipher="aes-256-gcm", kdf=CHEAP)
    return tmp_path / "store"


@pytest.fixture
def source(tmp_path):
    source = make_tree(tmp_path / "source", 5, files=12, large=900_000)
    (source / "noise").write_bytes(Random(1).randbytes(700_000))
    return source


def run(medium, place, *sources, left=None, **settings):
    """Back up; return the summary and what was told, or None and that when it was interrupted."""
    heard, medium.left = Heard(), left
    given = BackupSettings(chunk_size=CHUNK_SIZE, jobs=1, **settings)
    with Store.open(place, lambda: b"p") as store:
        try:
            return backup(store, [str(one) for one in sources], given, heard), heard
        except StageFailedError:
            return None, heard
        finally:
            medium.left = None


def chunks(place):
    return {one.name: one.stat().st_ino for one in (place / "chunks").iterdir()}


def rows(place):
    with Store.open(place, lambda: b"p") as store, store.catalog._reading() as session:
        return [
            sorted(
                map(repr, (tuple(row.values()) for row in session.rows(f"SELECT * FROM {name}")))
            )
            for name in ("archive", "chunk", "page")
        ]


def assert_whole(place, source, into, summary):
    """It lists, verifies and restores as the source is now, and the catalog can be made again."""
    shutil.rmtree(into, ignore_errors=True)
    heard = Heard()
    with Store.open(place, lambda: b"p") as store:
        verify(store, None, heard)
        done = restore(store, None, [], str(into), RestoreSettings(sync=False, jobs=1), heard)
        listed = [entry.path for entry in entries(store)]
        (row,) = archives(store)
        (chunk, *_), last = store.depot.chunks(store.find().id), rows(place)
    assert heard.kinds == [], heard.reasons
    assert_same_tree(source, into / source.name)
    there = [
        os.fsencode(os.path.relpath(os.path.join(at, name), source.parent))
        for at, folders, names in os.walk(source)
        for name in [*folders, *names]
        if not stat.S_ISSOCK(os.lstat(os.path.join(at, name)).st_mode)
    ]
    assert sorted(listed) == sorted([os.fsencode(source.name), *there])
    assert (row.files, row.directories) == (done.files, done.directories)
    assert row.files + row.directories + row.others == len(listed)
    assert (summary.files, summary.directories) == (row.files, row.directories)
    assert summary.bytes_in == row.bytes_in
    assert chunk.first_block == 0
    rebuild_catalog(place, lambda: b"p")
    assert rows(place) == last


@pytest.mark.parametrize("left", [1, 5, 9])
def test_what_was_durable_is_taken_over_and_nothing_else_is_sent(
    medium, place, source, tmp_path, left
):
    stopped, told = run(medium, place, source, left=left)
    before = chunks(place)
    stored = sum(one.stat().st_size for one in (place / "chunks").iterdir())
    summary, heard = run(medium, place, source)
    after = chunks(place)

    assert stopped is None
    assert len(before) == left
    assert told.kinds == ["kept"] or left == 1
    assert heard.kinds == ["resumed"]
    assert before.items() <= after.items()
    assert (summary.resumed.attempt, summary.resumed.taken) == (1, stored)
    assert_whole(place, source, tmp_path / "back", summary)
    assert list((place / "active").iterdir()) == list((place / "tmp").iterdir()) == []
    assert list((tmp_path / "state" / "journal").iterdir()) == []
    with Store.open(place, lambda: b"p") as store:
        firsts = [one.first_block for one in store.depot.chunks(store.find().id)]
    assert ATTEMPT_BLOCKS in firsts
    # The end of a file is sent from where it was cut: not all of it, and not from its beginning.
    sent = sum(os.stat(place / "chunks" / name).st_size for name in set(after) - set(before))
    clean, _ = run(medium, place, source, name="clean")
    assert sent < clean.bytes_out - stored + 2 * BLOCK + 40_000


@pytest.mark.parametrize("cipher", ["aes-256-gcm", "none"])
def test_it_is_resumed_again_and_again(medium, source, tmp_path, cipher):
    place = tmp_path / "store"
    create_store(place, passphrase=b"p", cipher=cipher, kdf=CHEAP)
    runs = 0
    while (done := run(medium, place, source, left=2))[0] is None:
        runs += 1
        assert runs < 60
    summary, _ = done

    assert summary.resumed.attempt == runs > 5
    assert_whole(place, source, tmp_path / "back", summary)


def codecs_of(place, path):
    """What compressed the blocks that hold data of a file, in all attempts."""
    with Store.open(place, lambda: b"p") as store:
        record = store.find()
        key, done = store.archive_key(record), {}
        for chunk in store.depot.chunks(record.id):
            data = memoryview((place / "chunks" / chunk.name).read_bytes())
            reader = StreamReader()
            while not reader.is_complete:
                for event in reader.take(data[reader.position :]):
                    if isinstance(event, BlockFound):
                        done[event.tag.block] = [step.id for step in event.tag.transforms]
        pages = [
            open_record(memoryview(page.record), key=key, archive=record.id)[1]
            for page in store.depot.pages(record.id, PageKind.INDEX)
        ]
    return {
        tuple(step for step in done[block] if step < TransformId.AES_256_GCM)
        for page in pages
        for block, table in index_tables(page)
        for entry in decode_entries(table)
        if entry.path == path and entry.extents
    }


def test_what_goes_on_goes_by_the_rules_too(medium, place, source, tmp_path):
    words = b"".join(b"%d words that shrink\n" % number for number in range(40_000))
    (source / "a-text").write_bytes(words)
    (source / "z-text").write_bytes(words)
    (place / "placement.toml").write_text(
        "[[rule]]\npath = 'source/z-text'\ncodec = 'none'\n"
        "[[rule]]\ncontent = 'text/*'\nsize_at_least = '100KiB'\ncodec = 'gzip-1'\n"
    )
    runs = 0
    while (done := run(medium, place, source, left=2))[0] is None:
        runs += 1
        assert runs < 80

    assert runs > 5
    assert codecs_of(place, b"source/a-text") == {(TransformId.GZIP,)}
    assert codecs_of(place, b"source/z-text") == {()}
    assert_whole(place, source, tmp_path / "back", done[0])


def mutate(source, random):
    """Change, add, remove, rename and retype some of what is there."""
    names = sorted(
        (os.path.join(at, name) for at, ds, ns in os.walk(source) for name in [*ds, *ns]),
        key=os.fsencode,
    )
    for path in random.sample(names, min(len(names), 14)):
        with suppress(OSError):
            _change(path, random)
    (source / f"new-{random.randrange(1000)}").write_bytes(random.randbytes(50_000))


def _change(path, random):
    is_folder = os.path.isdir(path) and not os.path.islink(path)
    changes = (_remove, _rename, _retype, _chmod, _link, _rewrite, _rewrite)
    random.choice(changes)(path, is_folder, random)


def _remove(path, is_folder, _):
    shutil.rmtree(path) if is_folder else os.unlink(path)


def _rename(path, _, random):
    os.rename(path, path[:-1] + "moved"[: random.randrange(1, 5)])


def _retype(path, is_folder, random):
    _remove(path, is_folder, random)
    if not is_folder:
        os.mkdir(path)
        path = os.path.join(path, "inside")
    with open(path, "wb") as file:
        file.write(random.randbytes(3000))


def _chmod(path, is_folder, _):
    os.chmod(path, 0o750 if is_folder else 0o600)


def _link(path, _, __):
    os.link(path, path + "-link", follow_symlinks=False)


def _rewrite(path, is_folder, random):
    if is_folder:
        with open(os.path.join(path, "added"), "wb") as file:
            file.write(random.randbytes(random.randrange(90_000)))
    elif stat.S_ISREG(os.lstat(path).st_mode):
        with open(path, "r+b") as file:
            file.write(random.randbytes(random.randrange(1, 90_000)))


@pytest.mark.parametrize("seed", range(int(os.environ.get("DATAMOVER_MUTATIONS", "3"))))
def test_what_changed_meanwhile_is_what_comes_back(medium, place, source, tmp_path, seed):
    random = Random(seed)
    for _ in range(random.randrange(1, 5)):
        if run(medium, place, source, left=random.randrange(1, 9))[0] is not None:
            break
        mutate(source, random)
    summary, heard = run(medium, place, source)

    assert heard.kinds == ["resumed"] or summary.resumed is None
    if summary.resumed:
        assert_whole(place, source, tmp_path / "back", summary)


def test_some_paths_of_it_come_back_as_they_were_at_last(medium, place, source, tmp_path):
    run(medium, place, source, left=6)
    (source / "plain" / "hard across folders").write_bytes(b"other")
    (source / "deep" / "0" / "new").write_bytes(b"new")
    run(medium, place, source)
    heard = Heard()
    with Store.open(place, lambda: b"p") as store:
        paths = ["source/plain", "source/links/hard-1", "source/deep/0"]
        restore(store, None, paths, str(tmp_path / "b"), RestoreSettings(jobs=1), heard)

    assert heard.kinds == []
    assert_same_tree(source / "plain", tmp_path / "b" / "source" / "plain", metadata=False)
    assert_same_tree(source / "deep" / "0", tmp_path / "b" / "source" / "deep" / "0")
    assert (tmp_path / "b" / "source" / "links" / "hard-1").read_bytes() == b"other"


def test_a_file_that_was_cut_and_changed_is_sent_anew(medium, place, tmp_path):
    source = tmp_path / "one"
    source.mkdir()
    (source / "file").write_bytes(Random(2).randbytes(1_000_000))
    run(medium, place, source, left=3)
    (source / "file").write_bytes(Random(3).randbytes(1_000_000))
    summary, _ = run(medium, place, source)

    assert summary.resumed.attempt == 1
    assert_whole(place, source, tmp_path / "back", summary)


def test_a_file_that_was_cut_and_is_gone_does_not_come_back(medium, place, tmp_path):
    source = tmp_path / "one"
    source.mkdir()
    (source / "file").write_bytes(Random(2).randbytes(1_000_000))
    run(medium, place, source, left=3)
    (source / "file").unlink()
    summary, _ = run(medium, place, source)

    assert summary.files == 0
    assert_whole(place, source, tmp_path / "back", summary)


def test_an_archive_that_lacks_only_its_rows_is_completed(
    medium, place, source, tmp_path, monkeypatch
):
    class Killed(BaseException):
        pass

    def die(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("datamover.mover.depot.LocalDepot.finish", die)
        with pytest.raises(Killed):
            run(medium, place, source)
    before = chunks(place)
    with monkeypatch.context() as patch:
        # A depot of another machine cannot complete it by itself, for it has no key.
        patch.setattr("datamover.mover.store.Store.clean", lambda self: self.depot.clean(None))
        summary, heard = run(medium, place, source)

    assert heard.kinds == ["resumed"]
    assert chunks(place) == before
    assert_whole(place, source, tmp_path / "back", summary)


@pytest.mark.parametrize("harm", ["empty", "cut", "noise", "long", "other", "folder", "link"])
def test_a_journal_that_is_none_is_not_believed(medium, place, source, tmp_path, harm):
    run(medium, place, source, left=4)
    (journal,) = (tmp_path / "state" / "journal").glob("*.json")
    text = journal.read_bytes()
    match harm:
        case "empty":
            journal.write_bytes(b"")
        case "cut":
            journal.write_bytes(text[: len(text) // 2])
        case "noise":
            journal.write_bytes(os.urandom(2000))
        case "long":
            journal.write_bytes(text + b" " * (1 << 20))
        case "other":
            journal.write_bytes(text.replace(b'"key":"', b'"key":"0123456789abcdef')[: len(text)])
        case "folder":
            journal.unlink()
            journal.mkdir()
        case "link":
            journal.rename(journal.with_suffix(".real"))
            journal.symlink_to(journal.with_suffix(".real"))
    summary, heard = run(medium, place, source)

    assert summary.resumed is None
    assert heard.kinds[0] in {"not resumed", "not resumable"}
    assert heard.reasons[heard.kinds[0]]
    with Store.open(place, lambda: b"p") as store:
        assert len(store.depot.archives(ArchiveState.COMPLETE)) == 1


def test_a_journal_of_another_store_is_not_used(medium, place, source, tmp_path):
    run(medium, place, source, left=4)
    create_store(tmp_path / "second", passphrase=b"p", cipher="aes-256-gcm", kdf=CHEAP)
    summary, heard = run(medium, tmp_path / "second", source)

    assert summary.resumed is None
    assert heard.kinds == []
    assert run(medium, place, source)[0].resumed.attempt == 1


def test_a_journal_put_back_meets_the_mark(medium, place, source, tmp_path):
    """No attempt has a number that was used: nonces come of it."""
    run(medium, place, source, left=2)
    (journal,) = (tmp_path / "state" / "journal").glob("*.json")
    old = journal.read_bytes()
    run(medium, place, source, left=0)
    journal.write_bytes(old)
    summary, _ = run(medium, place, source)

    assert summary.resumed.attempt == 2
    assert_whole(place, source, tmp_path / "back", summary)


@pytest.mark.parametrize("option", [{"name": "n"}, {"excludes": ("*.o",)}, {"codec": "none"}])
def test_another_command_begins_its_own_and_the_remains_go(medium, place, source, option):
    run(medium, place, source, left=4)
    summary, heard = run(medium, place, source, **option)

    assert summary.resumed is None
    assert heard.kinds == []
    # It completed, with the same sources: what the other command left is of no use any more.
    assert list((place / "active").iterdir()) == []
    with Store.open(place, lambda: b"p") as store:
        assert info(store).incomplete == 0
        names = {one.name for one in store.depot.chunks(store.find().id)}
    assert set(chunks(place)) == names


def test_fresh_discards_what_was_left(medium, place, source, tmp_path):
    run(medium, place, source, left=4)
    before = set(chunks(place))
    summary, heard = run(medium, place, source, fresh=True)

    assert (summary.resumed, heard.kinds) == (None, [])
    assert not before & set(chunks(place))
    assert_whole(place, source, tmp_path / "back", summary)


def test_remains_are_kept_while_they_are_young_and_shown(medium, place, source, tmp_path):
    run(medium, place, source, left=4)
    other = tmp_path / "other"
    other.mkdir()
    run(medium, place, other)
    with Store.open(place, lambda: b"p") as store:
        shown = info(store)
    assert (shown.incomplete, shown.archives) == (1, 1)
    assert shown.bytes_incomplete > 0
    (mark,) = (place / "active").glob("*.resume")
    then = time.time() - KEPT_S - 60
    os.utime(mark, (then, then))
    run(medium, place, other, name="second")
    with Store.open(place, lambda: b"p") as store:
        assert info(store).incomplete == 0
    summary, heard = run(medium, place, source)

    assert summary.resumed is None
    assert heard.kinds == ["not resumed"]


def test_a_run_that_left_nothing_durable_leaves_nothing(medium, place, source):
    run(medium, place, source, left=0)

    assert list((place / "active").iterdir()) == list((place / "chunks").iterdir()) == []
    with Store.open(place, lambda: b"p") as store:
        assert info(store).incomplete == 0


def test_a_lost_chunk_makes_it_begin_anew(medium, place, source):
    run(medium, place, source, left=4)
    sorted((place / "chunks").iterdir())[1].unlink()
    summary, heard = run(medium, place, source)

    assert summary.resumed is None
    assert heard.kinds == ["not resumed"]
    with Store.open(place, lambda: b"p") as store:
        assert len(archives(store)) == 1


def test_a_stream_is_refused_and_told_what_it_needs(place):
    with Store.open(place, lambda: b"p") as store, pytest.raises(UsageError, match="read twice"):
        backup(store, ["-"], BackupSettings(), Silent())


def test_where_no_journal_can_be_kept_the_backup_runs(medium, place, source, tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("DATAMOVER_STATE", str(tmp_path / "file" / "below"))
    summary, heard = run(medium, place, source)

    assert heard.kinds == ["not resumable"]
    assert_whole(place, source, tmp_path / "back", summary)
