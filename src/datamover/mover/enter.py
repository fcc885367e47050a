"""From chunk files to rows of the catalog: the one way, for backups, cleaning and rebuilding.

A backup enters each chunk as it becomes durable; a rebuild enters all that it finds.  Both make
rows from the same bytes with the same code, so the results are the same.

Source: docs/spec/catalog.md, sections 3 and 6; SPEC X10.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from datamover.catalog.rows import ArchiveFacts, ArchiveRecord, ChunkRecord
from datamover.errors import DamagedError, FormatError, SealError, SecurityError, StoreError
from datamover.ids import ATTEMPT_BLOCKS, ArchiveId, BlockNumber, ChunkNumber
from datamover.media.naming import chunk_name
from datamover.mover.chunk_file import ChunkFile
from datamover.mover.count import Counts
from datamover.units import Bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from datamover.catalog.database import Catalog
    from datamover.catalog.rows import PageRecord
    from datamover.wire.archive import ArchiveFooter, ArchiveHeader

__all__ = ["ArchiveFiles", "enter_archive", "enter_chunk", "finish_archive", "gather"]

_MISSING_MAX: Final = 1000
# A catalog's numbers have 63 bits.
_MOST: Final = 2**63 - 1


@dataclass(slots=True)
class ArchiveFiles:
    """All chunk files of one archive, surveyed.

    Attributes:
        archive: Which archive.
        files: By chunk number.
    """

    archive: ArchiveId
    files: dict[int, ChunkFile] = field(default_factory=dict)

    @property
    def header(self) -> ArchiveHeader | None:
        """The archive header, from whichever file has it."""
        return next((one.header for one in self.files.values() if one.header is not None), None)

    @property
    def last(self) -> ChunkFile | None:
        """The file that the archive ends in; None when its writer never ended it.

        A footer that claims far more chunks than there are is not believed.
        """
        most = 2 * len(self.files) + _MISSING_MAX
        for one in self.files.values():
            footer = one.footer
            if footer and footer.complete and footer.chunks <= most and footer.blocks <= _MOST:
                return one
        return None

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing or damaged, as far as headers tell."""
        last = self.last
        if last is None or last.footer is None or self.header is None:
            return False
        chunks = set(range(last.footer.chunks))
        return set(self.files) == chunks and not self.is_damaged

    @property
    def is_damaged(self) -> bool:
        """Whether a file could not be read as it was written."""
        return any(one.damage is not None for one in self.files.values())


def gather(folder: Path, names: Iterable[str]) -> dict[ArchiveId, ArchiveFiles]:
    """Survey the chunk files ``names`` in ``folder``, by archive.

    A file that says neither in its records nor in its name whose it is, is left out.

    Raises:
        OSError: A file cannot be read.
    """
    found: dict[ArchiveId, ArchiveFiles] = {}
    for name in sorted(names):
        one = ChunkFile.survey(folder / name)
        if one.archive is not None and one.number is not None:
            files = found.setdefault(one.archive, ArchiveFiles(one.archive)).files
            # Of two files that claim one place, the sound one has it, else the first.
            rival = files.get(one.number)
            if rival is None or (rival.damage is not None and one.damage is None):
                files[one.number] = one
    return found


def enter_chunk(catalog: Catalog, folder: Path, name: str) -> ChunkFile:
    """Enter a chunk whose file is durable, with the pages in it.

    Args:
        catalog: It knows the archive.
        folder: Where chunk files are.
        name: The file's name.

    Raises:
        DamagedError: The file is not what a writer leaves.
        StoreError: The catalog refuses, or the file cannot be read.
    """
    try:
        found = ChunkFile.survey(folder / name, by_table=True)
        if found.damage is not None:
            raise DamagedError(store=str(folder.parent), reason=f"{name}: {found.damage}")
        _enter(catalog, found, list(found.read_pages(folder)), first_block=0)
    except OSError as error:
        raise StoreError(store=str(folder.parent), reason=f"{name}: {error.strerror}") from error
    return found


def finish_archive(catalog: Catalog, last: ChunkFile, counts: Counts) -> ArchiveFacts:
    """Make an archive complete whose chunks were all entered; return its facts.

    Args:
        catalog: It knows the archive.
        last: The chunk file with the archive footer, as ``enter_chunk`` returned it.
        counts: What the archive holds, as its pages would be counted.

    Raises:
        DamagedError: ``last`` has no archive footer that says "complete".
        StoreError: Not all chunks were entered.
    """
    footer = last.footer
    if last.archive is None or footer is None or not footer.complete:
        raise DamagedError(store=last.name, reason="the archive does not end here")
    chunks = catalog.map.chunks(last.archive)
    facts = _facts(footer, counts, sum(chunk.length for chunk in chunks))
    catalog.map.complete(last.archive, completed_ns=last.finished_ns, facts=facts)
    return facts


def enter_archive(
    catalog: Catalog, folder: Path, found: ArchiveFiles, *, key_of: Callable[[ArchiveRecord], bytes]
) -> list[str]:
    """Enter an archive that the catalog does not know; complete, if its writer ended it.

    Args:
        catalog: The catalog.
        folder: Where chunk files are.
        found: From ``gather``.
        key_of: Gives the archive's key; empty when nothing is encrypted.

    Returns:
        What is damaged or missing, one line each.

    Raises:
        StoreError: The catalog refuses.
        PassphraseError: The store does not open.
    """
    header, last = found.header, found.last
    if header is None:
        return [f"archive {found.archive.hex()}: no chunk file has a readable archive header"]
    record = ArchiveRecord(
        id=found.archive,
        created_ns=header.created_ns,
        label=header.label,
        wrapped_key=header.wrapped_key,
    )
    try:
        key = key_of(record)
    except (SealError, FormatError) as error:
        return [f"archive {found.archive.hex()}: {error}; it is another store's, or was changed"]
    catalog.map.begin(record)
    notes = [f"{one.name}: {one.damage}" for one in found.files.values() if one.damage]
    if last is None or last.footer is None:
        notes += _enter_chunks(catalog, folder, found, chunks=0, blocks=0)
        return notes
    footer = last.footer
    notes += _enter_chunks(catalog, folder, found, chunks=footer.chunks, blocks=footer.blocks)
    counts = Counts()
    for page in catalog.index.pages(found.archive):
        try:
            counts.add(page, key=key)
        except (FormatError, SecurityError) as error:
            notes.append(f"archive {found.archive.hex()}, index block {page.block}: {error}")
    finish_archive(catalog, last, counts)
    return notes


def _enter_chunks(
    catalog: Catalog, folder: Path, found: ArchiveFiles, *, chunks: int, blocks: int
) -> list[str]:
    """Add all chunks, the missing ones too; return what is missing or cannot be read."""
    notes = []
    at = 0
    # What lies beyond the number that the footer says is not of this archive.
    for number in range(chunks) if chunks else sorted(found.files):
        one = found.files.get(number)
        if one is None:
            one = _missing(found.archive, ChunkNumber(number))
            notes.append(f"{one.name}: missing")
        if not one.sees_all:
            _infer_blocks(one, found, first=at, all_blocks=blocks)
        try:
            pages = list(one.read_pages(folder))
        except OSError as error:
            pages = []
            notes.append(f"{one.name}: {error}")
        at = _enter(catalog, one, pages, first_block=at)
    return notes


def _enter(catalog: Catalog, one: ChunkFile, pages: list[PageRecord], *, first_block: int) -> int:
    """Add a chunk's rows; return the number of the block behind it."""
    if one.archive is None or one.number is None:
        raise DamagedError(store=one.name, reason="whose it is, is unknown")
    record = ChunkRecord(
        archive=one.archive,
        number=one.number,
        name=one.name,
        first_block=BlockNumber(first_block if one.first_block is None else one.first_block),
        blocks=one.blocks,
        length=one.length,
    )
    catalog.map.add_chunk(record, pages)
    return record.first_block + record.blocks


def _infer_blocks(one: ChunkFile, found: ArchiveFiles, *, first: int, all_blocks: int) -> None:
    """Say which blocks a file that cannot be read must hold: those between its neighbors.

    Numbers jump where an attempt ends, and the archive has only so many blocks in all.
    """
    later: list[int] = [
        other.first_block
        for number, other in found.files.items()
        if one.number is not None and number > one.number and other.first_block is not None
    ]
    known = sum(other.blocks for other in found.files.values() if other is not one)
    left = max(0, all_blocks - known)
    after = min(later, default=0)
    inside = after % ATTEMPT_BLOCKS
    # A chunk holds blocks of one attempt: those before its neighbor's, if there are any.
    one.first_block = BlockNumber(max(first, after - inside) if inside else first)
    one.blocks = max(0, after - one.first_block) if inside else left


def _missing(archive: ArchiveId, number: ChunkNumber) -> ChunkFile:
    name = chunk_name(archive, number)
    return ChunkFile(name=name, length=Bytes(0), archive=archive, number=number)


def _facts(footer: ArchiveFooter, counts: Counts, stored: int) -> ArchiveFacts:
    return ArchiveFacts(
        files=counts.files,
        directories=counts.directories,
        others=counts.others,
        bytes_in=counts.bytes_in,
        bytes_stored=stored,
        blocks=footer.blocks,
        chunks=footer.chunks,
    )
