"""Make files of the blocks that arrive, below one directory and nowhere else.

Role:       tail
Instances:  one; files of several blocks need them in order
Copies:     the kernel's own, into its page cache; of large files into a staging area in its place
Fails:      on a table that breaks the format, and when the destination can take nothing more
Source:     SPEC E1, U10, U23; DESIGN D14; docs/spec/entry-table.md
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from datamover.disk.straight import open_folder, shown
from datamover.errors import RestoreError
from datamover.files.destination import Destination
from datamover.files.printable import printable, why
from datamover.files.recreate import Recreate
from datamover.files.selection import Selection
from datamover.files.superseded import Superseded
from datamover.pipe.stage import Role, StageInfo
from datamover.shm.statistics import Wait
from datamover.stages.block import get_tag
from datamover.wire.tag import TagKind

if TYPE_CHECKING:
    from datamover.pipe.ports import TailPort

__all__ = ["STAGE", "Settings", "run"]

STAGE: Final = StageInfo(name="restore", role=Role.TAIL, parallel=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of the restore stage.

    Attributes:
        destination: The directory to restore into; made when missing.
        selected: Archived paths that are wanted, with what is below them; empty for everything.
        stand_ins: Pairs of a path that is not wanted and the wanted hard link that gets its data,
            as ``datamover.files.selection`` finds them.
        overwrite: Replace files that are in the way; without it they stay, with a notice.
        numeric_ids: Use archived user and group numbers even where their names exist here.
        sync: Return only when the restored files are on the medium.
        superseded: A file of names with several entries, as ``Superseded`` reads it; or empty.
    """

    destination: str
    selected: tuple[str, ...] = ()
    stand_ins: tuple[tuple[str, str], ...] = ()
    overwrite: bool = False
    numeric_ids: bool = False
    sync: bool = True
    superseded: str = ""


def run(port: TailPort, settings: Settings) -> None:
    """Restore until the stage before has finished.

    Raises:
        RestoreError: The destination cannot be used, or can take nothing more.
        FormatError: A block does not hold what its tag says.
        PipeError: From the port.
    """

    def notice(kind: str, path: bytes, reason: str) -> None:
        port.notice(kind, path=printable(path), reason=reason)

    base = _opened(settings.destination)
    with Destination(base, overwrite=settings.overwrite) as destination:
        recreate = Recreate(
            destination,
            notice,
            selection=Selection(os.fsencode(one) for one in settings.selected),
            numeric_ids=settings.numeric_ids,
            stand_ins={os.fsencode(a): os.fsencode(b) for a, b in settings.stand_ins},
            direct=settings.sync,
            superseded=(
                Superseded.read(Path(settings.superseded)) if settings.superseded else Superseded()
            ),
        )
        try:
            for buffer in port.incoming():
                if get_tag(buffer).kind == TagKind.DATA:
                    before = recreate.counts.files
                    recreate.block(buffer.payload)
                    port.count(recreate.counts.files - before)
                port.free(buffer)
            recreate.finish()
        finally:
            recreate.close()
        if settings.sync:
            with port.waiting(Wait.OUTPUT):
                _sync(destination, settings.destination)
    port.result(asdict(recreate.counts))


def _opened(destination: str) -> int:
    """Open the destination, reached by a symlink where the user named one."""
    try:
        return open_folder(destination, make=True)
    except OSError as error:
        path = printable(os.fsencode(shown(destination)))
        raise RestoreError(path=path, reason=why(error)) from error


def _sync(destination: Destination, name: str) -> None:
    """Wait until every file system that was written to is on its medium."""
    try:
        destination.sync()
    except OSError as error:
        path = printable(os.fsencode(shown(name)))
        raise RestoreError(path=path, reason=why(error)) from error
