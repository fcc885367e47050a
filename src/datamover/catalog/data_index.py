"""The data index: what is inside an archive, as the stored records of its index blocks.

Source: seed, "data index"; docs/spec/catalog.md, section 2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import select

from datamover.catalog.rows import PageKind, PageRecord, from_columns
from datamover.catalog.schema import PAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from datamover.catalog.master_map import Reading
    from datamover.ids import ArchiveId

__all__ = ["DataIndex"]

# A page is at most one block, a few MiB: what is in memory at once is this many of them.
_BATCH: Final = 8


class DataIndex:
    """What is inside.  Pages come in with their chunk (``MasterMap.add_chunk``)."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def pages(self, archive: ArchiveId, kind: PageKind | None = None) -> Iterator[PageRecord]:
        """Yield the pages of an archive in block order, a few in memory at a time.

        No transaction stays open between two pages, so a slow reader holds nobody up.

        Raises:
            CatalogError: The database is damaged.
        """
        after = -1
        while True:
            query = (
                select(PAGE)
                .where(PAGE.c.archive == archive, PAGE.c.block > after)
                .order_by(PAGE.c.block)
                .limit(_BATCH)
            )
            if kind is not None:
                query = query.where(PAGE.c.kind == kind)
            with self._reading() as connection:
                rows = connection.execute(query).mappings()
                pages = [from_columns(PageRecord, row.items()) for row in rows]
            yield from pages
            if len(pages) < _BATCH:
                return
            after = pages[-1].block
