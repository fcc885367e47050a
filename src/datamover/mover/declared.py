"""Which transforms an archive declares, by its header or else by its index.

Source: SPEC F5 (the destination needs no outside knowledge to decode); docs/spec/media-format.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from datamover.errors import DamagedError, FormatError
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
    declared = store.depot.transforms(chunks)
    if declared is not None:
        return declared
    # The index went the way of all blocks, and the catalog has a copy of it.
    for page in store.depot.pages(record.id):
        try:
            return tuple(one.id for one in TagHeader.decode(memoryview(page.record)).transforms)
        except FormatError:
            continue
    reason = f"no chunk of archive {record.id.hex()} has a readable header"
    raise DamagedError(store=store.depot.place, reason=reason)
