"""The master map: which archives there are, and which chunks hold them.

Source: seed, "master map"; docs/spec/catalog.md, sections 2 and 3.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Protocol

from sqlalchemy import delete, func, insert, select, update

from datamover.catalog.rows import (
    ArchiveFacts,
    ArchiveRecord,
    ArchiveState,
    ChunkRecord,
    from_columns,
)
from datamover.catalog.schema import ARCHIVE, CHUNK, PAGE
from datamover.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection

    from datamover.catalog.rows import PageRecord
    from datamover.ids import ArchiveId
    from datamover.units import Nanoseconds

__all__ = ["MasterMap", "Reading", "Writing"]


class Reading(Protocol):
    """Opens a transaction that reads."""

    def __call__(self) -> AbstractContextManager[Connection]:
        """Commit when the block ends, roll back when it raises."""
        ...


class Writing(Protocol):
    """Opens a transaction that writes; ``durable``: it is on the medium when it has ended."""

    def __call__(self, *, durable: bool) -> AbstractContextManager[Connection]:
        """Commit when the block ends, roll back when it raises."""
        ...


class MasterMap:
    """What is where.  Every method is one transaction: it happens wholly or not at all.

    All raise ``CatalogError`` when the database is damaged, ``MediumFullError`` when there is
    no room, and ``StoreError`` when it refuses otherwise; nothing was then changed.
    """

    def __init__(self, reading: Reading, writing: Writing, *, place: str) -> None:
        self._place = place
        self._reading = reading
        self._writing = writing

    def begin(self, record: ArchiveRecord) -> None:
        """Add an incomplete archive; durable on return, so its chunks can never be orphans."""
        with self._writing(durable=True) as connection:
            connection.execute(insert(ARCHIVE).values(**_archive_values(record)))

    def add_chunk(self, chunk: ChunkRecord, pages: Sequence[PageRecord] = ()) -> None:
        """Add a chunk whose file is durable, with the pages of the data index that lie in it."""
        with self._writing(durable=False) as connection:
            connection.execute(insert(CHUNK).values(**asdict(chunk)))
            if pages:
                connection.execute(insert(PAGE), [asdict(page) for page in pages])

    def complete(
        self, archive: ArchiveId, *, completed_ns: Nanoseconds, facts: ArchiveFacts
    ) -> None:
        """Make an archive readable; durable on return, as is all that was written before.

        Raises:
            StoreError: There is no such incomplete archive, or its chunks are not all here.
        """
        with self._writing(durable=True) as connection:
            counted = select(func.count(), func.coalesce(func.max(CHUNK.c.number) + 1, 0)).where(
                CHUNK.c.archive == archive
            )
            if set(connection.execute(counted).one()) != {facts.chunks}:
                reason = f"archive {archive.hex()}: not all of its {facts.chunks} chunks are known"
                raise StoreError(store=self._place, reason=reason)
            changed = connection.execute(
                update(ARCHIVE)
                .where(ARCHIVE.c.id == archive, ARCHIVE.c.state == ArchiveState.INCOMPLETE)
                .values(state=ArchiveState.COMPLETE, completed_ns=completed_ns, **asdict(facts))
            )
            if changed.rowcount != 1:
                reason = f"no incomplete archive has the id {archive.hex()}"
                raise StoreError(store=self._place, reason=reason)

    def forget(self, archive: ArchiveId) -> bool:
        """Remove an incomplete archive's rows; whether there was one.  A complete one stays."""
        with self._writing(durable=True) as connection:
            known = select(ARCHIVE.c.id).where(
                ARCHIVE.c.id == archive, ARCHIVE.c.state == ArchiveState.INCOMPLETE
            )
            if connection.execute(known).first() is None:
                return False
            connection.execute(delete(PAGE).where(PAGE.c.archive == archive))
            connection.execute(delete(CHUNK).where(CHUNK.c.archive == archive))
            connection.execute(delete(ARCHIVE).where(ARCHIVE.c.id == archive))
            return True

    def archive(self, archive: ArchiveId) -> ArchiveRecord | None:
        """Return one archive; None when the map does not know it."""
        with self._reading() as connection:
            rows = connection.execute(select(ARCHIVE).where(ARCHIVE.c.id == archive))
            row = rows.mappings().first()
            return None if row is None else from_columns(ArchiveRecord, row.items())

    def archives(self, state: ArchiveState | None = None) -> list[ArchiveRecord]:
        """Return all archives, or those in one state, newest first."""
        query = select(ARCHIVE).order_by(ARCHIVE.c.created_ns.desc(), ARCHIVE.c.id.desc())
        if state is not None:
            query = query.where(ARCHIVE.c.state == state)
        with self._reading() as connection:
            return [
                from_columns(ArchiveRecord, row.items())
                for row in connection.execute(query).mappings()
            ]

    def chunks(self, archive: ArchiveId) -> list[ChunkRecord]:
        """Return the chunks of one archive, in their order."""
        query = select(CHUNK).where(CHUNK.c.archive == archive).order_by(CHUNK.c.number)
        with self._reading() as connection:
            return [
                from_columns(ChunkRecord, row.items())
                for row in connection.execute(query).mappings()
            ]


def _archive_values(record: ArchiveRecord) -> dict[str, object]:
    values: dict[str, object] = asdict(record)
    del values["facts"]
    return values | asdict(record.facts)
