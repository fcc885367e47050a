"""Rejoin: take up an unfinished archive where it lies, with all of it that is durable.

Source: docs/spec/resume.md, sections 2 and 4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from datamover.catalog.rows import ArchiveState
from datamover.errors import ArchiveMissingError, DamagedError, StoreError
from datamover.ids import ATTEMPT_BLOCKS
from datamover.media.directory import DirectoryMedium
from datamover.media.naming import chunk_name, parse_chunk_name
from datamover.mover.chunk_file import ChunkFile
from datamover.mover.enter import enter_chunk
from datamover.mover.mark import ATTEMPTS_MAX

if TYPE_CHECKING:
    from datamover.catalog.rows import ArchiveRecord
    from datamover.mover.depot import LocalDepot

__all__ = ["rejoin"]


def rejoin(depot: LocalDepot, record: ArchiveRecord, least: int) -> tuple[int, ChunkFile | None]:
    """Number the next attempt, durably, and enter what has no rows.

    Args:
        depot: Where it lies; the caller has reserved the archive.
        record: As it began.
        least: The least number that the attempt may have.

    Returns:
        The attempt, and the file that the archive ends in; None when its end is missing.

    Raises:
        ArchiveMissingError: There is none that may be resumed.
        DamagedError: What is there is not what a run leaves.
        StoreError: The store refuses.
    """
    mark = depot.mark(record.id)
    before = mark.read()
    known = depot.catalog.map.archive(record.id)
    if known is None or known.state is ArchiveState.COMPLETE:
        raise _missing(depot, "it is not there, or was completed")
    if before is None or known != record:
        raise _missing(depot, "it is not marked as one that may be resumed")
    last = _enter(depot, record)
    highest = -1 if last is None else (last.first_block or 0) // ATTEMPT_BLOCKS
    attempt = max(least, before + 1, highest + 1)
    if attempt >= ATTEMPTS_MAX:
        raise _missing(depot, f"it was resumed {attempt} times")
    mark.write(attempt)
    is_whole = last is not None and last.footer is not None and last.footer.complete
    return attempt, last if is_whole else None


def _enter(depot: LocalDepot, record: ArchiveRecord) -> ChunkFile | None:
    """Enter the chunks behind the last row; remove files behind a gap; return the last chunk."""
    rows = depot.catalog.map.chunks(record.id)
    if [row.number for row in rows] != list(range(len(rows))):
        raise DamagedError(store=depot.place, reason="chunks of the unfinished archive are missing")
    try:
        with DirectoryMedium(depot.path) as medium:
            medium.clean()
            there = {name for name in medium.names() if _is_of(name, record)}
            if lost := [row.name for row in rows if row.name not in there]:
                raise DamagedError(store=depot.place, reason=f"{lost[0]} is missing")
            number = len(rows)
            while (name := chunk_name(record.id, number)) in there:
                enter_chunk(depot.catalog, depot.folder, name)
                number += 1
            expected = {chunk_name(record.id, one) for one in range(number)}
            for name in there - expected:
                medium.forget(name)
        if not number:
            return None
        last = ChunkFile.survey(depot.folder / chunk_name(record.id, number - 1), by_table=True)
    except OSError as error:
        raise StoreError(store=depot.place, reason=f"resuming: {error}") from error
    if last.damage is not None:
        raise DamagedError(store=depot.place, reason=f"{last.name}: {last.damage}")
    return last


def _is_of(name: str, record: ArchiveRecord) -> bool:
    named = parse_chunk_name(name)
    return named is not None and named[0] == record.id


def _missing(depot: LocalDepot, why: str) -> ArchiveMissingError:
    return ArchiveMissingError(store=depot.place, reason=f"the unfinished archive: {why}")
