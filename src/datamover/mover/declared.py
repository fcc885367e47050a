"""Which transforms an archive declares: its header, from the first chunk that can be read.

Source: SPEC F5 (the destination needs no outside knowledge to decode); docs/spec/media-format.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from datamover.errors import DamagedError
from datamover.mover.chunk_file import ChunkFile

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
        DamagedError: No chunk of the archive has a readable header.
    """
    for chunk in chunks:
        try:
            header = ChunkFile.survey(store.chunks / chunk.name).header
        except OSError:
            continue
        if header is not None:
            return header.transforms
    reason = f"no chunk of archive {record.id.hex()} has a readable header"
    raise DamagedError(store=str(store.path), reason=reason)
