"""Cleaning removes what dead runs left, and never anything of a complete archive or a live run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from datamover.catalog.rows import ArchiveState
from datamover.errors import DamagedError, StoreError
from datamover.files.entry import Entry, Kind
from datamover.mover.enter import enter_chunk
from datamover.mover.listing import entries
from datamover.mover.mark import Mark
from datamover.mover.reservation import Reservation
from datamover.mover.store import Store, create_store
from datamover.testing.chunks import (
    backup_without_a_pipe,
    make_blocks,
    make_label,
    write_chunks,
)

SOURCE = Path(__file__).parents[3] / "src"
TABLES = [[Entry(b"src/%d" % n, Kind.FILE, 0o100644, size=3, extents=((0, 3),))] for n in range(6)]

HOLDER = """
import sys
from pathlib import Path
from datamover.mover.mark import Mark
from datamover.mover.reservation import Reservation

held = Reservation.take(Path(sys.argv[1]), bytes.fromhex(sys.argv[2]))
print(held is not None, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def store(tmp_path):
    create_store(tmp_path / "s", passphrase=None, cipher="none")
    with Store.open(tmp_path / "s") as opened:
        yield opened


def dead_run(store, *, chunks=2, rows=1):
    """Leave what a run leaves that is killed after some chunks, the last with no row yet."""
    archive = store.new_archive(make_label("dead"))
    held = Reservation.take(store.active, archive.id)
    store.catalog.map.begin(archive.record())
    names = write_chunks(store, archive, make_blocks(TABLES))
    for name in names[chunks:]:
        (store.chunks / name).unlink()
    for name in names[:rows]:
        enter_chunk(store.catalog, store.chunks, name)
    (store.tmp / f"{names[-1]}.{'0' * 16}").write_bytes(b"half")
    # A killed process keeps its lock file and loses its lock.
    held._path = store.active / "nothing"
    held.release()
    return archive


def snapshot(store):
    files = {one.name: one.read_bytes() for one in store.chunks.iterdir()}
    return files, store.catalog.map.archives()


def test_what_a_dead_run_left_goes_and_a_complete_archive_stays(store):
    backup_without_a_pipe(store, TABLES)
    before = snapshot(store)
    dead = dead_run(store)
    done = store.clean()

    assert done.removed == (dead.id.hex(),)
    assert done.files == 1
    assert snapshot(store) == before
    assert list(store.tmp.iterdir()) == list(store.active.iterdir()) == []
    assert len(list(entries(store))) == 6


def test_cleaning_again_finds_nothing(store):
    dead_run(store)
    store.clean()
    again = store.clean()

    assert (again.removed, again.completed, again.kept, again.files) == ((), (), (), 0)


@pytest.mark.parametrize(("chunks", "rows"), [(0, 0), (1, 0), (2, 2)])
def test_a_run_that_died_early_goes_too(store, chunks, rows):
    dead = dead_run(store, chunks=chunks, rows=rows)

    assert store.clean().removed == (dead.id.hex(),)
    assert list(store.chunks.iterdir()) == []
    assert store.catalog.map.archives() == []


@pytest.mark.parametrize("rows", [0, 2, 4])
def test_a_run_that_died_after_its_last_chunk_is_completed(store, rows):
    whole = backup_without_a_pipe(store, TABLES)
    dead = dead_run(store, chunks=99, rows=rows)
    done = store.clean()

    assert done.completed == (dead.id.hex(),)
    record = store.catalog.map.archive(dead.id)
    assert record.state is ArchiveState.COMPLETE
    assert record.facts.files == 6
    assert record.facts.chunks == len(store.catalog.map.chunks(whole.id))
    assert len(list(entries(store, "dead"))) == 6


def test_a_live_run_is_left_alone(store):
    archive = store.new_archive(make_label())
    with store.reserve(archive.id):
        store.catalog.map.begin(archive.record())
        write_chunks(store, archive, make_blocks(TABLES)[:3])
        before = snapshot(store)
        with Store.open(store.path) as other:
            done = other.clean()

        assert (done.removed, done.kept) == ((), ())
        assert snapshot(store) == before


@pytest.mark.processes
@pytest.mark.slow
def test_the_lock_of_another_process_counts_until_it_is_killed(store):
    archive = store.new_archive(make_label())
    store.catalog.map.begin(archive.record())
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(store.active), archive.id.hex()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": str(SOURCE)},
    )
    try:
        assert child.stdout.readline() == b"True\n"
        while_alive = store.clean().removed
        with pytest.raises(StoreError, match="another process"):
            store.reserve(archive.id)
    finally:
        child.kill()
        child.wait()
        child.stdin.close()
        child.stdout.close()

    assert while_alive == ()
    assert store.clean().removed == (archive.id.hex(),)


def test_a_run_that_ends_well_between_two_looks_is_not_removed(store, monkeypatch):
    archive = store.new_archive(make_label())
    store.catalog.map.begin(archive.record())
    names = write_chunks(store, archive, make_blocks(TABLES))
    real = Reservation.take

    def ends_first(folder, which):
        if store.catalog.map.archive(which).state is ArchiveState.INCOMPLETE:
            from datamover.mover.count import Counts
            from datamover.mover.enter import finish_archive

            files = [enter_chunk(store.catalog, store.chunks, name) for name in names]
            finish_archive(store.catalog, files[-1], Counts())
        return real(folder, which)

    monkeypatch.setattr(Reservation, "take", ends_first)
    done = store.clean()

    assert (done.removed, done.completed, done.kept) == ((), (), ())
    assert len(list(store.chunks.iterdir())) == len(names)


def test_chunks_that_the_catalog_does_not_know_are_kept(store):
    archive = store.new_archive(make_label())
    write_chunks(store, archive, make_blocks(TABLES)[:4])
    last = max(store.chunks.iterdir())
    last.unlink()
    before = snapshot(store)
    done = store.clean()

    assert done.kept == (archive.id.hex(),)
    assert snapshot(store) == before


def test_an_unknown_archive_that_is_whole_is_entered(store):
    archive = store.new_archive(make_label("found"))
    write_chunks(store, archive, make_blocks(TABLES))

    assert store.clean().completed == (archive.id.hex(),)
    assert store.find("found").id == archive.id


def test_damaged_files_are_not_what_a_dead_run_left(store):
    dead = dead_run(store, rows=0)
    first = min(store.chunks.iterdir())
    data = bytearray(first.read_bytes())
    data[300] ^= 1
    first.write_bytes(data)

    assert store.clean().kept == (dead.id.hex(),)
    assert first.read_bytes() == bytes(data)


def test_an_ended_archive_that_lost_a_chunk_is_kept(store):
    dead = dead_run(store, chunks=99, rows=0)
    sorted(store.chunks.iterdir())[1].unlink()

    assert store.clean().kept == (dead.id.hex(),)


def test_files_of_other_names_are_not_touched(store):
    for folder in (store.chunks, store.active):
        (folder / "note.txt").write_bytes(b"mine")
    store.clean()

    assert (store.chunks / "note.txt").exists()
    assert (store.active / "note.txt").exists()


def test_discarding_takes_an_incomplete_archive_and_leaves_a_complete_one(store):
    whole = backup_without_a_pipe(store, TABLES)
    before = snapshot(store)
    dead = dead_run(store)

    assert store.discard(dead.id)
    assert not store.discard(whole.id)
    assert not store.discard(dead.id)
    assert snapshot(store) == before


def test_a_reservation_is_exclusive_and_leaves_no_file(store):
    name = b"r" * 16
    with Reservation.take(store.active, name) as first:
        assert first.archive == name
        assert Reservation.take(store.active, name) is None
    with Reservation.take(store.active, name):
        first.release()

        assert Reservation.take(store.active, name) is None
    assert list(store.active.iterdir()) == []


def test_a_lock_file_that_is_removed_under_a_waiting_hand_is_not_taken(store, monkeypatch):
    import fcntl

    name = b"r" * 16
    first = Reservation.take(store.active, name)
    real = fcntl.flock
    calls = []

    def release_first(descriptor, flags):
        calls.append(descriptor)
        if len(calls) == 1:
            first.release()
        real(descriptor, flags)

    monkeypatch.setattr("datamover.mover.reservation.fcntl.flock", release_first)
    with Reservation.take(store.active, name) as second:
        assert len(calls) == 2
        assert second._path.exists()
        assert Reservation.take(store.active, name) is None


def test_a_folder_that_refuses_is_an_error_of_the_store(store):
    store.active.rmdir()
    with pytest.raises(StoreError):
        store.reserve(b"r" * 16)


def test_a_chunk_that_is_gone_or_damaged_is_not_entered(store):
    archive = store.new_archive(make_label())
    store.catalog.map.begin(archive.record())
    name = write_chunks(store, archive, make_blocks(TABLES))[0]
    (store.chunks / name).write_bytes((store.chunks / name).read_bytes()[:-1])
    with pytest.raises(DamagedError, match=name):
        enter_chunk(store.catalog, store.chunks, name)
    (store.chunks / name).unlink()
    with pytest.raises(StoreError, match=name):
        enter_chunk(store.catalog, store.chunks, name)

    assert store.catalog.map.chunks(archive.id) == []


def test_an_archive_that_may_be_resumed_is_left_alone_with_its_lock(store):
    dead = dead_run(store)
    store.depot.mark(dead.id).write(0)
    with Reservation.take(store.active, dead.id):
        done = store.clean()

    assert (done.resumable, done.removed) == ((dead.id.hex(),), ())
    assert len(store.catalog.map.archives()) == 1


def test_an_archive_that_is_discarded_meanwhile_is_no_error(store, monkeypatch):
    dead = dead_run(store, chunks=1)
    mark, (name,) = store.depot.mark(dead.id), [path.name for path in store.chunks.iterdir()]
    mark.write(0)
    is_young = Mark.is_young

    def discarded(self):
        (store.chunks / name).unlink()
        return is_young(self)

    monkeypatch.setattr(Mark, "is_young", discarded)
    done = store.clean()

    assert done.removed == (dead.id.hex(),)
    assert list(store.active.iterdir()) == []
