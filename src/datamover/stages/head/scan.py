"""Walk source trees and plan blocks: entry tables with room behind them for the data.

Role:       head
Instances:  one, for it gives blocks their numbers
Copies:     none of file data, which it never sees; tables are written once
Fails:      never on a file; what cannot be archived is a notice ("unreadable", "skipped")
Source:     SPEC E1, U4, U5, U10, U21; docs/spec/entry-table.md
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from datamover.disk.straight import shown
from datamover.errors import UsageError
from datamover.files.entry import Entry, EntryFlag, Kind
from datamover.files.exclude import Excludes
from datamover.files.holding import HoldingReader
from datamover.files.lacking import Lacking
from datamover.files.origin import Origin
from datamover.files.plan import Plan, Planner
from datamover.files.printable import printable
from datamover.files.table import plain_facts, write_table
from datamover.files.walk import Walk, archived_root, data_extents
from datamover.ids import BlockNumber
from datamover.pipe.stage import Role, StageInfo
from datamover.placement.route import Router, Routing, with_route
from datamover.stages.block import set_tag
from datamover.units import Bytes
from datamover.wire.tag import TagFlag, TagHeader, TagKind

if TYPE_CHECKING:
    from datamover.files.holding import Cut
    from datamover.pipe.ports import HeadPort

__all__ = ["STAGE", "Settings", "run"]

STAGE: Final = StageInfo(name="scan", role=Role.HEAD, allocates=True, parallel=False)

_FILE: Final = int(Kind.FILE)
_DIRECTORY: Final = int(Kind.DIRECTORY)
_REMOVED: Final = int(Kind.REMOVED)
_AGAIN: Final = int(EntryFlag.AGAIN)
_SHORT: Final = 256
"""Names up to this length fit the smallest block, whatever the names of the owners are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of the scan stage.

    Attributes:
        roots: Absolute paths of what to archive, each below its own last component.
        excludes: Patterns of what to leave out, as ``datamover.files.exclude`` reads them.
        one_file_system: Stay on the file system of each root.
        block_size: Bytes of a block at most; 0 for the pipe's buffer size.
        routing: Which route each file takes; a block holds files of one route.
        first_block: The number of the first block.
        held: A file that says what the archive holds already, as ``datamover.files.holding`` has
            it; empty for a new archive.
    """

    roots: tuple[str, ...]
    excludes: tuple[str, ...] = ()
    one_file_system: bool = False
    block_size: int = 0
    routing: Routing = field(default_factory=Routing)
    first_block: int = 0
    held: str = ""


def run(port: HeadPort, settings: Settings) -> None:
    """Plan every block of the archive, or of what an interrupted one lacks.

    Leaves the result files, directories, other, bytes, data (of what was sent, less what it takes
    back), taken and again.

    Raises:
        FormatError: ``held`` is no such file.
        UsageError: A root is not absolute, two would have the same name, or the block size is
            out of range.
        PipeError: From the port.
    """
    one = _Scan(port, settings)
    if settings.held:
        with HoldingReader(Path(settings.held)) as held:
            one.go_on(held)
    else:
        one.run()


class _Scan:
    def __init__(self, port: HeadPort, settings: Settings) -> None:
        limit = settings.block_size or port.buffer_size
        if limit > port.buffer_size:
            raise UsageError(reason=f"block_size {limit} is above the pipe's buffers")
        self._port = port
        self._settings = settings
        self._planner = Planner(limit)
        self._walk = Walk(
            _roots(settings.roots),
            notice=self._tell,
            excludes=Excludes(settings.excludes),
            one_file_system=settings.one_file_system,
            plain=self._place,
            plain_size=self._planner.whole,
        )
        self._router = Router(settings.routing)
        self._route = 0
        self._block = settings.first_block
        self._offset = 0
        self._files = 0
        self._directories = 0
        self._other = 0
        self._bytes = 0
        self._data = 0
        self._told = 0

    def run(self) -> None:
        for entry in self._walk:
            self._add(entry)
        self._end(taken=0, again=0)

    def go_on(self, held: HoldingReader) -> None:
        """Send what the archive lacks, or has otherwise."""
        plain, self._walk.plain = self._walk.plain, None
        completed = self._complete(held.cut) if held.cut else None
        lacking = Lacking(iter(self._walk), iter(held), completed=completed)
        for entry in lacking:
            if lacking.is_past and self._walk.plain is None:
                self._walk.plain = plain
            self._add(entry)
        self._end(taken=lacking.taken, again=lacking.again)

    def _add(self, entry: Entry) -> None:
        self._count(entry)
        is_long = len(entry.path) + len(entry.link) > _SHORT
        if (is_long or entry.xattrs) and not self._fits(entry):
            return
        if self._router and entry.kind == _FILE and entry.size:
            self._take_route(entry.path, entry.size, entry.mtime_ns)
        for plan in self._planner.add(entry, self._walk.extents):
            self._send(plan)

    def _complete(self, cut: Cut) -> Entry | None:
        """Send the rest of the file that was cut; None when it is another one now."""
        entry = cut.entry
        with Origin([os.fsencode(root) for root in self._settings.roots]) as origin:
            try:
                file = origin.open(entry.root, entry.path)
            except OSError:
                return None
            try:
                if not _is_same(entry, os.fstat(file)):
                    return None
                whole = ((0, entry.size),)
                if self._router:
                    self._route = self._route_of(entry, file)
                is_sparse = entry.flags & EntryFlag.SPARSE
                extents = list(data_extents(file, entry.size)) if is_sparse else whole
            finally:
                os.close(file)
        for plan in self._planner.go_on(entry, extents, cut.data):
            self._send(plan)
        for plan in self._planner.finish():
            self._send(plan)
        return entry

    def _route_of(self, entry: Entry, file: int) -> int:
        """Return the route of an open file that the walk has not come to."""
        root = os.fsencode(self._settings.roots[entry.root])
        source = shown(archived_root(root)[0]).rstrip(b"/")
        directory, _, name = entry.path.rpartition(b"/")
        return self._router.route(
            b"%b/%b" % (source, directory) if directory else source,
            name,
            entry.size,
            entry.mtime_ns,
            lambda _, size: os.pread(file, size, 0),
        )

    def _end(self, *, taken: int, again: int) -> None:
        for plan in self._planner.finish():
            self._send(plan)
        self._port.result(
            {
                "files": self._files,
                "directories": self._directories,
                "other": self._other,
                "bytes": self._bytes,
                "data": self._data,
                "taken": taken,
                "again": again,
            }
        )

    def _place(self, record: bytes, size: int) -> None:
        """Take in a plain file."""
        self._files += 1
        self._bytes += size
        if self._router and size:
            path, mtime_ns = plain_facts(record)
            self._take_route(path, size, mtime_ns)
        plan = self._planner.append(record, size)
        if plan is not None:
            self._send(plan)

    def _take_route(self, path: bytes, size: int, mtime_ns: int) -> None:
        """Close the block when the file that comes goes another way than those in it."""
        walk = self._walk
        directory, _, name = path.rpartition(b"/")
        route = self._router.route(walk.folder(directory), name, size, mtime_ns, walk.head)
        if route != self._route:
            # What has no data goes any way.
            for plan in self._planner.finish() if self._planner.data else ():
                self._send(plan)
            self._route = route

    def _count(self, entry: Entry) -> None:
        if entry.kind == _FILE:
            self._files += 1
            self._bytes += entry.size
        elif entry.kind == _DIRECTORY:
            self._directories += 1
        elif entry.kind != _REMOVED:
            self._other += 1
        if entry.flags & _AGAIN:
            self._files -= bool(entry.flags & EntryFlag.WAS_FILE)
            self._directories -= bool(entry.flags & EntryFlag.WAS_DIRECTORY)
            self._other -= bool(entry.flags & EntryFlag.WAS_OTHER)

    def _fits(self, entry: Entry) -> bool:
        """Drop the extended attributes of an entry that is too long; leave it out if that fails."""
        if self._planner.fit(entry):
            return True
        if entry.xattrs:
            entry.xattrs = ()
            entry.flags |= EntryFlag.XATTRS_DROPPED
            self._tell("xattrs-dropped", entry.path, "they do not fit a block")
        if self._planner.fit(entry):
            return True
        self._tell("skipped", entry.path, "the name does not fit a block")
        return False

    def _send(self, plan: Plan) -> None:
        port = self._port
        buffer = port.alloc()
        used = Bytes(write_table(buffer.data, plan.records) + plan.data)
        self._data += plan.data
        if self._files > self._told:
            port.count(self._files - self._told)
            self._told = self._files
        buffer.used = used
        flags = (TagFlag.GROUPED if len(plan.records) > 1 else 0) | (
            TagFlag.CONTINUED if plan.continued else 0
        )
        tag = TagHeader(
            kind=TagKind.DATA,
            block=BlockNumber(self._block),
            length=used,
            plain=used,
            flags=int(flags),
            offset=self._offset,
            public=with_route(self._route),
        )
        set_tag(buffer, tag)
        port.send(buffer)
        self._block += 1
        self._offset += used

    def _tell(self, kind: str, path: bytes, reason: str) -> None:
        self._port.notice(kind, path=printable(path), reason=reason)


def _is_same(entry: Entry, status: os.stat_result) -> bool:
    """Whether an open file is the one that was archived, as far as its status tells."""
    now = (
        status.st_mode, status.st_uid, status.st_gid, status.st_size, status.st_mtime_ns,
        status.st_ctime_ns,
    )  # fmt: skip
    return stat.S_ISREG(status.st_mode) and now == (
        entry.mode, entry.uid, entry.gid, entry.size, entry.mtime_ns, entry.ctime_ns
    )  # fmt: skip


def _roots(given: tuple[str, ...]) -> list[bytes]:
    roots = [os.fsencode(one) for one in given]
    names = [archived_root(one)[1] for one in roots]
    for root, name in zip(roots, names, strict=True):
        if not root.startswith(b"/"):
            raise UsageError(reason=f"the source {printable(root)} is not an absolute path")
        if names.count(name) > 1:
            raise UsageError(reason=f"two sources have the same name: {printable(name)}")
    return roots
