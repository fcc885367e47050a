"""The data index: what is inside an archive, as the stored records of its index blocks.

Source: seed, "data index"; docs/spec/catalog.md, section 2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from datamover.catalog.rows import PageKind, PageRecord, from_columns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from datamover.catalog.session import Reading
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
        only = "" if kind is None else "AND kind = :kind "
        query = (
            f"SELECT * FROM page WHERE archive = :archive AND block > :after {only}"  # noqa: S608 - one of two words of ours
            f"ORDER BY block LIMIT {_BATCH}"
        )
        while True:
            with self._reading() as session:
                rows = session.rows(query, archive=archive, after=after, kind=kind)
                pages = [from_columns(PageRecord, row) for row in rows]
            yield from pages
            if len(pages) < _BATCH:
                return
            after = pages[-1].block
