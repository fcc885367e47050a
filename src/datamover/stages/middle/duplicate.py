"""Copy small files of this machine to their places, ahead of ``place``, which does all the rest.

Role:       middle
Instances:  any; what an instance cannot do, ``place`` does
Copies:     the kernel's own, from file to file
Fails:      on a table that breaks the format, or when the destination cannot be opened
Source:     docs/spec/copy-pipes.md, "Sides"; ADR 0015
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from datamover.errors import UsageError
from datamover.files.entry import EntryFlag, Kind
from datamover.files.leftover import RESUMABLE
from datamover.files.table import HEADER_SIZE, decode_entries, write_table
from datamover.pipe.stage import Role, StageInfo
from datamover.stages.block import set_tag
from datamover.stages.placing import Placing
from datamover.wire.tag import TagHeader

if TYPE_CHECKING:
    from datamover.files.entry import Entry
    from datamover.files.handover import Handover
    from datamover.files.naming import Naming
    from datamover.files.transfer import Transfer
    from datamover.pipe.ports import MiddlePort
    from datamover.units import Bytes

__all__ = ["STAGE", "Settings", "run"]

STAGE: Final = StageInfo(name="duplicate", role=Role.MIDDLE, parallel=True)

_FILE: Final = int(Kind.FILE)
_BARE: Final = int(EntryFlag.BARE)
_SAME: Final = int(EntryFlag.SAME)
_LINKED: Final = int(EntryFlag.LINKED)
_LENGTH: Final = struct.Struct("<I")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of the duplicate stage: those of ``place``.

    Attributes:
        destination: The folder that targets are in; made when missing.
        sources: The sources' own names, by number.
        targets: What each is called below the destination.
        origins: Absolute paths of the sources.
        numeric_ids: Use the source's user and group numbers even where their names exist here.
        sync: A name changes only when what it gets is on the medium.
        replaces: Something may be there already.
    """

    destination: str
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    origins: tuple[str, ...]
    numeric_ids: bool = False
    sync: bool = True
    replaces: bool = True


def run(port: MiddlePort, settings: Settings) -> None:
    """Copy until the stage before has finished, and take out of the tables what is done.

    Raises:
        UsageError: There are no origins.
        RestoreError: The destination cannot be used.
        FormatError: A block does not hold an entry table.
        PipeError: From the port.
    """
    with Placing(
        port,
        settings.destination,
        sources=settings.sources,
        targets=settings.targets,
        origins=settings.origins,
        numeric_ids=settings.numeric_ids,
        sync=settings.sync,
        replaces=settings.replaces,
        failed=lambda path, *_: work.not_given(path),
    ) as placing:
        if placing.transfer is None:
            raise UsageError(reason="name the origins of the files")
        work = _Duplicates(placing.naming, placing.transfer, placing.handover)
        for buffer in port.incoming():
            before = work.files
            buffer.used = work.block(buffer.payload)
            port.count(work.files - before)
            tag = TagHeader.decode(buffer.tag[: buffer.tag_used])
            set_tag(buffer, replace(tag, length=buffer.used, plain=buffer.used))
            port.send(buffer)
        port.result({"files": work.files, "bytes": work.bytes, "skipped": work.skipped})


class _Duplicates:
    def __init__(self, naming: Naming, transfer: Transfer, handover: Handover) -> None:
        self.files = 0
        self.bytes = 0
        self.skipped = 0
        self._naming = naming
        self._transfer = transfer
        self._handover = handover
        self._failed: set[bytes] = set()

    def block(self, payload: memoryview) -> Bytes:
        """Copy what the table names, and leave in it what is left; return its new length."""
        at = HEADER_SIZE
        left: list[tuple[bytes, bytes]] = []
        for entry in decode_entries(payload):
            end = at + _LENGTH.unpack_from(payload, at)[0]
            is_done = self._is_due(entry) and self._is_done(entry)
            if not is_done or self._handover.is_waiting(entry.path):
                left.append((entry.path if is_done else b"", bytes(payload[at:end])))
            at = end
        # All names are given before the block goes on: behind it folders get their times.
        self._handover.finish()
        failed, self._failed = self._failed, set()
        return write_table(payload, [one for path, one in left if not path or path in failed])

    def not_given(self, path: bytes) -> None:
        """Learn that a file could not get its name: ``place`` will try, and say why."""
        self._failed.add(path)
        self.files -= 1

    def _is_due(self, entry: Entry) -> bool:
        """Say whether it is a small file whose data comes from here, and whose name nobody asks."""
        bits = entry.flags & (_BARE | _SAME | _LINKED)
        return entry.kind == _FILE and bits == _BARE and entry.size < RESUMABLE

    def _is_done(self, entry: Entry) -> bool:
        """Copy a file; false when that is refused, to ``place`` too perhaps, which says so."""
        name = entry.path
        entry.path = self._naming.target(entry.root, name)
        try:
            done = self._transfer.file(entry, name)
        except OSError:
            return False
        if done is None:
            self.skipped += 1  # and it was said
        else:
            self.files += 1
            self.bytes += done.written
        return True
