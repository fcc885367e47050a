"""Read files straight into the room that ``scan`` left for them.

Role:       middle
Instances:  any; each block says by itself what belongs in it
Copies:     none but the kernel's own, from its page cache into the buffer
Fails:      never on a file; what changed, shrank or vanished is marked in the table and a notice
Death:      replaced; reads every file of the block anew, and marks it anew
Source:     SPEC A3, E1, U5; docs/spec/entry-table.md, "Status"; LIMITS 6
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from datamover.disk.straight import open_folder, shown
from datamover.errors import MalformedError
from datamover.files.descent import Descent
from datamover.files.entry import Status
from datamover.files.printable import printable, why
from datamover.files.table import clear_status, decode_sources, patch_status, table_size
from datamover.files.walk import archived_root
from datamover.pipe.stage import Role, StageInfo
from datamover.shm.statistics import Wait

if TYPE_CHECKING:
    from datamover.files.entry import Extent
    from datamover.files.table import Source
    from datamover.pipe.ports import MiddlePort

__all__ = ["STAGE", "Settings", "run"]

STAGE: Final = StageInfo(name="collect", role=Role.MIDDLE, replayable=True)

_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
"""NONBLOCK: a FIFO that took the place of a file must not hang the backup."""

_ZEROS: Final = memoryview(bytes(1 << 16))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of the collect stage.

    Attributes:
        roots: The same absolute paths, in the same order, as those of ``scan``.
    """

    roots: tuple[str, ...]


def run(port: MiddlePort, settings: Settings) -> None:
    """Fill blocks until the stage before has finished.

    Raises:
        FormatError: A block does not hold an entry table.
        PipeError: From the port.
    """
    with ExitStack() as stack:
        collector = _Collector(port, settings, stack)
        for buffer in port.incoming():
            payload = buffer.payload
            table, entries = table_size(payload)
            if entries == 1:
                # One large file: the time is the disk's, and worth telling from our own.
                with port.waiting(Wait.INPUT):
                    collector.fill(payload, table)
            else:
                collector.fill(payload, table)
            payload.release()
            port.send(buffer)


class _Collector:
    def __init__(self, port: MiddlePort, settings: Settings, stack: ExitStack) -> None:
        self._port = port
        self._stack = stack
        self._roots = [archived_root(os.fsencode(root)) for root in settings.roots]
        self._descents: dict[int, Descent] = {}
        self._root = -1
        self._directory_path = b""
        self._directory = -1
        self._told = (b"", "")

    def fill(self, payload: memoryview, at: int) -> None:
        """Read the data of every file in the block; ``at`` is where the first begins."""
        end = len(payload)
        for source in decode_sources(payload):
            # Whose place this instance took may have marked it, and things are different now.
            clear_status(payload, source[0])
            begin = at
            for _, length in source[6]:
                at += length
            if at > end:
                raise MalformedError(what="entry table", reason="its data reaches beyond the block")
            try:
                self._file(payload, source, begin, at)
            except OSError as error:
                self._missing(payload, source, begin, at, why(error))

    def _file(self, payload: memoryview, source: Source, begin: int, end: int) -> None:
        _, root, directory, name, size, mtime, extents = source
        if directory != self._directory_path or root != self._root or not directory:
            self._enter(root, directory, name)
        file = os.open(name, _FLAGS, dir_fd=self._directory)
        try:
            # The ordinary file is one extent that one call reads; all else takes the longer way.
            whole = (
                len(extents) == 1
                and os.preadv(file, (payload[begin:end],), extents[0][0]) == end - begin
            ) or self._read(file, payload, begin, extents)
            now = os.fstat(file)
        finally:
            os.close(file)
        if not whole or now.st_size != size or now.st_mtime_ns != mtime:
            self._changed(payload, source, whole=whole, now=now.st_size)

    def _enter(self, root: int, directory: bytes, name: bytes) -> None:
        self._root = -1
        if root >= len(self._roots):
            raise MalformedError(what="entry table", reason=f"there is no source {root}")
        parent, source = self._roots[root]
        # What lies beside a source is not part of it, whatever the table says.
        if source and (directory or name).partition(b"/")[0] != source:
            raise MalformedError(what="entry table", reason="a file is not below its source")
        descent = self._descents.get(root)
        if descent is None:
            base = open_folder(parent)
            descent = self._descents[root] = self._stack.enter_context(Descent(base))
        self._directory = descent.enter(directory)
        self._directory_path, self._root = directory, root

    def _read(self, file: int, payload: memoryview, at: int, extents: tuple[Extent, ...]) -> bool:
        """Read extent by extent, zeros where the file ends early; say whether all was there."""
        whole = True
        for offset, length in extents:
            end, begin = at + length, offset - at
            while at < end:
                got = os.preadv(file, (payload[at:end],), begin + at)
                if not got:
                    _clear(payload, at, end)
                    whole = False
                    break
                at += got
            at = end
        return whole

    def _changed(self, payload: memoryview, source: Source, *, whole: bool, now: int) -> None:
        size = source[4]
        if whole:
            patch_status(payload, source[0], Status.CHANGED)
            self._tell("changed", source, "it changed while it was read")
        else:
            patch_status(payload, source[0], Status.SHORT, actual=min(now, size))
            self._tell("changed", source, f"it shrank from {size} to {now} bytes")

    def _missing(
        self, payload: memoryview, source: Source, begin: int, end: int, reason: str
    ) -> None:
        _clear(payload, begin, end)
        patch_status(payload, source[0], Status.MISSING)
        self._tell("unreadable", source, reason)

    def _tell(self, kind: str, source: Source, reason: str) -> None:
        """Give a notice; once for a file of many blocks, as long as it says the same."""
        _, root, directory, name, _, _, _ = source
        path = b"%b/%b" % (directory, name) if directory else name
        told = (path, reason)
        if told != self._told:
            self._told = told
            full = b"%b/%b" % (shown(self._roots[root][0]).rstrip(b"/"), path)
            self._port.notice(kind, path=printable(full), reason=reason)


def _clear(payload: memoryview, at: int, end: int) -> None:
    """Write zeros: what another block left in the buffer must not reach the archive."""
    while at < end:
        size = min(end - at, len(_ZEROS))
        payload[at : at + size] = _ZEROS[:size]
        at += size
