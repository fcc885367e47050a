"""Walk trees and send what is there, without data: one side of a comparison, or all of a copy.

Role:       head
Instances:  one, for it gives blocks their numbers
Copies:     none of file data; tables are written once
Fails:      never on a file; what cannot be looked at is a notice ("unreadable", "skipped")
Source:     docs/spec/copy-pipes.md, "Survey"; SPEC U3, U5
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from datamover.disk.straight import status_of
from datamover.files.digest import digest_of
from datamover.files.entry import Entry, EntryFlag, Kind
from datamover.files.exclude import Excludes
from datamover.files.origin import Origin
from datamover.files.printable import printable, why
from datamover.files.walk import Walk
from datamover.pipe.stage import Role, StageInfo
from datamover.stages.tables import Tables

if TYPE_CHECKING:
    from datamover.pipe.ports import HeadPort

__all__ = ["STAGE", "Settings", "run"]

STAGE: Final = StageInfo(name="survey", role=Role.HEAD, allocates=True, parallel=False)

_FILE: Final = int(Kind.FILE)
_DIRECTORY: Final = int(Kind.DIRECTORY)
_BARE: Final = int(EntryFlag.BARE)
_DIGEST: Final = int(EntryFlag.DIGEST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of the survey stage.

    Attributes:
        roots: Absolute paths of what to look at; one that is not there is left out in silence.
        excludes: Patterns of what to leave out, as ``datamover.files.exclude`` reads them.
        one_file_system: Stay on the file system of each root.
        checksum: Read every file, and send a digest of its data.
        block_size: Bytes of a block; 0 for those of a buffer.  Small ones are shared out better.
    """

    roots: tuple[str, ...]
    excludes: tuple[str, ...] = ()
    one_file_system: bool = False
    checksum: bool = False
    block_size: int = 0


def run(port: HeadPort, settings: Settings) -> None:
    """Send what is there.

    Raises:
        PipeError: From the port.
    """
    given = [os.fsencode(root) for root in settings.roots]
    numbers = [number for number, root in enumerate(given) if _is_there(root)]
    roots = [given[number] for number in numbers]
    tables = Tables(port, size=settings.block_size)
    files = directories = other = size = 0

    def tell(kind: str, path: bytes, reason: str) -> None:
        port.notice(kind, path=printable(path), reason=reason)

    walk = Walk(
        roots,
        notice=tell,
        excludes=Excludes(settings.excludes),
        one_file_system=settings.one_file_system,
    )
    with Origin(given) as origin:
        for entry in walk:
            entry.root = numbers[entry.root]
            entry.flags |= _BARE
            if entry.kind == _FILE:
                files += 1
                size += entry.size
                if settings.checksum and entry.size:
                    _digest(port, origin, entry)
            elif entry.kind == _DIRECTORY:
                directories += 1
            else:
                other += 1
            if not tables.fits(entry):
                tell("skipped", entry.path, "its name and attributes do not fit a block")
                continue
            tables.add(entry, walk.extents)
    tables.finish()
    port.result({"files": files, "directories": directories, "other": other, "bytes": size})


def _is_there(root: bytes) -> bool:
    try:
        return status_of(root) is not None
    except OSError:
        return False


def _digest(port: HeadPort, origin: Origin, entry: Entry) -> None:
    """Note what the file holds; one that cannot be read counts as different from any."""
    try:
        entry.actual, entry.before = digest_of(origin, entry, port.check)
    except OSError as error:
        name = printable(origin.name(entry.root, entry.path))
        port.notice("unreadable", path=name, reason=why(error))
    else:
        entry.flags |= _DIGEST
