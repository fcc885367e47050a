"""What a store holds: its archives, what is in one, and which blocks hold what is wanted.

All of it comes from the catalog; no chunk file is opened.

Source: SPEC U23, X10; docs/spec/catalog.md; docs/spec/entry-table.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from datamover.catalog.rows import ArchiveState, PageKind
from datamover.errors import FormatError, SealError
from datamover.files.entry import EntryFlag, Kind
from datamover.files.listing import decode_index, index_tables
from datamover.files.selection import Selection
from datamover.files.superseded import Superseded
from datamover.files.table import decode_entries
from datamover.ids import ATTEMPT_BLOCKS
from datamover.mover.open_block import open_record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from datamover.catalog.rows import ArchiveRecord
    from datamover.files.entry import Entry
    from datamover.mover.store import Store

__all__ = ["ArchiveRow", "StoreInfo", "archives", "blocks_of", "entries", "info", "superseded_in"]

_LINKED: Final = int(EntryFlag.LINKED)
_HARD_LINK: Final = int(Kind.HARD_LINK)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveRow:
    """One complete archive, as a list shows it.

    Attributes:
        archive: Its id, in hex.
        name: What a person called it; empty when its label is damaged.
        host: The machine that was backed up.
        user: Who ran the backup.
        sources: What was backed up.
        created_ns: When it began.
        completed_ns: When its last block was written.
        files: Regular files.
        directories: Directories.
        others: Everything else.
        bytes_in: Bytes of file data.
        bytes_stored: Bytes of its chunk files.
        chunks: Chunk files.
        is_damaged: Its label cannot be read.
    """

    archive: str
    name: str = ""
    host: str = ""
    user: str = ""
    sources: tuple[str, ...] = ()
    created_ns: int
    completed_ns: int
    files: int
    directories: int
    others: int
    bytes_in: int
    bytes_stored: int
    chunks: int
    is_damaged: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreInfo:
    """What a store is, and how full.

    Attributes:
        store: Its id, in hex.
        cipher: The name of its cipher, or "none".
        created_ns: When it was made.
        archives: Complete archives.
        incomplete: Archives that are being written, or were left by a dead run.
        chunks: Chunk files of all of them.
        bytes_in: Bytes of file data in complete archives.
        bytes_stored: Bytes of all chunk files.
        bytes_incomplete: Bytes of them that belong to incomplete archives.
        bytes_free: Bytes that the file system has left for this user.
    """

    store: str
    cipher: str
    created_ns: int
    archives: int
    incomplete: int
    chunks: int
    bytes_in: int
    bytes_stored: int
    bytes_incomplete: int
    bytes_free: int


def archives(store: Store) -> list[ArchiveRow]:
    """Return the complete archives of ``store``, oldest first.

    Raises:
        PassphraseError: The store does not open.
        StoreError: The catalog cannot be used.
    """
    found = store.depot.archives(ArchiveState.COMPLETE)
    return [_row(store, record) for record in reversed(found)]


def entries(store: Store, archive: str | None = None, prefix: bytes = b"") -> Iterator[Entry]:
    """Yield what is in an archive, each file once, in the archive's order.

    Args:
        store: The store.
        archive: A name, an id, the beginning of an id, or None for the latest.
        prefix: A path in the archive: it and what is below it; empty for everything.

    Raises:
        ArchiveMissingError: There is no such archive.
        PassphraseError: The store does not open.
        SealError: An index page was changed.
        FormatError: An index page is damaged.
    """
    wanted = prefix.strip(b"/")
    below = wanted + b"/"
    record = store.find(archive)
    superseded = superseded_in(store, record)
    for payload in _index(store, record):
        for _, entry in decode_index(payload):
            if superseded and not superseded.counts(entry):
                continue
            if not wanted or entry.path == wanted or entry.path.startswith(below):
                yield entry


def superseded_in(store: Store, record: ArchiveRecord) -> Superseded:
    """Return which entries of an archive count; of one that was never interrupted all do.

    Raises:
        PassphraseError: The store does not open.
        SealError: An index page was changed.
        FormatError: An index page is damaged.
    """
    chunks = store.depot.chunks(record.id)
    if not chunks or chunks[-1].first_block < ATTEMPT_BLOCKS:
        return Superseded()
    return Superseded.of(
        entry for payload in _index(store, record) for _, entry in decode_index(payload)
    )


def blocks_of(store: Store, archive: str | None, paths: Iterable[bytes]) -> list[range]:
    """Return the numbers of the DATA blocks that hold the selected paths, as ascending ranges.

    A path selects itself and what is below it, and the directories above it; a selected hard link
    brings the blocks of the name that carries its data.  No path selects everything.

    Raises:
        ArchiveMissingError: There is no such archive.
        PassphraseError: The store does not open.
        SealError: An index page was changed.
        FormatError: An index page is damaged.
    """
    selection = Selection(paths)
    blocks: set[int] = set()
    # Blocks of linked files that are not wanted themselves: a wanted name may come later.
    linked: dict[bytes, set[int]] = {}
    for payload in _index(store, store.find(archive)):
        for block, table in index_tables(payload):
            for entry in decode_entries(table):
                if selection.wants(entry.path, entry.kind):
                    blocks.add(block)
                    if entry.kind == _HARD_LINK:
                        blocks |= linked.get(entry.link, set())
                elif entry.flags & _LINKED:
                    linked.setdefault(entry.path, set()).add(block)
    return _ranges(blocks)


def info(store: Store) -> StoreInfo:
    """Say what ``store`` is and how full; needs no passphrase.

    Raises:
        StoreError: The catalog cannot be used, or the folder refuses.
    """
    known = store.depot.archives()
    complete = [record for record in known if record.state is ArchiveState.COMPLETE]
    chunks = [chunk for record in known for chunk in store.depot.chunks(record.id)]
    finished = {record.id for record in complete}
    return StoreInfo(
        store=store.id.hex(),
        cipher=store.cipher,
        created_ns=store.description.created_ns,
        archives=len(complete),
        incomplete=len(known) - len(complete),
        chunks=len(chunks),
        bytes_in=sum(record.facts.bytes_in for record in complete),
        bytes_stored=sum(chunk.length for chunk in chunks),
        bytes_incomplete=sum(one.length for one in chunks if one.archive not in finished),
        bytes_free=store.depot.room(),
    )


def _row(store: Store, record: ArchiveRecord) -> ArchiveRow:
    facts = record.facts
    row = ArchiveRow(
        archive=record.id.hex(),
        created_ns=record.created_ns,
        completed_ns=record.completed_ns or 0,
        files=facts.files,
        directories=facts.directories,
        others=facts.others,
        bytes_in=facts.bytes_in,
        bytes_stored=facts.bytes_stored,
        chunks=facts.chunks,
        is_damaged=True,
    )
    try:
        label = store.label(record)
    except (FormatError, SealError):
        # One damaged label must not hide the other archives.
        return row
    return replace(
        row,
        name=label.name,
        host=label.host,
        user=label.user,
        sources=label.sources,
        is_damaged=False,
    )


def _index(store: Store, record: ArchiveRecord) -> Iterator[memoryview]:
    """Yield the payload of each index page of an archive."""
    key = store.archive_key(record)
    for page in store.depot.pages(record.id, PageKind.INDEX):
        _, payload = open_record(memoryview(page.record), key=key, archive=record.id)
        yield payload


def _ranges(numbers: set[int]) -> list[range]:
    found: list[range] = []
    for number in sorted(numbers):
        if found and found[-1].stop == number:
            found[-1] = range(found[-1].start, number + 1)
        else:
            found.append(range(number, number + 1))
    return found
