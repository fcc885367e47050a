"""Remove what dead runs left in a store.

Source: docs/spec/store.md, section 4; docs/spec/media-format.md, section 2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from datamover.catalog.rows import ArchiveState
from datamover.errors import StoreError
from datamover.ids import ArchiveId
from datamover.media.directory import DirectoryMedium
from datamover.media.naming import parse_chunk_name
from datamover.mover.chunk_file import ChunkFile
from datamover.mover.enter import ArchiveFiles, enter_archive, gather
from datamover.mover.mark import Mark
from datamover.mover.reservation import Reservation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from datamover.catalog.rows import ArchiveRecord
    from datamover.mover.depot import LocalDepot

__all__ = ["Cleaned", "discard", "sweep"]

_LOCK_NAME: Final = re.compile(r"([0-9a-f]{32})\.lock")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaned:
    """What a cleaning did; archive ids in hex.

    Attributes:
        removed: Incomplete archives that are gone.
        completed: Archives that were whole, save for the catalog, and are complete now.
        kept: Archives that are not known or not sound, and that were left for a person to look at.
        files: How many temporary files went.
        resumable: Unfinished archives that were left alone, for they may be gone on with.
    """

    removed: tuple[str, ...] = ()
    completed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    files: int = 0
    resumable: tuple[str, ...] = ()


def sweep(depot: LocalDepot, key_of: Callable[[ArchiveRecord], bytes] | None) -> Cleaned:
    """Clean a store; complete archives and live runs are never touched.

    Args:
        depot: Where the store is.
        key_of: Gives an archive's key; None: what would be completed is kept as it is.

    Raises:
        StoreError: The store refuses.
        PassphraseError: The store does not open, and an archive is to be completed.
    """
    done: dict[str, list[str]] = {"removed": [], "completed": [], "kept": [], "resumable": []}
    try:
        with DirectoryMedium(depot.path) as medium:
            files = len(medium.clean())
            chunks = _by_archive(medium)
            for archive in sorted(_suspects(depot, chunks)):
                if _is_resumable(depot, archive, chunks.get(archive, [])):
                    # Not even its lock is taken: whoever goes on may want it now.
                    done["resumable"].append(archive.hex())
                    continue
                reservation = Reservation.take(depot.active, archive)
                if reservation is not None:
                    with reservation:
                        what = _clean_archive(depot, medium, archive, key_of)
                    if what:
                        done[what].append(archive.hex())
    except OSError as error:
        raise StoreError(store=depot.place, reason=f"cleaning: {error}") from error
    return Cleaned(**{name: tuple(ids) for name, ids in done.items()}, files=files)


def discard(depot: LocalDepot, archive: ArchiveId) -> bool:
    """Remove an archive that the caller has reserved, unless it is complete; whether it went.

    A run that is interrupted may not know whether its last step was done: the catalog does.

    Raises:
        StoreError: The store refuses; the next cleaning tries again.
    """
    record = depot.catalog.map.archive(archive)
    if record is None or record.state is ArchiveState.COMPLETE:
        return False
    with DirectoryMedium(depot.path) as medium:
        medium.clean()
        _remove(depot, medium, archive, _by_archive(medium).get(archive, []))
    return True


def _suspects(depot: LocalDepot, chunks: Iterable[ArchiveId]) -> set[ArchiveId]:
    """Return the archives that may be unfinished."""
    known = {record.id: record.state for record in depot.catalog.map.archives()}
    unfinished = {one for one, state in known.items() if state is ArchiveState.INCOMPLETE}
    marked = {mark.archive for mark in Mark.all(depot.active)}
    return unfinished | (set(chunks) - set(known)) | _locked(depot.active) | marked


def _is_resumable(depot: LocalDepot, archive: ArchiveId, names: list[str]) -> bool:
    """Whether an archive is unfinished and waits for a run that goes on with it."""
    if not names or not depot.mark(archive).is_young():
        return False
    record = depot.catalog.map.archive(archive)
    if record is None or record.state is ArchiveState.COMPLETE:
        return False
    # The last file tells whether all of it is there, save for its rows.
    try:
        return ChunkFile.survey(depot.folder / names[-1], by_table=True).footer is None
    except FileNotFoundError:
        # Somebody discards it just now: under its lock it is looked at again.
        return False


def _clean_archive(
    depot: LocalDepot,
    medium: DirectoryMedium,
    archive: ArchiveId,
    key_of: Callable[[ArchiveRecord], bytes] | None,
) -> str:
    """Clean one archive whose lock is held; return what was done with it."""
    # Looked up again, under the lock: its run may have ended well since the first look.
    record = depot.catalog.map.archive(archive)
    names = _by_archive(medium).get(archive, [])
    if record is not None and record.state is ArchiveState.COMPLETE:
        depot.mark(archive).remove()
        return ""
    if record is None and not names:
        depot.mark(archive).remove()
        return ""
    found = gather(depot.folder, names).get(archive, ArchiveFiles(archive))
    if found.is_whole and key_of is not None:
        depot.catalog.map.forget(archive)
        enter_archive(depot.catalog, depot.folder, found, key_of=key_of)
        depot.mark(archive).remove()
        return "completed"
    # A run that dies leaves no damaged file, for each is durable before it is named; and no
    # unknown one, for its archive is known before it.  So these are not what a dead run left.
    if record is None or found.is_damaged or found.last is not None:
        return "kept"
    _remove(depot, medium, archive, names)
    return "removed"


def _remove(
    depot: LocalDepot, medium: DirectoryMedium, archive: ArchiveId, names: list[str]
) -> None:
    for name in names:
        medium.forget(name)
    # Files first: rows without files are found again, files without rows are nobody's.
    depot.catalog.map.forget(archive)
    depot.mark(archive).remove()


def _by_archive(medium: DirectoryMedium) -> dict[ArchiveId, list[str]]:
    """Return the names of chunk files; others are none of our business."""
    found: dict[ArchiveId, list[str]] = {}
    for name in medium.names():
        named = parse_chunk_name(name)
        if named is not None:
            found.setdefault(named[0], []).append(name)
    return found


def _locked(folder: Path) -> set[ArchiveId]:
    """Return the archives that have a lock file, held or not."""
    matches = (_LOCK_NAME.fullmatch(path.name) for path in folder.iterdir())
    return {ArchiveId(bytes.fromhex(match[1])) for match in matches if match}
