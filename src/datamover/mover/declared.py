"""Which transforms an archive declares, by its header or else by its index.

Source: SPEC F5 (the destination needs no outside knowledge to decode); docs/spec/media-format.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from datamover.errors import DamagedError, FormatError
from datamover.mover.chunk_file import ChunkFile
from datamover.wire.tag import TagHeader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from datamover.catalog.rows import ArchiveRecord, ChunkRecord
    from datamover.mover.store import Store

__all__ = ["declared_transforms"]


def declared_transforms(
    store: Store, record: ArchiveRecord, chunks: Sequence[ChunkRecord]
) -> tuple[int, ...]:
    """Return the ids of the transforms, in order of application.

    Raises:
        DamagedError: Neither a chunk's header nor the index can be read.
    """
    for chunk in chunks:
        try:
            header = ChunkFile.survey(store.chunks / chunk.name).header
        except OSError:
            continue
        if header is not None:
            return header.transforms
    # The index went the way of all blocks, and the catalog has a copy of it.
    for page in store.catalog.index.pages(record.id):
        try:
            return tuple(one.id for one in TagHeader.decode(memoryview(page.record)).transforms)
        except FormatError:
            continue
    reason = f"no chunk of archive {record.id.hex()} has a readable header"
    raise DamagedError(store=str(store.path), reason=reason)
