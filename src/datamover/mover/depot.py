"""Where a store's chunks and its catalog are: everything of it that needs no key.

    Store  = Depot (what lies there)  +  the key (who may read it)

A mover asks a depot and does not know whether it is a folder of this machine (``LocalDepot``) or
one that another machine looks after (``RemoteDepot``); labels, keys and index pages come sealed.

Source: seed FIG. 8 (804-812), FIG. 10; SPEC F1, F10, F17; docs/spec/store.md; DESIGN D12.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from datamover.catalog.database import Catalog
from datamover.errors import (
    ArchiveBusyError,
    DamagedError,
    MediumFullError,
    StoreError,
    StoreExistsError,
)
from datamover.media.naming import chunk_name
from datamover.mover.chunk_file import ChunkFile
from datamover.mover.description import read_description, write_description
from datamover.mover.enter import enter_chunk, finish_archive
from datamover.mover.mark import Mark
from datamover.mover.reservation import Reservation
from datamover.placement.rule import FILE_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from datamover.catalog.rows import (
        ArchiveFacts,
        ArchiveRecord,
        ArchiveState,
        ChunkRecord,
        PageKind,
        PageRecord,
    )
    from datamover.ids import ArchiveId
    from datamover.monitor.joint import Place
    from datamover.mover.count import Counts
    from datamover.mover.description import Description
    from datamover.mover.sweep import Cleaned

__all__ = ["FOLDERS", "Attempt", "Depot", "LocalDepot", "make_depot"]


FOLDERS: Final = ("chunks", "tmp", "active")
"""What a store's folder holds beside its description and its catalog."""


def make_depot(folder: Path, description: Description) -> None:
    """Make a store's folder, which is new or empty.

    Raises:
        StoreExistsError: Something is there already; nothing was changed.
        MediumFullError: No room; a folder without ``store.json`` may be left.
        StoreError: The folder refuses.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise StoreExistsError(store=str(folder), reason="the folder is not empty")
        for name in FOLDERS:
            (folder / name).mkdir(mode=0o700)
    except FileExistsError:
        raise StoreExistsError(store=str(folder), reason="is there already") from None
    except OSError as error:
        raise StoreError(store=str(folder), reason=str(error.strerror)) from error
    Catalog.create(folder, store=description.store)
    # Last: a folder without it is not a store, so half a store is none.
    write_description(folder, description)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """An archive that somebody goes on with.

    Attributes:
        number: Of this attempt; no number as high was used before.
        is_whole: All chunks are there: what is left is to finish it.
    """

    number: int
    is_whole: bool


class Depot(Protocol):
    """What lies in a store.

    Every method may raise ``StoreError`` (with ``CatalogError``, ``MediumFullError``): the store
    refuses, and nothing was changed.  A depot of another machine raises ``PeerError`` besides.

    Attributes:
        description: What the store says of itself.
        place: What a person calls it.
        machine: Where stages must run that read or write its chunks; empty: here.
        directory: Its folder there.
        places: That machine, as a pipe reaches it; empty: here.
    """

    description: Description
    place: str
    machine: str
    directory: str
    places: Mapping[str, Place]

    def archives(self, state: ArchiveState | None = None) -> list[ArchiveRecord]:
        """Return all archives, or those in one state, newest first."""
        ...

    def chunks(self, archive: ArchiveId) -> list[ChunkRecord]:
        """Return the chunks of one archive, in their order."""
        ...

    def pages(self, archive: ArchiveId, kind: PageKind | None = None) -> Iterator[PageRecord]:
        """Yield the pages of an archive's index in block order, a few in memory at a time."""
        ...

    def transforms(self, chunks: Sequence[ChunkRecord]) -> tuple[int, ...] | None:
        """Return what the archive header declares, from the first chunk that has a readable one."""
        ...

    def writing(
        self, record: ArchiveRecord, *, resumable: bool = False
    ) -> AbstractContextManager[None]:
        """Begin an archive, and hold it for the block; what is unfinished at its end goes.

        Args:
            record: As it begins.
            resumable: What is durable of it stays, for ``resuming``.

        Raises:
            ArchiveBusyError: Somebody else writes it.
        """
        ...

    def resuming(self, record: ArchiveRecord, attempt: int) -> AbstractContextManager[Attempt]:
        """Go on with an archive, and hold it for the block, as ``writing`` does.

        Args:
            record: As it began.
            attempt: The least number that this attempt may have.

        Raises:
            ArchiveMissingError: There is none that may be resumed.
            DamagedError: What is there of it is not what a run leaves.
            ArchiveBusyError: Somebody else writes it.
        """
        ...

    def blocks(self, first: int) -> Iterator[bytes]:
        """Yield the stored records of the archive that is being written, from block ``first`` on.

        Raises:
            DamagedError: A chunk cannot be read as it was written.
        """
        ...

    def drop(self, record: ArchiveRecord) -> bool:
        """Remove an unfinished archive that may be resumed; whether there was one.

        Raises:
            ArchiveBusyError: Somebody writes it.
        """
        ...

    def enter(self, name: str) -> None:
        """Enter a durable chunk of the archive that is being written.

        Raises:
            DamagedError: The file is not what a writer leaves.
        """
        ...

    def finish(self, counts: Counts) -> ArchiveFacts:
        """Make the archive that is being written complete; durable on return.

        Raises:
            StoreError: Not all of its chunks were entered.
        """
        ...

    def clean(self, key_of: Callable[[ArchiveRecord], bytes]) -> Cleaned:
        """Remove what dead runs left; complete archives and live runs are never touched.

        Args:
            key_of: Gives an archive's key, to count an archive that is whole save for its rows; a
                depot of another machine leaves such an archive for a cleaning there.
        """
        ...

    def room(self) -> int:
        """Return how many bytes are left where the chunks are."""
        ...

    def rules(self) -> str | None:
        """Return the text of its placement rules; None when it has none.

        Raises:
            RuleError: The file cannot be read.
        """
        ...

    def close(self) -> None:
        """Let go of it; again is harmless."""
        ...


class LocalDepot:
    """A store's folder on this machine; see ``Depot``."""

    def __init__(self, path: Path) -> None:
        """Look at the store in ``path``; the catalog is not opened yet.

        Raises:
            NotAStoreError: There is no store.
            VersionError: A newer release made it.
            MalformedError: Its description is damaged.
            StoreError: It cannot be read.
        """
        self.path = path
        self.description = read_description(path)
        self.place = self.directory = str(path)
        self.machine = ""
        self.places: Mapping[str, Place] = {}
        self.folder, self.active = path / "chunks", path / "active"
        self._catalog: Catalog | None = None
        self._last: ChunkFile | None = None
        self._writing: ArchiveId | None = None

    @property
    def catalog(self) -> Catalog:
        """Its catalog, opened when it is first asked for.

        Raises:
            CatalogError: It cannot be used.
            VersionError: A newer release made it.
            StoreError: It is being rebuilt.
        """
        if self._catalog is None:
            self._catalog = Catalog.open(self.path, store=self.description.store)
        return self._catalog

    def archives(self, state: ArchiveState | None = None) -> list[ArchiveRecord]:
        """See ``Depot``."""
        return self.catalog.map.archives(state)

    def chunks(self, archive: ArchiveId) -> list[ChunkRecord]:
        """See ``Depot``."""
        return self.catalog.map.chunks(archive)

    def pages(self, archive: ArchiveId, kind: PageKind | None = None) -> Iterator[PageRecord]:
        """See ``Depot``."""
        return self.catalog.index.pages(archive, kind)

    def transforms(self, chunks: Sequence[ChunkRecord]) -> tuple[int, ...] | None:
        """See ``Depot``."""
        for chunk in chunks:
            with suppress(OSError):
                header = ChunkFile.survey(self.folder / chunk.name).header
                if header is not None:
                    return header.transforms
        return None

    @contextmanager
    def writing(self, record: ArchiveRecord, *, resumable: bool = False) -> Iterator[None]:
        """See ``Depot``."""
        with self.reserve(record.id):
            if resumable:
                # Before the row: a mark without an archive is nothing, and is cleaned.
                self.mark(record.id).write(0)
            self.catalog.map.begin(record)
            self._writing, self._last = record.id, None
            with self._held(record.id):
                yield

    @contextmanager
    def resuming(self, record: ArchiveRecord, attempt: int) -> Iterator[Attempt]:
        """See ``Depot``."""
        from datamover.mover.rejoin import rejoin  # noqa: PLC0415 - it needs this module

        with self.reserve(record.id):
            number, self._last = rejoin(self, record, attempt)
            self._writing = record.id
            with self._held(record.id):
                yield Attempt(number=number, is_whole=self._last is not None)

    @contextmanager
    def _held(self, archive: ArchiveId) -> Iterator[None]:
        """Clean up behind whoever writes an archive that is reserved."""
        try:
            yield
        except BaseException:
            # What there is of it goes now, if it can, else with the next run's cleaning.  The
            # catalog is asked first: an interrupt may come when the archive is just complete.
            with suppress(StoreError, MediumFullError):
                if not self._is_kept(archive):
                    self.discard(archive)
            raise
        finally:
            self._writing = None
        self.mark(archive).remove()

    def _is_kept(self, archive: ArchiveId) -> bool:
        """Whether an unfinished archive has something that a later run can go on with."""
        marked = self.mark(archive).read() is not None
        return marked and (self.folder / chunk_name(archive, 0)).exists()

    def blocks(self, first: int) -> Iterator[bytes]:
        """See ``Depot``."""
        if self._writing is None:
            raise StoreError(store=self.place, reason="no archive is being written")
        for chunk in self.catalog.map.chunks(self._writing):
            if chunk.first_block + chunk.blocks > first:
                try:
                    found = ChunkFile.survey(self.folder / chunk.name, by_table=True)
                    yield from found.read_records(self.folder, first)
                except OSError as error:
                    reason = f"{chunk.name}: {error.strerror}"
                    raise DamagedError(store=self.place, reason=reason) from error

    def drop(self, record: ArchiveRecord) -> bool:
        """See ``Depot``."""
        known = self.catalog.map.archive(record.id)
        if known != record or self.mark(record.id).read() is None:
            return False
        with self.reserve(record.id):
            return self.discard(record.id)

    def enter(self, name: str) -> None:
        """See ``Depot``."""
        self._last = enter_chunk(self.catalog, self.folder, name)

    def finish(self, counts: Counts) -> ArchiveFacts:
        """See ``Depot``."""
        if self._last is None:
            raise StoreError(store=self.place, reason="the archive has no chunk")
        return finish_archive(self.catalog, self._last, counts)

    def clean(self, key_of: Callable[[ArchiveRecord], bytes] | None) -> Cleaned:
        """See ``Depot``; without ``key_of`` nothing is completed."""
        from datamover.mover.sweep import sweep  # noqa: PLC0415 - it needs this module

        return sweep(self, key_of)

    def room(self) -> int:
        """See ``Depot``."""
        try:
            found = os.statvfs(self.path)
        except OSError as error:
            raise StoreError(store=self.place, reason=str(error.strerror)) from error
        return found.f_bavail * found.f_frsize

    def rules(self) -> str | None:
        """See ``Depot``."""
        from datamover.mover.rules import read_rule_text  # noqa: PLC0415 - it needs this module

        return read_rule_text(str(self.path / FILE_NAME))

    def close(self) -> None:
        """See ``Depot``."""
        if self._catalog is not None:
            self._catalog.close()
            self._catalog = None

    def reserve(self, archive: ArchiveId) -> Reservation:
        """Make known that this process writes ``archive``; hold it until the archive is complete.

        Raises:
            ArchiveBusyError: Somebody else has it.
            StoreError: The store refuses.
        """
        # The open catalog keeps a rebuild away for as long as the run lasts.
        _ = self.catalog
        taken = Reservation.take(self.active, archive)
        if taken is None:
            reason = f"archive {archive.hex()} is being written by another process"
            raise ArchiveBusyError(store=self.place, reason=reason)
        return taken

    def mark(self, archive: ArchiveId) -> Mark:
        """Return the mark of an archive that may be resumed, there or not."""
        return Mark(self.active, archive)

    def discard(self, archive: ArchiveId) -> bool:
        """Remove an archive that this process has reserved, unless it is complete.

        Returns:
            Whether it went; a complete archive stays, however its run ended.

        Raises:
            StoreError: The store refuses; the next cleaning tries again.
        """
        from datamover.mover.sweep import discard  # noqa: PLC0415 - it needs this module

        return discard(self, archive)
