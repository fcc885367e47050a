"""The catalog keeps what it was given, refuses what is not a catalog, and says what to do."""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import contextmanager

import pytest
import sqlalchemy

from datamover.catalog.data_index import DataIndex
from datamover.catalog.database import Catalog
from datamover.catalog.master_map import MasterMap
from datamover.catalog.rows import (
    ArchiveFacts,
    ArchiveRecord,
    ArchiveState,
    ChunkRecord,
    PageKind,
    PageRecord,
)
from datamover.catalog.schema import TABLES
from datamover.errors import CatalogError, MediumFullError, StoreError, VersionError

STORE = bytes(range(16))
FIRST = b"\x01" * 16
SECOND = b"\x02" * 16


def archive(name=FIRST, created=5):
    return ArchiveRecord(id=name, created_ns=created, label=b"label", wrapped_key=b"wrapped")


def chunk(number, name=FIRST, blocks=2):
    return ChunkRecord(
        archive=name,
        number=number,
        name=f"{name.hex()}-{number:08x}.dmc",
        first_block=number * blocks,
        blocks=blocks,
        length=100 + number,
    )


def page(block, name=FIRST, kind=PageKind.INDEX, record=b"record", number=0):
    return PageRecord(archive=name, block=block, kind=kind, chunk=number, record=record)


@pytest.fixture
def folder(tmp_path):
    Catalog.create(tmp_path, store=STORE)
    return tmp_path


@pytest.fixture
def catalog(folder):
    with Catalog.open(folder, store=STORE) as opened:
        yield opened


def test_a_fresh_catalog_is_empty(catalog):
    assert catalog.map.archives() == []
    assert catalog.map.archive(FIRST) is None
    assert catalog.map.chunks(FIRST) == []
    assert list(catalog.index.pages(FIRST)) == []


def test_what_is_written_is_there_after_it_is_opened_again(folder):
    facts = ArchiveFacts(files=3, directories=2, others=1, bytes_in=9, blocks=4, chunks=2)
    with Catalog.open(folder, store=STORE) as catalog:
        catalog.map.begin(archive())
        catalog.map.add_chunk(chunk(0), [page(0)])
        catalog.map.add_chunk(chunk(1), [page(3, kind=PageKind.CONTENTS, number=1)])
        catalog.map.complete(FIRST, completed_ns=9, facts=facts)

    with Catalog.open(folder, store=STORE) as catalog:
        found = catalog.map.archive(FIRST)
        chunks = catalog.map.chunks(FIRST)
        pages = list(catalog.index.pages(FIRST))

    assert (ArchiveState.COMPLETE, 9, facts) == (found.state, found.completed_ns, found.facts)
    assert (found.label, found.wrapped_key, found.created_ns) == (b"label", b"wrapped", 5)
    assert [chunk(0), chunk(1)] == chunks
    assert [page(0), page(3, kind=PageKind.CONTENTS, number=1)] == pages


def test_archives_come_newest_first_and_by_state(catalog):
    catalog.map.begin(archive(FIRST, created=5))
    catalog.map.begin(archive(SECOND, created=7))
    catalog.map.complete(FIRST, completed_ns=8, facts=ArchiveFacts())

    assert [a.id for a in catalog.map.archives()] == [SECOND, FIRST]
    assert [a.id for a in catalog.map.archives(ArchiveState.COMPLETE)] == [FIRST]


def test_pages_come_in_block_order_however_many_there_are(catalog):
    catalog.map.begin(archive())
    catalog.map.add_chunk(chunk(0), [page(n, record=bytes([n])) for n in reversed(range(40))])

    assert [bytes([n]) for n in range(40)] == [p.record for p in catalog.index.pages(FIRST)]


def test_pages_can_be_asked_for_by_kind(catalog):
    catalog.map.begin(archive())
    catalog.map.add_chunk(chunk(0), [page(0), page(1, kind=PageKind.CONTENTS)])

    assert [p.block for p in catalog.index.pages(FIRST, PageKind.CONTENTS)] == [1]


def test_a_chunk_and_its_pages_come_together_or_not_at_all(catalog):
    catalog.map.begin(archive())
    with pytest.raises(StoreError, match="UNIQUE"):
        catalog.map.add_chunk(chunk(0), [page(0), page(0)])

    assert catalog.map.chunks(FIRST) == []


def test_a_chunk_of_an_unknown_archive_is_refused(catalog):
    with pytest.raises(StoreError, match="FOREIGN KEY"):
        catalog.map.add_chunk(chunk(0))


@pytest.mark.parametrize("known", [(), (0,), (1,), (0, 2)])
def test_an_archive_is_not_complete_while_chunks_are_missing(catalog, known):
    catalog.map.begin(archive())
    for number in known:
        catalog.map.add_chunk(chunk(number))
    with pytest.raises(StoreError, match="2 chunks"):
        catalog.map.complete(FIRST, completed_ns=9, facts=ArchiveFacts(chunks=2))

    assert catalog.map.archive(FIRST).state == ArchiveState.INCOMPLETE


def test_only_an_incomplete_archive_is_completed_and_only_once(catalog):
    catalog.map.begin(archive())
    catalog.map.complete(FIRST, completed_ns=9, facts=ArchiveFacts())
    for name in (FIRST, SECOND):
        with pytest.raises(StoreError, match="no incomplete archive"):
            catalog.map.complete(name, completed_ns=10, facts=ArchiveFacts())

    assert catalog.map.archive(FIRST).completed_ns == 9


def test_forgetting_takes_an_incomplete_archive_whole_and_leaves_a_complete_one(catalog):
    for name in (FIRST, SECOND):
        catalog.map.begin(archive(name))
        catalog.map.add_chunk(chunk(0, name), [page(0, name)])
    catalog.map.complete(SECOND, completed_ns=9, facts=ArchiveFacts(chunks=1))

    assert catalog.map.forget(FIRST)
    assert not catalog.map.forget(SECOND)
    assert [a.id for a in catalog.map.archives()] == [SECOND]
    assert catalog.map.chunks(FIRST) == []
    assert list(catalog.index.pages(FIRST)) == []
    assert [chunk(0, SECOND)] == catalog.map.chunks(SECOND)


def test_a_reader_and_a_writer_are_open_at_once(folder, catalog):
    catalog.map.begin(archive())
    catalog.map.add_chunk(chunk(0), [page(n) for n in range(20)])
    pages = catalog.index.pages(FIRST)
    next(pages)
    with Catalog.open(folder, store=STORE) as other:
        other.map.complete(FIRST, completed_ns=9, facts=ArchiveFacts(chunks=1))

    assert len(list(pages)) == 19
    assert catalog.map.archive(FIRST).state == ArchiveState.COMPLETE


def test_nobody_else_can_read_the_catalog(folder, catalog):
    catalog.map.begin(archive())
    modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}

    assert {0o600} == modes


def test_a_closed_catalog_leaves_no_log_behind(folder):
    with Catalog.open(folder, store=STORE) as catalog:
        catalog.map.begin(archive())

    assert {"catalog.lock", "catalog.sqlite"} == set(os.listdir(folder))


def garbage(path):
    path.write_bytes(os.urandom(9000))


def empty(path):
    path.write_bytes(b"")


def missing(path):
    path.unlink()


def foreign(path):
    path.unlink()
    with sqlite3.connect(path) as raw:
        raw.execute("CREATE TABLE something (else_ INTEGER)")
    raw.close()


def no_row(path):
    with sqlite3.connect(path) as raw:
        raw.execute("DELETE FROM catalog")
    raw.close()


@pytest.mark.parametrize("damage", [garbage, empty, missing, foreign, no_row])
def test_what_is_no_catalog_is_refused_with_the_way_out(folder, damage):
    damage(folder / "catalog.sqlite")
    with pytest.raises(CatalogError) as raised:
        Catalog.open(folder, store=STORE)

    assert "datamover catalog rebuild STORE" in raised.value.hint
    assert str(folder) in str(raised.value)


def test_a_damaged_page_is_reported_when_it_is_met(folder):
    with Catalog.open(folder, store=STORE) as catalog:
        for n in range(50):
            catalog.map.begin(archive(n.to_bytes(16, "big")))
    path = folder / "catalog.sqlite"
    data = bytearray(path.read_bytes())
    data[8192:] = os.urandom(len(data) - 8192)
    path.write_bytes(data)

    with pytest.raises(CatalogError), Catalog.open(folder, store=STORE) as catalog:
        catalog.map.archives()


def test_a_value_of_another_type_is_damage_and_not_a_crash(folder):
    with Catalog.open(folder, store=STORE) as catalog:
        catalog.map.begin(archive())
    with sqlite3.connect(folder / "catalog.sqlite") as raw:
        raw.execute("UPDATE archive SET created_ns = 'soon'")
    raw.close()

    with pytest.raises(CatalogError), Catalog.open(folder, store=STORE) as catalog:
        catalog.map.archives()


def test_another_stores_catalog_is_refused(folder):
    with pytest.raises(CatalogError, match="another store"):
        Catalog.open(folder, store=b"x" * 16)


def test_a_newer_catalog_is_refused(folder):
    with sqlite3.connect(folder / "catalog.sqlite") as raw:
        raw.execute("UPDATE catalog SET schema_version = 2")
    raw.close()

    with pytest.raises(VersionError, match="version 2"):
        Catalog.open(folder, store=STORE)


def test_a_replacement_appears_only_when_it_is_finished(folder):
    with Catalog.open(folder, store=STORE) as catalog:
        catalog.map.begin(archive(FIRST))
    with pytest.raises(StoreError), Catalog.replaced(folder, store=STORE) as fresh:
        fresh.map.complete(SECOND, completed_ns=9, facts=ArchiveFacts())
    with Catalog.open(folder, store=STORE) as catalog:
        before = [a.id for a in catalog.map.archives()]
    with Catalog.replaced(folder, store=STORE) as fresh:
        fresh.map.begin(archive(SECOND))
    with Catalog.open(folder, store=STORE) as catalog:
        after = [a.id for a in catalog.map.archives()]

    assert (before, after) == ([FIRST], [SECOND])
    assert {"catalog.lock", "catalog.sqlite"} == set(os.listdir(folder))


def test_a_log_of_the_old_catalog_is_not_replayed_over_the_new(folder):
    with Catalog.open(folder, store=STORE) as catalog:
        catalog.map.begin(archive(FIRST))
        log = (folder / "catalog.sqlite-wal").read_bytes()
    (folder / "catalog.sqlite-wal").write_bytes(log)
    with Catalog.replaced(folder, store=STORE) as fresh:
        fresh.map.begin(archive(SECOND))

    with Catalog.open(folder, store=STORE) as catalog:
        assert [a.id for a in catalog.map.archives()] == [SECOND]


def test_a_catalog_in_use_is_not_replaced(folder, catalog):
    with pytest.raises(StoreError, match="in use"), Catalog.replaced(folder, store=STORE):
        pass

    assert catalog.map.archives() == []


def test_a_catalog_that_is_being_replaced_is_not_opened(folder):
    with (
        Catalog.replaced(folder, store=STORE),
        pytest.raises(StoreError, match="in use"),
    ):
        Catalog.open(folder, store=STORE)


def test_a_folder_that_is_not_there_is_an_error_of_the_store(tmp_path):
    with pytest.raises(StoreError):
        Catalog.open(tmp_path / "nowhere", store=STORE)
    with pytest.raises(StoreError):
        Catalog.create(tmp_path / "nowhere", store=STORE)


def test_a_full_database_says_that_there_is_no_room(catalog):
    catalog.map.begin(archive())
    with catalog._reading() as session:
        session.rows("PRAGMA max_page_count=20")
    with pytest.raises(MediumFullError):
        catalog.map.add_chunk(chunk(0), [page(0, record=bytes(200_000))])

    assert catalog.map.chunks(FIRST) == []


def test_a_read_only_store_can_be_listed(folder, monkeypatch):
    with Catalog.open(folder, store=STORE) as catalog:
        catalog.map.begin(archive())
    (folder / "catalog.lock").unlink()
    # A test may run as root, to whom no folder is read-only.
    real_open = os.open

    def refuse(path, flags, *rest, **more):
        if flags & (os.O_RDWR | os.O_CREAT):
            raise OSError(30, "Read-only file system")
        return real_open(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with Catalog.open(folder, store=STORE) as catalog:
        found = catalog.map.archives()

    assert [a.id for a in found] == [FIRST]
    assert os.listdir(folder) == ["catalog.sqlite"]


class OtherSession:
    """A session on whatever database SQLAlchemy can reach."""

    def __init__(self, connection):
        self.connection = connection

    def rows(self, statement, **values):
        found = self.connection.execute(sqlalchemy.text(statement), values)
        return [dict(row) for row in found.mappings()]

    def change(self, statement, *values):
        return self.connection.execute(sqlalchemy.text(statement), list(values)).rowcount


def test_the_statements_are_none_that_only_sqlite3_takes(catalog):
    engine = sqlalchemy.create_engine("sqlite://")
    TABLES.create_all(engine)

    @contextmanager
    def session(*, durable=False):  # noqa: ARG001 - as the catalog says
        with engine.begin() as connection:
            yield OtherSession(connection)

    def use(master, index):
        master.begin(archive())
        master.begin(archive(SECOND, created=6))
        pages = [page(number) for number in range(20)]
        master.add_chunk(chunk(0), pages)
        facts = ArchiveFacts(chunks=1, files=3)
        with pytest.raises(StoreError, match="chunks are known"):
            master.complete(SECOND, completed_ns=8, facts=facts)
        master.complete(FIRST, completed_ns=7, facts=facts)
        told = [master.forget(FIRST), master.forget(SECOND)]
        found = master.archives(), master.archives(ArchiveState.COMPLETE), master.chunks(FIRST)
        return told, found, master.archive(SECOND), list(index.pages(FIRST, PageKind.INDEX))

    other = use(MasterMap(session, session, place="there"), DataIndex(session))
    engine.dispose()

    assert other == use(catalog.map, catalog.index)
    assert len(other[-1]) == 20
