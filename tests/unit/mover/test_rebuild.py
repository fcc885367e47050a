"""A catalog made again from chunk files is the catalog that was lost, row by row."""

from __future__ import annotations

import os

import pytest

from datamover.catalog.database import Catalog
from datamover.catalog.rows import ArchiveState
from datamover.codec.keys import KdfParameters
from datamover.errors import CatalogError, NotAStoreError, PassphraseError, StoreError
from datamover.files.entry import Entry, EntryFlag, Kind
from datamover.mover.chunk_file import ChunkFile
from datamover.mover.listing import archives, entries
from datamover.mover.rebuild import rebuild_catalog
from datamover.mover.store import Store, create_store
from datamover.testing.chunks import (
    backup_without_a_pipe,
    make_blocks,
    make_label,
    write_chunks,
)

CHEAP = KdfParameters(salt=b"0123456789abcdef", memory_kib=64, iterations=1, lanes=1)
TABLES = [
    [
        Entry(b"src", Kind.DIRECTORY, 0o40755),
        Entry(b"src/a", Kind.FILE, 0o100644, size=3, extents=((0, 3),)),
    ],
    [Entry(b"src/b", Kind.FILE, 0o100644, size=6, flags=EntryFlag.MORE, extents=((0, 3),))],
    [Entry(b"src/b", Kind.FILE, 0o100644, size=6, flags=EntryFlag.CONTINUES, extents=((3, 3),))],
    [Entry(b"src/c", Kind.SYMLINK, 0o120777, link=b"a")],
]


def secret():
    return b"p"


@pytest.fixture(params=["aes-256-gcm", "none"])
def path(tmp_path, request):
    create_store(tmp_path / "s", passphrase=b"p", cipher=request.param, kdf=CHEAP)
    with Store.open(tmp_path / "s", secret) as store:
        for name in ("one", "two", "three"):
            backup_without_a_pipe(store, TABLES, name=name)
    return tmp_path / "s"


def rows(path):
    """Return every row of every table."""
    with Store.open(path, secret) as store, store.catalog._reading() as session:
        return {
            table: sorted(
                (tuple(row.values()) for row in session.rows(f"SELECT * FROM {table}")), key=repr
            )
            for table in ("archive", "chunk", "page")
        }


def chunk_files(path):
    return sorted((path / "chunks").iterdir())


@pytest.mark.parametrize("damage", ["missing", "garbage", "none"])
def test_a_rebuilt_catalog_is_the_one_that_was_lost(path, damage):
    before = rows(path)
    if damage == "missing":
        (path / "catalog.sqlite").unlink()
    if damage == "garbage":
        (path / "catalog.sqlite").write_bytes(os.urandom(50_000))
        (path / "catalog.sqlite-wal").write_bytes(os.urandom(50_000))
        with Store.open(path, secret) as store, pytest.raises(CatalogError):
            _ = store.catalog
    done = rebuild_catalog(path, secret)

    assert (done.complete, done.incomplete, done.chunks, done.notes) == (3, 0, 9, ())
    assert rows(path) == before
    assert len(before["page"]) == 9


def test_archives_and_entries_are_as_they_were(path):
    def seen():
        with Store.open(path, secret) as store:
            return archives(store), [list(entries(store, row.archive)) for row in archives(store)]

    before = seen()
    rebuild_catalog(str(path), secret)

    assert seen() == before
    assert [row.name for row in before[0]] == ["one", "two", "three"]


def test_an_unfinished_archive_stays_unfinished_and_is_then_removed(path):
    with Store.open(path, secret) as store:
        archive = store.new_archive(make_label("dead"))
        names = write_chunks(store, archive, make_blocks(TABLES))
        (store.chunks / names[-1]).unlink()
    before = rows(path)
    done = rebuild_catalog(path, secret)
    with Store.open(path, secret) as store:
        state = store.catalog.map.archive(archive.id).state
        removed = store.clean().removed

    assert (done.complete, done.incomplete) == (3, 1)
    assert state is ArchiveState.INCOMPLETE
    assert removed == (archive.id.hex(),)
    assert rows(path) == before


@pytest.mark.parametrize("where", [20, 100, 300, -5, -100])
def test_a_damaged_file_costs_no_other_row(path, where):
    before = rows(path)
    damaged = chunk_files(path)[0]
    data = bytearray(damaged.read_bytes())
    data[where] ^= 0x10
    damaged.write_bytes(data)
    done = rebuild_catalog(path, secret)
    after = rows(path)

    assert [damaged.name in note for note in done.notes] in ([True], [])
    assert (done.complete, done.incomplete) == (3, 0)
    assert [row[:5] for row in after["chunk"]] == [row[:5] for row in before["chunk"]]
    assert [row[0] for row in after["archive"]] == [row[0] for row in before["archive"]]


def test_a_file_of_noise_and_a_missing_file_cost_only_themselves(path):
    before = rows(path)
    victims = [chunk_files(path)[0], chunk_files(path)[4]]
    victims[0].write_bytes(os.urandom(victims[0].stat().st_size))
    victims[1].unlink()
    done = rebuild_catalog(path, secret)
    after = rows(path)
    with Store.open(path, secret) as store:
        kept = store.clean()

    assert (done.complete, done.incomplete) == (3, 0)
    assert {victims[0].name, victims[1].name} == {note.split(":")[0] for note in done.notes}
    assert [row[:5] for row in after["chunk"]] == [row[:5] for row in before["chunk"]]
    assert (kept.removed, kept.completed) == ((), ())


def test_a_file_under_another_name_is_known_by_its_records(path):
    before = rows(path)
    first = chunk_files(path)[0]
    first.rename(first.with_name("renamed.dmc"))
    rebuild_catalog(path, secret)
    after = rows(path)

    assert after["page"] == before["page"]
    assert after["archive"] == before["archive"]
    assert "renamed.dmc" in {row[2] for row in after["chunk"]}


def test_a_copy_of_a_chunk_is_counted_once(path):
    before = rows(path)
    first = chunk_files(path)[0]
    first.with_name("zcopy.dmc").write_bytes(first.read_bytes())
    rebuild_catalog(path, secret)

    assert rows(path) == before


@pytest.mark.parametrize("cipher", ["aes-256-gcm", "none"])
def test_an_archive_of_another_store_costs_no_other(path, tmp_path, cipher):
    before = rows(path)
    create_store(tmp_path / "t", passphrase=b"p", cipher=cipher, kdf=CHEAP)
    with Store.open(tmp_path / "t", secret) as other:
        backup_without_a_pipe(other, TABLES)
    for one in chunk_files(tmp_path / "t"):
        one.rename(path / "chunks" / one.name)
    done = rebuild_catalog(path, secret)
    after = rows(path)

    assert done.notes or after["archive"] != before["archive"]
    assert set(before["archive"]) <= set(after["archive"])
    assert set(before["page"]) <= set(after["page"])


def test_a_chunk_beyond_the_end_of_its_archive_is_left_out(path):
    before = rows(path)
    with Store.open(path, secret) as store:
        chunk_name = store.catalog.map.chunks(store.find("one").id)[0].name
    data = bytearray((path / "chunks" / chunk_name).read_bytes())
    data[20] ^= 1
    (path / "chunks" / chunk_name.replace("-00000000", "-00000009")).write_bytes(data[:200])
    rebuild_catalog(path, secret)

    assert rows(path) == before


def test_what_is_no_chunk_file_is_passed_over(path):
    before = rows(path)
    (path / "chunks" / "note.txt").write_bytes(b"mine")
    (path / "chunks" / "empty.dmc").write_bytes(b"")
    (path / "chunks" / "noise.dmc").write_bytes(os.urandom(5000))
    os.mkfifo(path / "chunks" / "fifo.dmc")
    rebuild_catalog(path, secret)

    assert rows(path) == before


def test_a_store_in_use_is_not_rebuilt(path):
    with Store.open(path, secret) as store:
        _ = store.catalog
        with pytest.raises(StoreError, match="in use"):
            rebuild_catalog(path, secret)


def test_a_store_that_does_not_open_keeps_its_catalog(path):
    before = rows(path)
    with Store.open(path) as store:
        if not store.description.is_encrypted:
            pytest.skip("it always opens")
    for passphrase in (None, lambda: b"wrong"):
        with pytest.raises(PassphraseError):
            rebuild_catalog(path, passphrase)

    assert rows(path) == before


def test_a_folder_that_is_no_store_is_refused(tmp_path):
    with pytest.raises(NotAStoreError):
        rebuild_catalog(tmp_path)


def test_an_empty_store_has_an_empty_catalog(tmp_path):
    create_store(tmp_path / "s", passphrase=None, cipher="none")
    done = rebuild_catalog(tmp_path / "s")
    with Store.open(tmp_path / "s") as store:
        assert (done.complete, store.catalog.map.archives()) == (0, [])


def test_a_rebuild_that_fails_leaves_the_old_catalog(path, monkeypatch):
    before = rows(path)

    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("datamover.mover.rebuild.enter_archive", lambda *_, **__: refuse())
    with pytest.raises(StoreError, match="No space left"):
        rebuild_catalog(path, secret)

    assert rows(path) == before
    assert not (path / "catalog.sqlite.new").exists()


def test_a_place_that_the_disk_cannot_read_is_damage(path, monkeypatch):
    before = rows(path)
    bad = chunk_files(path)[0].stat().st_ino
    real = os.pread

    def refuse(descriptor, length, at):
        if os.fstat(descriptor).st_ino == bad and at > 300:
            raise OSError(5, "Input/output error")
        return real(descriptor, length, at)

    monkeypatch.setattr("datamover.mover.chunk_file.os.pread", refuse)
    done = rebuild_catalog(path, secret)
    monkeypatch.undo()
    after = rows(path)

    assert done.complete == 3
    assert ["Input/output" in note for note in done.notes] == [True]
    assert [row[:5] for row in after["chunk"]] == [row[:5] for row in before["chunk"]]


@pytest.mark.slow
def test_every_bit_of_a_chunk_file_may_flip_and_the_survey_says_so_or_sees_the_same(path):
    whole = chunk_files(path)[0]
    data = whole.read_bytes()
    sound = ChunkFile.survey(whole)
    sealed = 0
    for bit in range(0, len(data) * 8, 7):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        whole.write_bytes(changed)
        found = ChunkFile.survey(whole)
        same = (found.archive, found.number, found.blocks, found.pages, found.footer)

        # A bit of a payload is the block's affair; one of a header is noticed here.
        assert found.damage is not None or same == (
            sound.archive, sound.number, sound.blocks, sound.pages, sound.footer,
        )  # fmt: skip
        assert (found.archive, found.number) == (sound.archive, sound.number)
        sealed += found.damage is not None
    assert sealed > 0


def test_a_file_that_was_cut_is_noticed(path):
    whole = chunk_files(path)[0]
    data = whole.read_bytes()
    for length in range(0, len(data), 11):
        whole.write_bytes(data[:length])
        assert ChunkFile.survey(whole).damage is not None
    whole.write_bytes(data + b"x")
    assert ChunkFile.survey(whole).damage is not None
    with Catalog.open(path, store=Store.open(path).id) as catalog:
        assert len(catalog.map.archives()) == 3
