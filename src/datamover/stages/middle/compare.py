"""Walk the sources beside a survey of the destination, and pass on what differs.

Role:       middle, allocating, any number of buffers for one
Instances:  one, for it gives blocks their numbers
Copies:     none of file data, which it never sees but for checksums
Fails:      on a survey that breaks the format or is not in order; never on a file
Source:     docs/spec/copy-pipes.md; SPEC U3, U21; ADR 0015
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from datamover.disk.straight import shown
from datamover.files.changes import Changes, Rules
from datamover.files.difference import Difference
from datamover.files.digest import digest_of
from datamover.files.exclude import Excludes
from datamover.files.merge import merge
from datamover.files.naming import Naming
from datamover.files.origin import Origin
from datamover.files.printable import printable, why
from datamover.files.table import decode_entries
from datamover.files.walk import Walk, archived_root
from datamover.pipe.stage import FanOut, Role, StageInfo
from datamover.stages.tables import Tables

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from datamover.files.entry import Entry, Extent
    from datamover.pipe.ports import MiddlePort

__all__ = ["STAGE", "Settings", "run"]

STAGE: Final = StageInfo(
    name="compare", role=Role.MIDDLE, allocates=True, parallel=False, fan_out=FanOut.MANY
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of the compare stage.

    Attributes:
        roots: Absolute paths of the sources.
        targets: What each is called at the destination, relative to it.
        excludes: Patterns of what to leave out; what they match there is never removed.
        one_file_system: Stay on the file system of each root.
        removes: Pass on what is to be removed, as REMOVED entries.
        removes_excluded: What the patterns match is removed there, too.
        checksum: Files of one size are equal when they hold the same, whatever their times.
        owners: Owners count; off where the destination cannot set them.
        numeric_ids: Owners are numbers; without it, names where both sides know them.
        bare: Pass on files without room for their data: the destination reads them itself.
        defers: Files of this size or more that differ are named in a notice ("deferred") instead
            of being passed on; 0: none are.
        resumes: Files that an earlier copy may have begun are deferred, too.
        itemize: Tell each difference in a notice ("item").
        block_size: Bytes of a block; 0 for those of a buffer.  Small ones are shared out better.
    """

    roots: tuple[str, ...]
    targets: tuple[str, ...]
    excludes: tuple[str, ...] = ()
    one_file_system: bool = False
    removes: bool = False
    removes_excluded: bool = False
    checksum: bool = False
    owners: bool = True
    numeric_ids: bool = False
    bare: bool = False
    defers: int = 0
    resumes: bool = False
    itemize: bool = False
    block_size: int = 0


def run(port: MiddlePort, settings: Settings) -> None:
    """Compare until both sides have ended.

    Raises:
        FormatError: The survey breaks a rule.
        PipeError: From the port.
    """
    roots = [os.fsencode(root) for root in settings.roots]
    with Origin(roots) as origin:
        _Compare(port, settings, roots, origin).run()


class _Compare:
    def __init__(
        self, port: MiddlePort, settings: Settings, roots: list[bytes], origin: Origin
    ) -> None:
        self._port = port
        self._origin = origin
        self._tables = Tables(port, size=settings.block_size)
        self._unreadable = False
        self._walk = Walk(
            roots,
            notice=self.notice,
            excludes=Excludes(settings.excludes),
            one_file_system=settings.one_file_system,
        )
        self._naming = Naming(
            [
                (archived_root(root)[1], os.fsencode(target))
                for root, target in zip(roots, settings.targets, strict=True)
            ]
        )
        rules = Rules(
            difference=Difference(
                owners=settings.owners,
                numeric_ids=settings.numeric_ids,
                digest=self._digest if settings.checksum else None,
            ),
            excludes=Excludes(() if settings.removes_excluded else settings.excludes),
            parents=tuple(shown(archived_root(root)[0]).rstrip(b"/") for root in roots),
            removes=settings.removes,
            bare=settings.bare,
            defers=settings.defers,
            resumes=settings.resumes,
        )
        self._itemize = settings.itemize
        self._changes = Changes(rules, self._naming, self)

    def run(self) -> None:
        with self._changes as changes:
            for key, ours, theirs in merge(iter(self._walk), self._there(), self._naming):
                changes.add(key, ours, theirs, may_remove=not self._unreadable)
            changes.finish(may_remove=not self._unreadable)
            self._tables.finish()
            self._port.result({**changes.counts(), "data": self._tables.data})

    def send(self, entry: Entry, extents: Iterable[Extent]) -> None:
        """See ``Receiver``."""
        if self._tables.fits(entry):
            self._tables.add(entry, lambda _: extents)
        else:
            self.notice("skipped", entry.path, "its name does not fit a block")

    def extents(self, entry: Entry) -> Iterable[Extent]:
        """See ``Receiver``."""
        return self._walk.extents(entry)

    def defer(self, entry: Entry) -> None:
        """See ``Receiver``."""
        self._port.notice("deferred", root=entry.root, path=entry.path.hex(), size=entry.size)

    def item(self, action: str, entry: Entry) -> None:
        """See ``Receiver``."""
        if self._itemize:
            path = printable(self._naming.target(entry.root, entry.path))
            self._port.notice("item", action=action, path=path, bytes=entry.size)

    def notice(self, kind: str, path: bytes, reason: str) -> None:
        """See ``Receiver``; also told by the walk."""
        if kind == "unreadable":
            self._unreadable = True
        self._port.notice(kind, path=printable(path), reason=reason)

    def _there(self) -> Iterator[Entry]:
        for buffer in self._port.incoming():
            # No buffer is held while another is asked for.
            entries = list(decode_entries(buffer.payload))
            self._port.free(buffer)
            yield from entries

    def _digest(self, entry: Entry) -> tuple[int, int] | None:
        try:
            return digest_of(self._origin, entry, self._port.check)
        except OSError as error:
            self.notice("unreadable", self._origin.name(entry.root, entry.path), why(error))
            return None
