"""Tables: planned entries on their way into buffers, numbered and tagged as blocks.

Source: docs/spec/entry-table.md, "DATA payload"; docs/spec/copy-pipes.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from datamover.files.entry import EntryFlag
from datamover.files.plan import Planner
from datamover.files.printable import printable
from datamover.files.table import write_table
from datamover.ids import BlockNumber
from datamover.stages.block import set_tag
from datamover.units import Bytes
from datamover.wire.tag import TagFlag, TagHeader, TagKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from datamover.files.entry import Entry, Extent
    from datamover.files.plan import Plan
    from datamover.pipe.ports import HeadPort

__all__ = ["Tables"]


class Tables:
    """Takes entries, and sends a block whenever one is full.

    Attributes:
        data: Data bytes that were planned, and that a later stage reads.
    """

    def __init__(self, port: HeadPort, *, size: int = 0) -> None:
        """Fill blocks of ``size`` bytes, or as large as buffers are; a long entry gets its own."""
        self.data = 0
        self._port = port
        self._large = Planner(port.buffer_size)
        self._planner = Planner(min(size, port.buffer_size)) if size else self._large
        self._block = 0
        self._offset = 0

    def fits(self, entry: Entry) -> bool:
        """Say whether a block has room for the entry, or for it without extended attributes."""
        if self._large.fit(entry):
            return True
        if entry.xattrs:
            entry.xattrs = ()
            entry.flags |= EntryFlag.XATTRS_DROPPED
            reason = "they do not fit a block"
            self._port.notice("xattrs-dropped", path=printable(entry.path), reason=reason)
        return self._large.fit(entry)

    def add(self, entry: Entry, extents: Callable[[Entry], Iterable[Extent]]) -> None:
        """Take one entry that fits; ``extents`` is asked for the data of a sparse one."""
        planner = self._planner
        if planner is not self._large and not planner.fit(entry):
            self.finish()
            planner = self._large
        for plan in planner.add(entry, extents):
            self._send(plan)
        if planner is not self._planner:
            for plan in planner.finish():
                self._send(plan)

    def finish(self) -> None:
        """Send what is left."""
        for plan in self._planner.finish():
            self._send(plan)

    def _send(self, plan: Plan) -> None:
        buffer = self._port.alloc()
        used = Bytes(write_table(buffer.data, plan.records) + plan.data)
        self.data += plan.data
        buffer.used = used
        flags = (TagFlag.GROUPED if len(plan.records) > 1 else 0) | (
            TagFlag.CONTINUED if plan.continued else 0
        )
        set_tag(
            buffer,
            TagHeader(
                kind=TagKind.DATA,
                block=BlockNumber(self._block),
                length=used,
                plain=used,
                flags=int(flags),
                offset=self._offset,
            ),
        )
        self._port.send(buffer)
        self._block += 1
        self._offset += used
