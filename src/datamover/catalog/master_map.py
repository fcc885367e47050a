"""The master map: which archives there are, and which chunks hold them.

Source: seed, "master map"; docs/spec/catalog.md, sections 2 and 3.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from datamover.catalog.rows import (
    ArchiveFacts,
    ArchiveRecord,
    ArchiveState,
    ChunkRecord,
    from_columns,
)
from datamover.catalog.session import insertion
from datamover.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from datamover.catalog.rows import PageRecord
    from datamover.catalog.session import Reading, Row, Writing
    from datamover.ids import ArchiveId
    from datamover.units import Nanoseconds

__all__ = ["MasterMap"]


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
        row = _archive_row(record)
        with self._writing(durable=True) as session:
            session.change(insertion("archive", row), row)

    def add_chunk(self, chunk: ChunkRecord, pages: Sequence[PageRecord] = ()) -> None:
        """Add a chunk whose file is durable, with the pages of the data index that lie in it."""
        row, more = asdict(chunk), [asdict(page) for page in pages]
        with self._writing(durable=False) as session:
            session.change(insertion("chunk", row), row)
            if more:
                session.change(insertion("page", more[0]), *more)

    def complete(
        self, archive: ArchiveId, *, completed_ns: Nanoseconds, facts: ArchiveFacts
    ) -> None:
        """Make an archive readable; durable on return, as is all that was written before.

        Raises:
            StoreError: There is no such incomplete archive, or its chunks are not all here.
        """
        counted = asdict(facts)
        facts_set = ", ".join(f"{name} = :{name}" for name in counted)
        with self._writing(durable=True) as session:
            (known,) = session.rows(
                "SELECT count(*) AS chunks, coalesce(max(number) + 1, 0) AS numbers "
                "FROM chunk WHERE archive = :archive",
                archive=archive,
            )
            if set(known.values()) != {facts.chunks}:
                reason = f"archive {archive.hex()}: not all of its {facts.chunks} chunks are known"
                raise StoreError(store=self._place, reason=reason)
            changed = session.change(
                f"UPDATE archive SET state = 'complete', completed_ns = :completed_ns, {facts_set} "  # noqa: S608 - names of this program's own fields
                "WHERE id = :archive AND state = 'incomplete'",
                {"archive": archive, "completed_ns": completed_ns, **counted},
            )
            if changed != 1:
                reason = f"no incomplete archive has the id {archive.hex()}"
                raise StoreError(store=self._place, reason=reason)

    def forget(self, archive: ArchiveId) -> bool:
        """Remove an incomplete archive's rows; whether there was one.  A complete one stays."""
        with self._writing(durable=True) as session:
            if not session.rows(
                "SELECT id FROM archive WHERE id = :archive AND state = 'incomplete'",
                archive=archive,
            ):
                return False
            row = {"archive": archive}
            session.change("DELETE FROM page WHERE archive = :archive", row)
            session.change("DELETE FROM chunk WHERE archive = :archive", row)
            session.change("DELETE FROM archive WHERE id = :archive", row)
            return True

    def archive(self, archive: ArchiveId) -> ArchiveRecord | None:
        """Return one archive; None when the map does not know it."""
        with self._reading() as session:
            rows = session.rows("SELECT * FROM archive WHERE id = :archive", archive=archive)
            return from_columns(ArchiveRecord, rows[0]) if rows else None

    def archives(self, state: ArchiveState | None = None) -> list[ArchiveRecord]:
        """Return all archives, or those in one state, newest first."""
        only = "" if state is None else "WHERE state = :state "
        query = f"SELECT * FROM archive {only}ORDER BY created_ns DESC, id DESC"  # noqa: S608 - one of two words of ours
        with self._reading() as session:
            return [from_columns(ArchiveRecord, row) for row in session.rows(query, state=state)]

    def chunks(self, archive: ArchiveId) -> list[ChunkRecord]:
        """Return the chunks of one archive, in their order."""
        query = "SELECT * FROM chunk WHERE archive = :archive ORDER BY number"
        with self._reading() as session:
            return [from_columns(ChunkRecord, row) for row in session.rows(query, archive=archive)]


def _archive_row(record: ArchiveRecord) -> Row:
    values: dict[str, object] = asdict(record)
    del values["facts"]
    return values | asdict(record.facts)
