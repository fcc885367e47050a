"""Damage found on the way, and the paths that it costs.

A stage knows which block is damaged; only the index knows whose data that was.

Source: SPEC G7, U11, X10; docs/spec/wire-format.md, "After damage".
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from datamover.catalog.rows import PageKind
from datamover.errors import FormatError, SealError
from datamover.files.listing import index_tables
from datamover.files.printable import printable
from datamover.files.table import decode_entries
from datamover.mover.open_block import open_record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from datamover.catalog.rows import ArchiveRecord, ChunkRecord
    from datamover.mover.job import Job
    from datamover.mover.store import Store

__all__ = ["Damage"]

_NAMED: Final = 20
_KINDS: Final = ("damaged", "missing")


class Damage:
    """Collects what stages say of one archive, then tells it with the paths it costs."""

    def __init__(self, store: Store, record: ArchiveRecord, key: bytes, job: Job) -> None:
        """Listen to ``job`` from now on."""
        self._store = store
        self._record = record
        self._key = key
        self._job = job
        self._chunks = store.depot.chunks(record.id)
        self._found: list[tuple[str, dict[str, object], range]] = []
        for kind in _KINDS:
            job.on(kind, lambda given, kind=kind: self._heard(kind, given))  # type: ignore[misc]

    def tell(self, *, check_index: bool) -> None:
        """Pass all of it on to who watches.

        Args:
            check_index: Read the catalog's copy of the index even where nothing is damaged, and
                tell what is wrong with it.

        Raises:
            StoreError: The catalog cannot be used.
        """
        if not self._found and not check_index:
            return
        paths: dict[int, list[str]] = {}
        wanted = {block for _, _, blocks in self._found for block in blocks}
        for page in self._store.depot.pages(self._record.id, PageKind.INDEX):
            try:
                _, payload = open_record(
                    memoryview(page.record), key=self._key, archive=self._record.id
                )
                for block, table in index_tables(payload):
                    if block in wanted:
                        paths[block] = [printable(e.path) for e in decode_entries(table)]
            except (FormatError, SealError) as error:
                reason = f"{error}; `datamover catalog rebuild` may mend it"
                self._job.tell("catalog", "damaged", {"block": page.block, "reason": reason})
        for kind, given, blocks in self._found:
            names = [name for block in blocks for name in paths.get(block, [])]
            self._job.tell("load", kind, given | _named(names))

    def _heard(self, kind: str, given: Mapping[str, object]) -> None:
        facts = dict(given)
        if "name" in facts:  # damage that costs no block is told with the chunk's name
            facts["chunk"] = facts.pop("name")
        block = facts.get("block")
        if isinstance(block, int) and block >= 0:
            chunk = self._chunk_of(block)
            if chunk is not None:
                facts["chunk"] = chunk.name
            self._found.append((kind, facts, range(block, block + 1)))
            return
        lost = [c for c in self._chunks if c.name == os.path.basename(str(facts.get("chunk")))]  # noqa: PTH119
        blocks = range(lost[0].first_block, lost[0].first_block + lost[0].blocks) if lost else None
        self._found.append((kind, facts, blocks or range(0)))

    def _chunk_of(self, block: int) -> ChunkRecord | None:
        for chunk in self._chunks:
            if chunk.first_block <= block < chunk.first_block + chunk.blocks:
                return chunk
        return None


def _named(names: list[str]) -> dict[str, object]:
    if not names:
        return {}
    unique = list(dict.fromkeys(names))
    more = f", and {len(unique) - _NAMED} more" if len(unique) > _NAMED else ""
    return {"path": unique[0], "paths": ", ".join(unique[:_NAMED]) + more, "files": len(unique)}
